"""A chat model as judge: four marks for a dialogue, and which of two sets of answers is better.

PR (progressive reasoning), LC (logical coherence), CC (content consistency) and TR (target relevance), 1 to 5
each, by the rubrics of `prompts/judge_marks.txt`. Comparisons are asked in both orders, always; a judge whose
choice follows the order has flipped, which is reported by itself and is no tie. Every reply is kept in a file
and never paid twice.

Source: MIRAS names the four marks and the win rate; what the letters mean in full and the rubrics are ours.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, Literal

import numpy as np

from segue.chat_model import ChatModel, Message, RecordingChatModel
from segue.chat_model.json_reply import find_object
from segue.errors import InputError
from segue.evaluation.predictions import MISSING, Answer
from segue.evaluation.samples import Key, Sample

MARKS = ("PR", "LC", "CC", "TR")
LOWEST, HIGHEST = 1, 5
ATTEMPTS = 2
"""Replies to one request before it counts as unreadable."""
MAX_TOKENS = 400
Outcome = Literal["win", "loss", "tie", "flip", "unreadable"]
OUTCOMES: tuple[Outcome, ...] = ("win", "loss", "tie", "flip", "unreadable")

_MARKS_SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "integer", "minimum": LOWEST, "maximum": HIGHEST} for name in MARKS},
    "required": list(MARKS),
    "additionalProperties": False,
}
_CHOICE_SCHEMA = {
    "type": "object",
    "properties": {"better": {"type": "string", "enum": ["A", "B", "tie"]}},
    "required": ["better"],
    "additionalProperties": False,
}
_AGAIN = "That was not the JSON object that was asked for. Write it alone, with nothing before or after it."


@dataclass
class Judge:
    """A chat model that reads dialogues and marks them.

    Args:
        inner: The chat model.
        folder: Where its replies are kept, one file a judge; what lies there is not asked for again.

    Attributes:
        replies: Replies that were asked for and those that lay there already.
    """

    inner: ChatModel
    folder: Path
    replies: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        safe = "".join(c if c.isalnum() or c in "-._" else "_" for c in self.inner.name)
        self._counted = _Counted(self.inner)
        self._chat = RecordingChatModel(self._counted, self.folder / f"{safe}.jsonl", reuse=True)

    @property
    def name(self) -> str:
        """The judge's name."""
        return self.inner.name

    def marks(self, dialogue: str) -> dict[str, int] | None:
        """PR, LC, CC and TR of a dialogue; None where the judge's reply cannot be read."""
        return self._ask(prompt("judge_marks", dialogue=dialogue), _MARKS_SCHEMA, _as_marks)

    def compare(self, question: str, ours: str, theirs: str) -> Outcome:
        """Which of two sets of answers is better, from our side; asked in both orders."""
        first = self._choice(question, ours, theirs)
        second = self._choice(question, theirs, ours)
        if first is None or second is None:
            return "unreadable"
        # The second time A and B have changed places.
        back = {"A": "B", "B": "A", "tie": "tie"}[second]
        if first != back:
            return "flip"
        outcomes: dict[str, Outcome] = {"A": "win", "B": "loss", "tie": "tie"}
        return outcomes[first]

    def _choice(self, question: str, a: str, b: str) -> str | None:
        asked = prompt("judge_compare", dialogue=question, answer_a=a, answer_b=b)
        found = self._ask(asked, _CHOICE_SCHEMA, _as_choice)
        return None if found is None else found["better"]

    def _ask(
        self, text: str, schema: Mapping[str, Any], adapt: Callable[[Any], dict[str, Any] | None]
    ) -> dict[str, Any] | None:
        messages = [Message("system", (prompt("judge_system"),)), Message("user", (text,))]
        for _ in range(ATTEMPTS):
            before = self._counted.asked
            reply = self._chat.complete(messages, schema=schema, max_tokens=MAX_TOKENS, temperature=0.0)
            self.replies["asked" if self._counted.asked > before else "kept"] += 1
            for place in reply.places():
                found = find_object(place, adapt).content
                if found is not None:
                    return found
            messages = [*messages, Message("assistant", (reply.text,)), Message("user", (_AGAIN,))]
        return None


class _Counted:
    """The inner model, with a count of what it is really asked."""

    def __init__(self, inner: ChatModel) -> None:
        self._inner, self.asked = inner, 0

    @property
    def name(self) -> str:
        return self._inner.name

    def complete(self, *arguments: Any, **options: Any) -> Any:
        self.asked += 1
        return self._inner.complete(*arguments, **options)


