"""Conversations that point, of the image sets of a build; what is asked is in `segue.data.pointing`.

In the stage of the pairs such a conversation is an entry of `qa` like any other, with more fields:

    {"question": "Find this in the other images.", "answer": "Image 2 shows the cats 201 and 202.",
     "kind": "pointing", "images": [{"place": 0}, {"place": 2}],
     "marks": [{"start": 5, "end": 9, "codes": ["101"]}],
     "then": [{"question": ..., "answer": ...}], "turns": [...]}

`images` are places of the set, in the order of the texts; `{"place": 0, "retake": 3}` is that photograph
seen again. Identifiers belong to these images. The filters judge the first pair like any other, with its
marks, and those after it by everything but what asks for all images.

Source: paper silent; ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segue.data.formats.annotations import AnnotatedRegion
from segue.data.language import english
from segue.data.language.grounded_text import RegionText
from segue.data.own.sources import MOST_MASKS
from segue.data.own.things import Inventory, Thing
from segue.data.pointing.exchanges import (
    KIND,
    SAME_INSTANCE_SHARE,
    SAME_PART_SHARE,
    Mark,
    Pointing,
    PointingExchange,
    add_follow_ups,
    can_be_marked,
    like_it,
)
from segue.data.pointing.retakes import retake_of
from segue.datasets.m4seg.filters import QAPair, Verdict, judge
from segue.datasets.m4seg.lexicon import Lexicon
from segue.datasets.m4seg.listing import Listing, list_images
from segue.datasets.m4seg.mentions import GroundedPhrase
from segue.datasets.m4seg.stored_image import StoredImage

VERSION = 1
PICTURES = "pictures"
"""Folder of a build for photographs that are seen again."""
WAYS = ("same_part", "same_kind", "same_instance")


@dataclass(frozen=True)
class Place:
    """An image of a conversation.

    Attributes:
        place: Of the photograph in its set.
        retake: Number of the retake; None for the photograph itself.
    """

    place: int
    retake: int | None = None

    def to_json(self) -> dict[str, int]:
        """The entry of `images`."""
        return {"place": self.place} | ({} if self.retake is None else {"retake": self.retake})

    def image(self, images: Sequence[StoredImage], folder: Path) -> StoredImage:
        """The image of a set that is meant; `folder` is that of the retakes' files."""
        photograph = images[self.place]
        return photograph if self.retake is None else photograph.retaken(self.retake, folder)


def mix_in(
    pairs: Sequence[dict[str, Any]], images: Sequence[StoredImage], share: float, rng: np.random.Generator
) -> tuple[list[dict[str, Any]], int]:
    """Put conversations that point in the place of a share of a set's pairs.

    Args:
        pairs: Those that were written without.
        images: The set.
        share: 0 to 1, of the pairs.
        rng: Of the set's own.

    Returns:
        As many as there were, and the number of those that stayed though they were chosen, because nothing
        more in the set can be pointed at.
    """
    chosen = np.flatnonzero(rng.random(len(pairs)) < share)
    made = pointing_pairs(images, len(chosen), rng)
    mixed = list(pairs)
    for place, pair in zip(chosen.tolist(), made):
        mixed[place] = pair
    return mixed, len(chosen) - len(made)


