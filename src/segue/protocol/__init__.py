"""Render and parse grounded answers: text with ranges <-> the markup that a model reads and writes.

    text    "the red mug is smaller", span (4, 11) with a mask in image 0
    markup  "the <p> red mug </p> [SEG] (IMAGE1) is smaller"

`render` is used for training targets, `parse` for what a model generated. A model's text is hostile input:
`parse` never raises, runs in linear time, and says for each `[SEG]` what became of it. `DIALECTS` holds one
object per way of writing; "prima" is the one of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

from segue.errors import InputError
from segue.protocol.answers import (
    Dialect,
    MarkedSpan,
    Note,
    ParsedAnswer,
    ParsedGrounding,
    Reason,
    Source,
    Unplaced,
)
from segue.protocol.glamm import GlammDialect, LisaDialect
from segue.protocol.miras import MirasDialect
from segue.protocol.prima import PrimaDialect
from segue.protocol.questions import (
    MOST_REMEMBERED,
    REGION_TOKEN,
    ParsedQuestion,
    SpokenRegion,
    mark_question,
    markers,
    parse_question,
    render_question,
    with_remembered,
)
from segue.protocol.sa2va import Sa2vaDialect
from segue.protocol.tags import (
    IMAGE_TOKEN,
    OBJ_TOKEN,
    PHRASE_END,
    PHRASE_START,
    SEG_TOKEN,
    TAG_LITERALS,
    contains_tag,
    escape_user_text,
    identifier,
    overview,
)
from segue.protocol.wordings import WORDINGS, Wording, word_question

__all__ = [
    "DIALECTS",
    "IMAGE_TOKEN",
    "MOST_REMEMBERED",
    "OBJ_TOKEN",
    "PHRASE_END",
    "PHRASE_START",
    "REGION_TOKEN",
    "SEG_TOKEN",
    "TAG_LITERALS",
    "WORDINGS",
    "Dialect",
    "MarkedSpan",
    "Note",
    "ParsedAnswer",
    "ParsedGrounding",
    "ParsedQuestion",
    "Reason",
    "Source",
    "SpokenRegion",
    "Unplaced",
    "Wording",
    "as_past_turn",
    "contains_tag",
    "escape_user_text",
    "identifier",
    "mark_question",
    "markers",
    "opening",
    "overview",
    "parse",
    "parse_question",
    "render",
    "render_question",
    "with_remembered",
    "word_question",
]

_ALL: tuple[Dialect, ...] = (PrimaDialect(), GlammDialect(), LisaDialect(), MirasDialect(), Sa2vaDialect())
DIALECTS: dict[str, Dialect] = {d.name: d for d in _ALL}
"""Every known way of writing a grounded answer, by name. A model family adds its own object here."""


def render(
    text: str, spans: Sequence[MarkedSpan], dialect: str = "prima", num_images: int | None = None
) -> str:
    """Write a tag-free text with the tags of its spans.

    Args:
        text: The clean answer; must not contain a tag literal (`TAG_LITERALS`).
        spans: Ordered, not overlapping; each with at least one image index.
        dialect: A key of `DIALECTS`.
        num_images: How many images the conversation has, if known: MIRAS names no image where there is
            only one.

    Returns:
        The markup; `parse(markup, n)` gives back `text` and, from `marked_spans()`, `spans`.

    Raises:
        InputError: Unknown dialect, a tag literal in `text`, or spans that cannot be written unambiguously.

    Source: PRIMA section 3.2.
    """
    chosen = _dialect(dialect)
    return chosen.render(text, spans) if num_images is None else chosen.render(text, spans, num_images)


def parse(markup: str, num_images: int, dialect: str = "prima", *, lenient: bool = False) -> ParsedAnswer:
    """Take a model's answer apart. Never raises, whatever the string.

    Args:
        markup: What the model wrote (generated part only).
        num_images: How many images the conversation has; identifiers beyond it are out of range.
        dialect: A key of `DIALECTS`.
        lenient: Place a `[SEG]` without a readable identifier by the last image named earlier in its
            sentence, else by the image of the previous `[SEG]`. The default leaves it unplaced; evaluation
            uses the default.

    Returns:
        The clean text, the placed and the unplaced `[SEG]`, and notes.

    Raises:
        InputError: Unknown dialect; nothing about `markup` itself raises.

    Source: PRIMA section 3.2; the treatment of malformed answers is ours, paper silent.
    """
    return _dialect(dialect).parse(markup, num_images, lenient=lenient)


def opening(num_images: int, dialect: str = "prima") -> str:
    """Beginning of a prompt, ahead of the first question, with one `<image>` per image.

    Source: PRIMA section 3.2; GLaMM's and LISA's code for a single image of theirs.
    """
    return _dialect(dialect).opening(num_images)


def as_past_turn(markup: str, num_images: int, dialect: str = "prima") -> str:
    """An earlier answer as context for the next: well-formed, and without `<image>`."""
    return _dialect(dialect).as_past_turn(markup, num_images)


def _dialect(name: str) -> Dialect:
    if name not in DIALECTS:
        raise InputError(
            "Unknown dialect.",
            expected="one of " + ", ".join(sorted(DIALECTS)),
            found=repr(name),
            where="segue.protocol",
            fix="choose one of the names, or register the dialect in segue.protocol.DIALECTS",
        )
    return DIALECTS[name]
