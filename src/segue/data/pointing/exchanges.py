"""Questions about a marked region of one image, answered from the annotations of all of them.

    image 1 with a marked cat, image 2 with two cats, image 3 without one
    "Find [this] in the other images."  ->  "Image 2 shows the cats. There is nothing like it in image 3."
    "Which of the two in image 2 is on the left?"  ->  "Here is the cat on the left in image 2."

Both sides of an exchange are `RegionText`: spans of a question are what is pointed at, spans of an answer
are masks. Who writes the record, and how regions are named in it, is the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from segue.data.formats.annotations import AnnotatedRegion
from segue.data.language.grounded_text import RegionText
from segue.data.own.dialogue import SIZE_RATIO
from segue.data.own.statements import Statements, numbered
from segue.data.own.things import Inventory, Thing
from segue.data.pointing.wordings import POINTING
from segue.records import TurnMeta

KIND = "pointing"
"""What records call these questions in `meta.kind`."""
SAME_INSTANCE = "same_instance"
"""Template of questions about a photograph that is seen again."""
LEAST_SHARE = 0.002
"""Smaller regions, as fractions of their image, are not pointed at."""
SAME_INSTANCE_SHARE = 0.25
"""Share of conversations that show the marked photograph again, mirrored, cropped or in other colours."""
SAME_PART_SHARE = 0.3
"""Share of conversations about a marked part that ask for that part of another kind of object."""
FOLLOW_UPS = ("again", "parts", "larger", "side")
FOLLOW_UP_SHARES = (0.5, 0.35, 0.15)
"""Share of conversations with no, one and two follow-ups."""
# As `SetFacts.relation` of M4SEG: plain to see who is further left.
_ASIDE, _APART = 0.12, 0.3


@dataclass(frozen=True)
class Mark:
    """What is pointed at.

    Attributes:
        image_index: The image that it lies in, 0-based.
        thing: What it is.
        region: The region itself.
    """

    image_index: int
    thing: Thing
    region: AnnotatedRegion


@dataclass(frozen=True)
class PointingExchange:
    """A question and its answer.

    Attributes:
        question: Its spans are marks.
        answer: Its spans are masks.
        template: Key of `POINTING`, without "_in".
    """

    question: RegionText
    answer: RegionText
    template: str

    @property
    def is_follow_up(self) -> bool:
        """Whether the question rests on earlier masks."""
        return self.template in FOLLOW_UPS

    def described(self) -> TurnMeta:
        """The entry in a record's `meta["turns"]`."""
        regions = [region for span in self.answer.spans for region in span.payload]
        parts_only = bool(regions) and all(region.kind == "part" for region in regions)
        return {
            "kind": KIND,
            "level": "part" if parts_only else "object",
            # What is marked has to be recognised before anything can be said.
            "needs_images": True,
            "template": self.template,
            "is_follow_up": self.is_follow_up,
        }


def can_be_marked(inventory: Inventory) -> list[tuple[Thing, AnnotatedRegion]]:
    """Everything in an image that is large enough to point at."""
    least = LEAST_SHARE * inventory.image.height * inventory.image.width
    return [
        (thing, region)
        for thing in inventory.things
        for region in inventory.regions[thing]
        if region.area >= least
    ]


def like_it(inventory: Inventory, thing: Thing) -> bool | None:
    """Whether an image shows something of the same kind; None where its annotations do not say."""
    if inventory.has(thing):
        return True
    return False if inventory.knows(thing) else None


