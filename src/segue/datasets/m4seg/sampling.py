"""Stage 3: sets of two or three images that are worth comparing.

Two criteria: the nearest neighbours of an image, and images near to it that hold an object of a relevant
class. A set is written once, however often it was found; copies and near duplicates are never in one set; the
order of its images is drawn from the set's own seed, so that no position tells anything.

Source: PRIMA sec. 4 and A.2 (k = 20, n in {1, 2}; k2 = 5, n in {2, 3}). The paper leaves open whether n
counts neighbours: here it does for the first criterion, and is the size of the set for the second, so that
sets have two or three images in both, as the paper says. The rest is ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segue.datasets.m4seg.features import Features
from segue.datasets.m4seg.images import ImageTable
from segue.datasets.m4seg.neighbours import Search, nearest
from segue.datasets.m4seg.relevance import Relevance
from segue.datasets.stages.stages import MapFn, ShardWriter, StageOutput, run_stage
from segue.errors import InputError

VERSION = 1
ANCHORS = 1024
"""Anchors of one shard."""
_SPARE = 16
"""Neighbours looked at beyond k, for those that turn out to be copies."""

Criterion = Literal["nn", "category"]
SplitBy = Literal["image_disjoint", "random_qa", "source"]


@dataclass(frozen=True)
class SamplingConfig:
    """How image sets are drawn.

    Attributes:
        seed: Of every choice.
        k: Nearest neighbours to choose from.
        neighbours: Numbers of neighbours to choose, each as likely. PRIMA: 1 or 2.
        k2: The same for the second criterion, after images without a relevant class are left out.
        sizes: Sizes of the sets of the second criterion. PRIMA: 2 or 3.
        sets_per_anchor: Of the first criterion; the paper is silent, and its number of pairs fits one.
        per_class: At most so many anchors a class of the second criterion, drawn at random; people stand in
            half of all photographs. 0 leaves the criterion out.
        near_duplicate: Cosine distance below which two images count as one; None for the embedder's own.
        cross_source: Whether a set may mix sources. The paper's examples never do.
        split_by: `image_disjoint` keeps the images for testing apart, copies included; `source` takes the
            sources' own val and test images for testing; `random_qa` splits the finished pairs, as the
            paper's counts suggest that it did, so that both sides share images.
        test_share: Of the images (of the pairs with `random_qa`). PRIMA: 5,000 of 229,393.
        max_sets: Keep so many, drawn at random; None for all.
        search: See `nearest`.
    """

    seed: int = 0
    k: int = 20
    neighbours: tuple[int, ...] = (1, 2)
    k2: int = 5
    sizes: tuple[int, ...] = (2, 3)
    sets_per_anchor: int = 1
    per_class: int = 400
    near_duplicate: float | None = None
    cross_source: bool = False
    split_by: SplitBy = "image_disjoint"
    test_share: float = 0.0218
    max_sets: int | None = None
    search: Search = "auto"

    def __post_init__(self) -> None:
        sound = (
            ("k", self.k >= 1 and self.k2 >= 1, "k and k2 from 1 on"),
            ("neighbours", set(self.neighbours) <= {1, 2} and self.neighbours != (), "1, 2 or both"),
            ("sizes", set(self.sizes) <= {2, 3} and self.sizes != (), "2, 3 or both"),
            ("test_share", 0 <= self.test_share < 1, "from 0 up to below 1"),
            ("max_sets", self.max_sets is None or self.max_sets >= 1, "1 or more"),
            ("sets_per_anchor", self.sets_per_anchor >= 0 and self.per_class >= 0, "0 or more"),
        )
        for name, right, expected in sound:
            if not right:
                raise InputError(
                    "Image sets cannot be drawn like this.",
                    expected=f"{name}: {expected}",
                    found=str(getattr(self, name)),
                    where="sampling",
                    fix=f"change {name}",
                )


@dataclass(frozen=True)
class ImageSet:
    """One set.

    Attributes:
        id: `nn/pascal_part/2008_006462+2010_005275`, in the order of the images.
        rows: Of the images, in the order in which texts number them.
        criterion: How it was found.
        split: "train" or "test"; "train" for all with `random_qa`.
        anchor: Position of the image that it was drawn for.
        distances: Cosine distance of each to the anchor.
        classes: For `category`, the class of the anchor that was compared.
    """

    id: str
    rows: tuple[int, ...]
    criterion: Criterion
    split: str
    anchor: int
    distances: tuple[float, ...]
    classes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The line of the stage."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ImageSet:
        """Read the line."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**fields)


@dataclass(frozen=True)
class _Group:
    """Rows that may share a set: one source (or all) and one side of the split."""

    name: str
    split: str
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class _Chunk:
    """Anchors of one group, and among which rows their neighbours are."""

    criterion: Criterion
    split: str
    anchors: NDArray[np.int64]
    base: NDArray[np.int64]
    name: str = ""


