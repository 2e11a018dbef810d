"""How a text speaks of the images of a set: "Image 2", "the second photo", "both images".

Source: PRIMA Fig. 1 ("In Image 1, ... In Image 2, ..."); the other wordings are ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from segue.datasets.m4seg.mentions import ParsedText

_NUMBERS = {
    w: n for n, w in enumerate(("one", "two", "three", "four", "five", "six", "seven", "eight", "nine"), 1)
}
_ORDINALS = {
    w: n
    for n, w in enumerate(
        ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"), start=1
    )
}
# "1st" to "9th".
_ORDINALS |= {f"{n}{end}": n for n, end in enumerate(("st", "nd", "rd", *("th",) * 6), start=1)}
_IMAGE = r"(?:images?|pictures?|photos?|photographs?|pics?)"
_ANY = re.compile(_IMAGE, re.IGNORECASE)
_NUMBER = rf"(?:\d+|{'|'.join(_NUMBERS)})"
_ORDINAL = rf"(?:{'|'.join(_ORDINALS)})"
# "images 1, 2 and 3" is a list, but "in image 1, three chairs" is not.
_NUMBERED = re.compile(
    rf"\b(?:images|pictures|photos|photographs)\s*(?:numbers?\s*)?({_NUMBER}\b(?:\s*,?\s*(?:and|or|&)\s*{_NUMBER}\b"
    rf"|\s*,\s*\d+\b)*)|\b{_IMAGE}\s*(?:#|no\.?|number)?\s*\(?({_NUMBER})\b",
    re.IGNORECASE,
)
_ORDERED = re.compile(
    rf"\b({_ORDINAL}(?:\s*(?:,|and|or|,\s*and)\s*(?:the\s+)?{_ORDINAL})*)\s+(?:input\s+)?{_IMAGE}\b"
    rf"|\b(last|final)\s+{_IMAGE}\b",
    re.IGNORECASE,
)
_TOGETHER = re.compile(
    rf"\b(?:both|all|each|every|either|these|the)\s+(?:of\s+)?(?:the\s+)?({_NUMBER}\s+)?{_IMAGE}\b",
    re.IGNORECASE,
)
_IN_EVERY = re.compile(rf"\b(?:both|all|each|every)\b[^.]*?\b{_IMAGE}\b", re.IGNORECASE)
_GOVERNING = re.compile(
    rf"\b(?:in|of|within)\s+(?:the\s+)?(?:{_IMAGE}\s*#?({_NUMBER})\b|({_ORDINAL})\s+{_IMAGE}\b)"
    rf"|\b(?:{_IMAGE}\s*#?({_NUMBER})|(?:the\s+)?({_ORDINAL})\s+{_IMAGE})(?:'s\b|\s+(?:shows?|has|features?|contains?"
    rf"|displays?|depicts?|includes?|presents?|portrays?)\b)",
    re.IGNORECASE,
)
_TURN = re.compile(
    r"\b(?:while|whereas|but|unlike|like|than|compared|with|to|as|from|although|though|both|versus|vs|however)\b"
    r"|[.;!?]",
    re.IGNORECASE,
)
# "Unlike in Image 1, the chair ..." is about another image.
_COMPARING = re.compile(r"\b(?:unlike|like|than|compared|with|to|as|from|versus|vs)\s*\Z", re.IGNORECASE)


@dataclass(frozen=True)
class ImageWord:
    """Characters `[start, end)` name these images, 1-based as in the text."""

    start: int
    end: int
    images: tuple[int, ...]


def image_words(text: str, num_images: int) -> list[ImageWord]:
    """Every place where a text names images of the set, also images that do not exist."""
    if not _ANY.search(text):
        return []
    found = [
        ImageWord(m.start(), m.end(), _values(m.group(1) or m.group(2))) for m in _NUMBERED.finditer(text)
    ]
    for m in _ORDERED.finditer(text):
        # "the last image" is that with the highest number.
        images = (num_images,) if m.group(2) else _values(m.group(1))
        found.append(ImageWord(m.start(), m.end(), images))
    for m in _TOGETHER.finditer(text):
        said = _values(m.group(1) or "")
        # "all four images" of three names one that is not there; "the two images" of three may be any two.
        images = tuple(range(1, said[0] + 1)) if said and said[0] > num_images else ()
        found.append(ImageWord(m.start(), m.end(), images))
    for m in _IN_EVERY.finditer(text):
        # "both images" of three may be any two of them.
        lone = m.group().lower().startswith("both") and num_images > 2
        found.append(ImageWord(m.start(), m.end(), () if lone else tuple(range(1, num_images + 1))))
    return sorted(found, key=lambda word: word.start)


def misplaced(
    text: ParsedText, words: Sequence[ImageWord], image_of: Mapping[str, int]
) -> Iterator[tuple[str, int]]:
    """Identifiers of one image in a clause about another: "In Image 2, the cat 101 sits".

    A clause begins with "In Image 2" or "Image 2 shows" and ends where the text turns to something else
    ("while", "than", "unlike", a full stop) or names another image.

    Args:
        text: The answer.
        words: Its `image_words`.
        image_of: Identifier to 1-based image.

    Yields:
        The identifier and the image that the clause speaks of.
    """
    governing = [
        (m.end(), _value(next(g for g in m.groups() if g)))
        for m in _GOVERNING.finditer(text.raw)
        if not _COMPARING.search(text.raw, 0, m.start())
    ]
    for place, (end, image) in enumerate(governing):
        stop = governing[place + 1][0] if place + 1 < len(governing) else len(text.raw)
        for mention in text.mentions:
            if not end <= mention.start < stop or _TURN.search(text.raw, end, mention.start):
                continue
            # Another image within 40 characters may be the one that is meant: "In Image 2, the dog 201 faces
            # the cat 101 of Image 1".
            if any(end <= word.start and word.start < mention.cut + 40 for word in words if word.end > end):
                continue
            for code in mention.codes:
                if image_of[code] != image:
                    yield code, image


def _values(text: str) -> tuple[int, ...]:
    return tuple(_value(word) for word in re.findall(rf"{_NUMBER}|{_ORDINAL}", text.lower()))


def _value(word: str) -> int:
    word = word.lower()
    if word in _ORDINALS:
        return _ORDINALS[word]
    return _NUMBERS.get(word) or int(word)
