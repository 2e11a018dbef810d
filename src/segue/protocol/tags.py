"""The literals of the protocol, and the only border between 0-based code and 1-based text.

Code counts images from 0 (`image_index`); people and models count from 1 ("(IMAGE2)"). `identifier` and
`overview` write the 1-based form, `read_identifier` reads it back; nothing else in Segue adds or subtracts
1 for text that a model reads or writes.
"""

from __future__ import annotations

import re
from enum import StrEnum

from segue.errors import InputError

SEG_TOKEN = "[SEG]"
PHRASE_START = "<p>"
PHRASE_END = "</p>"
IMAGE_TOKEN = "<image>"
OBJ_TOKEN = "[OBJ]"
"""Opens a phrase in MIRAS; its `[SEG]` closes it."""

TAG_LITERALS = (SEG_TOKEN, PHRASE_START, PHRASE_END, IMAGE_TOKEN, OBJ_TOKEN)
"""Tokens that `parse` takes out of a text and `render` refuses in one; upper and lower case differ."""

TOKENIZER_LITERALS = ("<s>", "</s>", "<unk>", "<pad>", "<im_start>", "<im_end>", "<bbox>", "<point>")
"""Further literals on which tokenizers of the supported families split; for `escape_user_text` only."""

# ASCII, here and below: without it IGNORECASE lets the Turkish dotless i stand for an i.
_ESCAPED = re.compile(
    "|".join(re.escape(t) for t in TAG_LITERALS + TOKENIZER_LITERALS), re.IGNORECASE | re.ASCII
)
TAG_PATTERN = re.compile("|".join(re.escape(t) for t in TAG_LITERALS))

# "(IMAGE2)", "(image 2)", "(IMAGE #2)". Spaces are bounded so that hostile runs of blanks cost nothing, and
# line breaks are not spaces here: an identifier on the next line starts a new sentence, it does not end
# this one.
_GAP = r"[ \t\u00a0]{0,8}"
_VALID = re.compile(rf"{_GAP}\({_GAP}IMAGE{_GAP}#?{_GAP}([0-9]+){_GAP}\)", re.IGNORECASE | re.ASCII)
_CUT_OFF = re.compile(
    rf"{_GAP}\({_GAP}(?:I|IM|IMA|IMAG|IMAGE{_GAP}#?{_GAP}[0-9]*{_GAP})?\Z", re.IGNORECASE | re.ASCII
)
# "(IMAGE)", "(IMAGE two)", "(IMAGE1, IMAGE2)", "(IMAGE2 is" - but not "(image of a cat)", which is prose.
_NUMBER_WORDS = "one|two|three|four|five|six|seven|eight|nine|and|or"
_MALFORMED = re.compile(
    rf"{_GAP}\({_GAP}IMAGES?(?:(?:[^a-z()\[\]<>\n]|IMAGES?|{_NUMBER_WORDS}){{0,40}}\)|{_GAP}#?{_GAP}[0-9]+)",
    re.IGNORECASE | re.ASCII,
)
_INLINE = re.compile(rf"\({_GAP}IMAGE{_GAP}#?{_GAP}[0-9]+{_GAP}\)", re.IGNORECASE | re.ASCII)

# Python refuses to read numbers of more than 4300 digits, and takes its time for shorter ones.
_MOST_DIGITS = 9


class IdentifierState(StrEnum):
    """State of the image identifier that has to follow a `[SEG]`."""

    VALID = "valid"
    MISSING = "missing"
    MALFORMED = "malformed"
    CUT_OFF = "cut_off"


def identifier(image_index: int) -> str:
    """Write the image identifier of a 0-based index: `identifier(1) == "(IMAGE2)"`.

    Args:
        image_index: 0-based position of the image in the conversation.

    Returns:
        The identifier as the paper writes it.

    Raises:
        InputError: `image_index` is negative.

    Source: PRIMA section 3.2, "[SEG] (IMAGE2)".
    """
    if image_index < 0:
        raise InputError(
            "An image index is negative.",
            expected="a 0-based image_index >= 0",
            found=str(image_index),
            where="segue.protocol.identifier",
            fix="pass the position of the image in the conversation, counted from 0",
        )
    return f"(IMAGE{image_index + 1})"


def overview(num_images: int) -> str:
    """Write the sentence that introduces the images at the head of a prompt.

    Args:
        num_images: How many images the conversation has.

    Returns:
        "The <image> (IMAGE1), <image> (IMAGE2), and <image> (IMAGE3) provide an overview of the pictures."
        for three; `num_images` placeholders `<image>` in every case.

    Raises:
        InputError: `num_images` is below 1.

    Source: PRIMA section 3.2 gives the sentence for three images; one and two are ours.
    """
    if num_images < 1:
        raise InputError(
            "A prompt needs at least one image.",
            expected="num_images >= 1",
            found=str(num_images),
            where="segue.protocol.overview",
            fix="give at least one image",
        )
    names = [f"{IMAGE_TOKEN} {identifier(k)}" for k in range(num_images)]
    if num_images == 1:
        return f"The {names[0]} provides an overview of the picture."
    listed = f"{names[0]} and {names[1]}" if num_images == 2 else ", ".join(names[:-1]) + f", and {names[-1]}"
    return f"The {listed} provide an overview of the pictures."


def read_identifier(markup: str, position: int) -> tuple[IdentifierState, int | None, int]:
    """Read the identifier that follows a `[SEG]`, leniently in case and blanks.

    Args:
        markup: The whole answer of a model.
        position: Index in `markup` directly after the `[SEG]`.

    Returns:
        The state; the 0-based image index (only when VALID; -1 for "(IMAGE0)", and a number beyond every
        real image for an absurdly long one); the index in `markup` directly after what was read.

    Source: the lenient forms are ours, paper silent.
    """
    if match := _VALID.match(markup, position):
        digits = match[1].lstrip("0") or "0"
        number = int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS
        return IdentifierState.VALID, number - 1, match.end()
    # Before the malformed ones: "(IMAGE2" at the very end of an answer is both.
    if match := _CUT_OFF.match(markup, position):
        return IdentifierState.CUT_OFF, None, match.end()
    if match := _MALFORMED.match(markup, position):
        return IdentifierState.MALFORMED, None, match.end()
    return IdentifierState.MISSING, None, position


def is_blank(gap: str) -> bool:
    """True for blanks and image identifiers: a `[SEG]` after them belongs to what stands before them."""
    return not _INLINE.sub("", gap).strip() if gap else True


def contains_tag(text: str) -> str | None:
    """Return the first tag literal in `text`, or None."""
    match = TAG_PATTERN.search(text)
    return match[0] if match else None


def escape_user_text(text: str) -> str:
    """Neutralise tag literals that a user typed, so that a tokenizer sees plain characters.

    A user who writes "[SEG]" must not get a mask for it, and "<image>" must not count as an image:
    `escape_user_text("what does [SEG] or <image> mean?") == "what does [ SEG ] or < image > mean?"`. Upper
    and lower case are both escaped (some tokenizers fold case). Text without such literals comes back
    unchanged; image identifiers such as "(IMAGE2)" are ordinary words and stay. Applying it twice changes
    nothing more.

    Args:
        text: What the user typed.

    Returns:
        The text with a blank inside both ends of each literal.

    Source: paper silent; ours.
    """
    return _ESCAPED.sub(lambda match: f"{match[0][0]} {match[0][1:-1]} {match[0][-1]}", text)
