"""Regions of one LabelMe file: shapes of one label and group are one, and each part gets its object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from segue import masks
from segue.data.formats.annotations import AnnotatedRegion
from segue.data.formats.coco_regions import most_overlapped
from segue.data.formats.names import NameTable, clean_name
from segue.data.formats.report import ReadReport
from segue.masks import Mask


@dataclass
class Group:
    """Shapes that are one region: the same label and group_id.

    Attributes:
        label: As it is written.
        group_id: As text; None where the shape has none and stands alone.
        is_part: Whether it is a part, by its label or its flag.
        mask: Of all its shapes.
        numbers: Their places in the file.
    """

    label: str
    group_id: str | None
    is_part: bool
    mask: Mask
    numbers: list[int] = field(default_factory=list)

    @property
    def rid(self) -> str:
        """Identifier of the region that it becomes."""
        return f"s{self.numbers[0]}"


def linked_regions(
    groups: Sequence[Group], names: NameTable, report: ReadReport
) -> tuple[tuple[AnnotatedRegion, ...], list[Group]]:
    """Objects and parts in the order of the file, and the parts that have no object and are left out."""
    objects: dict[str, AnnotatedRegion] = {}
    by_group: dict[str | None, list[AnnotatedRegion]] = defaultdict(list)
    for group in groups:
        if not group.is_part:
            name = names.object(group.label)
            region = AnnotatedRegion(group.rid, "object", name, None, masks.encode(group.mask), group.label)
            objects[group.rid] = region
            by_group[group.group_id].append(region)
    regions: list[AnnotatedRegion] = []
    orphans = []
    for group in groups:
        if group.rid in objects:
            regions.append(objects[group.rid])
            continue
        rle = masks.encode(group.mask)
        has_owner = ":" in group.label
        wanted = names.object(group.label) if has_owner else None
        candidates = [region for region in objects.values() if wanted in (None, region.name)]
        stated = [region for region in by_group[group.group_id] if region in candidates]
        # Two fitting objects in one group leave it open: then the overlap decides.
        if group.group_id is not None and len(stated) == 1:
            parent: str | None = stated[0].rid
        else:
            parent = most_overlapped(rle, candidates)
            if parent is not None and len(candidates) > 1:
                report.repaired["part given the object it overlaps most"] += 1
        if parent is None:
            orphans.append(group)
            continue
        name = names.part(group.label) if has_owner else clean_name(group.label)
        regions.append(AnnotatedRegion(group.rid, "part", name, parent, rle, group.label))
    return tuple(regions), orphans
