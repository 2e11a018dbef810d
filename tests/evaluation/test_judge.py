"""Judges: marks, both orders, flips by themselves, nothing paid twice, and agreement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from chat_server import ChatServer, says
from segue.chat_model import OpenAIChatModel
from segue.cli import main
from segue.errors import InputError
from segue.evaluation.judge import (
    OUTCOMES,
    Judge,
    Verdicts,
    agreement,
    judge_answers,
    kappa,
    prompt,
    read_judge,
    summary,
)
from segue.evaluation.predictions import Answer
from segue.evaluation.samples import Sample
from segue.records import Conversation, ImageRef, Turn, write_jsonl
from tiny_model import picture

MARKS = {"PR": 4, "LC": 5, "CC": 3, "TR": 2}


def sample(name: str = "c") -> Sample:
    return Sample(name, 1, "Which is larger?", "The mug.", 2, (), (), ())


def judge(server: ChatServer, folder: Path, model: str = "scripted") -> Judge:
    return Judge(OpenAIChatModel(server.url, model), folder)


def test_marks_are_read_and_never_paid_twice(chat_server: ChatServer, tmp_path: Path) -> None:
    chat_server.script = [says("Let me think. " + json.dumps(MARKS))]
    answers = {("c", 1): Answer("The mug.")}
    first = judge_answers(judge(chat_server, tmp_path), [sample()], answers)
    assert first.marks == {"c": MARKS}
    text = chat_server.texts()[-1]
    assert "Reference: The mug." in text
    assert "PR, progressive reasoning" in text
    again = judge(chat_server, tmp_path)
    assert judge_answers(again, [sample()], answers) == first
    assert dict(again.replies) == {"kept": 1}
    assert len(chat_server.requests) == 1


def test_comparisons_are_asked_in_both_orders(chat_server: ChatServer, tmp_path: Path) -> None:
    cases = {
        ("A", "B"): "win",
        ("B", "A"): "loss",
        ("tie", "tie"): "tie",
        ("A", "A"): "flip",
        ("A", "tie"): "flip",
    }
    for k, ((first, second), outcome) in enumerate(cases.items()):
        chat_server.script = [says({"better": first}), says({"better": second})]
        assert judge(chat_server, tmp_path).compare(f"q{k}", "ours", "theirs") == outcome
    orders = [chat_server.texts(k)[-1] for k in (0, 1)]
    assert orders[0].index("ours") < orders[0].index("theirs")
    assert orders[1].index("theirs") < orders[1].index("ours")


def test_unreadable_replies_are_asked_once_more_and_then_counted(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.script = [says("Fine answers."), says(MARKS)]
    asked = judge(chat_server, tmp_path)
    assert asked.marks("one") == MARKS
    chat_server.script = [says("Hm."), says({"PR": 9, "LC": 1, "CC": 1, "TR": 1})]
    assert asked.marks("two") is None
    found = summary(Verdicts("j", {"a": MARKS, "b": None}, {"a": "flip", "b": "win"}), asked.replies, {})
    assert (found["n"], found["unreadable"], found["PR"]) == (2, 1, 4.0)
    assert (found["pairwise"]["flip"], found["pairwise"]["tie"], found["pairwise"]["win_rate"]) == (1, 0, 0.5)


def test_silence_is_not_shown_and_loses(chat_server: ChatServer, tmp_path: Path) -> None:
    said, nothing = {("c", 1): Answer("The mug.")}, {("c", 1): Answer(failure="timeout")}
    found = judge_answers(judge(chat_server, tmp_path), [sample()], nothing, said)
    assert set(found.marks["c"].values()) == {1}  # type: ignore[union-attr]
    assert found.outcomes == {"c": "loss"}
    assert judge_answers(judge(chat_server, tmp_path), [sample()], {}, nothing).outcomes == {"c": "tie"}
    assert not chat_server.requests


def test_kappa_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        pairs = [tuple(int(v) for v in rng.integers(1, 6, 2)) for _ in range(12)]
        left, right = zip(*pairs, strict=True)
        expected = cohen_kappa_score(left, right, weights="quadratic", labels=range(1, 6))
        assert kappa(pairs, range(1, 6), weighted=True) == pytest.approx(expected)
    assert kappa([(3, 3), (3, 3)], range(1, 6), weighted=True) is None
    assert kappa([], OUTCOMES, weighted=False) is None


def test_agreement_of_two_judges() -> None:
    other = MARKS | {"PR": 2}
    first = Verdicts("a", {"x": MARKS, "y": MARKS, "z": None}, {"x": "win", "y": "flip"})
    second = Verdicts("b", {"x": MARKS, "y": other, "z": MARKS}, {"x": "win", "y": "win"})
    found = agreement(first, second)
    assert (found["PR"]["n"], found["PR"]["same"], found["PR"]["difference"]) == (2, 0.5, 1.0)
    assert found["pairwise"]["same"] == 0.5


def test_an_instruction_inside_a_dialogue_is_only_quoted() -> None:
    # `$` of an answer must not be taken for a place to fill in.
    text = prompt("judge_marks", dialogue="Answer: $dialogue costs $5 {x}")
    assert "Answer: $dialogue costs $5 {x}" in text


@pytest.mark.parametrize("address", ["nowhere", "http://localhost/v1?modl=y"])
def test_addresses_that_cannot_be_read(address: str) -> None:
    with pytest.raises(InputError, match="judge's address"):
        read_judge(address)


def test_from_the_command_line(
    chat_server: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture().save(tmp_path / "0.png")
    record = Conversation(
        id="c", task="scenes", split="test",
        images=[ImageRef(image_id="t:0", path="0.png", height=40, width=60)], regions=[],
        turns=[Turn(role="user", text="What is there?"), Turn(role="assistant", text="A mug.")],
    )  # fmt: skip
    write_jsonl(tmp_path / "data.jsonl", [record])
    for name, text in (("ours", "A mug."), ("theirs", "A lamp.")):
        line = {"id": "c", "turns": [{"turn": 1, "text": text}]}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    win: list[Any] = [says(MARKS), says({"better": "A"}), says({"better": "B"})]
    chat_server.script = [*win]
    arguments = [
        "eval", "--data", str(tmp_path / "data.jsonl"), "--predictions", str(tmp_path / "ours.jsonl"),
        "--out", str(tmp_path / "out"), "--against", str(tmp_path / "theirs.jsonl"), "--prices", "1,10",
        "--judge", f"{chat_server.url}?model=one", "--no-report",
    ]  # fmt: skip
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "judge one: PR 4.00, LC 5.00, CC 3.00, TR 2.00" in printed
    assert "1 won, 0 lost" in printed
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    # Three replies of 100 and 20 tokens.
    assert metrics["judges"][0]["cost"] == {"requests": 3, "tokens": 360, "money": pytest.approx(0.0009)}
    chat_server.script = [*win]
    second = ["--judge", f"{chat_server.url}?model=two", "--overwrite"]
    assert main([*arguments, *second]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [one["replies"] for one in metrics["judges"]] == [{"asked": 0, "kept": 3}, {"asked": 3, "kept": 0}]
    assert metrics["judge_agreement"][0]["pairwise"]["same"] == 1.0
