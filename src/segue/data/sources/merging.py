"""Parts of one object that bear the same name become one region, as in PACO-LVIS and ADE20K-Part-234."""

from __future__ import annotations

from dataclasses import replace

from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.masks import union_rle


def merge_parts(image: AnnotatedImage) -> tuple[AnnotatedImage, int]:
    """Unite the parts of each object that share a name; the first one's rid and place are kept.

    Returns:
        The image, and how many regions went into others.

    Source: PACO's documentation, post-processing step 2; ADE20K-Part-234's part maps know no instances.
    """
    groups: dict[tuple[str | None, str], list[AnnotatedRegion]] = {}
    for region in image.regions:
        # An object never shares its group: its rid is in the key.
        key = (region.parent, region.name) if region.kind == "part" else (None, region.rid)
        groups.setdefault(key, []).append(region)
    regions = tuple(
        first if not others else replace(first, rle=union_rle([r.rle for r in (first, *others)]))
        for first, *others in groups.values()
    )
    return replace(image, regions=regions), len(image.regions) - len(regions)
