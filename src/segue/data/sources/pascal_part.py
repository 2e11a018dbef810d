"""Pascal-Part: one .mat file an image, with a mask for every object and for each of its parts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.sources.layout import Layout, locate
from segue.data.sources.photograph import photograph_hw
from segue.data.sources.source import ImageSource, Unusable
from segue.data.sources.taxonomy import PascalClass, PascalVocabulary, pascal_classes
from segue.errors import InputError
from segue.masks import RLE, union_rle

_LAYOUT = Layout(
    "pascal_part",
    (("Annotations_Part", "trainval/Annotations_Part", "VOCdevkit/VOC2010/Annotations_Part"),),
    "unpack Pascal-Part's trainval.tar.gz there: its folder Annotations_Part must lie in it",
)
_VOC = Layout(
    "VOC 2010",
    (("JPEGImages",), ("ImageSets/Main",)),
    "unpack VOC 2010's VOCtrainval_03-May-2010.tar into the root, or name its VOCdevkit/VOC2010 with `voc`",
)
_VOC_PLACES = ("VOCdevkit/VOC2010", "VOC2010", "", "../VOCdevkit/VOC2010")
_NUMBER = re.compile(r"_\d+$")


class PascalPart(ImageSource):
    """Pascal-Part (Chen et al., 2014) over the photographs and lists of VOC 2010.

    The masks of parts overlap (an eye lies in the head), so they stay separate masks. Parts that get the same
    name are united per object: the vocabulary merges "lfleg" and "rbleg" to "leg", "wheel_1" and "wheel_2" to
    "wheel". Classes without parts in the vocabulary (boat, chair, sofa, ...) are left out unless
    `all_objects` is set.

    Args:
        root: Holds `Annotations_Part/`, and VOC 2010 as `VOCdevkit/VOC2010/`.
        split: "train" or "val": `ImageSets/Main/{split}.txt` of VOC 2010.
        vocabulary: "93", "116" or "raw"; see `pascal_classes`.
        split_lr: Keep left and right apart.
        all_objects: Keep objects whose class has no parts in the vocabulary.
        voc: The folder of VOC 2010, if it lies elsewhere.

    Raises:
        InputError: The folder is not what it should be, scipy is missing, or an unknown vocabulary.

    Source: the data set's own files; facts that no document states are measured (part masks inside their
    object, class "table" for VOC's "diningtable").
    """

    name = "pascal_part"
    splits = ("train", "val")
    advice = {
        "annotation file not found": ("a .mat of this name in Annotations_Part", "unpack the archive again"),
        "damaged .mat file": ("a MATLAB 5 file with a struct `anno`", "unpack the archive again"),
        "annotation of another image": ("`imname` equal to the file's name", "unpack the archive again"),
        "image file not found": ("a .jpg of this name in JPEGImages", "unpack VOC 2010 again"),
        "image cannot be read": ("a JPEG file", "unpack VOC 2010 again"),
        "mask size differs from image size": (
            "masks of the image's height and width",
            "use VOC's own images",
        ),
        "unknown class": ("one of the 20 classes of VOC", "use the files of the published archive"),
        "unknown part name": ("a label of part2ind.m", "use the files of the published archive"),
        "empty mask": ("at least one pixel inside", ""),
        "object class without parts in the vocabulary": ("", "set all_objects to keep it"),
        "part that the vocabulary leaves out": ("", 'set vocabulary to "116" or "raw" to keep it'),
        "image without usable annotation": ("at least one object that is kept", ""),
    }

    def __init__(
        self,
        root: Path,
        split: str = "train",
        *,
        vocabulary: PascalVocabulary = "93",
        split_lr: bool = False,
        all_objects: bool = False,
        voc: Path | None = None,
    ) -> None:
        super().__init__(locate(root, _LAYOUT), split)
        if vocabulary not in get_args(PascalVocabulary):
            raise InputError(
                "There is no such vocabulary of Pascal-Part.",
                expected=", ".join(get_args(PascalVocabulary)),
                found=repr(vocabulary),
                where="vocabulary",
                fix="choose one of them",
            )
        places = [self.root / choice for choice in _LAYOUT.needed[0]]
        self.folder = next(place for place in places if place.is_dir())
        self.voc = locate(Path(voc), _VOC) if voc is not None else self._find_voc()
        self.options = {"vocabulary": vocabulary, "split_lr": split_lr, "all_objects": all_objects}
        self.classes = pascal_classes(vocabulary, split_lr=split_lr)
        self._all_objects = all_objects
        _loadmat()  # whoever lacks scipy learns it now

    def _find_voc(self) -> Path:
        for place in _VOC_PLACES:
            if not _VOC.missing(self.root / place):
                return Path(os.path.normpath(self.root / place))
        return locate(self.root / _VOC_PLACES[0], _VOC)  # raises, and says what is missing

    @cached_property
    def _keys(self) -> list[str]:
        path = self.voc / "ImageSets" / "Main" / f"{self.split}.txt"
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except OSError as error:
            raise InputError(
                "The list of images cannot be read.",
                expected=f"{self.split}.txt of VOC 2010",
                found=str(error.strerror),
                where=str(path),
                fix="unpack VOC 2010 again",
            ) from None
        # VOC's own lists hold one name a line; those per class add a -1, 0 or 1.
        return list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))

    def keys(self) -> Sequence[str]:
        return self._keys

    def annotation_files(self) -> Iterator[Path]:
        paths = (self.folder / f"{key}.mat" for key in self._keys)
        return (path for path in paths if path.is_file())

    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        return {
            kind.name: tuple(dict.fromkeys(kind.parts.values()))
            for kind in self.classes.values()
            if kind.parts or self._all_objects
        }

    def read(self, key: str) -> AnnotatedImage:
        annotation = self._annotation(key)
        path = self.voc / "JPEGImages" / f"{key}.jpg"
        hw = photograph_hw(path)
        objects = annotation["objects"]
        regions: list[AnnotatedRegion] = []
        unsure: set[str] = set()
        for number in range(objects.size):
            regions += self._object(
                objects.flat[number], f"o{number + 1}", f"{key}, object {number + 1}", hw, unsure
            )
        if not regions:
            raise Unusable("image without usable annotation", f"{objects.size} objects")
        seen = {region.name for region in regions if region.kind == "object"} | unsure
        # VOC outlines every object of its 20 classes; of other things, and of parts, it says nothing.
        absent = frozenset(name for name in self.vocabulary() if name not in seen)
        return AnnotatedImage(key, path, *hw, tuple(regions), frozenset(unsure), absent)

    def _annotation(self, key: str) -> Any:
        path = self.folder / f"{key}.mat"
        if not path.is_file():
            raise Unusable("annotation file not found", str(path))
        try:
            annotation = _loadmat()(path, variable_names=["anno"])["anno"][0, 0]
            imname, _ = _text(annotation["imname"]), annotation["objects"].size
        except Exception as error:  # scipy raises nearly anything on damaged files
            raise Unusable("damaged .mat file", f"{type(error).__name__}: {error}") from None
        if imname.rsplit(".", 1)[0] != key:
            raise Unusable("annotation of another image", repr(imname))
        return annotation

    def _object(
        self, found: Any, rid: str, record: str, hw: tuple[int, int], unsure: set[str]
    ) -> Iterator[AnnotatedRegion]:
        """One object and its parts; what is dropped makes its name unsure."""
        label = _text(found["class"])
        kind = self.classes.get(label)
        if kind is None:
            self.drop(record, "unknown class", repr(label))
            return
        if not (kind.parts or self._all_objects):
            self.drop(record, "object class without parts in the vocabulary", label)
            return
        rle = self._mask(found["mask"], hw, record)
        if rle is None:
            unsure.add(kind.name)
            return
        yield AnnotatedRegion(rid, "object", kind.name, None, rle, label)
        yield from self._parts(found["parts"], kind, rid, rle, record, hw, unsure)

    def _parts(
        self,
        parts: Any,
        kind: PascalClass,
        parent: str,
        outline: RLE,
        record: str,
        hw: tuple[int, int],
        unsure: set[str],
    ) -> Iterator[AnnotatedRegion]:
        by_name: dict[str, list[tuple[str, RLE]]] = {}
        # An empty 0x0 array where the class has no parts or none is annotated.
        for number in range(parts.size):
            part = parts.flat[number]
            label = _text(part["part_name"])
            # "wheel_2" is a "wheel".
            base = _NUMBER.sub("", label)
            name = kind.parts.get(base)
            where = f"{record}, part {label!r}"
            if name is None:
                known = base in kind.left_out
                self.drop(
                    where, "part that the vocabulary leaves out" if known else "unknown part name", label
                )
                continue
            rle = self._mask(part["mask"], hw, where)
            if rle is None:
                unsure.add(f"{kind.name}:{name}")
                continue
            # The union is larger than the object only if the part has pixels outside of it. Kept as it is
            # annotated.
            if coco_mask.area(union_rle([rle, outline])) > coco_mask.area(outline):
                self.report.noticed["part reaches beyond its object"] += 1
            by_name.setdefault(name, []).append((label, rle))
        for number, (name, found) in enumerate(by_name.items()):
            self.report.noticed["same-named parts of one object, merged"] += len(found) - 1
            labels = "+".join(label for label, _ in found)
            rle = union_rle([rle for _, rle in found])
            yield AnnotatedRegion(f"{parent}p{number + 1}", "part", name, parent, rle, labels)

    def _mask(self, array: NDArray[Any], hw: tuple[int, int], record: str) -> RLE | None:
        """The compressed mask; None, and a drop, when it is empty."""
        if array.shape != hw:
            raise Unusable("mask size differs from image size", f"{record}: mask {array.shape}, image {hw}")
        inside = array != 0
        if not inside.any():
            self.drop(record, "empty mask", "no pixel is set")
            return None
        return masks.encode(inside)


def _text(value: Any) -> str:
    """A MATLAB string; scipy wraps it in an array of one, and an empty one in an array of none."""
    array = np.asarray(value)
    return str(array.flat[0]).strip() if array.size else ""


def _loadmat() -> Any:
    try:
        from scipy.io import loadmat
    except ImportError:
        raise InputError(
            "The .mat files of Pascal-Part cannot be read.",
            expected="the package scipy",
            found="no such package",
            where="pascal_part",
            fix="pip install -c constraints.txt 'segue[data]'",
        ) from None
    return loadmat