@dataclass(frozen=True)
class Verdicts:
    """What one judge said.

    Attributes:
        judge: Its name.
        marks: By conversation; None where the reply could not be read or nothing was answered.
        outcomes: By conversation; empty without a second file of predictions.
    """

    judge: str
    marks: dict[str, dict[str, int] | None]
    outcomes: dict[str, Outcome]


def judge_answers(
    judge: Judge,
    samples: Sequence[Sample],
    answers: Mapping[Key, Answer],
    against: Mapping[Key, Answer] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verdicts:
    """Let a judge mark every conversation, and compare it with a second set of answers.

    A conversation none of whose questions was answered is not shown: it gets 1 for each mark and loses.
    """
    by_conversation: dict[str, list[Sample]] = {}
    for sample in samples:
        by_conversation.setdefault(sample.conversation_id, []).append(sample)
    marks: dict[str, dict[str, int] | None] = {}
    outcomes: dict[str, Outcome] = {}
    for done, (name, asked) in enumerate(by_conversation.items(), start=1):
        given = [answers.get(sample.key, MISSING) for sample in asked]
        silent = all(answer.failure or not answer.text for answer in given)
        marks[name] = dict.fromkeys(MARKS, LOWEST) if silent else judge.marks(_dialogue(asked, given))
        if against is not None:
            others = [against.get(sample.key, MISSING) for sample in asked]
            outcomes[name] = _outcome(judge, asked, given, others)
        if progress is not None:
            progress(done, len(by_conversation))
    return Verdicts(judge.name, marks, outcomes)


def summary(verdicts: Verdicts, replies: Mapping[str, int], cost: Mapping[str, Any]) -> dict[str, Any]:
    """One judge's numbers for metrics.json.

    `win_rate` is the share of wins among all comparisons; ties, flips and unreadable replies stand beside it.
    Marks are means over the conversations whose reply could be read.
    """
    read = [marks for marks in verdicts.marks.values() if marks is not None]
    found: dict[str, Any] = {
        "judge": verdicts.judge,
        "prompt_sha256": prompt_hash(),
        "n": len(verdicts.marks),
        "unreadable": len(verdicts.marks) - len(read),
        **{name: float(np.mean([marks[name] for marks in read])) if read else None for name in MARKS},
        "replies": {"asked": replies.get("asked", 0), "kept": replies.get("kept", 0)},
        "cost": dict(cost),
    }
    if verdicts.outcomes:
        counts = Counter(verdicts.outcomes.values())
        total = len(verdicts.outcomes)
        found["pairwise"] = {
            "n": total,
            **{outcome: counts[outcome] for outcome in OUTCOMES},
            "win_rate": counts["win"] / total,
            "loss_rate": counts["loss"] / total,
            "flip_rate": counts["flip"] / total,
        }
    return found


def agreement(first: Verdicts, second: Verdicts) -> dict[str, Any]:
    """How far two judges agree on what both could read.

    `same` is the share of equal marks, `difference` their mean distance, `kappa` Cohen's with quadratic
    weights; for comparisons `same` and plain `kappa` over wins, losses, ties and flips.
    """
    found: dict[str, Any] = {"judges": [first.judge, second.judge]}
    both = [
        (a, b)
        for name, a in first.marks.items()
        if a is not None and (b := second.marks.get(name)) is not None
    ]
    for mark in MARKS:
        pairs = [(a[mark], b[mark]) for a, b in both]
        found[mark] = {
            "n": len(pairs),
            "same": float(np.mean([a == b for a, b in pairs])) if pairs else None,
            "difference": float(np.mean([abs(a - b) for a, b in pairs])) if pairs else None,
            "kappa": kappa(pairs, range(LOWEST, HIGHEST + 1), weighted=True),
        }
    choices = [
        (chosen, second.outcomes[name])
        for name, chosen in first.outcomes.items()
        if "unreadable" not in (chosen, second.outcomes.get(name, "unreadable"))
    ]
    if choices:
        found["pairwise"] = {
            "n": len(choices),
            "same": sum(x == y for x, y in choices) / len(choices),
            "kappa": kappa(choices, OUTCOMES, weighted=False),
        }
    return found


def kappa(pairs: Sequence[tuple[Any, Any]], values: Sequence[Any] | range, *, weighted: bool) -> float | None:
    """Cohen's kappa; None where chance alone would agree wholly, as when both say one thing throughout.

    Source: Cohen 1960, 1968 (quadratic weights).
    """
    if not pairs:
        return None
    places = {value: k for k, value in enumerate(values)}
    table = np.zeros((len(places), len(places)))
    for a, b in pairs:
        table[places[a], places[b]] += 1
    table /= len(pairs)
    rows, columns = np.indices(table.shape)
    cost = (rows - columns) ** 2 if weighted else (rows != columns).astype(float)
    chance = float((np.outer(table.sum(1), table.sum(0)) * cost).sum())
    return 1 - float((table * cost).sum()) / chance if chance else None


def prompt(name: str, **values: str) -> str:
    """A prompt of `segue/prompts`, filled in."""
    text = (resources.files("segue") / "prompts" / f"{name}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(values).strip()


def prompt_hash() -> str:
    """SHA-256 of the judge's prompts: marks by other rubrics are other marks."""
    names = ("judge_system", "judge_marks", "judge_compare")
    texts = [(resources.files("segue") / "prompts" / f"{n}.txt").read_bytes() for n in names]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def read_judge(address: str) -> tuple[str, str | None]:
    """`URL?model=NAME` as address and model.

    Raises:
        InputError: It is no address, or has another option.
    """
    from segue.agent.address import PREFIX, read_address

    try:
        settings = read_address(PREFIX + address.removeprefix(PREFIX))
    except InputError as error:
        raise InputError(
            "The judge's address cannot be read.",
            expected="http://localhost:8000/v1?model=NAME",
            found=error.found,
            where="--judge",
            fix="name a server that speaks OpenAI's chat completions, and one of its models",
        ) from None
    return settings.url, settings.model or None


def _outcome(
    judge: Judge, asked: Sequence[Sample], ours: Sequence[Answer], theirs: Sequence[Answer]
) -> Outcome:
    silent = [all(a.failure or not a.text for a in side) for side in (ours, theirs)]
    if any(silent):
        return "tie" if all(silent) else "loss" if silent[0] else "win"
    question = "\n".join(f"Question {s.turn}: {s.question}\nReference: {s.reference}" for s in asked)
    return judge.compare(question, _spoken(asked, ours), _spoken(asked, theirs))


def _dialogue(asked: Sequence[Sample], given: Sequence[Answer]) -> str:
    return "\n".join(
        f"Question {sample.turn}: {sample.question}\nReference: {sample.reference}\n"
        f"Answer: {_words(sample, answer)}"
        for sample, answer in zip(asked, given, strict=True)
    )


def _spoken(asked: Sequence[Sample], given: Sequence[Answer]) -> str:
    return "\n".join(f"Answer {s.turn}: {_words(s, a)}" for s, a in zip(asked, given, strict=True))


def _words(sample: Sample, answer: Answer) -> str:
    """What was said, and what was marked in which image: a judge that reads text sees no masks."""
    if answer.failure or not answer.text:
        return "(no answer)"
    named = [f"{mark.phrase or 'something'} (image {mark.image_index + 1})" for mark in answer.masks]
    return answer.text + (f" [marked: {', '.join(named)}]" if named else "")


def _as_marks(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    found = {name: value.get(name) for name in MARKS}
    whole = all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and v == int(v) for v in found.values()
    )
    if not whole or not all(LOWEST <= v <= HIGHEST for v in found.values()):  # type: ignore[operator]
        return None
    return {name: int(v) for name, v in found.items()}  # type: ignore[arg-type]


def _as_choice(value: Any) -> dict[str, Any] | None:
    said = value.get("better") if isinstance(value, dict) else None
    chosen = {"a": "A", "b": "B", "tie": "tie"}.get(said.strip().lower()) if isinstance(said, str) else None
    return None if chosen is None else {"better": chosen}


def write_verdicts(path: Path, verdicts: Sequence[Verdicts]) -> None:
    """All marks and outcomes, a line for each conversation and judge."""
    from segue.files import write_atomic

    lines = [
        json.dumps({"id": name, "judge": one.judge, "marks": marks, "outcome": one.outcomes.get(name)})
        for one in verdicts
        for name, marks in one.marks.items()
    ]
    write_atomic(path, "".join(f"{line}\n" for line in lines))


__all__ = [
    "MARKS",
    "Judge",
    "Verdicts",
    "agreement",
    "judge_answers",
    "kappa",
    "prompt_hash",
    "read_judge",
    "summary",
    "write_verdicts",
]
