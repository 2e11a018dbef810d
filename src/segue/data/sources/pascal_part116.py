"""Pascal-Part-116 of OV-PARTS: label maps of classes and of parts, without instances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.sources.label_map import LABEL_MAP_ADVICE, read_label_map
from segue.data.sources.layout import Layout, locate
from segue.data.sources.photograph import photograph_hw
from segue.data.sources.source import ImageSource, Unusable
from segue.data.sources.taxonomy import NumberedClasses

_OBJECTS, _PARTS = "annotations_detectron2_obj", "annotations_detectron2_part"


class PascalPart116(ImageSource):
    """Pascal-Part-116: one region per class and one per part of a class, however many objects there are.

    The maps know no instances and no overlaps: two persons are one region, and an eye is cut out of its head.
    Prefer `PascalPart` where you have the original .mat files.

    Args:
        root: Holds `images/`, `annotations_detectron2_obj/` and `annotations_detectron2_part/`, each with the
            folder of the split.
        split: "train" or "val".
        all_objects: Keep classes that have no parts (boat, chair, dining table, sofa).

    Source: OV-PARTS' loader; facts that it does not state are ours.
    """

    name = "pascal_part116"
    splits = ("train", "val")
    has_instances = False
    advice = {
        **LABEL_MAP_ADVICE,
        "image file not found": ("a .jpg with the map's name in images/", "unpack the archive again"),
        "image cannot be read": ("a JPEG file", "unpack the archive again"),
        "object class without parts in the vocabulary": ("", "set all_objects to keep it"),
        "part without object": ("pixels of the part's class in the object map below it", ""),
        "unknown class number": ("0 to 19, or 255 for none", "use the files of the published archive"),
        "unknown part number": ("0 to 115, or 255 for none", "use the files of the published archive"),
        "image without usable annotation": ("at least one object that is kept", ""),
    }

    def __init__(self, root: Path, split: str = "train", *, all_objects: bool = False) -> None:
        super().__init__(root, split)
        needed = tuple((f"{folder}/{split}",) for folder in ("images", _OBJECTS, _PARTS))
        origin = "unpack PascalPart116.tar.gz; early downloads lacked the val folders: get it again"
        self.root = locate(root, Layout(self.name, needed, origin))
        self.options = {"all_objects": all_objects}
        self.classes = NumberedClasses.named("pascal_part_116")
        self._all_objects = all_objects

    @cached_property
    def _keys(self) -> list[str]:
        # The archive holds macOS' "._*" files beside the real ones.
        found = (self.root / _OBJECTS / self.split).glob("*.png")
        return sorted(path.stem for path in found if not path.name.startswith("."))

    def keys(self) -> Sequence[str]:
        return self._keys

    def annotation_files(self) -> Iterator[Path]:
        for key in self._keys:
            for folder in (_OBJECTS, _PARTS):
                path = self.root / folder / self.split / f"{key}.png"
                if path.is_file():
                    yield path

    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        known = self.classes.vocabulary()
        return {name: parts for name, parts in known.items() if parts or self._all_objects}

    def read(self, key: str) -> AnnotatedImage:
        path = self.root / "images" / self.split / f"{key}.jpg"
        hw = photograph_hw(path)
        of_class, of_part = (
            read_label_map(self.root / folder / self.split / f"{key}.png", hw, bits=8)
            for folder in (_OBJECTS, _PARTS)
        )
        none = self.classes.no_part
        numbers = set(np.unique(of_class).tolist()) - {none}
        part_numbers = set(np.unique(of_part).tolist()) - {none}
        regions: list[AnnotatedRegion] = []
        for number in sorted(numbers):
            name = self.classes.objects.get(number)
            parts = {} if name is None else self.classes.parts_of(name)
            if name is None:
                self.drop(f"{key}, class {number}", "unknown class number", str(number))
            elif not (parts or self._all_objects):
                self.drop(f"{key}, {name}", "object class without parts in the vocabulary", name)
            else:
                inside = of_class == number
                rid = f"o{number}"
                regions.append(AnnotatedRegion(rid, "object", name, None, masks.encode(inside), name))
                for part in sorted(part_numbers & set(parts)):
                    # Only within the class's own pixels; a part of which nothing is left is reported below.
                    mask = inside & (of_part == part)
                    if mask.any():
                        label = f"{name}:{parts[part]}"
                        rle = masks.encode(mask)
                        regions.append(AnnotatedRegion(f"p{part}", "part", parts[part], rid, rle, label))
        self._judge_parts(key, part_numbers, {region.rid for region in regions})
        if not regions:
            raise Unusable("image without usable annotation", f"{len(numbers)} classes")
        present = {self.classes.objects[number] for number in numbers if number in self.classes.objects}
        absent = frozenset(set(self.vocabulary()) - present)
        return AnnotatedImage(key, path, *hw, tuple(regions), frozenset(), absent)

    def _judge_parts(self, key: str, numbers: set[int], kept: set[str]) -> None:
        for number in sorted(numbers):
            if number not in self.classes.parts:
                self.drop(f"{key}, part {number}", "unknown part number", str(number))
            elif f"p{number}" not in kept:
                self.drop(
                    f"{key}, part {number}", "part without object", ":".join(self.classes.parts[number])
                )
