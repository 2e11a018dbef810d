"""Where training conversations come from: records that carry text, or annotations that are asked about."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from pycocotools import mask as coco_mask

from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.formats.report import ReadReport
from segue.data.language.grounded_text import GroundedSpan, RegionText
from segue.data.own.dialogue import OwnExchange, compose
from segue.data.own.things import Catalogue
from segue.errors import InputError
from segue.records import Conversation, ImageRef, Meta, Region, Span, Turn
from segue.records.conversation import Split

SET_SHARES = (0.3, 0.4, 0.3)
"""Share of sets of one, two and three images."""
SHARED_NAME_SHARE = 0.5
"""Share of sets that are chosen so that all of their images show one thing."""
MOST_MASKS = 4
"""Up to so many regions under one phrase are a mask each; more become one mask, their union."""


class ConversationSource(Protocol):
    """Training conversations without end.

    Attributes:
        root: The folder that `ImageRef.path` is relative to, unless it is absolute.
    """

    root: Path

    def __len__(self) -> int:
        """Number of images or of records: what an epoch is."""

    def draw(self, rng: np.random.Generator) -> Conversation:
        """A conversation that depends on `rng` alone."""

    def fixed(self, count: int, seed: int) -> list[Conversation]:
        """The same conversations for the same arguments, for validation; `count` or fewer."""


class TextRecord(Protocol):
    """One record of a file that brings its own text."""

    def conversation(self, rng: np.random.Generator) -> Conversation:
        """Its conversation; `rng` chooses between wordings."""


@dataclass
class OwnData:
    """A user's data, ready to draw from.

    Attributes:
        format: One of `FORMATS`.
        source: Where conversations are drawn.
        report: What was kept and dropped.
        files: The annotation files that were read, sorted; their content identifies the data.
    """

    format: str
    source: ConversationSource
    report: ReadReport
    files: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class FinishedRecord:
    """A conversation that needs no choice any more."""

    written: Conversation

    def conversation(self, rng: np.random.Generator) -> Conversation:
        """The conversation."""
        return self.written


class RecordSource:
    """Draws records at random, each as often as any other.

    Args:
        records: At least one; may read lazily.
        root: See `ConversationSource`.
    """

    def __init__(self, records: Sequence[TextRecord], root: Path) -> None:
        if not len(records):
            raise InputError("There is no record to draw.", expected="at least one", found="none")
        self.records, self.root = records, root

    def __len__(self) -> int:
        return len(self.records)

    def draw(self, rng: np.random.Generator) -> Conversation:
        """One record, in one of its wordings."""
        return self.records[int(rng.integers(len(self.records)))].conversation(rng)

    def fixed(self, count: int, seed: int) -> list[Conversation]:
        """Different records in a fixed random order, in fixed wordings; all of them if there are fewer."""
        order = np.random.default_rng(seed).permutation(len(self.records))[:count]
        return [self.records[int(i)].conversation(np.random.default_rng((seed, int(i)))) for i in order]


class AnnotationSource:
    """Composes conversations about sets of one to three annotated images.

    Args:
        images: Each with at least one thing to ask about; taken in the order of their file names, so that
            the same annotations give the same conversations in every format.
        root: The folder that image paths are written relative to; a file elsewhere keeps its full path.
        split: Written into the records.

    Source: paper silent; ours.
    """

    def __init__(self, images: Sequence[AnnotatedImage], root: Path, split: Split = "train") -> None:
        self.images = sorted(images, key=lambda image: (image.path.name, str(image.path)))
        self.root, self.split = root, split
        self.catalogue = Catalogue(self.images)
        for inventory in self.catalogue.inventories:
            if not inventory.things:
                raise InputError(
                    "An image shows nothing that may be asked about.",
                    expected="at least one region",
                    found=f"{len(inventory.image.regions)} regions",
                    where=str(inventory.image.path),
                    fix="leave the image out",
                )
        if not self.images:
            raise InputError("There is no image to ask about.", expected="at least one", found="none")
        self.paths = [relative_path(image.path, root) for image in self.images]

    def __len__(self) -> int:
        return len(self.images)

    def draw(self, rng: np.random.Generator) -> Conversation:
        """A conversation of one to three exchanges about one to three images."""
        while True:  # ends: an image that shows something can always be asked for it
            chosen = self.sample_set(rng)
            exchanges = compose([self.catalogue.inventories[i] for i in chosen], self.catalogue, rng)
            if exchanges:
                return self.written(chosen, exchanges, f"own/{self.split}/{rng.integers(2**48):012x}")

    def fixed(self, count: int, seed: int) -> list[Conversation]:
        """Conversation i depends on `(seed, i)`: more of them begin with the same ones."""
        return [self.draw(np.random.default_rng((seed, i))) for i in range(count)]

    def sample_set(self, rng: np.random.Generator) -> list[int]:
        """Positions of different images; half of the sets share a thing."""
        count = 1 + int(np.searchsorted(np.cumsum(SET_SHARES)[:-1], rng.random(), side="right"))
        count = min(count, len(self))
        first = int(rng.integers(len(self)))
        pool: Sequence[int] = range(len(self))
        if count > 1 and rng.random() < SHARED_NAME_SHARE:
            things = self.catalogue.inventories[first].things
            sharing = self.catalogue.positions[things[int(rng.integers(len(things)))]]
            pool = sharing if len(sharing) >= count else pool
        chosen = [first]
        while len(chosen) < count:
            other = int(pool[int(rng.integers(len(pool)))])
            if other not in chosen:
                chosen.append(other)
        # The first one drawn is that which the shared thing was taken from; it shall not always be image 1.
        return [chosen[i] for i in rng.permutation(count)]

    def written(self, chosen: Sequence[int], exchanges: Sequence[OwnExchange], id: str) -> Conversation:
        """Write exchanges about these images as a record."""
        return self.record(
            [(self.images[i], self.paths[i]) for i in chosen],
            [(RegionText(exchange.question), exchange.answer) for exchange in exchanges],
            id,
            {"turns": [exchange.described() for exchange in exchanges]},
        )

    def record(
        self,
        images: Sequence[tuple[AnnotatedImage, str]],
        exchanges: Sequence[tuple[RegionText, RegionText]],
        id: str,
        meta: Meta,
    ) -> Conversation:
        """Write questions and answers as a record, with the regions that they name.

        Args:
            images: Each with the path to write.
            exchanges: Question and answer; spans of a question are regions that it points at.
            id: Of the record.
            meta: Of the record.
        """
        turns, used = [], [set[str]() for _ in images]
        for question, answer in exchanges:
            for span in (*question.spans, *answer.spans):
                used[span.image_index] |= {region.rid for region in span.payload}
            marks = [Span(start=span.start, end=span.end, rids=_rids(span)) for span in question.spans]
            # A question without marks has no field `spans`: files look as they always did.
            asked = Turn(role="user", text=question.text)
            turns.append(asked if not marks else Turn(role="user", text=question.text, spans=marks))
            spans = [
                Span(start=span.start, end=span.end, rids=_rids(span), merge=merge_of(_rids(span)))
                for span in answer.spans
            ]
            turns.append(Turn(role="assistant", text=answer.text, spans=spans))
        return Conversation(
            id=id,
            task="photos",
            split=self.split,
            images=[
                ImageRef(image_id=f"own:{image.image_id}", path=path, height=image.height, width=image.width)
                for image, path in images
            ],
            regions=[
                region for k, (image, _) in enumerate(images) for region in regions_of(image, k, used[k])
            ],
            turns=turns,
            meta=meta,
        )


def merge_of(rids: Sequence[str]) -> Literal["each", "union"]:
    """Whether regions under one phrase are a mask each."""
    return "each" if len(rids) <= MOST_MASKS else "union"


def rid_of(image_index: int, rid: str) -> str:
    """A region's name within a conversation."""
    # With the image's number, as ids of annotations may repeat from image to image.
    return f"{image_index + 1}:{rid}"


