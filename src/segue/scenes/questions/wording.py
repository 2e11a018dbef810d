"""English for the scenes: choices between wordings, articles, plurals, numbers and names of images.

Questions are phrased in many ways, answers in one: a small language model should understand free typing and
needs to learn only one way to reply.
"""

from __future__ import annotations

import random
import re

from segue.data.language import english

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_UNSEEN = "~"


def expand(rng: random.Random, pattern: str) -> str:
    """Choose one alternative of every ``[a|b]``, inner brackets first.

    ``"[show|find] the mug"`` -> ``"find the mug"``; ``"[the |]mugs"`` -> ``"mugs"``.
    """
    while "[" in pattern:
        pattern = _CHOICE.sub(lambda found: rng.choice(found.group(1).split("|")), pattern)
    return pattern


class Speaker:
    """Phrases the questions of one dialogue, with one set of wordings.

    Args:
        rng: source of every choice.
        wording: ``"seen"`` uses the ordinary patterns, ``"unseen"`` those marked ``~`` (kept out of training,
            to measure how well a model copes with new wordings), ``"all"`` both.

    Source: paper silent; ours.
    """

    def __init__(self, rng: random.Random, wording: str = "seen") -> None:
        self.rng = rng
        self.wording = wording
        self.noun = rng.choice(("image", "image", "image", "picture", "picture", "photo"))

    def ask(self, *patterns: str, **slots: str) -> str:
        """Phrase a question: choose a pattern, expand it, fill ``{slots}``, then vary its case and its end.

        ``{image}`` and ``{images}`` are always filled with this dialogue's word ("picture", "pictures").
        """
        if self.wording == "all":
            allowed = patterns
        else:
            unseen = self.wording == "unseen"
            # A template without wordings of the wanted sort still has to ask.
            allowed = tuple(p for p in patterns if p.startswith(_UNSEEN) == unseen) or patterns
        pattern = self.rng.choice(allowed).removeprefix(_UNSEEN)
        text = expand(self.rng, pattern).format(image=self.noun, images=self.noun + "s", **slots)
        return self._typed(" ".join(text.split()).replace(" in in ", " in, in "))

    def pick(self, *options: str) -> str:
        """Choose one of the options, each of which may hold ``[a|b]``."""
        return expand(self.rng, self.rng.choice(options))

    def in_image(self, image_index: int, num_images: int) -> str:
        """Say where: "in image 2", "in the second photo"; "in the image" when there is one."""
        if num_images == 1:
            return self.pick(f"in [the|this] {self.noun}", f"in the {self.noun}", f"in {self.noun} 1", "here")
        return f"in {self.image(image_index, num_images)}"

    def image(self, image_index: int, num_images: int) -> str:
        """Name an image: "image 2", "the second photo", "picture two", "the last image"."""
        number = image_index + 1
        # The usual forms several times: a choice by weight.
        names = [
            f"{self.noun} {number}",
            f"{self.noun} {number}",
            f"{self.noun} {number}",
            f"the {english.ordinal(number)} {self.noun}",
            f"the {english.ordinal(number)} {self.noun}",
            f"{self.noun} {english.number(number)}",
        ]
        if number == num_images and num_images > 1:
            names.append(f"the last {self.noun}")
        return self.rng.choice(names)

    def each_image(self, num_images: int) -> str:
        """Say that each image is meant: "in each photo", "in both pictures"; "here" when there is one."""
        noun = self.noun
        if num_images == 1:
            return self.in_image(0, 1)
        options = [
            f"in each {noun}",
            f"in each {noun}",
            f"in every {noun}",
            f"in all {noun}s",
            f"in each of the {noun}s",
        ]
        if num_images == 2:
            options[3] = f"in both {noun}s"
        return self.rng.choice(options)

    def all_images(self, num_images: int) -> str:
        """Say that the images count as one: "in all images", "in the two photos together", "altogether"."""
        noun = self.noun
        if num_images == 1:
            return self.in_image(0, 1)
        return self.pick(
            f"in all [the |]{noun}s",
            f"in the {english.number(num_images)} {noun}s",
            f"across [all |]the {noun}s",
            f"in the {noun}s [together|altogether|in total]",
            "altogether",
            "in total",
        )

    def where(self, image_index: int | None, num_images: int) -> str:
        """Say where: in one image, or in each of them when ``image_index`` is None."""
        return self.each_image(num_images) if image_index is None else self.in_image(image_index, num_images)

    def among(self, num_images: int) -> str:
        """Say that things from all images are meant: "in these photos"; "in the image" when there is one."""
        return (
            self.in_image(0, 1)
            if num_images == 1
            else self.pick(
                f"in the {self.noun}s",
                f"in these {self.noun}s",
                f"in the {english.number(num_images)} {self.noun}s",
            )
        )

    def _typed(self, text: str) -> str:
        if self.rng.random() < 0.65:
            text = text[0].upper() + text[1:]
        is_request = text.split(" ", 1)[0].lower().strip(",") in _REQUESTS
        if self.rng.random() < 0.3:
            return text
        return text + ("." if is_request else "?")


SUPERLATIVES: dict[str, str] = {
    "left": "[leftmost|leftmost|leftmost]",
    "right": "[rightmost|rightmost|rightmost]",
    "above": "[topmost|highest|uppermost]",
    "below": "[lowest|bottommost|lowest]",
    "largest": "[largest|biggest]",
    "smallest": "[smallest|tiniest]",
}
"""Patterns for the thing that is outermost on a side, largest or smallest."""

_REQUESTS = frozenset(
    {"compare", "count", "describe", "find", "highlight", "list", "locate", "look", "mark", "name", "outline"}
    | {"point", "say", "segment", "show", "tell"}
)
"""First words of requests, which end in a full stop rather than a question mark."""


def article(phrase: str) -> str:
    """Return "a" or "an" for a phrase whose first word is a colour, a kind or a part."""
    return "an" if phrase[0].lower() in "aeiou" else "a"


def is_plural_part(part: str) -> bool:
    """Tell whether a part's name is a plural ("legs", "wheels") and takes "are"."""
    return part.endswith("s") and not part.endswith("ss")


def plural_of_part(part: str) -> str:
    """Return the plural of a part: "handle" -> "handles", "body" -> "bodies", "legs" -> "legs"."""
    if is_plural_part(part):
        return part
    return _IRREGULAR_PARTS.get(part, part + "s")


_IRREGULAR_PARTS = {"body": "bodies", "leaf": "leaves"}


def be(plural: bool) -> str:
    """Return "are" or "is"."""
    return "are" if plural else "is"


def counted_images(num_images: int) -> str:
    """Say "both images" for two and "all three images" for three."""
    return "both images" if num_images == 2 else f"all {english.number(num_images)} images"
