r"""How MIRAS writes: `[OBJ]` opens a phrase and the phrase's `[SEG]` closes it.

    prompt  "<image>\nWhich of them keeps the rain off?"
    answer  "It is [OBJ]the blue umbrella[SEG]."      text "It is the blue umbrella.", span (6, 23)

Region alignment reads the states from `[OBJ]` to `[SEG]`, so the phrase stands between the two without a
further tag. The paper has one image; about several we write PRIMA's overview and identifiers:

    answer  "[OBJ]the cup[SEG] (IMAGE2) is taller."
"""

from __future__ import annotations

from segue.protocol.answers import MarkedSpan, ParsedAnswer
from segue.protocol.prima import PrimaDialect
from segue.protocol.tags import (
    IMAGE_TOKEN,
    OBJ_TOKEN,
    PHRASE_END,
    PHRASE_START,
    SEG_TOKEN,
    TAG_PATTERN,
    IdentifierState,
    identifier,
    read_identifier,
)


class MirasDialect(PrimaDialect):
    """`[OBJ]{CLASS}[SEG]`; a bare `[SEG]`, as PRIST's published answers have it, is a mask without a phrase.

    Source: MIRAS, design of semantic region alignment; several images are ours.
    """

    name = "miras"
    phrase_opening = OBJ_TOKEN

    def names_images(self, num_images: int) -> bool:
        """Not for a single image, as published."""
        return num_images > 1

    def opening(self, num_images: int) -> str:
        """The image alone on a line, PRIMA's sentence for several."""
        return f"{IMAGE_TOKEN}\n" if num_images == 1 else super().opening(num_images)

    def marked(self, text: str, span: MarkedSpan, num_images: int | None) -> str:
        """The phrase of one span with its tags; no identifiers in a conversation about one image."""
        # Words that would be read as an identifier of their own must not follow a [SEG] without one.
        state, _, _ = read_identifier(text, span.end)
        if num_images == 1 and state is IdentifierState.MISSING and not any(span.image_indices):
            masks = SEG_TOKEN * len(span.image_indices)
        else:
            masks = "".join(f"{SEG_TOKEN} {identifier(k)}" for k in span.image_indices)
        return masks if span.start == span.end else f"{OBJ_TOKEN}{text[span.start : span.end]}{masks}"

    def parse(self, markup: str, num_images: int, *, lenient: bool = False) -> ParsedAnswer:
        """Take an answer apart; never raises. PRIMA's own phrase tags are understood too."""
        return super().parse(_as_prima(markup), num_images, lenient=lenient)


def _as_prima(markup: str) -> str:
    """The markup with PRIMA's tags: "[OBJ]mug[SEG]" -> "<p> mug </p> [SEG]"; an unclosed one stays so."""
    pieces: list[str] = []
    done, is_open = 0, False
    for tag in TAG_PATTERN.finditer(markup):
        pieces.append(markup[done : tag.start()])
        done = tag.end()
        if tag[0] == OBJ_TOKEN:
            pieces.append(f"{PHRASE_START} ")
            is_open = True
        # Further masks follow as in PRIMA: "[OBJ]mugs[SEG][SEG]" -> "<p> mugs </p> [SEG][SEG]".
        elif tag[0] == SEG_TOKEN and is_open:
            pieces.append(f" {PHRASE_END} {SEG_TOKEN}")
            is_open = False
        else:
            pieces.append(tag[0])
    return "".join([*pieces, markup[done:]])
