"""Questions of a record that point, as a session is asked them: markers in the text, and their regions.

text, span (5, 9)   "Find this in the other images."
typed               "Find [this] in the other images."   with the region's mask
"""

from __future__ import annotations

from segue import masks
from segue.errors import RecordError
from segue.inference import Region
from segue.records import Conversation, Span, Turn

Typed = tuple[str, tuple[Region, ...]]
"""A question as it is typed, and what its markers mean."""


def typed_questions(conversation: Conversation) -> list[Typed]:
    """The questions of a record, one for each answer, as `samples.questions_of` has them.

    Args:
        conversation: The record.

    Raises:
        RecordError: A span means several regions that are no single one, or a mask is not in the file.
    """
    found: list[Typed] = []
    texts, regions = list[str](), list[Region]()
    for turn in conversation.turns:
        if turn.role == "user":
            text, pointed = _typed(conversation, turn)
            texts.append(text)
            regions += pointed
        elif turn.role == "assistant":
            found.append(("\n".join(texts), tuple(regions)))
            texts, regions = [], []
    return found


def _typed(conversation: Conversation, turn: Turn) -> tuple[str, list[Region]]:
    text, done, regions = "", 0, []
    for span in turn.spans:
        if span.rids:
            text += f"{turn.text[done : span.start]}[{turn.text[span.start : span.end]}]"
            done = span.end
            regions.append(_region(conversation, span))
    return text + turn.text[done:], regions


def _region(conversation: Conversation, span: Span) -> Region:
    images = {conversation.region(rid).image_index for rid in span.rids}
    if len(images) > 1 or (len(span.rids) > 1 and span.merge != "union"):
        raise RecordError(
            "A question cannot be asked: one of its phrases points at several regions.",
            expected="one region, or the union of some of one image",
            found=", ".join(span.rids),
            where=f"conversation {conversation.id!r}",
            fix="give each region a phrase of its own",
        )
    rles = [conversation.mask_of(rid, "point at") for rid in span.rids]
    return Region(image_index=images.pop(), mask=masks.union_rle(rles))
