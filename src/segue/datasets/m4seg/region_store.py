"""Masks by reference: a large build names masks (`mask_ref`) instead of repeating them in every record.

    {"rid": "i1o1", ..., "mask_ref": "pascal_part:2008_006462#1"}

The masks stay in the build's stage of images, where each stands once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from segue.datasets.m4seg.images import ImageStore, ImageTable
from segue.datasets.stages.stages import read_stage
from segue.errors import InputError, RecordError
from segue.masks import RLE
from segue.records import Conversation, Region

IMAGES = Path("stages") / "images"
"""Where a build keeps its images stage."""


class RegionStore:
    """The masks of a build.

    Args:
        build: The folder that `segue data m4seg` wrote.

    Raises:
        InputError: The folder holds no complete stage of images.
    """

    def __init__(self, build: str | Path) -> None:
        output = read_stage(Path(build) / IMAGES)
        if output is None:
            raise InputError(
                "There is no region store here.",
                expected=f"a folder of `segue data m4seg` with {IMAGES.as_posix()}/manifest.json",
                found="no complete stage of images",
                where=str(build),
                fix="give the --out of the build, or run it to its end",
            )
        self._images = ImageStore(output)
        ids = ImageTable.read(output).ids
        # Sorted bytes and a binary search instead of a dict: a few bytes an image where there are millions.
        self._order = np.argsort(ids, kind="stable")
        self._ids = ids[self._order]

    def mask(self, mask_ref: str) -> RLE:
        """The mask of a reference.

        Raises:
            RecordError: The build has no such image or region.
        """
        # From the right: a file's name may hold a "#".
        image_id, _, rid = mask_ref.rpartition("#")
        wanted = image_id.encode()
        place = int(np.searchsorted(self._ids, wanted))
        if place < len(self._ids) and bytes(self._ids[place]) == wanted:
            region = self._images[int(self._order[place])].by_rid.get(rid)
            if region is not None:
                return region.rle
        raise RecordError(
            "A mask is not in the region store.",
            expected="a mask of this build, `image_id#region`",
            found=mask_ref,
            where="mask_ref",
            fix="take the store of the build that made the record",
        )

    def inline(self, conversations: Iterable[Conversation]) -> Iterator[Conversation]:
        """The records with their masks in them."""
        for conversation in conversations:
            regions = [self._with_mask(region) for region in conversation.regions]
            yield conversation.model_copy(update={"regions": regions})

    def _with_mask(self, region: Region) -> Region:
        if region.mask_ref is None:
            return region
        fields = {name: getattr(region, name) for name in region.model_fields_set - {"mask_ref"}}
        # Built anew and so checked; pydantic's `model_copy` checks nothing.
        return Region(**{**fields, "mask": self.mask(region.mask_ref)})
