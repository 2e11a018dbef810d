"""Questions that point: a region of an image as part of what is said.

    typed    "Find [this] in the other images."          one region, in image 1
    text     "Find this in the other images."            span (5, 9)
    markup   "Find this <region> (IMAGE1) in the other images."

Each `<region>` stands for one region that comes with the turn; the identifier beside it says where it lies.
`parse_question` is total, as `segue.protocol.parse` is: whatever the string, it raises nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from segue.errors import InputError
from segue.protocol.tags import IdentifierState, identifier, read_identifier

REGION_TOKEN = "<region>"
"""Stands where a region is spoken of; the model reads what lies under the region there."""

MOST_REMEMBERED = 4
"""Masks of an answer that the next question speaks of, where a model has mask memory."""

# Bounded, so that hostile text costs nothing; no brackets inside, so that pairs cannot be nested.
_MARKER = re.compile(r"\[([^\[\]\n]{1,200})\]")
_TYPED = re.compile(re.escape(REGION_TOKEN), re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class SpokenRegion:
    """A place of a question at which regions are spoken of.

    Args:
        start, end: Character range of the tag-free question; empty where the marker has no words.
        image_indices: 0-based image of each region, in order; None for one that cannot be read, or that names
            an image that is not there.
    """

    start: int
    end: int
    image_indices: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class ParsedQuestion:
    """A question without tags, and the regions that it speaks of, in order."""

    text: str
    regions: tuple[SpokenRegion, ...]


def markers(typed: str) -> list[tuple[int, int]]:
    """Places of the markers `[this]` of a typed question, brackets included."""
    return [match.span() for match in _MARKER.finditer(typed)]


def mark_question(typed: str, image_indices: Sequence[int]) -> str:
    """Write a typed question as markup: `[this]` becomes `this <region> (IMAGE1)`, in order.

    Without regions brackets are text like any other. A `<region>` that a user typed is neutralised, so that
    it counts for nothing.

    Args:
        typed: With a marker for each region.
        image_indices: 0-based image of each region.

    Raises:
        InputError: There are not as many markers as regions.

    Source: paper silent; ours, after PRIMA's "[SEG] (IMAGE2)" and OMG-LLaVA's visual prompts.
    """
    safe = _TYPED.sub(lambda match: f"< {match[0][1:-1]} >", typed)
    if not image_indices:
        return safe
    found = markers(safe)
    if len(found) != len(image_indices):
        more = "more regions than markers" if len(found) < len(image_indices) else "more markers than regions"
        raise InputError(
            f"A question has {more}.",
            expected=f"{len(image_indices)} markers such as [this], one for each region",
            found=str(len(found)),
            where=f"question {typed[:60]!r}",
            fix='write "Find [this] in the other images." and give one region for it',
        )
    pieces, done = [], 0
    for (start, end), index in zip(found, image_indices, strict=True):
        pieces += [safe[done:start], f"{safe[start + 1 : end - 1]} {REGION_TOKEN} {identifier(index)}"]
        done = end
    return "".join(pieces) + safe[done:]


def render_question(text: str, regions: Sequence[SpokenRegion]) -> str:
    """Write a tag-free question with a `<region>` and an identifier behind each place for each region.

    Args:
        text: Without `<region>`.
        regions: In order, not overlapping; every image known.

    Raises:
        InputError: The text holds a `<region>`, or a region has no image.
    """
    unknown = [place for place in regions if not place.image_indices or None in place.image_indices]
    if _TYPED.search(text) or unknown:
        raise InputError(
            "A question cannot be written with its regions.",
            expected=f"text without {REGION_TOKEN}, and an image for each region",
            found=repr(text[:60]) if not unknown else str(unknown[0]),
            where="segue.protocol.render_question",
            fix="keep the text tag-free, and name the image of every region",
        )
    pieces, done = [], 0
    for place in regions:
        tags = " ".join(f"{REGION_TOKEN} {identifier(k)}" for k in place.image_indices if k is not None)
        said = text[done : place.end]
        pieces += [said, f"{'' if not said or said.endswith(' ') else ' '}{tags}"]
        done = place.end
        if place.start == place.end and text[done:][:1] not in ("", " ", *".,;:!?"):
            pieces.append(" ")
    return "".join(pieces) + text[done:]


def with_remembered(markup: str, image_indices: Sequence[int]) -> str:
    """Let a question also speak of masks of the answer before it: "The other one? <region> (IMAGE2)".

    Args:
        markup: The question as the model reads it, see `mark_question`.
        image_indices: 0-based image of each mask, in the order of the answer; at most `MOST_REMEMBERED`.

    Source: paper silent; ours, after SegLLM's mask-aware dialogues.
    """
    return markup + "".join(f" {REGION_TOKEN} {identifier(index)}" for index in image_indices)


def parse_question(markup: str, num_images: int) -> ParsedQuestion:
    """Take a question apart; never raises, and every `<region>` is counted.

    The words of a place cannot be told from the markup (`Find this <region>`: "this", or "Find this"?), so a
    place is where the tag stood: `start == end`.

    Args:
        markup: Such as "Find this <region> (IMAGE1) in the other images."
        num_images: An identifier beyond it names no image. With one image none is needed.
    """
    text, regions, done = "", list[SpokenRegion](), 0
    for match in _TYPED.finditer(markup):
        if match.start() < done:
            continue
        text += markup[done : match.start()]
        state, index, done = read_identifier(markup, match.end())
        if state is IdentifierState.MISSING and num_images == 1:
            index = 0
        known = index if index is not None and 0 <= index < num_images else None
        rest = markup[done:]
        # "this <region> (IMAGE1) in" and "this <region> (IMAGE1)." lose the blank before the tag.
        if text.endswith(" ") and (not rest or rest[0] in " .,;:!?"):
            text = text[:-1]
        if regions and regions[-1].end == len(text):
            regions[-1] = SpokenRegion(len(text), len(text), (*regions[-1].image_indices, known))
        else:
            regions.append(SpokenRegion(len(text), len(text), (known,)))
    return ParsedQuestion(text + markup[done:], tuple(regions))
