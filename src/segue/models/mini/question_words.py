"""Questions in the words that the small language model knows: lower case, slips of the keyboard mended.

Literal: `"Wher is the  BEAGLE in (IMAGE2)?"` becomes `" where is the dog in image 2?"`. A small model
reads words that it knows far better than letters; what cannot be mended is read as `UNHEARD`, so that the
model says that it does not know the word, where letters made it take another name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Set
from functools import cache
from importlib import resources

from segue.models.mini.names import name_table
from segue.protocol import REGION_TOKEN

LEAST_LETTERS = 4
"""Shorter words are not mended: too many others are one letter away."""

UNHEARD = "whatsit"
"""Read in place of words that the model does not know."""

LONGEST_NAME = 5
"""Words of the longest name that is looked up."""

AS_TYPED = frozenset({"people", "somebody", "someone", "display"})
"""Synonyms that are read as they are typed: the plural of a name, and what is rarely meant as one."""

PART_TAXONOMIES = ("pascal_part", "paco_lvis_v1", "ade20k_part_234")
"""Tables of `segue/taxonomies` that name parts."""

_PLURALS = {"person": "people"}

WORN = re.compile(r"\b(?:which (?:person|one|man|woman)|who) (?:wears|is wearing|is dressed in)\b")
"""Read as "which image shows": lists tell who wears what only by the image, and the model knows that
question far better."""

_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
_IMAGE = re.compile(r"\(?\b(image|img|picture|pic|photo)\s*#?\s*([1-9])\b\)?")
_PLAIN = re.compile(r"[a-z]+")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def read_question(text: str, words: Set[str], narrower: Mapping[str, str] | None = None) -> str:
    """A question as the model reads it, with a blank before it.

    Args:
        text: as it was typed.
        words: those that the model knows, in lower case.
        narrower: other words for a name, or for some of it ("couch": "sofa", "beagle": "dog"), in whose place
            the name is read; those of the table of names by default.

    Source: paper silent; ours.
    """
    pieces = (read_piece(piece, words, narrower) for piece in text.split(REGION_TOKEN))
    return REGION_TOKEN.join(piece if piece.strip() else " " for piece in pieces)


def read_piece(text: str, words: Set[str], narrower: Mapping[str, str] | None = None) -> str:
    """A part of a question without `<region>`; see `read_question`."""
    known = narrower_words() if narrower is None else narrower
    text = _IMAGE.sub(lambda m: f"{m[1]} {m[2]}", " ".join(text.lower().split()))
    text = _WORD.sub(lambda m: mended(m[0], words, known), text)
    text = WORN.sub("which image shows", text)
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
    # No slip of the keyboard: whoever asks for the grass means no glass.
    if near and {word, word.removesuffix("s")} & real_words():
        return word
    for better in (
        lambda w: sorted(w) == sorted(word),
        lambda w: w[0] == word[0],
        lambda w: len(w) > len(word),
    ):
        if len(near) > 1:
            near = [w for w in near if better(w)] or near
    return near[0] if len(near) == 1 else word


@cache
def narrower_words() -> dict[str, str]:
    """Words of the table of names that mean a name or some of it, each with the name.

    Names stand for themselves: whoever asks for the pool table does not ask for a pool dining table.
    """
    names = name_table().names.values()
    found = {word: n.name for n in names for word in (n.name, *n.synonyms, *n.narrower)}
    return {word: name for word, name in found.items() if word not in AS_TYPED}


@cache
def real_words() -> frozenset[str]:
    """Words that are no slips, known to the model or not: common ones, and those that parts are called by."""
    package = resources.files("segue")
    common = (package / "models" / "mini" / "common_words.txt").read_text(encoding="utf-8").split()
    files = (package / "taxonomies" / f"{name}.json" for name in PART_TAXONOMIES)
    objects = [thing for file in files for thing in json.loads(file.read_text(encoding="utf-8"))["objects"]]
    parts = (part for thing in objects for part in thing["parts"])
    # "label" is what files write: "lfho" for a left front hoof.
    said = (value for part in parts for key, value in part.items() if key != "label")
    named = (word for text in said if isinstance(text, str) for word in _PLAIN.findall(text.lower()))
    return frozenset((*common, *named))


def _several(name: str, words: Set[str]) -> str:
    """The plural of a name where its last word has one that the model knows."""
    plural = _PLURALS.get(name, f"{name}s")
    return plural if plural.split()[-1] in words else name


def _one_away(word: str) -> set[str]:
    splits = [(word[:k], word[k:]) for k in range(len(word) + 1)]
    found = {a + b[1:] for a, b in splits if b}
    found |= {a + b[1] + b[0] + b[2:] for a, b in splits if len(b) > 1}
    found |= {a + c + b[1:] for a, b in splits if b for c in _LETTERS}
    return found | {a + c + b for a, b in splits for c in _LETTERS}


def _renamed(text: str, words: Set[str], narrower: Mapping[str, str]) -> str:
    """Names in place of other words for them: "two german shepherds" to "two dogs"."""
    pieces = re.split(r"([a-z]+(?:[-'][a-z]+)*)", text)
    # Words stand at odd places, what is between them at even ones.
    k = 1
    while k < len(pieces):
        for length in range(LONGEST_NAME, 0, -1):
            end = k + 2 * length - 1
            span = "".join(pieces[k:end])
            single = next((s for s in (span, span[:-1], span[:-2]) if s in narrower and _is(s, span)), None)
            name = narrower[single] if single else ""
            if end <= len(pieces) and name and words >= set(_PLAIN.findall(name)):
                if single == name:
                    k += 2 * (length - 1)
                else:
                    pieces[k:end] = [name if single == span else _several(name, words)]
                break
        k += 2
    return "".join(pieces)


def _is(single: str, span: str) -> bool:
    return span in (single, f"{single}s", f"{single}es")
