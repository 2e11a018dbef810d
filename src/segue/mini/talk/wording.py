"""Questions as people type them: a wording, the words of what is asked for, and liberties of typing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from segue.data.language import english
from segue.data.own.things import Thing

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
POLITE, LOWER, BARE, FRONTED, ADJECTIVE, HURRIED = 0.1, 0.12, 0.15, 0.15, 0.08, 0.12
"""Shares of questions with a polite word, in lower case, without their last mark, with the image named first,
with an idle adjective, with small words left out."""

ODD = 0.35
"""Share of idle adjectives that are words which nobody knows."""

SYLLABLES = [
    "bo",
    "ka",
    "lin",
    "ter",
    "mus",
    "gro",
    "fel",
    "ida",
    "non",
    "pir",
    "zu",
    "wab",
    "ent",
    "sho",
    "ly",
]
"""Of made-up words: whatever they are, the model reads `UNHEARD`."""

SMALL = frozenset(
    (
        *("a", "an", "any", "are", "can", "could", "do", "does", "in", "is", "me", "of", "please"),
        *("the", "there", "these", "this", "to", "you"),
    )
)
"""Words that somebody in a hurry leaves out."""

_T = TypeVar("_T")


@cache
def wordings() -> Mapping[str, Any]:
    """The table `wordings.json`."""
    table: Mapping[str, Any] = json.loads(Path(__file__).with_name("wordings.json").read_text("utf-8"))
    return table


class Wording:
    """Words questions.

    Args:
        num_images: of the conversation.
        rng: source of every choice.
        held_out: word with what training never uses, where there is such a wording.
        free: take the liberties of free typing.
    """

    def __init__(
        self, num_images: int, rng: np.random.Generator, *, held_out: bool = False, free: bool = True
    ) -> None:
        self.num_images, self.rng, self.held_out, self.free = num_images, rng, held_out, free

    def pick(self, options: Sequence[_T]) -> _T:
        """One of several."""
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        """True for this share of calls."""
        return bool(self.rng.random() < share)

    def made_up(self) -> str:
        """A word that nobody knows."""
        return "".join(self.pick(SYLLABLES) for _ in range(3))

    def image(self, k: int) -> str:
        """What image k is called: "image 2", "the second photo"."""
        table = wordings()
        if self.num_images == 1:
            return self.pick(table["only_image"])
        return self.pick(table["images"]).format(n=k + 1, nth=ORDINALS[k])

    def question(
        self,
        kind: str,
        *,
        k: int | None = None,
        fields: Mapping[str, str] | None = None,
        count: int = 1,
        thing: Thing | None = None,
        said: str = "",
        other: str = "",
    ) -> str:
        """A question of a kind.

        Args:
            k: the image that it names, if any.
            fields: further fields of the wording.
            count: how many there are of what is asked for, as far as the asker can know.
            thing: what is asked for, for its grammar.
            said: what it is called (a name, a synonym, a broader kind).
            other: a second thing.
        """
        table = wordings()["held_out" if self.held_out and kind in wordings()["held_out"] else "train"]
        wording = self.pick([w for w in table[kind] if k is not None or "{k}" not in w])
        place = "" if k is None else f" in {self.image(k)}"
        front = bool(place) and self.free and self.chance(FRONTED) and "{in_k}" in wording
        text = wording.format(
            in_k="" if front else place,
            k="" if k is None else self.image(k),
            all=self.pick(wordings()["all_images"]),
            **(self._named(thing, said, count) if thing is not None else {}),
            **({"y": other, "the_y": f"the {other}", "a_y": f"{english.article(other)} {other}"}),
            **(fields or {}),
        )
        if front:
            text = f"{place[1:].capitalize()}, {text[0].lower() + text[1:]}"
        elif not wording.startswith("{") or self.chance(0.5):
            text = text[0].upper() + text[1:]
        return self._typed(text) if self.free else text

    def _named(self, thing: Thing, said: str, count: int) -> dict[str, str]:
        if self.free and not thing.owner and self.chance(ADJECTIVE):
            odd = self.chance(ODD)
            said = f"{self.made_up() if odd else self.pick(wordings()['adjectives'])} {said}"
        plural = english.is_plural(said)
        many = plural or count > 1
        x = said if count == 1 or plural else english.plural(said)
        a_x = said if plural or english.is_mass(said) else f"{english.article(said)} {said}"
        the_x = f"the {x}"
        if thing.owner and self.chance(0.4):
            x = f"{thing.of()}"
            the_x = f"the {x}"
        return {
            "x": x,
            "the_x": the_x,
            "a_x": a_x,
            "A_x": a_x.capitalize(),
            "xs": english.plural(said),
            "is_x": "are" if many else "is",
            "does_x": "do" if many else "does",
            "has_x": "have" if many else "has",
            "Has_x": "Have" if many else "Has",
            "is_a": "are" if plural else "is",
            "Is_a": "Are" if plural else "Is",
            "it": "them" if many else "it",
            "its": "their" if many else "its",
        }

    def _typed(self, text: str) -> str:
        """The question as somebody types it, in a hurry or politely."""
        if self.chance(HURRIED):
            words = text.split()
            lean = [w for w in words if w.lower() not in SMALL or self.chance(0.6)]
            text = " ".join(lean or words)
        if self.chance(POLITE):
            text = (
                self.pick(wordings()["polite"]) + text[0].lower() + text[1:]
                if self.chance(0.6)
                else text + self.pick(wordings()["polite_end"])
            )
        if self.chance(BARE):
            text = re.sub(r"[.?!]$", "", text)
        return text.lower() if self.chance(LOWER) else text
