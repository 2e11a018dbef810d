"""Several images and a model whose `[SEG]` names none: asked one by one, joined, with turns of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import segue
from segue import protocol
from segue.cli import main
from segue.errors import InputError
from segue.inference import Region
from segue.inference.loaded_model import LoadedModel
from segue.inference.one_by_one import ASKED_APART, OneByOneSession
from segue.inference.streaming import Done, MaskReady, PhraseOpened, TextDelta
from segue.mini.tokenizer import train_tokenizer
from segue.models.build import build_sa2va
from tiny_model import picture

MARKUP = "Sure, the <p> red mug </p> [SEG] is [SEG]."
TEXT = "Sure, the red mug is this."
QUESTION = "Please segment the mug."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Sa2VA that has learned one answer by heart, saved."""
    model, processor = build_sa2va(train_tokenizer([TEXT, QUESTION, "And then? Image 1:"] * 4, 400))
    turns = [("user", QUESTION), ("assistant", MARKUP)]
    batches = [
        dict(processor(images=[picture(shade=shade)], turns=asked, add_generation_prompt=False))
        for shade in (60, 200)
        for asked in (turns, [*turns, ("user", "And then?"), ("assistant", MARKUP)])
    ]
    optimizer = torch.optim.Adam(model.language_model.parameters(), lr=2e-2)
    for step in range(80):
        left_out = ("pixel_values_sam", "original_hw", "resized_hw")
        batch: dict[str, Any] = {k: v for k, v in batches[step % len(batches)].items() if k not in left_out}
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    saved = tmp_path_factory.mktemp("models") / "tiny-sa2va"
    model.save_pretrained(saved)
    processor.save_pretrained(saved)
    return saved


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedModel:
    return segue.load(folder, device="cpu")


def test_one_image_is_asked_as_in_any_session(loaded: LoadedModel) -> None:
    session = loaded.session([picture()])
    answer = session.ask(QUESTION)
    assert (answer.text, answer.markup, answer.notes) == (TEXT, MARKUP, [])
    assert [(g.phrase, g.image_index) for g in answer.groundings] == [("red mug", 0), ("this", 0)]
    assert session.batches


def test_several_are_asked_one_by_one_and_joined(loaded: LoadedModel) -> None:
    images = [picture(), picture(30, 50, 200)]
    session = loaded.session(images)
    assert not session.batches
    answer = session.ask(QUESTION)
    assert answer.text == f"Image 1: {TEXT}\nImage 2: {TEXT}"
    assert answer.markup == f"Image 1: {MARKUP}\nImage 2: {MARKUP}"
    assert answer.notes == [ASKED_APART]
    assert [g.image_index for g in answer.groundings] == [0, 0, 1, 1]
    assert [g.mask.shape for g in answer.groundings] == [(40, 60)] * 2 + [(30, 50)] * 2
    assert all(answer.text[slice(*g.span)] == g.phrase for g in answer.groundings)
    for number, image in enumerate(images):
        alone = loaded.session([image]).ask(QUESTION)
        for ours, theirs in zip(answer.groundings[2 * number :], alone.groundings, strict=False):
            assert (ours.mask == theirs.mask).all()
    # What is written can be read again: a server, or a later turn, has nothing but the text.
    parsed = protocol.parse(answer.markup, 2, "sa2va")
    assert [(g.phrase, g.span, g.image_index) for g in parsed.groundings] == [
        (g.phrase, g.span, g.image_index) for g in answer.groundings
    ]


def test_each_image_keeps_its_own_turns(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[tuple[str, str]]] = []
    encode = loaded.processor.encode_turns

    def seen(turns: list[tuple[str, str]], *args: Any, **options: Any) -> Any:
        asked.append(turns)
        return encode(turns, *args, **options)

    monkeypatch.setattr(loaded.processor, "encode_turns", seen)
    session = loaded.session([picture(), picture(shade=200)])
    session.ask(QUESTION)
    session.ask("And then?")
    expected = [("user", QUESTION), ("assistant", MARKUP), ("user", "And then?")]
    assert asked[2:] == [expected, expected]
    assert len(session.history) == 2
    session.undo()
    session.add_image(picture(shade=20))
    asked.clear()
    session.ask("And then?")
    # The image that came later has not been asked the first question.
    assert asked == [expected, expected, [("user", "And then?")]]
    session.reset()
    asked.clear()
    session.ask(QUESTION)
    assert asked == [[("user", QUESTION)]] * 3
    asked.clear()
    session.reset()
    session.add_turn(QUESTION, f"Image 1: {MARKUP}\nImage 2: None.\nImage 3: None.")
    session.ask("And then?")
    assert [turns[1][1] for turns in asked] == [MARKUP, "None.", "None."]


def test_an_image_that_is_added_to_one_makes_two(loaded: LoadedModel) -> None:
    session = loaded.session([picture()])
    session.ask(QUESTION)
    session.add_image(picture(shade=200))
    answer = session.ask("And then?")
    assert answer.text.startswith("Image 1: ")
    assert "\nImage 2: " in answer.text
    assert session.history[0].text == TEXT


def test_events_are_those_of_the_joined_answer(loaded: LoadedModel) -> None:
    session = loaded.session([picture(), picture(shade=200)])
    events = list(session.stream(QUESTION))
    answer = events[-1]
    assert isinstance(answer, Done)
    whole = answer.answer
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == whole.text
    masks = [e for e in events if isinstance(e, MaskReady)]
    assert [(m.index, m.grounding.image_index) for m in masks] == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert [m.grounding.span for m in masks] == [g.span for g in whole.groundings]
    # States before the norm are normed to be read as words, which is no step of the answer.
    asked = loaded.session([picture(), picture(shade=200)]).ask(QUESTION)
    for streamed, plain in zip(whole.groundings, asked.groundings, strict=True):
        assert streamed.presence is not None
        assert plain.presence is not None
        assert streamed.presence.text == pytest.approx(plain.presence.text, abs=1e-5)
        assert 0.5 < streamed.presence.text <= 1
    opened = [e for e in events if isinstance(e, PhraseOpened)]
    assert [e.index for e in opened] == [0, 1]
    assert [whole.text[e.start :].split()[0] for e in opened] == ["red", "red"]


def test_in_a_batch_they_are_asked_by_themselves(loaded: LoadedModel) -> None:
    one, two = [picture()], [picture(), picture(shade=200)]
    found = loaded.ask_many([(one, QUESTION), (two, QUESTION), (one, QUESTION)])
    assert [answers[0].text for answers in found] == [TEXT, f"Image 1: {TEXT}\nImage 2: {TEXT}", TEXT]


def test_ask_from_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for k, shade in enumerate((60, 200)):
        paths.append(str(tmp_path / f"{k}.png"))
        picture(shade=shade).save(paths[-1])
    assert isinstance(segue.load(folder, device="cpu").session(paths), OneByOneSession)
    assert main(["ask", *paths, "-q", QUESTION, "--model", str(folder), "--device", "cpu"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("Image 1: Sure")
    assert ASKED_APART.split(":")[0] in printed.err


def test_turns_about_several_images_cannot_point(loaded: LoadedModel) -> None:
    session = loaded.session([picture(), picture(shade=200)])
    with pytest.raises(InputError, match="one image at a time"):
        session.add_turn("What is [this]?", "A mug.", [Region(image_index=0, point=(3, 3))])
    assert session.history == ()
