"""What a mirrored photograph shows: "left" and "right" change places in names."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from segue.mini.look.photographs import Photograph

SIDES = {"left": "right", "right": "left"}


def mirrored_name(name: str) -> str:
    """`"car front left door"` to `"car front right door"`; names without a side stay."""
    return " ".join(SIDES.get(word, word) for word in name.split())


def mirrored(photograph: Photograph) -> Photograph:
    """The photograph with the names that its mirror image has."""
    regions = tuple(replace(region, name=mirrored_name(region.name)) for region in photograph.regions)
    return replace(
        photograph, regions=regions, known=frozenset(mirrored_name(name) for name in photograph.known)
    )


def can_be_mirrored(photograph: Photograph, names: Collection[str]) -> bool:
    """Whether the data have a name for everything that the mirror image shows."""
    return all(mirrored_name(name) in names for name in photograph.shown())
