"""From a turn of a record to the markup that a model is trained to write, and the masks that go with it."""

from __future__ import annotations

from segue.errors import InputError, RecordError
from segue.protocol import MarkedSpan, SpokenRegion, render, render_question
from segue.records.conversation import Conversation, Span


def grounded_markup(
    conversation: Conversation, turn_index: int, dialect: str = "prima"
) -> tuple[str, list[tuple[int, list[str]]]]:
    """Render one turn with its tags, and list the target of each `[SEG]`.

    "Riders sit on horses." with span (14, 20), rids [r1, r2], merge "union" gives
    "Riders sit on <p> horses </p> [SEG] (IMAGE1)." and [(0, [r1, r2])]: one mask, the union of both
    regions. With merge
    "each" (also when it is not given) it gives two `[SEG]` and [(0, [r1]), (0, [r2])]. Regions in different
    images cannot share a mask: "union" makes one `[SEG]` per image, in order of first appearance. A span
    without regions stays plain text; one of length zero becomes a bare `[SEG]`.

    Args:
        conversation: The record.
        turn_index: Index in `conversation.turns`, from 0.
        dialect: A key of `segue.protocol.DIALECTS`.

    Returns:
        The markup, and for each of its `[SEG]`, in order, the image index and the rids whose union is the
        mask.

    Raises:
        InputError: There is no such turn, or no such dialect.
        RecordError: The text contains tag literals, or its spans cannot be written unambiguously.
    """
    if not 0 <= turn_index < len(conversation.turns):
        raise InputError(
            "There is no such turn.",
            expected=f"a turn_index from 0 to {len(conversation.turns) - 1}",
            found=str(turn_index),
            where=f"conversation {conversation.id!r}",
            fix="index conversation.turns",
        )
    turn = conversation.turns[turn_index]
    marked: list[MarkedSpan] = []
    targets: list[tuple[int, list[str]]] = []
    for span in turn.spans:
        own = _targets(conversation, span)
        if own:
            marked.append(MarkedSpan(span.start, span.end, tuple(image_index for image_index, _ in own)))
            targets += own
    try:
        return render(turn.text, marked, dialect, len(conversation.images)), targets
    except InputError as error:
        if error.where == "segue.protocol":  # unknown dialect: not the record's fault
            raise
        raise RecordError(
            error.summary,
            expected=error.expected,
            found=error.found,
            where=f"turns.{turn_index} of conversation {conversation.id!r}",
            fix="keep the text tag-free and the spans apart when the record is built",
        ) from None


def question_markup(conversation: Conversation, turn_index: int) -> tuple[str, list[tuple[int, list[str]]]]:
    """Render a question with a `<region>` for each region that its spans name, and list these regions.

    "Find this in image 2." with span (5, 9), rids [r1] gives "Find this <region> (IMAGE1) in image 2." and
    [(0, ["r1"])]. Several regions of a span are as many, or one with `merge` "union"; see `grounded_markup`.

    Args:
        conversation: The record.
        turn_index: Index of a user's turn, from 0.

    Raises:
        RecordError: The text contains a `<region>`.
    """
    turn = conversation.turns[turn_index]
    spoken, regions = list[SpokenRegion](), list[tuple[int, list[str]]]()
    for span in turn.spans:
        own = _targets(conversation, span)
        if own:
            spoken.append(SpokenRegion(span.start, span.end, tuple(image_index for image_index, _ in own)))
            regions += own
    try:
        return render_question(turn.text, spoken), regions
    except InputError as error:
        raise RecordError(
            error.summary,
            expected=error.expected,
            found=error.found,
            where=f"turns.{turn_index} of conversation {conversation.id!r}",
            fix="keep the text tag-free when the record is built",
        ) from None


def _targets(conversation: Conversation, span: Span) -> list[tuple[int, list[str]]]:
    """The masks of one span: (image index, rids whose union it is)."""
    if span.merge != "union":
        return [(conversation.region(rid).image_index, [rid]) for rid in span.rids]
    # A dict keeps the order of first appearance, which is that of the `[SEG]`.
    by_image: dict[int, list[str]] = {}
    for rid in span.rids:
        by_image.setdefault(conversation.region(rid).image_index, []).append(rid)
    return list(by_image.items())
