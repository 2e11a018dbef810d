"""Jobs: items, and for each a conversation with a model that ends in records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segue.datasets.generation.asking import Ask
from segue.datasets.generation.problems import Problem
from segue.errors import InputError

Record = dict[str, Any]
"""A JSON object, one line of the output."""

Flow = Generator[Ask, Any, list[Record]]
"""Yields what shall be asked, is sent what `Ask.check` returned, and returns the item's records."""


class GivenUpError(Exception):
    """No reply to an `Ask` was usable. Thrown into the flow at its `yield`.

    A flow that can do without the answer catches it and goes on, else the item is rejected. Either way it is
    listed in the quarantine.
    """


@dataclass(frozen=True)
class Item:
    """One thing to make records of.

    Attributes:
        id: Unique within the job.
        payload: Whatever `make` needs; light, since all items are in memory.
        digest: Changes when the payload does in a way that the prompts do not show. Usually empty.
    """

    id: str
    payload: Any = None
    digest: str = ""


@dataclass(frozen=True)
class GenerationJob:
    """Items, and how each becomes records.

        def make(item: Item) -> Flow:
            image = load_image(item.payload)
            elements = yield Ask("elements", [Message("user", (image, prompt("p1")))], Elements, check=...)
            dialogue = yield Ask("dialogue", ..., Dialogue, check=...)
            return [conversation.to_json()]

    `make` must be pure: the same item and the same answers give the same requests and the same records. It is
    run again from its start when a job is resumed, with the answers from the ledger. It runs in several
    threads. `SegueError` that it raises (a damaged image, say) rejects the item with that reason.

    Attributes:
        name: In reports and errors, such as "prist".
        items: In the order in which the output lists their records.
        make: See above.
        identity: JSON of everything that decides on the records besides the items: the texts of the prompts
            (`prompt_digest`), settings, the version of the rules. A finished item is taken over by a later
            run only if this is the same.
        steps: Requests that an item usually takes; for the estimate only.
        reply_tokens: Tokens that a reply usually has; for the estimate only.
        output: Name of the file of records.

    Source: ours; the flow of one growing chat per item is PRIST's.
    """

    name: str
    items: Sequence[Item]
    make: Callable[[Item], Flow]
    identity: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 1
    reply_tokens: int = 500
    output: str = "conversations.jsonl"

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for item in self.items:
            if item.id in seen:
                raise InputError(
                    "Two items of a generation have one id.",
                    expected="unique ids",
                    found=repr(item.id),
                    where=f"job {self.name!r}",
                    fix="rename one of them",
                )
            seen.add(item.id)

    def key(self, item: Item, model: str, attempts: int) -> str:
        """SHA-256 over everything that an item's records depend on, except the model's answers."""
        # Of all settings `attempts` alone: with more of them an item that was rejected might have been made.
        content = [self.name, dict(self.identity), item.id, item.digest, model, attempts]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Reject:
    """One entry of the quarantine.

    Attributes:
        item: Its id.
        step: The step that failed; empty when the item itself is unusable.
        problem: The kind of the last failure.
        rule: Fixed name of what is broken, for counting.
        reason: What is wrong, in a sentence.
        attempts: Replies that were looked at.
        reply: The last reply, for people.
        passing: The endpoint is to blame, and a later run asks again.
    """

    item: str
    step: str
    problem: Problem
    rule: str
    reason: str
    attempts: int = 0
    reply: str = ""
    passing: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            **{"item": self.item, "step": self.step, "problem": self.problem.value, "rule": self.rule},
            **{
                "reason": self.reason,
                "attempts": self.attempts,
                "reply": self.reply,
                "passing": self.passing,
            },
        }


@dataclass(frozen=True)
class Outcome:
    """Records of an item, rejects, or both.

    Attributes:
        records: What was made.
        rejects: Entries of the quarantine.
        replies: Replies that it took.
        notes: What had to be passed over to read replies that are used; see `asking.Reading`.
    """

    records: list[Record]
    rejects: list[dict[str, Any]]
    replies: int = 0
    notes: list[str] = field(default_factory=list)

    def to_json(self, key: str, item: str) -> dict[str, Any]:
        """As a line of the ledger of finished items."""
        return {
            **{"key": key, "item": item, "records": self.records},
            **{"rejects": self.rejects, "replies": self.replies, "notes": self.notes},
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Outcome:
        """The inverse of `to_json`."""
        return cls(line["records"], line["rejects"], line["replies"], line.get("notes", []))
