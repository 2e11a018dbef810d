"""COCO and PACO-style JSON of any size as a source: one image in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from segue.data.annotations import AnnotatedImage
from segue.data.coco import CocoReport, UnusableRecord, category_names, clean_name, read_image
from segue.data.image_header import upright_hw
from segue.data.own.coco_instances import ADVICE, choose_file
from segue.data.own.report import ReadReport
from segue.data.own.sources import usable_images
from segue.data.sources.json_index import CocoIndex
from segue.data.sources.merging import merge_parts
from segue.data.sources.source import ImageSource, Unusable
from segue.errors import ImageError

SIZE_ADVICE = {
    "image size differs from its record": (
        "the height and width that the annotation file states",
        "use the photographs that were annotated, neither resized nor turned",
    ),
    "image cannot be read": ("an image file", "download it again"),
    "unusable image name": ("an id and a path of one line of UTF-8, without tags", "rename the image"),
    "image shows only names that are not fully annotated": ("at least one other name", ""),
    "repeated image id": ("a unique `id`", "number the images again"),
}


class CocoFile(ImageSource):
    """COCO instances; a category `object:part` is a part. What is kept is written at `read_coco`.

    Args:
        root: The JSON file, or a folder with one whose name contains the split ("instances_train.json").
        split: Chooses the file in a folder.
        images: Folder that `file_name` is relative to; by default the JSON's own.
        merge_same_parts: Make one region of an object's parts that bear the same name, as PACO does.
    """

    name = "coco"
    advice = {**ADVICE, **SIZE_ADVICE}

    def __init__(
        self,
        root: Path,
        split: str = "train",
        *,
        images: Path | None = None,
        merge_same_parts: bool = False,
    ) -> None:
        super().__init__(root, split)
        self.file = root if root.is_file() else choose_file(root, split)
        self.images = self.file.parent if images is None else Path(images).expanduser()
        self.options = {"merge_same_parts": merge_same_parts}
        self._merge = merge_same_parts

    @cached_property
    def _index(self) -> CocoIndex:
        return CocoIndex(self.file)

    @cached_property
    def _names(self) -> dict[object, str]:
        return category_names(self._index.categories)

    def keys(self) -> Sequence[str]:
        return list(self._index.image_keys)

    def check(self) -> None:
        for reason, count in self._index.dropped.items():
            self.drop(f"{count} records", reason)
            self.report.dropped[reason] = count

    def read(self, key: str) -> AnnotatedImage:
        entry, annotations = self._index.image(key)
        found = CocoReport(self.file)
        try:
            image = read_image(entry, annotations, self._names, self.images, found)
        except UnusableRecord as problem:
            raise Unusable(*problem.args) from None
        finally:
            for record in found.dropped:
                self.drop(record.record, record.reason, record.detail)
            for record in found.repaired:
                self.report.repaired[record.reason] += 1
        check_size(image)
        if self._merge:
            image, merged = merge_parts(image)
            self.report.noticed["same-named parts of one object, merged"] += merged
        return writable(image, self)

    def annotation_files(self) -> Iterable[Path]:
        return [self.file]

    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        parts: dict[str, list[str]] = {}
        for name in self._names.values():
            owner, colon, part = name.partition(":")
            known = parts.setdefault(clean_name(owner), [])
            if colon and clean_name(part) not in known:
                known.append(clean_name(part))
        return {owner: tuple(known) for owner, known in parts.items()}


def check_size(image: AnnotatedImage) -> None:
    """Compare the image file's header with the size that its masks were made for.

    Raises:
        Unusable: They differ: the masks would lie beside what they outline.
    """
    try:
        hw = upright_hw(image.path)
    except ImageError as error:
        raise Unusable("image cannot be read", error.found) from None
    if hw != image.hw:
        raise Unusable("image size differs from its record", f"{image.path.name}: {hw}, record {image.hw}")


def writable(image: AnnotatedImage, source: ImageSource) -> AnnotatedImage:
    """Leave out regions whose name cannot stand in a sentence, as `segue train` does with own data.

    Raises:
        Unusable: Nothing is left.
    """
    judged = ReadReport(source.name, source.root)
    kept = usable_images([image], judged)
    source.report.dropped.update({k: v for k, v in judged.dropped.items() if k.startswith("unusable name")})
    if not kept:
        raise Unusable(next(iter(judged.dropped)), judged.examples[0].found)
    return kept[0]
