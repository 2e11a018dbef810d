"""Images that are added to a conversation: encoded alone, numbered on, remembered by `undo` and `reset`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from segue.errors import ImageError, InputError
from segue.inference.answer import SessionAnswer
from segue.inference.understanding import past_turns
from segue.models.segmenter_sam import SamSegmenter
from tiny_model import FAMILIES, picture

if TYPE_CHECKING:
    from segue.inference import LoadedModel

FIRST, SECOND, THIRD = picture(), picture(shade=200), picture(50, 70, 20)
of_all_families = pytest.mark.parametrize("tiny_model", FAMILIES, indirect=True)
NOTE = "image 3 was added: all 3 images were read again"


@of_all_families
def test_the_answer_is_that_of_a_conversation_that_had_the_image_from_the_start(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = tiny_model.session([FIRST, SECOND])
    asked = session.ask("Which is larger?")
    encoded: list[int] = []
    encode = SamSegmenter.encode
    monkeypatch.setattr(SamSegmenter, "encode", lambda self, p: encoded.append(len(p)) or encode(self, p))
    tower = dict(tiny_model.model.named_modules())[tiny_model.model.encoder_parts[0]]
    towers = tower.register_forward_hook(lambda *_: encoded.append(-1))
    try:
        assert session.add_image(THIRD) == 3
        answer = session.ask("And the other one?")
    finally:
        towers.remove()
    assert encoded.count(-1) == 1, "only the new image goes through the towers"
    assert (len(asked.images), len(answer.images), answer.image_hws[2]) == (2, 3, (50, 70))
    assert answer.images[2] == "image 3"
    fresh = tiny_model.session([FIRST, SECOND, THIRD])
    fresh.add_turn(asked.question, asked.markup)
    assert fresh.ask("And the other one?").markup == answer.markup
    # The Q-Former reads each image for itself: the first one need not be read again.
    assert answer.notes == []


def test_what_must_be_read_again_is_said_once(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(tiny_model.model), "images_read_together", True)
    session = tiny_model.session([FIRST, SECOND])
    session.ask("Which is larger?")
    session.add_image(THIRD)
    assert NOTE in session.ask("And the other one?").notes
    assert NOTE not in session.ask("What is there?").notes
    early = tiny_model.session([FIRST, SECOND])
    early.add_image(THIRD)
    assert early.ask("Which is larger?").notes == [], "nothing had been read yet"


@of_all_families
def test_undo_and_reset_forget_turns_and_leave_the_images(tiny_model: LoadedModel) -> None:
    session = tiny_model.session([FIRST, SECOND])
    session.ask("Which is larger?")
    session.add_image(THIRD)
    session.ask("And the other one?")
    session.undo()
    assert len(session.images) == len(session.names) == 3
    fresh = tiny_model.session([FIRST, SECOND, THIRD])
    fresh.add_turn("Which is larger?", session.history[0].markup)
    assert session.ask("What is there?").markup == fresh.ask("What is there?").markup
    session.reset()
    again = session.ask("Which is larger?")
    assert again.markup == tiny_model.session([FIRST, SECOND, THIRD]).ask("Which is larger?").markup
    assert len(again.images) == 3


@of_all_families
def test_a_file_is_called_by_its_path_and_faults_change_nothing(
    tiny_model: LoadedModel, tmp_path: Path
) -> None:
    THIRD.save(tmp_path / "a.png")
    session = tiny_model.session(FIRST)
    session.add_image(tmp_path / "a.png")
    session.add_image(THIRD, name="mine")
    assert session.names == ["image 1", str(tmp_path / "a.png"), "mine"]
    with pytest.raises(ImageError, match=r"b\.png"):
        session.add_image(tmp_path / "b.png")
    for _ in range(6):
        session.add_image(THIRD)
    with pytest.raises(InputError, match="found:    10"):
        session.add_image(THIRD)
    assert len(session.images) == len(session.names) == 9


def test_earlier_answers_mean_what_they_meant_with_fewer_images() -> None:
    def turn(markup: str, images: int, dialect: str = "prima") -> str:
        answer = SessionAnswer("What?", "", markup, image_hws=[], model="m", images=["x"] * images)
        return past_turns([answer], 3, dialect)[1][1]

    assert turn("A <p> lamp </p> [SEG] (IMAGE3).", 2) == "A lamp."
    assert turn("A <p> lamp </p> [SEG] (IMAGE2).", 2) == "A <p> lamp </p> [SEG] (IMAGE2)."
    assert turn("A <p> lamp </p> [SEG].", 1, "glamm") == "A <p> lamp </p> [SEG] (IMAGE1)."
