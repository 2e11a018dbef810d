r"""How GLaMM and LISA write: as PRIMA about several images, as published about one.

GLaMM with one image has no identifiers:

    prompt  "The <image> provides an overview of the picture.\nWhat is there?"
    answer  "A <p> red mug </p> [SEG] on a <p> table </p> [SEG]."

LISA has no phrases either; its `[SEG]` stands for the thing itself, as a word would:

    prompt  "<image>\nCan you segment the mug?"
    answer  "Sure, it is [SEG]."     read as     "Sure, it is this.", with a mask for "this"
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from segue.protocol.answers import MarkedSpan, ParsedAnswer, Reason
from segue.protocol.prima import PrimaDialect
from segue.protocol.tags import IMAGE_TOKEN, PHRASE_END, PHRASE_START, SEG_TOKEN, identifier

STAND_IN = "this"
"""The word that a reader sees where LISA wrote a bare `[SEG]`."""

_SEG = re.compile(re.escape(SEG_TOKEN))


class GlammDialect(PrimaDialect):
    """GLaMM's own sentence and no identifiers for one image; PRIMA's form for several.

    Source: GLaMM's code; PRIMA section 5 for several images.
    """

    name = "glamm"

    def names_images(self, num_images: int) -> bool:
        """Not for a single image, as published."""
        return num_images > 1

    def opening(self, num_images: int) -> str:
        """GLaMM's sentence for one image, PRIMA's for several."""
        if num_images == 1:
            return f"The {IMAGE_TOKEN} provides an overview of the picture.\n"
        return super().opening(num_images)

    def as_past_turn(self, markup: str, num_images: int) -> str:
        """As in PRIMA, without the identifier where there is one image: the model has never written one."""
        # Literal, because `render` has just written it, in its one form.
        again = super().as_past_turn(markup, num_images)
        return again.replace(f"{SEG_TOKEN} {identifier(0)}", SEG_TOKEN) if num_images == 1 else again


class LisaDialect(GlammDialect):
    """LISA: a `[SEG]` without a phrase is a word of its own.

    Source: LISA's code (prompts and answers); the stand-in word is ours.
    """

    name = "lisa"

    def opening(self, num_images: int) -> str:
        """The image alone on a line, PRIMA's sentence for several."""
        return f"{IMAGE_TOKEN}\n" if num_images == 1 else super().opening(num_images)

    def render(self, text: str, spans: Sequence[MarkedSpan], num_images: int | None = None) -> str:
        """As PRIMA, but the stand-in is written as a bare `[SEG]`."""
        written = super().render(text, spans, num_images)
        # The inverse of `parse`: "it is <p> this </p> [SEG]." -> "it is [SEG]."
        return written.replace(f"{PHRASE_START} {STAND_IN} {PHRASE_END} {SEG_TOKEN}", SEG_TOKEN)

    def parse(self, markup: str, num_images: int, *, lenient: bool = False) -> ParsedAnswer:
        """As PRIMA, but a `[SEG]` whose image is known gets the stand-in for a phrase; never raises."""
        parsed = super().parse(markup, num_images, lenient=lenient)
        # Those alone: where the image is not known, a word would not help.
        bare = {u.seg_ordinal for u in parsed.unplaced if u.reason is Reason.NO_PHRASE}
        if not bare:
            return parsed
        pieces, done = [], 0
        for ordinal, match in enumerate(_SEG.finditer(markup)):
            pieces.append(markup[done : match.start()])
            if ordinal in bare:
                before = "" if not pieces[-1] or pieces[-1][-1].isspace() else " "
                pieces.append(f"{before}{PHRASE_START} {STAND_IN} {PHRASE_END} ")
            pieces.append(match[0])
            done = match.end()
        # Read again, not patched: each word put in moves all ranges and notes behind it.
        return super().parse("".join([*pieces, markup[done:]]), num_images, lenient=lenient)