def _rids(span: GroundedSpan[tuple[AnnotatedRegion, ...]]) -> list[str]:
    return [rid_of(span.image_index, region.rid) for region in span.payload]


def regions_of(image: AnnotatedImage, image_index: int, used: set[str]) -> Iterable[Region]:
    """The regions used, and the objects that parts among them belong to."""
    parents = {region.parent for region in image.regions if region.rid in used}
    for region in image.regions:
        if region.rid in used or region.rid in parents:
            yield _region(region, image_index)


def _region(region: AnnotatedRegion, image_index: int) -> Region:
    return Region(
        rid=rid_of(image_index, region.rid),
        image_index=image_index,
        kind=region.kind,
        name=region.name,
        parent=None if region.parent is None else rid_of(image_index, region.parent),
        bbox=[float(value) for value in coco_mask.toBbox(region.rle)],
        area=region.area,
        mask=region.rle,
        source_label=region.source_label,
    )


def relative_path(path: Path, root: Path) -> str:
    """The path as a record writes it: relative to `root` if it lies under it, else absolute."""
    full, base = os.path.abspath(path), os.path.abspath(root)
    # With the separator: "/data" does not hold "/database/a.jpg".
    return Path(full).relative_to(base).as_posix() if full.startswith(base.rstrip(os.sep) + os.sep) else full