def pointing_pairs(
    images: Sequence[StoredImage], wanted: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Write up to so many conversations that point, no two about one kind of thing of one image.

    Args:
        images: The set.
        wanted: How many.
        rng: Of every choice.
    """
    drawing = _Drawing(images, rng)
    made = (drawing.draw() for _ in range(wanted))
    return [pair for pair in made if pair is not None]


class _Drawing:
    """Which images of a set are spoken of, and what is marked."""

    def __init__(self, images: Sequence[StoredImage], rng: np.random.Generator) -> None:
        self.images, self.rng = images, rng
        self.inventories = [Inventory(image.annotated()) for image in images]
        self.marks: dict[tuple[int, Thing], list[AnnotatedRegion]] = {}
        for home, inventory in enumerate(self.inventories):
            for thing, region in can_be_marked(inventory):
                self.marks.setdefault((home, thing), []).append(region)
        self.asked: set[tuple[str, int, Thing]] = set()

    def draw(self) -> dict[str, Any] | None:
        """One conversation; None where everything in the set was asked about."""
        # The very thing can be asked for in any set: it is the last resort where nothing has its like.
        last = ["same_kind", "same_part"] if self.rng.random() < SAME_INSTANCE_SHARE else ["same_instance"]
        ways = [way for way in WAYS if way not in last]
        if ways == ["same_part", "same_kind"] and self.rng.random() >= SAME_PART_SHARE:
            ways.reverse()
        for way in (*ways, *last):
            for home, thing in self._shuffled():
                regions = self.marks[home, thing]
                region = regions[int(self.rng.integers(len(regions)))]
                key = (way, home, thing)
                made = None if key in self.asked else getattr(self, f"_{way}")(home, thing, region)
                if made is not None:
                    self.asked.add(key)
                    pair: dict[str, Any] = made
                    return pair
        return None

    def _shuffled(self) -> list[tuple[int, Thing]]:
        keys = list(self.marks)
        return [keys[int(place)] for place in self.rng.permutation(len(keys))]

    def _same_kind(self, home: int, thing: Thing, region: AnnotatedRegion) -> dict[str, Any] | None:
        """The mark with all images of the set that are known to show such a thing or not; one has to."""
        known = {k: like_it(inventory, thing) for k, inventory in enumerate(self.inventories) if k != home}
        shown = [k for k, shows in known.items() if shows]
        if not shown or any(self.inventories[k].count(thing) > MOST_MASKS for k in shown):
            return None
        # In the order of the set, which was drawn at random.
        places = [Place(k) for k in range(len(self.images)) if k == home or known[k] is not None]
        pointing = self._pointing(places, places.index(Place(home)), thing, region)
        pointing.ask_same_kind()
        return self._written(pointing, places)

    def _same_part(self, home: int, thing: Thing, region: AnnotatedRegion) -> dict[str, Any] | None:
        """The mark with one image that shows that part of another kind of object."""
        if not thing.owner:
            return None
        found = [
            (k, other)
            for k, inventory in enumerate(self.inventories)
            for other in inventory.things
            if k != home and other.owner and other.name == thing.name and other != thing
            if inventory.count(other) <= MOST_MASKS
        ]
        if not found:
            return None
        k, other = found[int(self.rng.integers(len(found)))]
        places = [Place(place) for place in sorted((home, k))]
        pointing = self._pointing(places, places.index(Place(home)), thing, region)
        pointing.ask_same_part(places.index(Place(k)), other)
        return self._written(pointing, places)

    def _same_instance(self, home: int, thing: Thing, region: AnnotatedRegion) -> dict[str, Any] | None:
        """The mark with the same photograph seen again, and at times an image without such a thing."""
        again = Place(home, retake_of(self.images[home].annotated(), region, self.rng))
        shown = [Place(home), again]
        lacking = [k for k, inventory in enumerate(self.inventories) if like_it(inventory, thing) is False]
        if lacking and self.rng.random() < 0.5:
            shown.append(Place(lacking[int(self.rng.integers(len(lacking)))]))
        places = [shown[int(k)] for k in self.rng.permutation(len(shown))]
        pointing = self._pointing(places, places.index(Place(home)), thing, region)
        # Of a part, the stage may have left out the object, when nearly all of it was cut away.
        if not any(r.rid == region.rid for r in pointing.images[places.index(again)].image.regions):
            return None
        pointing.ask_same_instance(places.index(again))
        return self._written(pointing, places)

    def _pointing(
        self, places: Sequence[Place], home: int, thing: Thing, region: AnnotatedRegion
    ) -> Pointing:
        inventories = [
            self.inventories[place.place]
            if place.retake is None
            else Inventory(place.image(self.images, Path()).annotated())
            for place in places
        ]
        return Pointing(inventories, Mark(home, thing, region), self.rng)

    def _written(self, pointing: Pointing, places: Sequence[Place]) -> dict[str, Any] | None:
        """The entry of the stage; None where something that is spoken of has no identifier."""
        add_follow_ups(pointing, self.rng)
        listing = list_images([place.image(self.images, Path()) for place in places])
        codes = {(entry.image_index, entry.region.rid): entry.code for entry in listing.entries}
        first, *then = pointing.exchanges
        named = [span for e in pointing.exchanges for span in (*e.question.spans, *e.answer.spans)]
        if any((span.image_index, region.rid) not in codes for span in named for region in span.payload):
            return None
        marks = [
            {"start": s.start, "end": s.end, "codes": [codes[s.image_index, r.rid] for r in s.payload]}
            for s in first.question.spans
        ]
        return {
            **_pair(first, codes),
            "kind": KIND,
            "images": [place.to_json() for place in places],
            "marks": marks,
            "then": [_pair(exchange, codes) for exchange in then],
            "turns": [exchange.described() for exchange in pointing.exchanges],
        }


def _pair(exchange: PointingExchange, codes: Mapping[tuple[int, str], str]) -> dict[str, str]:
    return {"question": exchange.question.text, "answer": _with_codes(exchange.answer, codes)}


def _with_codes(text: RegionText, codes: Mapping[tuple[int, str], str]) -> str:
    """A text with the identifiers of each phrase behind it: "the cats 201 and 202"."""
    written, done = "", 0
    for span in text.spans:
        listed = english.listed([codes[span.image_index, region.rid] for region in span.payload])
        written += f"{text.text[done : span.end]} {listed}"
        done = span.end
    return written + text.text[done:]


# ---- the stage of the records ------------------------------------------------------------------------------


def listing_of(pair: Mapping[str, Any], images: Sequence[StoredImage], folder: Path) -> Listing:
    """The listing of a conversation's own images.

    Args:
        pair: Entry of the stage of the pairs.
        images: The set.
        folder: Of the retakes' files.
    """
    return list_images([Place(**entry).image(images, folder) for entry in pair["images"]])


def judge_all(pair: Mapping[str, Any], listing: Listing, lexicon: Lexicon) -> list[Verdict]:
    """Put a conversation through the filters, pair by pair, up to the first that is rejected.

    Args:
        pair: Entry of the stage of the pairs.
        listing: See `listing_of`.
        lexicon: Names of the whole build.
    """
    marks = tuple(GroundedPhrase(m["start"], m["end"], tuple(m["codes"])) for m in pair["marks"])
    asked = [QAPair(pair["question"], pair["answer"], marks)]
    asked += [QAPair(then["question"], then["answer"], follows=True) for then in pair["then"]]
    verdicts: list[Verdict] = []
    for one in asked:
        verdicts.append(judge(one, listing, lexicon))
        if not verdicts[-1].kept:
            break
    return verdicts
