"""What a visitor does: pictures, questions, undo, another model; nothing of it is anybody else's."""

import copy
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scripted_model import TEXT, scripted
from segue.apps.demo import pictures
from segue.apps.demo.visitor import FIND, LONGEST_QUESTION, Models, Visitor
from segue.errors import ImageError, InputError
from segue.inference.loaded_model import LoadedModel
from tiny_model import TEXT as TAUGHT
from tiny_model import picture


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    found = [tmp_path / f"{name}.png" for name in "abc"]
    for path, shade in zip(found, (60, 200, 120), strict=True):
        picture(shade=shade).save(path)
    return found


@pytest.fixture
def models() -> Any:
    return scripted("first", "second")


@pytest.fixture
def visitor(models: Any) -> Visitor:
    return Visitor(Models(models))


def ask(visitor: Visitor, question: str = "Which?") -> None:
    for _ in visitor.ask(question):
        pass


def test_an_answer_grows_and_stays(visitor: Visitor, files: list[Path]) -> None:
    assert visitor.add(files[:2]) == "Images 1 to 2 added."
    seen = []
    for _ in visitor.ask("Which?"):
        turn = visitor.turns[-1]
        seen.append((turn.text, turn.opened, len(turn.groundings)))
    assert seen[0] == ("", None, 0)
    assert ("The red mug", 4, 0) in seen  # the phrase is open, its mask is not there
    assert ("The red mug", None, 1) in seen
    assert seen[-1] == (TEXT, None, 2)
    assert [answer.question for answer in visitor.answers] == ["Which?"]
    assert visitor.turns[0].notes == ["one <b>note</b>"]


def test_a_real_model_is_asked_the_same_way(tiny_model: LoadedModel, files: list[Path]) -> None:
    visitor = Visitor(Models({"tiny": tiny_model}))
    visitor.add(files[:2])
    ask(visitor, "Which is larger?")
    visitor.add(files[2:])
    ask(visitor, "Which is larger?")
    assert [answer.text for answer in visitor.answers] == [TAUGHT, TAUGHT]
    assert visitor.answers[1].images == ["a.png", "b.png", "c.png"]
    assert visitor.undo() == "Which is larger?"
    assert len(visitor.answers) == 1


def test_a_picture_is_added_in_the_middle(visitor: Visitor, models: Any, files: list[Path]) -> None:
    visitor.add(files[:1])
    ask(visitor)
    assert visitor.add(files[1:2]) == "Image 2 added."
    ask(visitor)
    (session,) = models["first"].sessions
    assert session.names == ["a.png", "b.png"]
    assert [len(answer.groundings) for answer in visitor.answers] == [1, 2]


def test_a_stopped_answer_leaves_no_turn(visitor: Visitor, models: Any, files: list[Path]) -> None:
    visitor.add(files[:2])
    for step, _ in enumerate(visitor.ask("Which?")):
        if step == 2:
            visitor.stop()
    assert visitor.turns == []
    assert models["first"].sessions[0].closed == 1
    ask(visitor)  # and the next one is not stopped
    assert len(visitor.answers) == 1


def test_who_leaves_sets_the_model_free(visitor: Visitor, models: Any, files: list[Path]) -> None:
    visitor.add(files[:2])
    left = visitor.ask("Which?")
    for _ in range(3):
        next(left)
    assert visitor.models.asked("first").locked()
    left.close()  # type: ignore[attr-defined]
    assert not visitor.models.asked("first").locked()
    assert visitor.turns == []
    assert models["first"].sessions[0].closed == 1


def test_nothing_changes_under_a_growing_answer(visitor: Visitor, files: list[Path]) -> None:
    visitor.add(files[:1])
    growing = visitor.ask("Which?")
    next(growing)
    for act in (lambda: visitor.add(files[1:]), visitor.undo, visitor.start_over, lambda: ask(visitor)):
        with pytest.raises(InputError, match="still growing"):
            act()
    for _ in growing:
        pass
    assert len(visitor.answers) == 1


def test_another_model_begins_anew(visitor: Visitor, models: Any, files: list[Path]) -> None:
    visitor.add(files[:2])
    ask(visitor)
    assert visitor.choose("second") == "second answers now. The conversation with first is over."
    assert visitor.turns == []
    ask(visitor)
    assert [answer.model for answer in visitor.answers] == ["second"]
    with pytest.raises(InputError) as error:
        visitor.choose("agent:http://localhost:1/v1?model=x")
    assert error.value.expected == "first, second"


def test_visitors_are_strangers(visitor: Visitor, files: list[Path]) -> None:
    visitor.add(files[:2])
    ask(visitor)
    other = copy.deepcopy(visitor)
    assert (other.pictures, other.turns) == ([], [])
    assert other.key != visitor.key
    assert len(visitor.answers) == 1


