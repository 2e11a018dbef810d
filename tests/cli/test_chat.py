"""`segue chat`: a conversation read from stdin."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from segue.cli import main
from tiny_model import picture

Chat = Callable[..., tuple[int, str, str]]


@pytest.fixture
def chat(
    tiny_model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Chat:
    """Run a chat over two pictures with these lines; an exception in place of a line is raised by the
    reading.
    """
    picture(30, 50).save(tmp_path / "a.png")
    picture(60, 40, 200).save(tmp_path / "b.png")

    def run(*lines: str | BaseException) -> tuple[int, str, str]:
        waiting = list(lines)

        def read(prompt: str = "") -> str:
            if not waiting:
                raise EOFError
            line = waiting.pop(0)
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr("builtins.input", read)
        images = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
        code = main(["chat", *images, "--model", str(tiny_model_folder), "--device", "cpu"])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_questions_and_follow_ups(chat: Chat) -> None:
    code, out, _ = chat("Which is larger?", "", "And the other one?", "/quit", "never read")
    assert code == 0
    assert out.count("(image ") >= 2
    assert len(out.splitlines()) == 2


def test_commands(chat: Chat, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    code, out, err = chat(
        "/help", "/images", "Which is larger?", "What is there?", f"/save {folder}", "/undo", "/reset",
        "/undo", "/quit"
    )  # fmt: skip
    assert code == 0
    assert "/undo" in out
    assert f"image 2: {tmp_path / 'b.png'}, 40 x 60" in out
    content = json.loads((folder / "turn_1" / "answer.json").read_text())
    assert content["question"] == "Which is larger?"
    assert (folder / "turn_2" / "answer.html").is_file()
    assert "forgotten: What is there?" in err
    assert "There is no turn to undo." in err


def test_one_answer_is_saved_into_the_folder_itself(chat: Chat, tmp_path: Path) -> None:
    chat("Which is larger?", f"/save {tmp_path / 'one'}")
    assert (tmp_path / "one" / "answer.json").is_file()


def test_mistakes_do_not_end_the_conversation(chat: Chat) -> None:
    code, out, err = chat("/save", "/save x", "/nonsense", "mug " * 3000, "Which is larger?")
    assert code == 0
    assert "The folder is missing." in err
    assert "Nothing can be saved." in err
    assert "There is no such command." in err
    assert "longer than the model can read" in err
    assert out.startswith("The red mug")


def test_ctrl_c_clears_the_line_and_stops_an_answer(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    from segue.inference.session import GroundingSession

    ask, calls = GroundingSession.ask, []

    def once(self: GroundingSession, *args: object, **named: object) -> object:
        calls.append(args)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return ask(self, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(GroundingSession, "ask", once)
    code, out, err = chat(KeyboardInterrupt(), "Which is larger?", "Which is larger?", "/undo", "/undo")
    assert code == 0
    assert "stopped; this question is forgotten" in err
    assert len(out.splitlines()) == 1
    assert err.count("forgotten: Which is larger?") == 1


def test_bytes_that_are_no_text(chat: Chat) -> None:
    code, out, err = chat(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "Which is larger?")
    assert code == 0
    assert "not UTF-8" in err
    assert out.startswith("The red mug")


def test_images_are_checked_before_the_first_question(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", str(tmp_path / "missing.png"), "--model", str(tiny_model_folder)]) == 2
    assert "no such image" in capsys.readouterr().err


def test_an_image_is_added(chat: Chat, tmp_path: Path) -> None:
    picture(20, 20, 90).save(tmp_path / "c.png")
    code, out, err = chat(
        "Which is larger?", f"/add {tmp_path / 'c.png'}", "/images", "/add", "/add x.png", "/quit"
    )
    assert code == 0
    assert f"image 3: {tmp_path / 'c.png'}, 20 x 20" in out
    assert f"image 3: {tmp_path / 'c.png'}" in err
    assert "The image is missing." in err
    assert "x.png" in err
