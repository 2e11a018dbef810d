"""Questions that point, made of annotated images: this, there, and not there.

    image 1 with a marked cat, image 2 with two cats, image 3 without one
    "Find [this] in the other images."  ->  "There are cats in image 2, and there is none in image 3."

The pointed-at thing is an object, or a part of one: then the answer is the same part of another object. A
follow-up may ask for the marked thing's own image again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segue.data.own.sources import AnnotationSource, merge_of, regions_of, rid_of
from segue.data.own.things import Thing
from segue.records import Conversation, ImageRef, Span, Turn

OPENINGS = (
    "Find [this] in the other images.",
    "Find [this thing] in the other images.",
    "Where else is [this]?",
    "Show me the same as [this] in the other images.",
    "Which of the other images shows [this] too?",
    "Mark everything like [this] in the other images.",
)
AGAIN = ("And in image {k}?", "Where was it in image {k}?", "Show it in image {k} again.")
AGAIN_SHARE = 0.3
"""Share of conversations that go on to ask for the marked image itself."""
ABSENT_SHARE = 0.3
"""Share of other images that show nothing like it."""
LEAST_SHARE = 0.002
"""Smaller things, as fractions of their image, are not pointed at."""


class PointingSource:
    """A source of which a share of the conversations points.

    Args:
        source: Annotated images; what it draws otherwise, and all that it knows, stays as it is.
        share: 0 to 1, of the draws.

    Source: paper silent; ours.
    """

    def __init__(self, source: AnnotationSource, share: float) -> None:
        self.source, self.share = source, share
        self.root: Path = source.root

    def __getattr__(self, name: str) -> Any:
        # While it is being copied to a worker it has nothing yet.
        if name == "source":
            raise AttributeError(name)
        return getattr(self.source, name)

    def __len__(self) -> int:
        return len(self.source)

    def draw(self, rng: np.random.Generator) -> Conversation:
        """A conversation that points, or one of the source's own where none can be made."""
        found = pointed(self.source, rng) if rng.random() < self.share else None
        return self.source.draw(rng) if found is None else found

    def fixed(self, count: int, seed: int) -> list[Conversation]:
        """The source's own: validation asks in words."""
        return self.source.fixed(count, seed)


def pointed(source: AnnotationSource, rng: np.random.Generator) -> Conversation | None:
    """A conversation about a marked thing; None where no image beside the one drawn shows such a thing.

    Args:
        source: Its images and what is known of them.
        rng: All that is drawn depends on it.
    """
    inventories = source.catalogue.inventories
    home = int(rng.integers(len(inventories)))
    things = [t for t in inventories[home].things if inventories[home].share(t) >= LEAST_SHARE]
    if not things:
        return None
    thing = things[int(rng.integers(len(things)))]
    having = [k for k in source.catalogue.positions[thing] if k != home]
    chosen, used = [home], {home}
    for _ in range(1 + int(rng.random() < 0.5)):
        other = _other(source, thing, having, used, rng)
        if other is not None:
            chosen.append(other)
            used.add(other)
    if len(chosen) < 2:
        return None
    # The marked image shall not always be the first.
    chosen = [chosen[k] for k in rng.permutation(len(chosen))]
    return _written(source, thing, chosen, chosen.index(home), rng)


def _other(
    source: AnnotationSource, thing: Thing, having: Sequence[int], used: set[int], rng: np.random.Generator
) -> int | None:
    """Another image: one that shows the thing, or one that certainly does not."""
    absent = rng.random() < ABSENT_SHARE
    for _ in range(20):
        pool: Sequence[int] = range(len(source)) if absent else having
        if not pool:
            return None
        place = int(pool[int(rng.integers(len(pool)))])
        inventory = source.catalogue.inventories[place]
        if place not in used and (not absent or (inventory.knows(thing) and not inventory.has(thing))):
            return place
    return None


def _written(
    source: AnnotationSource, thing: Thing, chosen: Sequence[int], home: int, rng: np.random.Generator
) -> Conversation:
    """The record; `home` is the place of the marked image among the chosen ones."""
    inventories = [source.catalogue.inventories[k] for k in chosen]
    own = inventories[home].regions[thing]
    marked = own[int(rng.integers(len(own)))]
    mark = rid_of(home, marked.rid)
    typed = OPENINGS[int(rng.integers(len(OPENINGS)))]
    start, end = typed.index("["), typed.index("]") - 1
    question = Turn(
        role="user",
        text=typed.replace("[", "").replace("]", ""),
        spans=[Span(start=start, end=end, rids=[mark])],
    )
    used = [set[str]() for _ in chosen]
    used[home].add(marked.rid)
    text, spans = "", list[Span]()
    for k, inventory in enumerate(inventories):
        if k == home:
            continue
        text += " " if text else ""
        if not inventory.has(thing):
            text += f"There is nothing like it in image {k + 1}."
            continue
        regions = inventory.regions[thing]
        used[k] |= {region.rid for region in regions}
        phrase = thing.phrase(len(regions), inventory.owners(thing))
        before = f"Image {k + 1} shows the "
        rids = [rid_of(k, region.rid) for region in regions]
        begin = len(text) + len(before)
        spans.append(Span(start=begin, end=begin + len(phrase), rids=rids, merge=merge_of(rids)))
        text += f"{before}{phrase}."
    turns = [question, Turn(role="assistant", text=text, spans=spans)]
    if rng.random() < AGAIN_SHARE:
        asked = AGAIN[int(rng.integers(len(AGAIN)))].format(k=home + 1)
        phrase, before = thing.phrase(), f"In image {home + 1} it is this "
        span = Span(start=len(before), end=len(before) + len(phrase), rids=[mark])
        turns += [
            Turn(role="user", text=asked),
            Turn(role="assistant", text=f"{before}{phrase}.", spans=[span]),
        ]
    images = [source.images[k] for k in chosen]
    return Conversation(
        id=f"own/{source.split}/pointing/{rng.integers(2**48):012x}",
        task="photos",
        split=source.split,
        images=[
            ImageRef(
                image_id=f"own:{image.image_id}", path=source.paths[k], height=image.height, width=image.width
            )
            for k, image in zip(chosen, images, strict=True)
        ],
        regions=[region for k, image in enumerate(images) for region in regions_of(image, k, used[k])],
        turns=turns,
        meta={"kind": "pointing", "level": "part" if thing.owner else "object"},
    )
