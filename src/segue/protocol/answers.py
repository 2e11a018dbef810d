"""Parts of a parsed answer, shared by all dialects.

A `[SEG]` is counted by its `seg_ordinal`, its 0-based position among all `[SEG]` of one answer. After
parsing, every ordinal stands in exactly one of `ParsedAnswer.groundings` and `ParsedAnswer.unplaced`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from segue.protocol.tags import is_blank


class Reason(StrEnum):
    """Why a `[SEG]` was not placed, or what a note is about. Values are stable: reports count them."""

    MISSING_IDENTIFIER = "missing_identifier"
    """Several images, and no image identifier after the `[SEG]`."""
    MALFORMED_IDENTIFIER = "malformed_identifier"
    """Something like "(IMAGE two)" or "(IMAGE1, IMAGE2)" after the `[SEG]`."""
    IDENTIFIER_OUT_OF_RANGE = "identifier_out_of_range"
    """"(IMAGE0)", or a number above the number of images."""
    TRUNCATED_TAG = "truncated_tag"
    """The answer ends inside an identifier or a tag, as it does when the token limit is reached."""
    NO_PHRASE = "no_phrase"
    """The `[SEG]` has an image but no phrase; its `image_index` is kept, so the mask can still be drawn."""
    UNCLOSED_PHRASE = "unclosed_phrase"
    """`<p>` without `</p>`. Note only: the phrase ends at the `[SEG]`, or is plain text without one."""
    NESTED_TAGS = "nested_tags"
    """`<p>` inside an open `<p>`. Note only: the inner phrase is kept, the outer one becomes plain text."""
    STRAY_TAG = "stray_tag"
    """`</p>` that closes nothing, or a tag that is not for answers. Note only: taken out of the text."""
    PHRASE_WITHOUT_SEG = "phrase_without_seg"
    """`<p> phrase </p>` that no `[SEG]` follows. Note only: it stays as plain text."""
    DETACHED_SEG = "detached_seg"
    """Words stand between a phrase and its `[SEG]`, in one sentence. Note only: they belong together."""


class Source(StrEnum):
    """Evidence by which the image of a grounding was found."""

    EXPLICIT = "explicit"
    """By the identifier after the `[SEG]`."""
    INFERRED = "inferred"
    """The conversation has one image only."""
    SENTENCE = "sentence"
    """Lenient only: by the last "Image k" or "(IMAGEk)" earlier in the sentence."""
    PREVIOUS = "previous"
    """Lenient only: the image of the previous `[SEG]`."""


@dataclass(frozen=True, slots=True)
class MarkedSpan:
    """A range of a tag-free text that masks belong to.

    Args:
        start: First character, counted in Unicode code points.
        end: One past the last character; equal to `start` for a `[SEG]` without a phrase.
        image_indices: 0-based image of each mask, in order; one `[SEG]` each, at least one.
    """

    start: int
    end: int
    image_indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ParsedGrounding:
    """A `[SEG]` that was placed: the mask of `phrase`, `text[span[0]:span[1]]`, in one image."""

    phrase: str
    span: tuple[int, int]
    image_index: int
    seg_ordinal: int
    source: Source = Source.EXPLICIT


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A `[SEG]` that was not placed, and why.

    Args:
        seg_ordinal: Its 0-based position among all `[SEG]` of the answer.
        reason: The cause, machine-readable.
        detail: The cause in a sentence, with the literal text that was found.
        image_index: The 0-based image; given exactly when the reason is NO_PHRASE.
        span: Range in the clean text: the phrase it would have belonged to, else the empty range where it
            stood.
    """

    seg_ordinal: int
    reason: Reason
    detail: str
    image_index: int | None = None
    span: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Note:
    """Something odd in an answer that cost no mask: what, where in the clean text, and what was done."""

    reason: Reason
    detail: str
    offset: int


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """A model's answer, taken apart.

    Args:
        text: The answer without tags; never contains a tag literal.
        groundings: The `[SEG]` that were placed, in order.
        unplaced: The `[SEG]` that were not, in order.
        notes: Oddities that cost no mask.
    """

    text: str
    groundings: tuple[ParsedGrounding, ...]
    unplaced: tuple[Unplaced, ...]
    notes: tuple[Note, ...] = ()

    @property
    def num_segs(self) -> int:
        """Number of `[SEG]` in the answer."""
        return len(self.groundings) + len(self.unplaced)

    def marked_spans(self) -> list[MarkedSpan]:
        """Gather the `[SEG]` that can be drawn into spans: the inverse of `render`.

        `parse(render(text, spans), n).marked_spans() == spans`. Includes `[SEG]` without a phrase (as empty
        spans). Whatever the model wrote, `render(text, marked_spans())` works: `[SEG]` without an image are
        left out, and so is an empty span that would read as one more mask of the span before it.
        """
        drawable = [(g.span, g.seg_ordinal, g.image_index) for g in self.groundings]
        drawable += [
            (u.span, u.seg_ordinal, u.image_index) for u in self.unplaced if u.image_index is not None
        ]
        spans: list[MarkedSpan] = []
        # By range, then by ordinal: a `[SEG]` that stands apart from its phrase comes later than its place.
        for (start, end), _, image_index in sorted(drawable):
            last = spans[-1] if spans else None
            if last is not None and (last.start, last.end) == (start, end):
                spans[-1] = MarkedSpan(start, end, (*last.image_indices, image_index))
            elif last is None or start < end or not is_blank(self.text[last.end : start]):
                spans.append(MarkedSpan(start, end, (image_index,)))
        return spans


class Dialect(Protocol):
    """One model family's way of writing a grounded answer. Later families register theirs in `DIALECTS`."""

    @property
    def name(self) -> str:
        """Key in `DIALECTS`."""
        ...

    @property
    def phrase_opening(self) -> str:
        """Tag that opens a phrase."""
        ...

    @property
    def one_by_one(self) -> bool:
        """Whether a conversation about several images asks each of them for itself, and joins the answers."""
        ...

    def names_images(self, num_images: int) -> bool:
        """Whether every `[SEG]` is followed by the identifier of an image where so many are shown."""
        ...

    def opening(self, num_images: int) -> str:
        """Beginning of a prompt that shows the images, ahead of the first question."""
        ...

    def as_past_turn(self, markup: str, num_images: int) -> str:
        """An earlier answer of the model as context for its next one."""
        ...

    def render(self, text: str, spans: Sequence[MarkedSpan], num_images: int | None = None) -> str:
        """Write `text` with the tags of `spans`; a dialect may leave identifiers out for a single image."""
        ...

    def parse(self, markup: str, num_images: int, *, lenient: bool = False) -> ParsedAnswer:
        """Take an answer apart; never raises, whatever the string."""
        ...
