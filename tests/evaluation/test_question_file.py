"""Questions of a file: answered as by a session each, gone on with after a kill, wrong lines named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import segue.evaluation.question_file as module
from segue.cli import main
from segue.errors import InputError, RecordError
from segue.evaluation.question_file import Asked, answer_file, read_questions
from segue.inference import LoadedModel
from tiny_model import ANSWER, QUESTIONS, picture

LINES: list[dict[str, Any]] = [
    {"id": "pair", "images": ["a.png", "b.png"], "question": QUESTIONS[0]},
    {"images": ["b.png", "a.png", "b.png"], "questions": [QUESTIONS[1], QUESTIONS[2]]},
    {"id": "lost", "images": ["missing.png"], "question": "What?"},
    {"id": "one", "images": ["a.png"], "question": QUESTIONS[1]},
]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    picture(30, 50).save(tmp_path / "a.png")
    picture(60, 40, 200).save(tmp_path / "b.png")
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return file


def answers(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def without_scores(answer: dict[str, Any]) -> Any:
    return [(g["phrase"], g["image_index"]) for g in answer["groundings"]], answer["text"], answer["markup"]


def test_a_file_of_questions_through_the_front_door(
    questions: Path, tmp_path: Path, tiny_model_folder: Path, tiny_model: LoadedModel
) -> None:
    out = tmp_path / "out"
    call = ["ask", "--batch", str(questions), "--out", str(out), "--model", str(tiny_model_folder)]
    assert main([*call, "--device", "cpu", "--batch-size", "3"]) == 0
    found = answers(out)
    assert [line["id"] for line in found] == ["pair", "2", "lost", "one"]
    assert found[0]["answers"][0]["markup"] == ANSWER
    assert "ImageError" in found[2]["answers"][0]["failure"]
    session = tiny_model.session([tmp_path / name for name in ("b.png", "a.png", "b.png")])
    alone = [session.ask(question).to_json() for question in (QUESTIONS[1], QUESTIONS[2])]
    assert [without_scores(a) for a in found[1]["answers"]] == [without_scores(a) for a in alone]
    assert (out / "pair" / "answer.html").is_file()
    assert (out / "2" / "turn_2" / "image_3.png").is_file()


def test_a_run_goes_on_where_it_was_killed(
    questions: Path, tmp_path: Path, tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, out = read_questions(questions), tmp_path / "out"
    seen: list[str] = []
    answered = module._answered

    def note(model: Any, some: Any, *more: Any) -> Any:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.extend(one.id for one in some)
        return answered(model, some, *more)

    monkeypatch.setattr(module, "_answered", note)
    with pytest.raises(KeyboardInterrupt):
        answer_file(tiny_model, asked, out, batch_size=2, pages=False, max_new_tokens=40)
    with (out / "answers.jsonl").open("a") as torn:
        torn.write('{"id": "lost", "ans')
    monkeypatch.setattr(module, "_answered", answered)
    told: list[tuple[int, int]] = []
    failed = answer_file(
        tiny_model, asked, out, pages=False, max_new_tokens=40, progress=lambda *n: told.append(n)
    )
    assert failed == 1
    assert told == [(4, 4)]
    assert [line["id"] for line in answers(out)] == ["pair", "2", "lost", "one"]
    with pytest.raises(InputError, match="another"):
        answer_file(tiny_model, asked[:1], out, pages=False, max_new_tokens=40)
    answer_file(tiny_model, asked[:1], out, pages=False, max_new_tokens=40, overwrite=True)
    assert [line["id"] for line in answers(out)] == ["pair"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"images": [], "question": "What?"}, "list of paths"),
        ({"images": "a.png", "question": "What?"}, "list of paths"),
        ({"images": ["a.png"]}, "question"),
        ({"images": ["a.png"], "question": "  "}, "question in words"),
        ({"images": ["a.png"], "question": "What?", "questions": ["What?"]}, "questions"),
        ({"id": "../up", "images": ["a.png"], "question": "What?"}, "name a folder"),
        ({"id": 7, "images": ["a.png"], "question": "What?"}, "name a folder"),
        ({"images": ["a.png"], "question": "What?", "answer": "?"}, "answer"),
        (["a.png"], "JSON object"),
    ],
)
def test_wrong_lines_are_named(line: Any, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text(
        json.dumps({"id": "1st", "images": ["a.png"], "question": "What?"}) + "\n" + json.dumps(line)
    )
    with pytest.raises(RecordError, match=expected) as caught:
        read_questions(file)
    assert caught.value.where == f"{file}:2"


def test_files_that_ask_nothing_and_ids_twice(tmp_path: Path) -> None:
    file = tmp_path / "q.jsonl"
    file.write_text("\n")
    with pytest.raises(InputError, match="nothing to ask"):
        read_questions(file)
    with pytest.raises(InputError, match="questions cannot be read"):
        read_questions(tmp_path / "absent.jsonl")
    # The number of a line is its id where it has none.
    file.write_text('{"id": "2", "images": ["a"], "question": "?"}\n{"images": ["a"], "question": "?"}\n')
    with pytest.raises(RecordError, match="'2' again"):
        read_questions(file)


def test_paths_are_relative_to_the_file(questions: Path) -> None:
    first = read_questions(questions)[0]
    assert first == Asked(
        "pair", (str(questions.parent / "a.png"), str(questions.parent / "b.png")), (QUESTIONS[0],)
    )


@pytest.mark.parametrize(
    "options",
    [
        ["--batch", "q.jsonl"],
        ["--batch", "q.jsonl", "--out", "o", "-q", "What?"],
        ["a.png", "--batch", "q.jsonl", "--out", "o"],
        ["a.png"],
        ["-q", "What?"],
        ["a.png", "-q", "What?", "--batch-size", "4"],
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["ask", *options]) == 2
    assert "It is not clear what to ask." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
