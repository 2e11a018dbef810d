"""The six filters of M4SEG, each a pure function that gives a reason or nothing.

Source: PRIMA sec. 4 and A.4; the predicates in detail are ours, since the paper gives one sentence for each.
Two readings are stricter than its words: an identifier in a clause about another image is rejected under (c),
and a listed identifier without its name under (e).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from segue.datasets.m4seg.absence import absent_names, may_show
from segue.datasets.m4seg.image_words import image_words, misplaced
from segue.datasets.m4seg.lexicon import Lexicon
from segue.datasets.m4seg.listing import ListedRegion, Listing
from segue.datasets.m4seg.mentions import GroundedPhrase, ParsedText, parse_text

MAX_MASKS = 16
"""Limit for an answer, of different masks and of `[SEG]` tokens. Source: PRIMA sec. 4."""
MIN_WORDS_BESIDE = 8
"""Fewer words besides the names, after a question that asks for a list, make a mere list."""

_LISTING_QUESTION = re.compile(
    r"\W*(?:please\s+)?(?:list|name|identify|enumerate|(?:what|which)\s+(?:are\s+the\s+)?(?:objects|parts|items))\b",
    re.IGNORECASE,
)
_BOX = re.compile(
    r"bounding[\s-]?box|\bbbox(?:es)?\b|\bcoordinates?\b|\[\s*\d+(?:\.\d+)?(?:\s*,\s*\d+(?:\.\d+)?){3}\s*\]"
    r"|\(\s*\d+(?:\.\d+)?(?:\s*,\s*\d+(?:\.\d+)?)+\s*\)|\b[xy][12]?\s*=\s*\d",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class QAPair:
    """A question and an answer with identifiers, as generated.

    Attributes:
        question: Of a user.
        answer: Of the assistant.
        marks: What a question that points at regions points at: characters of its clean text.
        follows: Whether it rests on a pair before it, which has spoken of every image.
    """

    question: str
    answer: str
    marks: tuple[GroundedPhrase, ...] = ()
    follows: bool = False


@dataclass(frozen=True)
class ReadPair:
    """A pair with its identifiers read, which is what every filter looks at; see `QAPair`."""

    question: ParsedText
    answer: ParsedText
    listing: Listing
    lexicon: Lexicon
    marks: tuple[GroundedPhrase, ...] = ()
    follows: bool = False

    @property
    def marked(self) -> list[ListedRegion]:
        """The regions that the question points at."""
        return [self.listing.by_code[code] for mark in self.marks for code in mark.codes]


@dataclass(frozen=True)
class Verdict:
    """Whether a pair is kept.

    Attributes:
        letter: Of the first filter that rejects it; "" when it is kept.
        reason: In words, fit for counting.
        detail: What was found.
        pair: The pair with its identifiers read.
    """

    letter: str
    reason: str
    detail: str
    pair: ReadPair

    @property
    def kept(self) -> bool:
        """Whether no filter objects."""
        return not self.letter


def mere_list(pair: ReadPair) -> str | None:
    """(a) The answer grounds nothing, or only lists what a question asked to be listed.

    Source: PRIMA A.4 (a).
    """
    # Faults are attempts at identifiers; (e) rejects them and can say what is wrong.
    if not pair.answer.mentions and not pair.answer.faults:
        return "no identifier in the answer"
    if _LISTING_QUESTION.match(pair.question.raw):
        beside = [
            token
            for token in pair.answer.tokens
            if not any(m.start <= token.start < m.cut for m in pair.answer.mentions)
        ]
        if len(beside) < MIN_WORDS_BESIDE:
            return f"a listing question, and {len(beside)} words besides the names"
    return None


def box_words(pair: ReadPair) -> str | None:
    """(b) Places are given as boxes or coordinates.

    Source: PRIMA A.4 (b), for questions; here for answers too.
    """
    for text in (pair.question, pair.answer):
        for match in _BOX.finditer(text.raw):
            # "(101, 102)" after a name is a list of identifiers.
            if not any(m.start <= match.start() and match.end() <= m.cut for m in text.mentions):
                return f"{match.group()!r}"
    return None


def missing_mask(pair: ReadPair) -> str | None:
    """(d) The answer has no mask in some image.

    A question that points needs none where its mark is, nor where such a thing certainly is not.

    Source: PRIMA A.4 (d); of marks ours.
    """
    if pair.follows:
        return None
    seen = {
        pair.listing.by_code[code].image_index + 1
        for code in pair.answer.codes
        if pair.listing.by_code[code].region.area
    }
    for entry in pair.marked:
        seen.add(entry.image_index + 1)
        name = pair.listing.name_of(entry)
        seen |= {n for n, image in enumerate(pair.listing.images, start=1) if not may_show(image, name)}
    missing = [str(n) for n in range(1, len(pair.listing.images) + 1) if n not in seen]
    return f"no mask in image {', '.join(missing)}" if missing else None


def wrong_images(pair: ReadPair) -> str | None:
    """(c) The answer leaves an image out, names one that is not there, or mixes them up.

    Source: PRIMA A.4 (c); the latter two are ours.
    """
    count = len(pair.listing.images)
    covered = {pair.listing.by_code[code].image_index + 1 for code in pair.answer.codes}
    words = {text: image_words(text.raw, count) for text in (pair.question, pair.answer)}
    for text, said in words.items():
        named = {image for word in said for image in word.images}
        beyond = sorted(image for image in named if not 1 <= image <= count)
        if beyond:
            return f"image {beyond[0]} of {count}"
        # Only an answer covers an image; a question that names all of them covers none.
        if text is pair.answer:
            covered |= named
    covered |= {entry.image_index + 1 for entry in pair.marked}
    missing = [str(n) for n in range(1, count + 1) if n not in covered]
    if missing and not pair.follows:
        return f"nothing about image {', '.join(missing)}"
    image_of = {entry.code: entry.image_index + 1 for entry in pair.listing.entries}
    for text, said in words.items():
        for code, image in misplaced(text, said, image_of):
            return f"{code} in a clause about image {image}"
    return None


def unknown_names(pair: ReadPair) -> str | None:
    """(e) Something is named that the images do not show.

    Source: PRIMA A.4 (e), sec. 4 ("questions and answers").
    """
    for text in (pair.question, pair.answer):
        if text.faults:
            return f"{text.faults[0].code}: {text.faults[0].why}"
        absent = absent_names(text, pair.listing, pair.lexicon)
        if absent:
            return f"{absent[0]} is in none of the images"
    return None


def too_many_masks(pair: ReadPair) -> str | None:
    """(f) More than `MAX_MASKS` masks, counted once each or at every mention.

    Source: PRIMA sec. 4.
    """
    # There are never fewer mentions than different masks, so one comparison keeps both limits.
    codes = pair.answer.codes
    if len(codes) > MAX_MASKS:
        return f"{len(set(codes))} masks, {len(codes)} mentions"
    return None


FILTERS: tuple[tuple[str, str, Callable[[ReadPair], str | None]], ...] = (
    ("a", "a mere list, or nothing grounded", mere_list),
    ("b", "places given as boxes or coordinates", box_words),
    ("d", "no mask in some image", missing_mask),
    ("c", "an image left out, not there, or mixed up", wrong_images),
    ("e", "something that the images do not show", unknown_names),
    ("f", f"more than {MAX_MASKS} masks", too_many_masks),
)
"""Letter, reason and predicate in the order in which they are asked; the first that objects is counted."""


def judge(pair: QAPair, listing: Listing, lexicon: Lexicon) -> Verdict:
    """Read a pair's identifiers and put it through the filters; never raises, whatever the text.

    Args:
        pair: As generated.
        listing: What it may refer to.
        lexicon: Names of the whole build.
    """
    read = ReadPair(
        parse_text(pair.question, listing, lexicon),
        parse_text(pair.answer, listing, lexicon),
        listing,
        lexicon,
        pair.marks,
        pair.follows,
    )
    for letter, reason, objects in FILTERS:
        detail = objects(read)
        if detail is not None:
            return Verdict(letter, reason, detail, read)
    return Verdict("", "", "", read)
