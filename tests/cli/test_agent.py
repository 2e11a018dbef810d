"""The commands take an agent's address wherever they take a model."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from chat_server import ChatServer, fails, says
from segue import masks
from segue.cli import main
from segue.records import Conversation, ImageRef, Region, Span, Turn, write_jsonl
from tiny_model import picture

REPLY = {
    "answer": "The [red mug](1) is in image 1.",
    "objects": [{"id": 1, "phrase": "red mug", "image": 1, "box": [250, 250, 500, 500]}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    picture(40, 60).save(tmp_path / "a.png")
    picture(40, 60, 200).save(tmp_path / "b.png")
    return tmp_path


def test_ask(chat_server: ChatServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chat_server.script = [says(REPLY)]
    images = [str(folder / name) for name in ("a.png", "b.png")]
    code = main(
        ["ask", *images, "-q", "Where is it?", "-m", chat_server.address(), "--out", str(folder / "o")]
    )
    assert code == 0
    assert "red mug (image 1, 1.00) is in image 1" in capsys.readouterr().out
    content = json.loads((folder / "o" / "answer.json").read_text())
    assert (content["model"], content["groundings"][0]["area"]) == ("agent:scripted", 15 * 10)


def test_what_goes_wrong_is_said_without_a_traceback(
    chat_server: ChatServer, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGUE_API_KEY", "the-secret-key")
    chat_server.script = [fails(401, "Incorrect API key provided: the-secret-key")]
    assert main(["ask", str(folder / "a.png"), "-q", "Where?", "-m", chat_server.address()]) == 2
    said = capsys.readouterr().err
    assert "HTTP 401" in said
    assert "the-secret-key" not in said
    assert main(["ask", str(folder / "a.png"), "-q", "Where?", "-m", "agent:nowhere"]) == 2
    assert "docs/agent.md" in capsys.readouterr().err


def test_chat_over_two_turns(
    chat_server: ChatServer, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_server.script = [says(REPLY), fails(401, "no"), says(REPLY)]
    monkeypatch.setattr("sys.stdin", io.StringIO("Where is it?\nAnd now?\nAnd again?\n/quit\n"))
    assert main(["chat", str(folder / "a.png"), str(folder / "b.png"), "-m", chat_server.address()]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("red mug (image 1, 1.00)") == 2
    assert "HTTP 401" in printed.err
    assert [len(request["messages"]) for request in chat_server.requests] == [1, 3, 3]


def test_eval_scores_the_boxes(chat_server: ChatServer, folder: Path) -> None:
    box = masks.encode(masks.from_polygons([[15, 10, 30, 10, 30, 20, 15, 20]], (40, 60)))
    record = Conversation(
        id="t/0", task="scenes", split="test",
        images=[ImageRef(image_id=f"t:{n}", path=f"{n}.png", height=40, width=60) for n in "ab"],
        regions=[Region(rid="m", image_index=0, kind="object", name="mug", mask=box)],
        turns=[
            Turn(role="user", text="Where is it?"),
            Turn(role="assistant", text="The red mug.", spans=[Span(start=4, end=11, rids=["m"])]),
            Turn(role="user", text="Sure?"),
            Turn(role="assistant", text="The red mug.", spans=[Span(start=4, end=11, rids=["m"])]),
        ],
    )  # fmt: skip
    write_jsonl(folder / "data.jsonl", [record])
    chat_server.script = [says(REPLY), says(REPLY)]
    out = folder / "out"
    arguments = ["--data", str(folder / "data.jsonl"), "--out", str(out), "-m", chat_server.address()]
    assert main(["eval", *arguments, "--history", "truth", "--no-progress"]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["header"]["model"], metrics["mean_iou"], metrics["phrase_f1"]) == (
        "agent:scripted",
        1.0,
        1.0,
    )
    assert chat_server.texts(1)[-2:] == ["The red mug.", "Sure?"], "truth stands in for the earlier answer"
