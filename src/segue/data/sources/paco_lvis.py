"""PACO-LVIS v1: objects and parts in one COCO JSON, over the photographs of COCO 2017."""

from __future__ import annotations

import os
from pathlib import Path

from segue.data.formats.annotations import AnnotatedImage
from segue.data.sources.coco_file import CocoFile
from segue.data.sources.layout import Layout, content, locate
from segue.data.sources.source import Unusable
from segue.data.sources.taxonomy import paco_vocabulary
from segue.errors import InputError, RecordError

_PLACES = ("annotations", "annotations/paco_lvis_v1", "", "paco_lvis_v1")
_IMAGE_PLACES = ("", "coco", "../coco", "images")
_MOST_SHOWN = 5


class PacoLvis(CocoFile):
    """PACO-LVIS v1. Parts that bear the same name are one region per object already.

    Two classes, ball and napkin, have no parts; they are left out unless `all_objects` is set. LVIS is not
    exhaustive: what an image does not show is known of its `neg_category_ids` alone.

    Args:
        root: Holds `annotations/paco_lvis_v1_{train,val,test}.json` (or the files themselves, or the folder
            paco_lvis_v1 that the archive makes) and, unless `images` says otherwise, COCO's folders.
        split: "train", "val" or "test".
        images: The folder of COCO with `train2017/` and `val2017/`; by default the root, or `coco` in it or
            beside it.
        all_objects: Keep objects whose class has no parts.

    Raises:
        InputError: The file of the split or the photographs are not there.

    Source: the data set's documentation; its two undocumented traps (categories hold the parts too, a part
    can lack its object) as its own code treats them.
    """

    name = "paco_lvis"
    splits = ("train", "val", "test")
    advice = {
        **CocoFile.advice,
        "object class without parts in the vocabulary": ("", "set all_objects to keep it"),
    }

    def __init__(
        self, root: Path, split: str = "train", *, images: Path | None = None, all_objects: bool = False
    ) -> None:
        name = f"paco_lvis_v1_{split}.json"
        # Of the place "" only the name is left.
        choices = tuple(f"{place}/{name}".lstrip("/") for place in _PLACES)
        origin = "unpack paco_lvis_v1.zip; early archives lacked the test split: download it again"
        found = locate(root, Layout(self.name, (choices,), origin))
        file = next(found / choice for choice in choices if (found / choice).is_file())
        super().__init__(file, split, images=_photographs(found, images))
        self.root = found
        self.options = {"all_objects": all_objects}
        self._known = paco_vocabulary()
        self._kept = {owner for owner, parts in self._known.items() if parts or all_objects}

    def check(self) -> None:
        super().check()
        found = {self._categories.names.key(name) for name in self._categories}
        parts = {f"{owner}:{part}" for owner, names in self._known.items() for part in names}
        if not found & parts:
            raise RecordError(
                "The annotation file has no categories of parts.",
                expected='531 categories, 456 of them such as "chair:leg"',
                found=f"{len(found)} categories",
                where=str(self.file),
                fix="use paco_lvis_v1_*.json, not LVIS's own files",
            )
        for wording, names in (
            ("not of PACO-LVIS v1", found - parts - set(self._known)),
            ("missing in the file", (parts | set(self._known)) - found),
        ):
            if names:
                shown = ", ".join(sorted(names)[:_MOST_SHOWN])
                self.report.notes.append(f"{len(names)} categories {wording}: {shown}")

    def read(self, key: str) -> AnnotatedImage:
        image = super().read(key)
        others = {r.rid for r in image.objects if r.name in self._known and r.name not in self._kept}
        if not others:
            return image
        for region in image.regions:
            if region.rid in others:
                where = f"annotation {region.rid}"
                self.drop(where, "object class without parts in the vocabulary", region.source_label)
        regions = tuple(r for r in image.regions if r.rid not in others and r.parent not in others)
        if not regions:
            raise Unusable("image without usable annotation", str(image.path))
        # They are in the picture, though left out: unsure, not absent.
        names = {region.name for region in image.regions if region.rid in others}
        return AnnotatedImage(
            image.image_id,
            image.path,
            *image.hw,
            regions,
            image.unsure | names,
            image.absent,
        )

    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        return {owner: parts for owner, parts in self._known.items() if owner in self._kept}


def _photographs(root: Path, images: Path | None) -> Path:
    """The folder that holds COCO's `train2017` or `val2017`."""
    named = [Path(images).expanduser()] if images is not None else [root / place for place in _IMAGE_PLACES]
    places = [Path(os.path.normpath(place)) for place in named]
    for place in places:
        if any((place / folder).is_dir() for folder in ("train2017", "val2017")):
            return place
    raise InputError(
        "The photographs of COCO 2017 are not there.",
        expected="a folder that holds train2017 and val2017",
        found=content(places[0]),
        where=", ".join(str(place) for place in places),
        fix="name the folder of COCO with `images`",
    )
