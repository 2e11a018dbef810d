"""What a terminal shows while it waits: a line while the model loads, the answer as it grows."""

from __future__ import annotations

import gc
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from segue.cli import console, growing, main
from tiny_model import TEXT, picture

if TYPE_CHECKING:
    from segue.inference import LoadedModel


@pytest.fixture
def screens(monkeypatch: pytest.MonkeyPatch) -> tuple[io.StringIO, io.StringIO]:
    """Two terminals in place of stdout and stderr."""
    shown = io.StringIO(), io.StringIO()
    for name, screen in zip(("out", "err"), shown, strict=True):
        made = Console(file=screen, force_terminal=True, width=100, highlight=False, soft_wrap=True)
        for module in (console, growing):
            monkeypatch.setattr(module, name, lambda made=made: made)
    return shown


def test_text_grows_and_masks_are_told(
    tiny_model: LoadedModel, screens: tuple[io.StringIO, io.StringIO]
) -> None:
    session = tiny_model.session([picture(), picture(shade=200)])
    answer = growing.ask_growing(session, "Which is larger?")
    assert answer.text == TEXT
    shown = screens[0].getvalue()
    # Frames overwrite each other: what each shows stands between the codes that move the cursor up.
    assert shown.count("The red mug") > 3
    first, second = shown.index("mask 1: red mug (image 1, "), shown.index("mask 2: lamp (image 2, ")
    assert first < second
    assert TEXT not in shown[:first], "the first mask is told before the text is complete"
    assert session.history == (answer,)


def test_an_interrupted_answer_is_forgotten(
    tiny_model: LoadedModel, screens: tuple[io.StringIO, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = tiny_model.session([picture(), picture(shade=200)])

    def stop(text: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("segue.inference.visualize.printable", stop)
    with pytest.raises(KeyboardInterrupt):
        growing.ask_growing(session, "Which is larger?")
    monkeypatch.undo()
    assert session.history == ()
    assert session.ask("Which is larger?").text == TEXT


def test_without_a_terminal_nothing_grows(
    tiny_model: LoadedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    session = tiny_model.session([picture(), picture(shade=200)])
    with growing.loading("tiny"):
        assert growing.ask_growing(session, "Which is larger?").text == TEXT
    assert capsys.readouterr() == ("", "")


def test_a_line_says_what_is_loading_and_goes(screens: tuple[io.StringIO, io.StringIO]) -> None:
    with growing.loading("my\x1bmodel"):
        assert not gc.isenabled()
        assert "loading my\ufffdmodel ..." in screens[1].getvalue()
    assert gc.isenabled()
    assert screens[1].getvalue().endswith("\r"), "the line is overwritten with blanks"
    assert screens[0].getvalue() == ""


def test_json_is_whole_on_a_terminal(
    tiny_model_folder: Path, tmp_path: Path, screens: tuple[io.StringIO, io.StringIO], capsys: Any
) -> None:
    picture().save(tmp_path / "a.png")
    model = ["--model", str(tiny_model_folder), "--device", "cpu"]
    assert main(["ask", str(tmp_path / "a.png"), "-q", "What is there?", *model, "--json"]) == 0
    assert screens[0].getvalue() == ""
    assert json.loads(capsys.readouterr().out)["question"] == "What is there?"
