"""Tell whether `iscrowd: 1` means a crowd, or merely that a mask is written as run lengths.

COCO gives run lengths to crowds alone, and several tools concluded that run lengths are called a crowd.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CROWD_SHARE = 0.05
"""Below this share of all masks, run lengths that are all marked are taken for crowds: COCO has 1.2 %."""


class CrowdMarks:
    """Counts how a file uses `iscrowd`.

    Args:
        keep: Keep what is marked whatever the counts say; the user's own decision.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._wanted = keep
        self.masks = self.run_lengths = self.marked = self.marked_run_lengths = 0

    def add(self, annotation: Mapping[str, Any]) -> None:
        """Count one annotation."""
        segmentation = annotation.get("segmentation")
        if not segmentation:
            return
        self.masks += 1
        is_marked, is_run_lengths = is_crowd(annotation), isinstance(segmentation, Mapping)
        self.marked += is_marked
        self.run_lengths += is_run_lengths
        self.marked_run_lengths += is_marked and is_run_lengths

    @property
    def are_kept(self) -> bool:
        """Whether marked annotations are objects like any other."""
        # COCO: 1.2 % of the masks are run lengths, and just these are marked: crowds. An export in which all
        # of 1000 masks are run lengths and marked: objects.
        return self._wanted or (
            0 < self.run_lengths == self.marked_run_lengths == self.marked
            and self.run_lengths >= CROWD_SHARE * self.masks
        )

    @property
    def are_uncertain(self) -> bool:
        """Whether they may be crowds all the same: then the number of such things is not asked."""
        return self.are_kept and not self._wanted and self.run_lengths < self.masks

    def notes(self) -> list[str]:
        """Name what was decided, for the report."""
        if not self.marked:
            return []
        if self.are_kept:
            why = "as asked" if self._wanted else "every mask of run lengths has it, so it marks these"
            return [f"iscrowd 1 on {self.marked} annotations is not taken for a crowd: {why}"]
        return [
            f"iscrowd 1 on {self.marked} annotations is taken for a crowd, and they are left out; if each "
            "outlines one object, keep them with --keep-crowds"
        ]


def is_crowd(annotation: Mapping[str, Any]) -> bool:
    """Whether an annotation bears the mark, as a number, a truth value or a text."""
    mark = annotation.get("iscrowd")
    return mark not in ("0", "false", "False", "") if isinstance(mark, str) else bool(mark)
