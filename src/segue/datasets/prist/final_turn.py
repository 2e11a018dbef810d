"""The turn that asks for the mask, and a finished dialogue as a record.

PRIST appends to every dialogue one of a few fixed requests and one of a few fixed answers with a `[SEG]`.
Ours are other sentences, kept as text files, and the answer names the focus, to which the mask belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np

from segue.datasets.generation import prompt_digest
from segue.errors import RecordError
from segue.masks import RLE
from segue.records import Conversation, ImageRef, Meta, Region, Span, Turn
from segue.records.conversation import Split

FINAL_PROMPTS = ("prist_requests", "prist_answers")


@dataclass(frozen=True)
class Target:
    """Target that a dialogue ends in.

    Attributes:
        focus: How the last answer names it, such as "the red mug"; the article, "the" if none is given,
            stays outside the phrase.
        mask: None when nobody has drawn it.
        kind: object, part or region.
        source_label: Its name in the annotations, if it has one.
    """

    focus: str
    mask: RLE | None
    kind: Literal["object", "part", "region"] = "region"
    source_label: str | None = None


@dataclass(frozen=True)
class Said:
    """One turn before the last, with the places that other regions have in it."""

    role: Literal["user", "assistant"]
    text: str
    spans: tuple[Span, ...] = ()

    def written(self) -> Turn:
        """The turn of a record."""
        if not self.spans:
            return Turn(role=self.role, text=self.text)
        return Turn(role=self.role, text=self.text, spans=list(self.spans))


@cache
def final_lines(name: str) -> tuple[str, ...]:
    """The lines of `prist_requests` or `prist_answers`."""
    text = (resources.files("segue") / "prompts" / f"{name}.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line.strip())


def finished(
    id: str,
    split: Split,
    image: ImageRef,
    said: Sequence[Said],
    target: Target,
    rng: np.random.Generator,
    meta: Meta,
    others: Sequence[Region] = (),
) -> Conversation:
    """A dialogue with its last turn.

    Args:
        id: Of the conversation.
        split: Written into it.
        image: The one image.
        said: Questions and answers in turn.
        target: Gets the rid "r1".
        rng: Chooses the request and the answer.
        meta: Kept, with the focus.
        others: Regions that `said` refers to.

    Returns:
        A conversation of task "prist" whose last answer has exactly one span.

    Source: PRIST; the wordings are ours.
    """
    article, focus = split_article(target.focus)
    requests, answers = (final_lines(name) for name in FINAL_PROMPTS)
    request = requests[int(rng.integers(len(requests)))]
    # "Here is $focus." with the focus "a red mug" gives "Here is a red mug.", and its phrase is "red mug".
    before, _, after = answers[int(rng.integers(len(answers)))].partition("$focus")
    if not focus:
        raise RecordError(
            "A dialogue ends in nothing.", expected="a focus", found=repr(target.focus), where=id
        )
    start = len(before) + len(article)
    text = f"{before}{article}{focus}{after}"
    region = Region(
        rid="r1",
        image_index=0,
        kind=target.kind,
        name=focus,
        mask=target.mask,
        source_label=target.source_label,
    )
    turns = [turn.written() for turn in said]
    turns.append(Turn(role="user", text=request))
    span = Span(start=start, end=start + len(focus), rids=["r1"])
    # A letter for a letter: the span stays right.
    turns.append(Turn(role="assistant", text=text[0].upper() + text[1:], spans=[span]))
    return Conversation(
        id=id,
        task="prist",
        split=split,
        images=[image],
        regions=[region, *others],
        turns=turns,
        meta={"focus": focus, **meta},
    )


def split_article(focus: str) -> tuple[str, str]:
    """Article and the rest: "a red mug" -> ("a ", "red mug"); "red mug" -> ("the ", "red mug")."""
    first, blank, rest = focus.strip().partition(" ")
    return (first + blank, rest) if first.lower() in ("the", "a", "an") and rest else ("the ", focus.strip())


def final_digest() -> str:
    """The texts of requests and answers, for the identity of a job."""
    return prompt_digest(*FINAL_PROMPTS)
