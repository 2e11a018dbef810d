"""Each picture through each encoder once: by any session, thread or process, within its bytes."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from segue.inference.encoder_cache import Encoded, EncoderCache
from tiny_model import picture

if TYPE_CHECKING:
    from segue.inference import LoadedModel

CPU = torch.device("cpu")


def encoded(value: float = 0.0, size: int = 10) -> Encoded:
    return Encoded(visual={"vision_features": torch.full((1, size), value)})


def never() -> Any:
    pytest.fail("it was kept")


def ask(cache: EncoderCache, key: str, size: int = 10) -> Encoded:
    return cache.get(key, lambda: encoded(size=size), lambda: f"{key}.safetensors", CPU)


@pytest.fixture
def calls(tiny_model: LoadedModel) -> Any:
    """How often each tower, the Q-Former and the mask decoder ran."""
    counted: Counter[str] = Counter()
    parts = {
        "clip": tiny_model.model.vision_model,
        "dino": tiny_model.model.aux_vision_model,
        "sam": tiny_model.model.sam.vision_encoder,
        "qformer": tiny_model.model.reader.qformer,
    }
    hooks = [
        part.register_forward_hook(lambda *_, name=name: counted.update([name]))
        for name, part in parts.items()
    ]
    yield counted
    for hook in hooks:
        hook.remove()


def test_a_second_question_and_a_second_session_touch_no_tower(
    tiny_model: LoadedModel, calls: Counter[str]
) -> None:
    images = [picture(), picture(shade=200)]
    session = tiny_model.session(images)
    first = session.ask("Which is larger?")
    assert calls == {"clip": 2, "dino": 2, "sam": 2, "qformer": 1}
    session.ask("And the other one?")
    assert calls == {"clip": 2, "dino": 2, "sam": 2, "qformer": 1}
    again = tiny_model.session(images).ask("Which is larger?")
    # Read with the question, and hence anew: nothing that depends on it is kept under a picture alone.
    assert calls == {"clip": 2, "dino": 2, "sam": 2, "qformer": 2}
    tiny_model.ask("What is there?", images[::-1])
    assert (calls["clip"], calls["dino"], calls["sam"]) == (2, 2, 2)
    assert again.markup == first.markup
    for mine, theirs in zip(again.groundings, first.groundings, strict=True):
        assert (mine.mask == theirs.mask).all()


def test_other_weights_and_other_processing_are_other_pictures(
    tiny_model: LoadedModel, calls: Counter[str]
) -> None:
    tiny_model.ask("Which is larger?", picture())
    weight = next(tiny_model.model.vision_model.parameters())
    with torch.no_grad():
        weight += 0.0
    tiny_model.ask("Which is larger?", picture())
    assert calls["clip"] == 2
    with torch.no_grad():
        tiny_model.model.language_model.lm_head.weight += 0.0
    tiny_model.ask("Which is larger?", picture())
    assert calls["clip"] == 2, "the language model sees no picture"
    tiny_model.encoder_cache = EncoderCache()
    tiny_model.ask("Which is larger?", picture())
    assert calls["clip"] == 3


def test_the_last_asked_for_are_kept_within_the_bytes() -> None:
    cache = EncoderCache(most_bytes=100)
    for key in "ab":
        ask(cache, key)
    ask(cache, "a")
    ask(cache, "c")
    assert (len(cache), cache.held) == (2, 80)
    cache.get("a", never, never, CPU)
    cache.get("c", never, never, CPU)
    ask(cache, "large", size=1000)
    assert cache.held <= 100
    cache.clear()
    assert (len(cache), cache.held) == (0, 0)


def test_what_a_living_session_shows_is_found_though_there_is_no_room(
    tiny_model: LoadedModel, calls: Counter[str]
) -> None:
    tiny_model.encoder_cache = EncoderCache(most_bytes=0)
    session = tiny_model.session(picture())
    session.ask("Which is larger?")
    session.reset()
    session.ask("What is there?")
    tiny_model.ask("What is there?", picture())
    assert (calls["clip"], len(tiny_model.encoder_cache)) == (1, 0)
    del session
    tiny_model.ask("What is there?", picture())
    assert calls["clip"] == 2


def test_one_thread_encodes_while_the_others_wait() -> None:
    cache, started, go = EncoderCache(), threading.Event(), threading.Event()
    made = []

    def encode() -> Encoded:
        started.set()
        assert go.wait(10)
        made.append(1)
        return encoded()

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(cache.get, "a", encode, never, CPU) for _ in range(4)]
        assert started.wait(10)
        go.set()
        assert len({id(future.result(10)) for future in found}) == 1
    assert made == [1]


def test_a_failure_is_told_and_tried_again() -> None:
    cache = EncoderCache()
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: 1 / 0, never, CPU)  # type: ignore[arg-type, return-value]
    assert ask(cache, "a").num_bytes == 40


def test_files_serve_a_later_process(tiny_model: LoadedModel, calls: Counter[str], tmp_path: Path) -> None:
    images = [picture(), picture(shade=200)]
    tiny_model.encoder_cache = EncoderCache(folder=tmp_path / "kept")
    first = tiny_model.ask("Which is larger?", images)
    # A new cache knows nothing but the folder, as a new process does.
    tiny_model.encoder_cache = EncoderCache(folder=tmp_path / "kept")
    again = tiny_model.ask("Which is larger?", images)
    assert (calls["clip"], calls["dino"], calls["sam"]) == (2, 2, 2)
    assert again.markup == first.markup
    assert all((a.mask == b.mask).all() for a, b in zip(again.groundings, first.groundings, strict=True))
    files = sorted((tmp_path / "kept").rglob("*"))
    assert len([file for file in files if file.suffix == ".safetensors"]) == 4
    for file in files:
        if file.is_file():
            file.write_bytes(file.read_bytes()[:50])
    tiny_model.encoder_cache = EncoderCache(folder=tmp_path / "kept")
    assert tiny_model.ask("Which is larger?", images).markup == first.markup
    assert calls["clip"] == 4, "damaged files are written again"
    weight = next(tiny_model.model.vision_model.parameters())
    before = weight.detach().clone()
    with torch.no_grad():
        weight += 1e-3
    tiny_model.ask("Which is larger?", images)
    with torch.no_grad():
        weight.copy_(before)
    assert calls["clip"] == 6, "files of other weights are not read"


def test_a_folder_that_cannot_be_written_costs_no_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert ask(EncoderCache(folder=tmp_path / "file"), "a").num_bytes == 40