class Pointing:
    """Questions about one mark, and what has been answered so far.

    Args:
        images: What each image shows, in the order in which the text numbers them.
        mark: What is pointed at.
        rng: Of every choice of words.
    """

    def __init__(self, images: Sequence[Inventory], mark: Mark, rng: np.random.Generator) -> None:
        self.images, self.mark, self.rng = images, mark, rng
        self.say = Statements(images)
        self.others = [k for k in self.say.all if k != mark.image_index]
        self.exchanges: list[PointingExchange] = []
        self._found: dict[int, tuple[Thing, tuple[AnnotatedRegion, ...]]] = {}
        """Image -> what answers found like the mark in it."""

    # ---- questions that point

    def ask_same_kind(self) -> None:
        """Ask for the same kind in all other images, each of which is known to show it or not."""
        answer = RegionText()
        for k in self.others:
            if self.images[k].has(self.mark.thing):
                answer.sentence().say(f"Image {k + 1} shows ")
                self._ground_all(answer, self.mark.thing, k)
                answer.say(".")
        self._deny(answer, "There is nothing like it")
        self._add("same_kind", answer)

    def ask_same_part(self, k: int, thing: Thing) -> None:
        """Ask for the same part of another kind of object: a chair's leg is marked, a table's is meant.

        Args:
            k: The only other image that is spoken of.
            thing: The part there; it has the name of the marked one.
        """
        are = thing.takes_are(self.images[k].count(thing))
        answer = RegionText(f"Here {'are' if are else 'is'} ")
        self._ground_all(answer, thing, k)
        self._add("same_part", answer.say(f" in image {k + 1}."), owner=thing.owner, k=k + 1)

    def ask_same_instance(self, k: int) -> None:
        """Ask for the very thing: image `k` is a retake of the marked one, no other shows its kind."""
        region = next(r for r in self.images[k].regions[self.mark.thing] if r.rid == self.mark.region.rid)
        answer = self._here("the same ", self.mark.thing, k, (region,)).say(f" in image {k + 1}.")
        self._found[k] = (self.mark.thing, (region,))
        self._deny(answer, "It is not")
        self._add(SAME_INSTANCE, answer)

    # ---- follow-ups

    def follow_up(self) -> bool:
        """Add a question that rests on the masks so far; False where there is none to ask."""
        asked = {exchange.template for exchange in self.exchanges}
        for place in self.rng.permutation(len(FOLLOW_UPS)):
            name = FOLLOW_UPS[int(place)]
            if name not in asked and getattr(self, f"_ask_{name}")():
                return True
        return False

    def _ask_again(self) -> bool:
        thing, k = self.mark.thing, self.mark.image_index
        answer = self._here("the marked ", thing, k, (self.mark.region,)).say(f" in image {k + 1}.")
        return self._add("again", answer, k=k + 1)

    def _ask_parts(self) -> bool:
        pieces = []
        for k, (_, regions) in self._found.items():
            if len(regions) > 1:
                continue
            image = self.images[k]
            for part in (thing for thing in image.things if thing.owner):
                own = tuple(r for r in image.regions[part] if r.parent == regions[0].rid)
                if own and image.is_complete(part):
                    pieces.append((k, part, own))
        if not pieces:
            return False
        k, part, own = pieces[int(self.rng.integers(len(pieces)))]
        answer = self._here("the ", part, k, own).say(f" in image {k + 1}.")
        return self._add("parts", answer, part=part.name, k=k + 1)

    def _ask_larger(self) -> bool:
        seen = [(self.mark.image_index, self.mark.thing, self.mark.region)]
        seen += [(k, thing, regions[0]) for k, (thing, regions) in self._found.items() if len(regions) == 1]
        # With several in one image "the one that you found" is none of them.
        if len(seen) < 2 or len(seen) <= len(self._found):
            return False
        shares = [
            region.area / (self.images[k].image.height * self.images[k].image.width) for k, _, region in seen
        ]
        first, second = np.argsort(shares)[::-1][:2]
        if shares[first] < SIZE_RATIO * shares[second]:
            return False
        k, thing, region = seen[first]
        answer = RegionText("The ").ground(thing.phrase(), k, (region,))
        verb = "take" if thing.takes_are(1) else "takes"
        return self._add(
            "larger", answer.say(f" in image {k + 1} {verb} up the largest share of its picture.")
        )

    def _ask_side(self) -> bool:
        pairs = [
            (k, thing, regions)
            for k, (thing, regions) in self._found.items()
            if len(regions) == 2 and self.images[k].is_complete(thing) and _are_apart(self.images[k], regions)
        ]
        if not pairs:
            return False
        k, thing, regions = pairs[int(self.rng.integers(len(pairs)))]
        # An inventory has its regions from left to right.
        place = int(self.rng.integers(2))
        side = ("left", "right")[place]
        answer = self._here("the ", thing, k, (regions[place],)).say(f" on the {side} in image {k + 1}.")
        return self._add("side", answer, side=side, k=k + 1)

    # ---- words

    def _here(self, before: str, thing: Thing, k: int, regions: tuple[AnnotatedRegion, ...]) -> RegionText:
        """Write "Here are the cat's ears", of one object's regions."""
        verb = "are" if thing.takes_are(len(regions)) else "is"
        return RegionText(f"Here {verb} {before}").ground(thing.phrase(len(regions)), k, regions)

    def _ground_all(self, text: RegionText, thing: Thing, k: int) -> None:
        self.say.the(text, thing, k, where=False)
        self._found[k] = (thing, tuple(self.images[k].regions[thing]))

    def _deny(self, answer: RegionText, said: str) -> None:
        """Say of the other images without an answer that it is not there."""
        lacking = [k for k in self.others if k not in self._found]
        if lacking:
            answer.sentence().say(f"{said} in {numbered(lacking)}.")

    def _add(self, template: str, answer: RegionText, **fields: object) -> bool:
        single = len(self.others) == 1 and f"{template}_in" in POINTING
        wordings = POINTING[f"{template}_in" if single else template]
        typed = wordings[int(self.rng.integers(len(wordings)))]
        if single:
            fields["k"] = self.others[0] + 1
        question = self._marked(typed.format(**fields))
        self.exchanges.append(PointingExchange(question, answer, template))
        return True

    def _marked(self, typed: str) -> RegionText:
        """A question in which "[this]" is the mark."""
        before, opened, rest = typed.partition("[")
        question = RegionText(before)
        if opened:
            phrase, _, after = rest.partition("]")
            question.ground(phrase, self.mark.image_index, (self.mark.region,)).say(after)
        return question


def add_follow_ups(pointing: Pointing, rng: np.random.Generator) -> None:
    """Add as many follow-ups as `FOLLOW_UP_SHARES` says, where the masks carry them."""
    wanted = int(np.searchsorted(np.cumsum(FOLLOW_UP_SHARES)[:-1], rng.random(), side="right"))
    for _ in range(wanted):
        if not pointing.follow_up():
            return


def _are_apart(inventory: Inventory, pair: Sequence[AnnotatedRegion]) -> bool:
    """Whether the first of two regions lies plainly to the left of the second."""
    (x1, _, w1, _), (x2, _, w2, _) = (coco_mask.toBbox(region.rle) for region in pair)
    overlap = min(x1 + w1, x2 + w2) - max(x1, x2)
    step = x2 + w2 / 2 - x1 - w1 / 2
    return bool(overlap <= _APART * min(w1, w2) and step >= _ASIDE * inventory.image.width)
