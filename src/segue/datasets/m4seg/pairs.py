"""Stage 4: question-answer pairs of every set, with identifiers, before any filter.

A line is `{"set": row, "generator": name, "qa": [{"question", "answer", "kind"}]}`, whoever wrote it: a chat
model (`asking`) or rules (`template`). Conversations that point have more fields, see `pointing`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from segue.datasets.m4seg.images import ImageStore
from segue.datasets.m4seg.listing import list_images
from segue.datasets.m4seg.pointing import VERSION as POINTING_VERSION
from segue.datasets.m4seg.pointing import mix_in
from segue.datasets.m4seg.sampling import ImageSet
from segue.datasets.m4seg.template import template_pairs
from segue.datasets.stages.stages import (
    MapFn,
    ShardWriter,
    StageOutput,
    StoredLines,
    file_hash,
    ranges,
    run_stage,
)

VERSION = 1
SHARD = 500
TEMPLATE = "template"
"""Name of the generator that writes by rule; its records are not the paper's data."""


@dataclass(frozen=True)
class WriteByRule:
    """The work of the rule-based generator.

    Attributes:
        store: The images.
        sets: Lines of the stage of the sets.
        seed: Of the wordings.
        regions: Share of the pairs in whose place a conversation points, see `pointing`.
    """

    store: ImageStore
    sets: StoredLines
    seed: int
    regions: float = 0.0

    def __call__(self, chunk: range, shard: ShardWriter) -> None:
        for row in chunk:
            image_set = ImageSet.from_json(self.sets[row])
            images = [self.store[n] for n in image_set.rows]
            pairs: list[dict[str, Any]] = [*template_pairs(list_images(images), self._rng(image_set.id))]
            if not pairs:
                shard.count("sets of which nothing could be asked")
                continue
            if self.regions:
                # With a generator of its own: the pairs that stay are those of a build without regions.
                pairs, missed = mix_in(pairs, images, self.regions, self._rng(f"pointing {image_set.id}"))
                shard.count("pairs that point", sum("marks" in pair for pair in pairs))
                shard.count("pairs that should point, where nothing more can be pointed at", missed)
            shard.line("pairs", {"set": row, "generator": TEMPLATE, "qa": pairs})
            shard.count("pairs", len(pairs))

    def _rng(self, told: str) -> np.random.Generator:
        """Seeded by the set's own id: its wordings stay the same when other sets come or go."""
        digest = hashlib.sha256(f"{self.seed} {told}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def write_pairs(
    folder: Path,
    images: StageOutput,
    sets: StageOutput,
    *,
    seed: int = 0,
    regions: float = 0.0,
    map_fn: MapFn = map,
    progress: bool = True,
) -> StageOutput:
    """Run the stage with the rule-based generator; see `WriteByRule`."""
    lines = StoredLines(sets, "sets")
    # Without regions the key is what it was before there were any, and finished builds stay finished.
    pointing = {"regions": regions, "pointing": POINTING_VERSION} if regions else {}
    return run_stage(
        folder,
        ranges(len(lines), SHARD),
        WriteByRule(ImageStore(images), lines, seed, regions),
        config={"version": VERSION, "generator": TEMPLATE, "seed": seed, **pointing},
        inputs={"images": images.hash, "sets": sets.hash},
        map_fn=map_fn,
        total=-(-len(lines) // SHARD),
        progress=progress,
    )


class _CopyLines:
    """The work that puts what a chat model wrote into shards."""

    def __call__(self, chunk: list[dict[str, Any]], shard: ShardWriter) -> None:
        for record in chunk:
            shard.line("pairs", record)
            shard.count("pairs", len(record["qa"]))


def collect_pairs(folder: Path, written: Path, images: StageOutput, sets: StageOutput) -> StageOutput:
    """Run the stage over what a chat model wrote.

    Args:
        folder: Of the stage.
        written: The output of the job of `pairs_job`.
        images, sets: The stages before.
    """
    return run_stage(
        folder,
        # By blocks of the file and not by row: the pairs of a chat model may not fit into memory.
        _blocks(written),
        _CopyLines(),
        config={"version": VERSION, "generator": "chat model"},
        inputs={"images": images.hash, "sets": sets.hash, "written": file_hash(written)},
        progress=False,
    )


def _blocks(path: Path) -> Iterator[list[dict[str, Any]]]:
    with path.open("rb") as file:
        while block := [json.loads(line) for line in islice(file, SHARD)]:
            yield block