@pytest.mark.parametrize("question", ["", "   ", "a" * (LONGEST_QUESTION + 1)])
def test_a_wrong_question_leaves_no_turn(visitor: Visitor, files: list[Path], question: str) -> None:
    visitor.add(files[:1])
    with pytest.raises(InputError):
        ask(visitor, question)
    assert visitor.turns == []
    ask(visitor)


def test_without_pictures_it_says_so(visitor: Visitor) -> None:
    with pytest.raises(InputError, match="no picture to ask about"):
        ask(visitor)


def test_undo_of_nothing(visitor: Visitor) -> None:
    assert visitor.undo() == ""


def test_a_bad_file_is_named_without_its_folder(visitor: Visitor, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    with pytest.raises(ImageError) as error:
        visitor.add([files[0], tmp_path / "bad.png"])
    assert str(tmp_path) not in str(error.value)
    assert error.value.where == "bad.png"
    assert visitor.pictures == []  # all or none


def test_limits_of_pictures(visitor: Visitor, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="one to eight"):
        visitor.add(files * 3)
    monkeypatch.setattr(pictures, "MOST_PIXELS_TOGETHER", 2 * 40 * 60)
    visitor.add(files[:2])
    with pytest.raises(InputError, match="too large together"):
        visitor.add(files[2:])


def test_a_large_picture_is_shown_smaller() -> None:
    large = pictures.picture_of(Image.new("RGB", (3000, 1500)), "large.png")
    assert large.shown_hw == (500, 1000)
    assert large.image.size == (3000, 1500)


def test_a_mark_is_found_in_the_other_pictures(visitor: Visitor, models: Any, files: list[Path]) -> None:
    visitor.add(files)
    assert visitor.point(2, [3, 4, 20, 30]) == "Marked a box in image 2."
    grown = [visitor.turns[-1].answer is None for _ in visitor.find()]
    assert grown == [True, False]
    (turn,) = visitor.turns
    assert (turn.question, turn.text) == (FIND, "The marked thing is there.")
    assert [g.image_index for g in turn.groundings] == [1, 0, 2]
    # The model's own conversation knows nothing of it; undo forgets each where it is.
    ask(visitor)
    (session,) = models["first"].sessions
    assert session.asked == ["Which?"]
    assert [visitor.undo(), visitor.undo(), visitor.undo()] == ["Which?", FIND, ""]
    assert session.asked == []
    assert visitor.mark is not None
    assert (visitor.unmark(), visitor.unmark()) == ("The mark is gone.", "Nothing is marked.")


def test_markers_of_a_question_mean_the_mark(visitor: Visitor, models: Any, files: list[Path]) -> None:
    visitor.add(files[:2])
    ask(visitor, "Which is like [this]?")
    (session,) = models["first"].sessions
    assert session.regions == []  # nothing is marked: brackets are text
    visitor.point(1, [5, 6])
    ask(visitor, "Which is like [this]?")
    assert [region.to_json() for region in session.regions] == [{"image_index": 0, "point": [5.0, 6.0]}]
    ask(visitor)
    assert session.regions == []


def test_real_models_find_a_mark_and_say_what_they_do_not_read(
    tiny_model: LoadedModel, files: list[Path]
) -> None:
    visitor = Visitor(Models({"tiny": tiny_model}))
    visitor.add(files[:2])
    visitor.point(1, [15, 10, 30, 20])
    for _ in visitor.find():
        pass
    assert visitor.answers[0].text.startswith("The marked thing is in ")
    assert visitor.answers[0].images == ["a.png", "b.png"]
    with pytest.raises(InputError, match="tiny reads no marks"):
        ask(visitor, "Which is like [this]?")
    assert len(visitor.turns) == 1


@pytest.mark.parametrize(
    ("number", "at", "said"),
    [
        (3, [1, 1], "one of the 2 pictures"),
        (0, [1, 1], "one of the 2 pictures"),
        (1, [60, 1], "0 <= x < 60"),
        (1, [9, 9, 3, 3], "0 <= left < right <= 60"),
        (1, [float("nan"), 3], "x, y"),
    ],
)
def test_marks_that_do_not_fit(
    visitor: Visitor, files: list[Path], number: int, at: list[float], said: str
) -> None:
    visitor.add(files[:2])
    with pytest.raises(InputError) as error:
        visitor.point(number, at)
    assert said in str(error.value)
    assert visitor.mark is None


def test_there_is_nothing_to_find_without_a_mark_or_another_picture(
    visitor: Visitor, files: list[Path]
) -> None:
    for step in (lambda: visitor.add(files[:1]), lambda: visitor.point(1, [3, 3])):
        step()
        with pytest.raises(InputError, match="nothing to find"):
            next(iter(visitor.find()))
    assert visitor.turns == []
    visitor.start_over()
    assert visitor.mark is None
