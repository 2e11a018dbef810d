"""Own data as photographs that the seeing half learns from, and what of them is left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segue.data.own.pointing import PointingSource
from segue.data.own.sources import AnnotationSource
from segue.data.own.things import Inventory
from segue.errors import ImageError, InputError
from segue.files import write_atomic
from segue.images import load_image
from segue.mini.look.photographs import Photograph, Region
from segue.mini.own.names import OwnNames
from segue.training.finetune.mixture import Mixture
from segue.training.finetune.skips import SkipJournal


@dataclass(frozen=True)
class OwnPhotographs:
    """The photographs of one source.

    Attributes:
        photographs: at least one.
        share: how often they are drawn, among all sources.
    """

    photographs: list[Photograph]
    share: float


def annotated_sources(mixture: Mixture) -> tuple[list[AnnotationSource], list[float], list[str]]:
    """The sources that name masks, their shares (together 1), and the folders of the others.

    Raises:
        InputError: there is none.
    """
    # Marks are drawn from what is found, so questions that point need no source of their own.
    sources = [s.source if isinstance(s, PointingSource) else s for s in mixture.sources]
    pairs = list(zip(sources, mixture.shares, strict=True))
    kept = [(source, share) for source, share in pairs if isinstance(source, AnnotationSource)]
    others = [str(source.root) for source, _ in pairs if not isinstance(source, AnnotationSource)]
    if not kept:
        raise InputError(
            "These data do not say which things have which names.",
            expected="masks with names: COCO, PACO or LabelMe",
            found=f"only texts, in {', '.join(others)}",
            where="data.own",
            fix="annotate names and masks, or train another family on these texts (segue models)",
        )
    total = sum(share for _, share in kept)
    return [source for source, _ in kept], [share / total for _, share in kept], others


def photographs_of(source: AnnotationSource, own: OwnNames, journal: SkipJournal) -> list[Photograph]:
    """The photographs of a source that can be opened.

    Raises:
        InputError: too many cannot (see `SkipJournal`), or none can.
    """
    found, skipped = [], []
    for inventory in source.catalogue.inventories:
        problem = _unusable(inventory)
        if problem is None:
            found.append(photograph_of(inventory, own))
        else:
            path = str(inventory.image.path)
            skipped.append({"conversation": inventory.image.image_id, "path": path, "reason": problem})
    journal.take(skipped, [str(photograph.path) for photograph in found])
    if not found:
        raise InputError(
            "None of the images can be used.",
            expected="at least one that opens and has the size that its annotations say",
            found=skipped[-1]["reason"],
            where=str(source.root),
            fix="check the images folder",
        )
    return found


def photograph_of(inventory: Inventory, own: OwnNames) -> Photograph:
    """One annotated image: its regions by the names of the table, and which names it is known to lack."""
    image = inventory.image
    regions = tuple(
        Region(own.named[thing], region.rle, inventory.is_complete(thing))
        for thing, regions in inventory.regions.items()
        if thing in own.named
        for region in regions
    )
    unsure = {name for thing, name in own.named.items() if not inventory.knows(thing)}
    known = {name for thing, name in own.named.items() if inventory.has(thing) or name not in unsure}
    return Photograph(image.path, image.hw, regions, None, "own", frozenset(known))


def _unusable(inventory: Inventory) -> str | None:
    """Why a picture cannot be used."""
    try:
        picture = load_image(inventory.image.path)
    except ImageError as error:
        return error.summary
    if (picture.height, picture.width) != inventory.image.hw:
        return f"{picture.height} x {picture.width} pixels, annotated at {inventory.image.hw}"
    return None


def write_left_out(path: Path, own: OwnNames, known: Sequence[str], others: Sequence[str]) -> list[str]:
    """Write what a run does not learn, and say it in lines for people.

    Args:
        known: names that the model knew, which are found as before.
        others: folders of data without names of masks.
    """
    write_atomic(
        path,
        json.dumps({"names": own.left_out, "known_before": list(known), "texts": list(others)}, indent=1),
    )
    lines = [f"learns {len(own.entries)} names: {_listed(own.names)}"]
    if own.left_out:
        lines.append(f"left out: {len(own.left_out)} rarer or unspellable names: {_listed(own.left_out)}")
    if known:
        lines.append(f"known before, and found as before: {_listed(known)}")
    if others:
        lines.append(f"left out: data without names of masks, {_listed(others)}")
    return lines


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
