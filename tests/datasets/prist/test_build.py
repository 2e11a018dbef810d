"""The three steps against a scripted server: what comes out, what goes wrong, and kill -9 at any moment."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prist_endpoint import USELESS, PristEndpoint, build_dialogues
from segue import masks
from segue.chat_model import OpenAIChatModel, RetryPolicy
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.datasets.generation import Generation, GenerationReport, GenerationSettings
from segue.datasets.prist.build import PristSettings, PristSource, images_in, prist_job
from segue.datasets.prist.rules import check_tree
from segue.datasets.prist.steps import ReasoningTree
from segue.errors import InputError
from segue.records import Conversation, grounded_markup, read_jsonl

OUTPUTS = ("conversations.jsonl", "quarantine.jsonl", "report.json")


@pytest.fixture
def endpoint() -> Iterator[PristEndpoint]:
    server = PristEndpoint()
    yield server
    server.close()


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    for k in range(count):
        Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).save(folder / f"{k:02d}.png")
    return folder


def run(server: PristEndpoint, source: PristSource, **settings: Any) -> GenerationReport:
    retry = RetryPolicy(timeout=2, first_wait=0.01, longest_wait=0.02)
    model = OpenAIChatModel(server.url, "scripted", api_key="", retry=retry)
    job = prist_job(source, PristSettings(**settings))
    how = GenerationSettings(concurrency=4)
    with Generation(job, model, source.out, settings=how) as generation:
        return generation.run(progress=False)


def rejects(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "quarantine.jsonl").read_text().splitlines()]


def test_three_steps_make_three_dialogues(endpoint: PristEndpoint, tmp_path: Path) -> None:
    source = PristSource(images_in(pictures(tmp_path / "images", 2)), tmp_path / "out")
    report = run(endpoint, source, split="val")
    made = list(read_jsonl(report.records))
    assert [c.id for c in made] == [f"prist/val/{i:02d}/{k}" for i in range(2) for k in range(3)]
    assert (report.replies, sum(endpoint.charges.values())) == (2 * (2 + 3), 10)
    first = made[0]
    assert (tmp_path / "out" / first.images[0].path).resolve() == tmp_path / "images" / "00.png"
    markup, targets = grounded_markup(first, len(first.turns) - 1, "miras")
    assert f"[OBJ]{first.meta['focus']}[SEG]" in markup
    assert targets == [(0, ["r1"])]
    assert first.regions[0].mask is None
    tree = ReasoningTree.model_validate(first.meta["tree"])
    check_tree(tree, [p.element for p in tree.paths], paths=3)
    assert first.meta["thoughts"] == [n.thought for n in tree.way_to(first.meta["leaf"])]
    assert len({c.turns[-2].text for c in made}) > 1, "the last request has several wordings"


def annotated(path: Path) -> AnnotatedImage:
    regions = []
    for k, name in enumerate(("cup", "cup", "hat", "fly")):
        mask = np.zeros((12, 16), bool)
        mask[2:8, 4 * k : 4 * k + (3 if name != "fly" else 0)] = True
        rle = masks.encode(mask)
        regions.append(AnnotatedRegion(f"a{k}", "object", name, None, rle, name))
    return AnnotatedImage(path.stem, path, 12, 16, tuple(regions))


def test_annotated_images_end_in_annotated_masks(endpoint: PristEndpoint, tmp_path: Path) -> None:
    files = [path for _, path in images_in(pictures(tmp_path / "images", 2))]
    known = {path.stem: annotated(path) for path in files[:1]}
    source = PristSource([(p.stem, p) for p in files], tmp_path / "out", known)
    report = run(endpoint, source)
    made = list(read_jsonl(report.records))
    expected = [known["00"].regions[k].rle for k in (0, 1, 2)]
    assert [c.regions[0].mask for c in made] == expected
    assert {c.meta["masks"] for c in made} == {"annotated"}
    [reject] = rejects(tmp_path / "out")
    assert (reject["item"], reject["problem"]) == ("01", "unusable_item")


def test_masks_from_boxes_are_marked(endpoint: PristEndpoint, tmp_path: Path) -> None:
    def fill(picture: Image.Image, box: tuple[float, float, float, float]) -> Any:
        mask = np.zeros((picture.height, picture.width), bool)
        left, top, right, bottom = map(round, box)
        mask[top:bottom, left:right] = True
        return masks.encode(mask)

    listed = images_in(pictures(tmp_path / "images", 1))
    report = run(endpoint, PristSource(listed, tmp_path / "out", mask_from_box=fill, mask_maker="filler"))
    [first, *_] = read_jsonl(report.records)
    assert masks.area(first.regions[0].mask or {}) == (round(0.6 * 16) - round(0.1 * 16)) * (8 - 2)
    assert first.meta["masks"] == "drawn by filler from a box of the chat model"


def test_a_path_that_fails_does_not_cost_the_others(tmp_path: Path) -> None:
    server = PristEndpoint(hopeless="dialogue")
    try:
        source = PristSource(images_in(pictures(tmp_path / "images", 6)), tmp_path / "out")
        report = run(server, source)
    finally:
        server.close()
    lost = {reject["item"] for reject in rejects(tmp_path / "out")}
    assert 0 < len(lost) < 6
    assert report.made == 3 * (6 - len(lost))
    assert report.rejects == {"empty": 3 * len(lost)}


@pytest.mark.parametrize("useless", USELESS)
def test_every_useless_reply_is_asked_for_again(useless: str, tmp_path: Path) -> None:
    server = PristEndpoint(faults=1.0, kinds=(useless,))
    try:
        source = PristSource(images_in(pictures(tmp_path / "images", 1)), tmp_path / "out")
        report = run(server, source)
    finally:
        server.close()
    assert (report.made, report.rejects) == (3, {})
    assert report.replies > 5


def test_wrong_settings_and_folders(tmp_path: Path) -> None:
    for wrong in ({"paths": 0}, {"fewest_turns": 9, "most_turns": 8}, {"side": 1}, {"seed": -1}):
        with pytest.raises(InputError, match="cannot be made"):
            PristSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no images"):
        images_in(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    assert [name for name, _ in images_in(tmp_path)] == ["a.jpg", "a.png"]


def test_a_damaged_image_is_rejected(endpoint: PristEndpoint, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "images", 1)
    (folder / "bad.jpg").write_bytes(b"nothing")
    assert run(endpoint, PristSource(images_in(folder), tmp_path / "out")).made == 3
    assert rejects(tmp_path / "out")[0]["item"] == "bad"


# ---- killed ------------------------------------------------------------------------------------------------

Start = Callable[[PristEndpoint, Path, Path], Any]


def forked(server: PristEndpoint, images: Path, out: Path) -> Any:
    """A process of its own that has everything imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["segue.datasets.prist.build", "segue.datasets.generation", "prist_endpoint"]
    )
    process = context.Process(target=build_dialogues, args=(server.url, str(images), str(out)))
    # A child imports the program that started its parent, which here is pytest: a second each time.
    program, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        process.start()
    finally:
        sys.modules["__main__"] = program
    return process