@dataclass(frozen=True)
class DrawSets:
    """The work of the stage that finds candidates."""

    table: ImageTable
    features: Features
    config: SamplingConfig
    near_duplicate: float

    def __call__(self, chunk: _Chunk, shard: ShardWriter) -> None:
        config = self.config
        k = config.k if chunk.criterion == "nn" else config.k2
        # More than k, because the anchor itself and its copies are among the nearest and are struck out.
        found, distances = nearest(self.features, chunk.anchors, chunk.base, k + _SPARE, config.search)
        repeats = config.sets_per_anchor if chunk.criterion == "nn" else 1
        # The vector of an image that could not be read is zeros (`EmbedImages`): all are equally far from it,
        # and its "nearest" would be whichever rows come first.
        usable = np.abs(self.features.take(chunk.anchors)).sum(axis=1) > 0
        keys: list[list[int]] = []
        for place, anchor in enumerate(chunk.anchors.tolist()):
            near = self._apart(anchor, found[place], distances[place], k)
            for repeat in range(repeats):
                drawn = self._draw(chunk, anchor, near, repeat) if usable[place] else None
                if drawn is None:
                    shard.count(f"anchors without enough neighbours ({chunk.criterion})")
                    continue
                shard.line("sets", drawn.to_json())
                # Rows (7, 3) become [3, 7, -1], and (9, 3, 7) becomes [3, 7, 9]: sorted, so that a set drawn
                # from another of its images counts as the same; -1 fills a pair up to the width of a triplet.
                keys.append(sorted(drawn.rows) + [-1] * (3 - len(drawn.rows)))
        shard.array("keys", np.asarray(keys, np.int64).reshape(-1, 3))

    def _apart(
        self, anchor: int, rows: NDArray[np.int64], distances: NDArray[np.float64], k: int
    ) -> list[tuple[int, float]]:
        """The k nearest that are neither the anchor nor its copies."""
        different = (
            (rows != anchor)
            & (self.table.copies[rows] != self.table.copies[anchor])
            & (distances >= self.near_duplicate)
        )
        return list(zip(rows[different][:k].tolist(), distances[different][:k].tolist(), strict=True))

    def _draw(
        self, chunk: _Chunk, anchor: int, near: list[tuple[int, float]], repeat: int
    ) -> ImageSet | None:
        rng = self._rng(chunk, anchor, repeat)
        # Both are numbers of neighbours: a size of the second criterion counts the anchor too (2 -> 1, 3 ->
        # 2).
        counts = self.config.neighbours if chunk.criterion == "nn" else [n - 1 for n in self.config.sizes]
        wanted = int(rng.choice(counts))
        chosen: list[tuple[int, float]] = [(anchor, 0.0)]
        for place in rng.permutation(len(near)).tolist():
            if len(chosen) > wanted:
                break
            # None of `near` is a copy of the anchor, but two of them may be copies of each other.
            if not self._is_copy_of(near[place][0], [row for row, _ in chosen]):
                chosen.append(near[place])
        # Copies may leave a pair where a triplet was drawn; it is kept where pairs are allowed.
        if len(chosen) <= min(counts):
            return None
        chosen = [chosen[n] for n in rng.permutation(len(chosen)).tolist()]
        rows = tuple(row for row, _ in chosen)
        return ImageSet(
            f"{chunk.criterion}/{self._name(chunk, rows)}",
            rows,
            chunk.criterion,
            chunk.split,
            rows.index(anchor),
            tuple(round(distance, 6) for _, distance in chosen),
            (chunk.name,) if chunk.name else (),
        )

    def _is_copy_of(self, row: int, chosen: list[int]) -> bool:
        if self.table.copies[row] in self.table.copies[chosen]:
            return True
        vectors = self.features.take(np.asarray([row, *chosen], np.int64)).astype(np.float64)
        return bool((1 - vectors[1:] @ vectors[0] < self.near_duplicate).any())

    def _name(self, chunk: _Chunk, rows: tuple[int, ...]) -> str:
        ids = [self.table.image_id(row) for row in rows]
        sources = {image_id.partition(":")[0] for image_id in ids}
        if len(sources) == 1:
            return f"{sources.pop()}/" + "+".join(image_id.partition(":")[2] for image_id in ids)
        return "+".join(ids)

    def _rng(self, chunk: _Chunk, anchor: int, repeat: int) -> np.random.Generator:
        """A generator of the set's own: adding a source or a class changes no other set's choices."""
        told = f"{self.config.seed} {chunk.criterion} {chunk.name} {self.table.image_id(anchor)} {repeat}"
        return np.random.default_rng(int.from_bytes(hashlib.sha256(told.encode()).digest()[:16], "big"))


