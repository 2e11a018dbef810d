"""Identifiers in questions and answers: which phrase names which region, and the text without them.

    "the cats 101 and 201 turn their heads (10102, 20101)"
    -> "the cats turn their heads", "cats" names 101 and 201, "heads" names 10102 and 20101

A number of three or five digits counts as an identifier when a name of the vocabulary stands before it, when
it continues such a list, or when it is listed and nothing says that it is a quantity; all other numbers ("99
bottles", "150 tiles") are plain. What looks like an identifier and does not resolve is a fault, never a
guess.

Source: PRIMA sec. A.3; the grammar in detail is ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from segue.data.language.english import plural
from segue.datasets.m4seg.lexicon import Lexicon, Match, Name, Token, tokens
from segue.datasets.m4seg.listing import Listing

_CODE = re.compile(r"[1-9]\d{2}(?:\d{2})?")
# What may stand between a name and its identifier: "chair (101)", "chair #101", "chair-101", "chair, ID 101".
_BEFORE_CODE = re.compile(
    r"[\s(\[#:_\"“”'‘’-]*(?:,?\s*(?:id|ids|no\.?|number|identifier)[\s:#]*)?", re.IGNORECASE
)
_BETWEEN_CODES = re.compile(r"[\s,/&]*(?:(?:and|or|as well as)\s*)?", re.IGNORECASE)
_RANGE = re.compile(r"\s*(?:-|–|—|to|through)\s*", re.IGNORECASE)
_CLOSING = {"(": ")", "[": "]"}
_QUANTITY_BEFORE = frozenset(
    {
        "about",
        "approximately",
        "around",
        "nearly",
        "almost",
        "over",
        "under",
        "than",
        "number",
        "room",
        "route",
    }
    | {"reads", "read", "says", "shows", "displays", "reading", "saying", "page", "year", "costs", "weighs"}
)
_FUNCTION_WORDS = frozenset(
    {
        "is",
        "are",
        "was",
        "were",
        "has",
        "have",
        "and",
        "or",
        "in",
        "on",
        "at",
        "of",
        "with",
        "while",
        "to",
        "by",
    }
    | {
        "but",
        "as",
        "from",
        "which",
        "that",
        "whereas",
        "both",
        "appear",
        "appears",
        "does",
        "do",
        "can",
        "than",
    }
    | {"sits", "stands", "lies", "shows", "show", "rests", "near", "beside", "for", "suggests", "also", "the"}
)
_MARKUP = re.compile(r"\*\*|__|`")


@dataclass(frozen=True)
class Mention:
    """Characters `[start, end)` of the raw text name these identifiers, which reach up to `cut`."""

    start: int
    end: int
    cut: int
    codes: tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    """Something that looks like an identifier and is none."""

    code: str
    start: int
    why: str


@dataclass(frozen=True)
class GroundedPhrase:
    """Characters `[start, end)` of the clean text name these identifiers."""

    start: int
    end: int
    codes: tuple[str, ...]


@dataclass(frozen=True)
class ParsedText:
    """A text with identifiers, read.

    Attributes:
        raw: As it was generated, without bold and code marks.
        tokens: Its words and numbers.
        mentions: In order.
        faults: In order.
    """

    raw: str
    tokens: tuple[Token, ...]
    mentions: tuple[Mention, ...]
    faults: tuple[Fault, ...]

    @property
    def codes(self) -> list[str]:
        """All identifiers in the order of the text; one mentioned twice occurs twice."""
        return [code for mention in self.mentions for code in mention.codes]

    def clean(self) -> tuple[str, list[GroundedPhrase]]:
        """The text without identifiers, and which phrases of it they belong to."""
        # Two rulers: `done` counts in the raw text, `length` in the clean one. Of "the cat 101 sits" the
        # mention [4, 7) is cut up to 11; the clean text is "the cat sits", and its phrase [4, 7) as well.
        pieces: list[str] = []
        phrases: list[GroundedPhrase] = []
        done = length = 0
        for mention in self.mentions:
            before = self.raw[done : mention.end]
            start = length + mention.start - done
            length += len(before)
            pieces.append(before)
            phrases.append(GroundedPhrase(start, length, mention.codes))
            done = mention.cut
        return "".join(pieces) + self.raw[done:], phrases


def parse_text(text: str, listing: Listing, lexicon: Lexicon) -> ParsedText:
    """Find the identifiers of a text; never raises, whatever the text.

    Args:
        text: A question or answer as it was generated.
        listing: What may be referred to.
        lexicon: Names of the whole build, also of what this set does not show.
    """
    # "**chair** 101": marks would stand between a name and its identifier.
    raw = _MARKUP.sub("", text).strip()
    return _Reading(raw, listing, lexicon).run()


class _Reading:
    """One pass over a text."""

    def __init__(self, raw: str, listing: Listing, lexicon: Lexicon) -> None:
        self.raw, self.listing, self.lexicon = raw, listing, lexicon
        self.tokens = tokens(raw)
        self.mentions: list[Mention] = []
        self.faults: list[Fault] = []

    def run(self) -> ParsedText:
        for position, token in enumerate(self.tokens):
            if token.is_number:
                for code, start, end in self._candidates(token):
                    self._read(position, code, start, end)
        return ParsedText(self.raw, tuple(self.tokens), tuple(self.mentions), tuple(self.faults))

    def _candidates(self, token: Token) -> list[tuple[str, int, int]]:
        """The numbers of a token that have the form of an identifier; "101,102" may be two of them."""
        # "$101", "101st", "150px" and "150 %" written together are quantities, and so is a fraction such as
        # "3.5".
        before, after = self.raw[: token.start][-1:], self.raw[token.end :][:2]
        if before in ("$", "€", "£", ".") or re.match(r"[^\W\d_]|[%°]", after):
            return []
        if "." in token.text:
            return []
        pieces, start = [], token.start
        for piece in token.text.split(","):
            pieces.append((piece, start, start + len(piece)))
            start += len(piece) + 1
        # "101,102" is two identifiers where both are listed; else it is a number with its thousands.
        if len(pieces) > 1 and not all(piece in self.listing.by_code for piece, _, _ in pieces):
            return []
        return [piece for piece in pieces if _CODE.fullmatch(piece[0])]

    def _read(self, position: int, code: str, start: int, end: int) -> None:
        # First: in "chairs 101 and 102" no name stands before 102, only the list before it says what it is.
        if self._continues(position, code, start, end):
            return
        match = self._name_before(position, start)
        if match is not None:
            self._named(match, code, start, end)
        elif code in self.listing.by_code and (
            self._before_its_name(position, code) or not self._is_quantity(position)
        ):
            self.faults.append(Fault(code, start, "a listed identifier without its name before it"))

    def _name_before(self, position: int, start: int) -> Match | None:
        previous = position - 1
        # Over the "ID" of "chair, ID 101".
        while previous >= 0 and self.tokens[previous].text in ("id", "ids", "no", "number", "identifier"):
            previous -= 1
        if previous < 0 or self.tokens[previous].is_number:
            return None
        if not _BEFORE_CODE.fullmatch(self.raw, self.tokens[previous].end, start):
            return None
        return self.lexicon.ending_at(self.tokens, previous)

    def _named(self, match: Match, code: str, start: int, end: int) -> None:
        """A name stands before the number: it is an identifier, right or wrong."""
        entry = self.listing.by_code.get(code)
        if entry is None:
            self.faults.append(Fault(code, start, "no object or part has this identifier"))
            return
        first = match.first
        if entry.name not in (name.full for name in match.names):
            alias = self._part_of(match, entry.name)
            if alias is None:
                written = self.raw[self.tokens[match.first].start : self.tokens[match.last].end]
                self.faults.append(Fault(code, start, f"{code} is {entry.name}, not {written}"))
                return
            first = alias
        phrase_end = self.tokens[match.last].end
        mention = Mention(self.tokens[first].start, phrase_end, self._cut(phrase_end, start, end), (code,))
        if self.mentions and self.mentions[-1].cut > mention.start:
            self.faults.append(Fault(code, start, "two names share their words"))
            return
        self.mentions.append(mention)

    def _part_of(self, match: Match, wanted: str) -> int | None:
        """Where "leg of the chair" begins when "chair" was matched and the chair's leg is meant."""
        position = match.first - 1
        if position >= 0 and self.tokens[position].text in ("the", "a", "an", "its", "this", "that"):
            position -= 1
        if position < 1 or self.tokens[position].text != "of":
            return None
        part = self.lexicon.ending_at(self.tokens, position - 1)
        owners = {name.owner for name in match.names}
        if part is None or not any(n.full == wanted and n.owner in owners for n in part.names if n.part):
            return None
        return part.first

    def _continues(self, position: int, code: str, start: int, end: int) -> bool:
        """Whether the number continues a list of identifiers: "chairs 101, 102 and 103"."""
        if not self.mentions:
            return False
        last = self.mentions[-1]
        tail = last.cut
        between = self.raw[tail:start]
        # After a closed bracket a space alone goes on with nothing: "the chair (101) 250 times".
        if tail > 0 and self.raw[tail - 1] in ")]" and "(" not in between and "[" not in between:
            between = between.lstrip()
        if _RANGE.fullmatch(self.raw, tail, start) and between.strip():
            if code in self.listing.by_code:
                self.faults.append(
                    Fault(code, start, "identifiers must be written one by one, not as a range")
                )
                return True
            return False
        if not _BETWEEN_CODES.fullmatch(between) or not between:
            return False
        entry = self.listing.by_code.get(code)
        names = self._names_of(last)
        if entry is None:
            # "the chair 101 and 150 people": what is counted follows a plain number.
            if self._counts_something(position):
                return False
            self.faults.append(Fault(code, start, "no object or part has this identifier"))
            return True
        if entry.name not in names:
            self.faults.append(
                Fault(code, start, f"{code} is {entry.name}, not {' or '.join(sorted(names))}")
            )
            return True
        cut = self._cut(last.end, start, end)
        self.mentions[-1] = Mention(last.start, last.end, cut, (*last.codes, code))
        return True

    def _names_of(self, mention: Mention) -> set[str]:
        """List what else the phrase of a mention may name: the bare "legs" of a chair and of a table."""
        last = next(n for n, token in enumerate(self.tokens) if token.end == mention.end)
        match = self.lexicon.ending_at(self.tokens, last)
        names: Sequence[Name] = match.names if match is not None else ()
        own = {self.listing.by_code[code].name for code in mention.codes}
        return own | {name.full for name in names}

    def _cut(self, phrase_end: int, start: int, end: int) -> int:
        """Where the identifiers end: a bracket that was opened before them closes after them."""
        for opening, closing in _CLOSING.items():
            if opening in self.raw[phrase_end:start] and self.raw[end : end + 1] == closing:
                return end + 1
        return end

    def _counts_something(self, position: int) -> bool:
        following = self.tokens[position + 1] if position + 1 < len(self.tokens) else None
        if following is None or following.is_number or following.text in _FUNCTION_WORDS:
            return False
        # "150 people" counts; "101, people" begins another clause.
        return self.raw[self.tokens[position].end : following.start].isspace()

    def _before_its_name(self, position: int, code: str) -> bool:
        """Whether it is "the 101 chair": an identifier in the wrong place, not a number of chairs."""
        region = self.listing.by_code[code].region
        words = {token.text for name in (region.name, plural(region.name)) for token in tokens(name)}
        return position + 1 < len(self.tokens) and self.tokens[position + 1].text in words

    def _is_quantity(self, position: int) -> bool:
        before = self.tokens[position - 1].text if position else ""
        return before in _QUANTITY_BEFORE or self._counts_something(position)