class Command(subprocess.Popen[bytes]):
    """The command line itself, with the manners of a `multiprocessing.Process`."""

    def __init__(self, server: PristEndpoint, images: Path, out: Path) -> None:
        options = {"url": server.url, "model": "scripted", "timeout": 0.5, "concurrency": 3, "split": "val"}
        flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        program = "import sys; from segue.cli import main; sys.exit(main())"
        arguments = [sys.executable, "-c", program, "data", "prist", "build", str(images), "--out", str(out)]
        environment = os.environ | {"SEGUE_API_KEY": "", "OMP_NUM_THREADS": "1"}
        super().__init__([*arguments, *flags], stderr=subprocess.DEVNULL, env=environment)

    def is_alive(self) -> bool:
        return self.poll() is None

    def join(self) -> None:
        self.wait()

    @property
    def exitcode(self) -> int | None:
        return self.returncode


def killed_often(start: Start, server: PristEndpoint, images: Path, out: Path, kills: int) -> int:
    """Run to the end, but kill -9 the process `kills` times, each after a random number of requests."""
    rng = random.Random(kills)
    done = 0
    while True:
        process = start(server, images, out)
        until = server.received + rng.randint(1, 3)
        while process.is_alive() and (done >= kills or server.received < until):
            time.sleep(0.002)
        if process.is_alive():
            time.sleep(rng.random() * 0.01)  # short, or the work is done before the last kill
            process.kill()
            done += 1
        process.join()
        if process.exitcode == 0:
            return done
        assert process.exitcode == -signal.SIGKILL
        # A kill in the middle of a line, which the file system makes rare.
        if done % 3 == 0 and (out / "replies.jsonl").exists():
            with (out / "replies.jsonl").open("ab") as file:
                file.write(b'{"key": "half of a li')


def check_killed(start: Start, tmp_path: Path, *, idempotent: bool) -> None:
    images = pictures(tmp_path / "images", 4)
    shaky = PristEndpoint(faults=0.9, slow=0.55, idempotent=idempotent, delay=0.003)
    undisturbed = PristEndpoint(faults=0.9, slow=0.55)
    try:
        build_dialogues(undisturbed.url, str(images), str(tmp_path / "once"))
        kills = killed_often(start, shaky, images, tmp_path / "often", 10)
    finally:
        shaky.close()
        undisturbed.close()
    assert kills == 10
    for name in OUTPUTS:
        assert (tmp_path / "often" / name).read_bytes() == (tmp_path / "once" / name).read_bytes(), name
    assert len(list(read_jsonl(tmp_path / "often" / "conversations.jsonl"))) == 12
    assert set(shaky.charges) == set(undisturbed.charges)
    assert len(set(shaky.modes) - {"well"}) >= 10, "it fails in ten ways or more"
    twice = sum(shaky.charges.values()) - len(shaky.charges)
    # Without idempotency keys, only what was under way in the three threads at a kill is charged again.
    assert twice == 0 if idempotent else twice <= 3 * kills


def test_killed_ten_times_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    check_killed(forked, tmp_path, idempotent=True)


@pytest.mark.slow
@pytest.mark.parametrize("idempotent", [True, False])
def test_the_command_killed_ten_times(idempotent: bool, tmp_path: Path) -> None:
    check_killed(Command, tmp_path, idempotent=idempotent)


def test_conversations_are_sound(endpoint: PristEndpoint, tmp_path: Path) -> None:
    source = PristSource(images_in(pictures(tmp_path / "images", 1)), tmp_path / "out")
    for line in run(endpoint, source).records.read_text().splitlines():
        conversation = Conversation.from_json(line)
        assert json.dumps(conversation.to_json(), ensure_ascii=False) == line