def sample_sets(
    folder: Path,
    images: StageOutput,
    features: StageOutput,
    config: SamplingConfig,
    relevance: Relevance,
    *,
    near_duplicate: float,
    map_fn: MapFn = map,
    progress: bool = True,
) -> StageOutput:
    """Run the stage; its sets are those of `folder/kept`, after repetitions have been left out.

    Args:
        folder: Of the stage; candidates go to `folder/drawn`.
        images, features: The stages before.
        config: How to draw.
        relevance: Which classes may be compared.
        near_duplicate: The embedder's, for `config.near_duplicate` None.
        map_fn, progress: See `run_stage`.
    """
    table = ImageTable.read(images)
    least = near_duplicate if config.near_duplicate is None else config.near_duplicate
    inputs = {"images": images.hash, "features": features.hash}
    told = {"version": VERSION, **_plain(config), "near_duplicate": least, "relevance": relevance.to_json()}
    # `max_sets` only thins out what was found: changing it does not repeat the search.
    drawn_by = {name: value for name, value in told.items() if name != "max_sets"}
    drawn = run_stage(
        folder / "drawn",
        _chunks(table, config, relevance),
        DrawSets(table, Features(features), config, least),
        config=drawn_by,
        inputs=inputs,
        map_fn=map_fn,
        progress=progress,
    )
    return run_stage(
        folder / "kept",
        _kept(drawn, config),
        _KeepSets(drawn),
        config={"version": VERSION, "max_sets": config.max_sets, "seed": config.seed},
        inputs={"drawn": drawn.hash},
        progress=False,
    )


def _plain(config: SamplingConfig) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()}


def _groups(table: ImageTable, config: SamplingConfig) -> Iterator[_Group]:
    if config.split_by == "image_disjoint":
        test: NDArray[np.bool_] = table.chance < config.test_share
    elif config.split_by == "source":
        test = np.isin(table.source_split, [n for n, s in enumerate(table.splits) if s in ("val", "test")])
    else:
        test = np.zeros(len(table), bool)
    sources = [("all", np.ones(len(table), bool))]
    if not config.cross_source:
        sources = [(name, table.source == n) for n, name in enumerate(table.sources)]
    for name, here in sources:
        for split, side in (("train", ~test), ("test", test)):
            rows = np.flatnonzero(here & side)
            # An image alone has no neighbour.
            if len(rows) > 1:
                yield _Group(name, split, rows)


def _chunks(table: ImageTable, config: SamplingConfig, relevance: Relevance) -> Iterator[_Chunk]:
    """Groups in order; in each, all images by the first criterion, then class by class by the second."""
    for group in _groups(table, config):
        if config.sets_per_anchor:
            for start in range(0, len(group.rows), ANCHORS):
                yield _Chunk("nn", group.split, group.rows[start : start + ANCHORS], group.rows)
        if not config.per_class:
            continue
        inside = np.zeros(len(table), bool)
        inside[group.rows] = True
        for name, rows in table.class_rows.items():
            others = [table.class_rows[n] for n in sorted(relevance.of(name)) if n in table.class_rows]
            base = np.unique(np.concatenate(others))
            # Images without a relevant class leave first, then the k2 nearest of the rest are taken: the
            # paper filters before it speaks of "the remaining k2 nearest neighbors" (A.2).
            base = base[inside[base]]
            anchors = rows[inside[rows]]
            if len(anchors) > config.per_class:
                told = f"{config.seed} {group.name} {group.split} {name}"
                seed = int.from_bytes(hashlib.sha256(told.encode()).digest()[:16], "big")
                chosen = np.random.default_rng(seed).choice(anchors, config.per_class, replace=False)
                anchors = np.sort(chosen)
            if len(anchors) and len(base) > 1:
                yield _Chunk("category", group.split, anchors, base, name)


def _kept(drawn: StageOutput, config: SamplingConfig) -> list[NDArray[np.bool_]]:
    """For each shard of candidates, which of its sets are kept: the first of each, at most `max_sets`."""
    blocks = [np.load(path) for path, _ in drawn.files("keys")]
    keys = np.concatenate(blocks) if blocks else np.zeros((0, 3), np.int64)
    keep = np.zeros(len(keys), bool)
    if len(keys):
        # Of equal keys `unique` gives the first place, so a set found by both criteria counts as one of
        # neighbours.
        keep[np.unique(keys, axis=0, return_index=True)[1]] = True
    left = np.flatnonzero(keep)
    if config.max_sets is not None and len(left) > config.max_sets:
        rng = np.random.default_rng(config.seed)
        keep[rng.permutation(left)[config.max_sets :]] = False
    # `split` wants the inner borders: blocks of 3, 2 and 4 rows are cut at [3, 5].
    return list(np.split(keep, np.cumsum([len(block) for block in blocks])[:-1])) if blocks else []


@dataclass(frozen=True)
class _KeepSets:
    """Copies the sets that are kept; one shard for each shard of candidates."""

    drawn: StageOutput

    def __call__(self, keep: NDArray[np.bool_], shard: ShardWriter) -> None:
        entry = self.drawn.shards[shard.number]
        name = next((file.file for file in entry.files if file.output == "sets"), None)
        if name is None:
            return
        with (self.drawn.folder / name).open("rb") as lines:
            for line, kept in zip(lines, keep, strict=True):
                shard.count("sets" if kept else "sets found before, or beyond max_sets")
                if kept:
                    record = json.loads(line)
                    shard.line("sets", record)
                    shard.count(f"sets of {record['criterion']}, {record['split']}")
                    shard.count(f"sets of {len(record['rows'])} images")
