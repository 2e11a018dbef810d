"""Questions in the words that the small language model knows: lower case, slips of the keyboard mended.

Literal: `"Wher is the  BEAGLE in (IMAGE2)?"` becomes `" where is the dog in image 2?"`. A small model
reads words that it knows far better than letters; what cannot be mended is read as `UNHEARD`, so that the
model says that it does not know the word, where letters made it take another name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from functools import cache

from segue.models.mini.names import name_table
from segue.protocol import REGION_TOKEN

LEAST_LETTERS = 4
"""Shorter words are not mended: too many others are one letter away."""

UNHEARD = "whatsit"
"""Read in place of words that the model does not know."""

LONGEST_NAME = 5
"""Words of the longest name that is looked up."""

_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
_IMAGE = re.compile(r"\(?\b(image|img|picture|pic|photo)\s*#?\s*([1-9])\b\)?")
_PLAIN = re.compile(r"[a-z]+")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def read_question(text: str, words: Set[str], narrower: Mapping[str, str] | None = None) -> str:
    """A question as the model reads it, with a blank before it.

    Args:
        text: as it was typed.
        words: those that the model knows, in lower case.
        narrower: words for some of a name ("beagle": "dog") in whose place the name is read; those of the
            table of names by default.

    Source: paper silent; ours.
    """
    pieces = (read_piece(piece, words, narrower) for piece in text.split(REGION_TOKEN))
    return REGION_TOKEN.join(piece if piece.strip() else " " for piece in pieces)


def read_piece(text: str, words: Set[str], narrower: Mapping[str, str] | None = None) -> str:
    """A part of a question without `<region>`; see `read_question`."""
    known = narrower_words() if narrower is None else narrower
    text = _IMAGE.sub(lambda m: f"{m[1]} {m[2]}", " ".join(text.lower().split()))
    text = _WORD.sub(lambda m: mended(m[0], words, known), text)
    return " " + _heard(_renamed(text, words, known), words)


def unheard_words(text: str, words: Set[str], narrower: Mapping[str, str] | None = None) -> list[str]:
    """Words of a question that the model does not know, as they were typed and in that order."""
    known = narrower_words() if narrower is None else narrower
    typed = dict.fromkeys(_WORD.findall(text.replace(REGION_TOKEN, " ").lower()))
    return [word for word in typed if UNHEARD in read_piece(word, words, known).split()]


def _heard(text: str, words: Set[str]) -> str:
    """The text with `UNHEARD` for each word that is no token; without a vocabulary as it is."""
    if UNHEARD not in words:
        return text
    return _PLAIN.sub(lambda m: m[0] if m[0] in words or len(m[0]) < 2 else UNHEARD, text)


def mended(word: str, words: Set[str], more: Mapping[str, str]) -> str:
    """The word, or the one known word that is a letter away from it: added, left out, changed or swapped.

    Where several are, the one that begins alike and is as long is taken; where that leaves several, none is.
    """
    if len(word) < LEAST_LETTERS or word in words or word in more or word.rstrip("s") in more:
        return word
    near = sorted(w for w in _one_away(word) if w in words)
    for better in (
        lambda w: sorted(w) == sorted(word),
        lambda w: w[0] == word[0],
        lambda w: len(w) > len(word),
    ):
        if len(near) > 1:
            near = [w for w in near if better(w)] or near
    return near[0] if len(near) == 1 else word


@cache
def narrower_words() -> Mapping[str, str]:
    """Words of the table of names that mean some of a name, each with the name."""
    return {word: n.name for n in name_table().names.values() for word in n.narrower}


def _one_away(word: str) -> set[str]:
    splits = [(word[:k], word[k:]) for k in range(len(word) + 1)]
    found = {a + b[1:] for a, b in splits if b}
    found |= {a + b[1] + b[0] + b[2:] for a, b in splits if len(b) > 1}
    found |= {a + c + b[1:] for a, b in splits if b for c in _LETTERS}
    return found | {a + c + b for a, b in splits for c in _LETTERS}


def _renamed(text: str, words: Set[str], narrower: Mapping[str, str]) -> str:
    """Names in place of narrower words: "two german shepherds" to "two dogs"."""
    pieces = re.split(r"([a-z]+(?:[-'][a-z]+)*)", text)
    # Words stand at odd places, what is between them at even ones.
    k = 1
    while k < len(pieces):
        for length in range(LONGEST_NAME, 0, -1):
            end = k + 2 * length - 1
            span = "".join(pieces[k:end])
            many = span not in narrower and span.endswith("s") and span[:-1] in narrower
            name = narrower.get(span[:-1] if many else span)
            if end <= len(pieces) and name and (length > 1 or span not in words):
                pieces[k:end] = [name + ("s" if many and f"{name}s" in words else "")]
                break
        k += 2
    return "".join(pieces)
