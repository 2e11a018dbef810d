"""Names of objects and parts as people write them: plurals, possessives, longest name first.

A text is cut into words and numbers once; names are then looked up word by word, so that the time for a text
does not grow with the number of names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from segue.data.language import english

# A number keeps its fraction or thousands ("3.5", "1,101"); a word keeps its inner hyphens and apostrophes,
# and the apostrophe of a plural possessive ("cats'").
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:[-'][^\W\d_]+)*(?:(?<=s)'(?!\w))?")


@dataclass(frozen=True)
class Token:
    """A word (lower case) or number of a text, at characters `[start, end)`."""

    text: str
    start: int
    end: int

    @property
    def is_number(self) -> bool:
        """Whether it is made of digits."""
        return self.text[0].isdigit()


def tokens(text: str) -> list[Token]:
    """Cut a text into words and numbers; typographic apostrophes count as plain ones."""
    plain = text.replace("’", "'").replace("ʼ", "'")
    return [Token(m.group().lower(), m.start(), m.end()) for m in _TOKEN.finditer(plain)]


@dataclass(frozen=True)
class Name:
    """A name of the vocabulary.

    Attributes:
        owner: The object; for an object, itself.
        part: The part, or "".
    """

    owner: str
    part: str = ""

    @property
    def full(self) -> str:
        """As it is listed: "chair", "chair's leg"."""
        return f"{english.possessive(self.owner)} {self.part}" if self.part else self.owner

    @property
    def key(self) -> str:
        """As annotation files write it: "chair", "chair:leg"."""
        return f"{self.owner}:{self.part}" if self.part else self.owner


Form = Literal["name", "possessive", "bare"]
_Words = tuple[str, ...]


@dataclass(frozen=True)
class Match:
    """Words `[first, last]` of a text (positions of tokens) are one of `names`."""

    first: int
    last: int
    names: tuple[Name, ...]


class Lexicon:
    """Finds names of a vocabulary in texts.

    Args:
        vocabulary: Objects with their parts, as the readers' `vocabulary()` gives them.
    """

    def __init__(self, vocabulary: Mapping[str, Iterable[str]]) -> None:
        self.vocabulary = {owner: tuple(sorted(set(parts))) for owner, parts in sorted(vocabulary.items())}
        forms: dict[tuple[Form, _Words], list[Name]] = {}
        for owner, parts in self.vocabulary.items():
            for name in (Name(owner), *(Name(owner, part) for part in parts)):
                for form, words in spellings(name):
                    forms.setdefault((form, words), []).append(name)
        self._nouns: dict[str, list[tuple[_Words, tuple[Name, ...]]]] = {}
        self._endings: dict[str, list[tuple[_Words, tuple[Name, ...]]]] = {}
        merged: dict[_Words, list[Name]] = {}
        for (form, words), names in forms.items():
            merged.setdefault(words, []).extend(names)
            # A bare "leg" counts right before an identifier ("legs 10102"), not anywhere in a text.
            if form != "bare":
                self._nouns.setdefault(words[0], []).append((words, tuple(names)))
        for words, names in merged.items():
            self._endings.setdefault(words[-1], []).append((words, tuple(dict.fromkeys(names))))
        for table in (self._nouns, self._endings):
            for entries in table.values():
                # Longest first: "dining table" must be tried before "table".
                entries.sort(key=lambda entry: (-len(entry[0]), entry[0]))

    def ending_at(self, found: Sequence[Token], last: int) -> Match | None:
        """The longest name whose last word is `found[last]`, such as right before an identifier."""
        for words, names in self._endings.get(found[last].text, ()):
            first = last - len(words) + 1
            if first >= 0 and all(found[first + n].text == word for n, word in enumerate(words)):
                return Match(first, last, names)
        return None

    def nouns(self, found: Sequence[Token]) -> list[Match]:
        """Every name in a text, the longest first where several begin at one word; bare part names ("leg")
        are too common in other meanings to count.
        """
        matches = []
        position = 0
        while position < len(found):
            for words, names in self._nouns.get(found[position].text, ()):
                last = position + len(words) - 1
                if last < len(found) and all(
                    found[position + n].text == word for n, word in enumerate(words)
                ):
                    matches.append(Match(position, last, names))
                    position = last
                    break
            position += 1
        return matches


def spellings(name: Name) -> list[tuple[Form, _Words]]:
    """The ways in which a name may be written, as words.

    Example:
        "cat" -> cat, cats, cat's, cats'; "cat's ear" -> cat's ear(s), cats' ear(s), cat ear(s), and bare:
        ear(s).
    """
    owners = dict.fromkeys([name.owner, english.plural(name.owner)])
    if not name.part:
        written: list[tuple[Form, str]] = [("name", owner) for owner in owners]
        written += [("possessive", english.possessive(owner)) for owner in owners]
    else:
        parts = dict.fromkeys([name.part, english.plural(name.part)])
        leads = dict.fromkeys([*map(english.possessive, owners), *owners])
        written = [("name", f"{lead} {part}") for lead, part in product(leads, parts)]
        written += [("bare", part) for part in parts]
    split = [(form, tuple(token.text for token in tokens(text))) for form, text in written]
    return list(dict.fromkeys((form, words) for form, words in split if words))
