"""COCO and PACO-style JSON of any size as a source: one image in memory at a time."""

from __future__ import annotations

from pathlib import Path

from segue.data.formats.annotations import AnnotatedImage
from segue.data.formats.coco import clean_name
from segue.data.formats.report import ReadReport
from segue.data.own.coco_instances import choose_file
from segue.data.own.sources import usable_images
from segue.data.sources.indexed import IndexedSource
from segue.data.sources.merging import merge_parts
from segue.data.sources.source import ImageSource, Unusable


class CocoFile(IndexedSource):
    """COCO instances; a category `object:part` is a part. What is kept is written at `read_coco`.

    Args:
        root: The JSON file, or a folder with one whose name contains the split ("instances_train.json").
        split: Chooses the file in a folder.
        images: Folder that `file_name` is relative to; by default the JSON's own.
        merge_same_parts: Make one region of an object's parts that bear the same name, as PACO does.
    """

    name = "coco"

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

    def read(self, key: str) -> AnnotatedImage:
        image, _ = self._listed(key)
        if self._merge:
            image, merged = merge_parts(image)
            self.report.noticed["same-named parts of one object, merged"] += merged
        return writable(image, self)

    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        parts: dict[str, list[str]] = {}
        for name in self._names.values():
            owner, colon, part = name.partition(":")
            known = parts.setdefault(clean_name(owner), [])
            if colon and clean_name(part) not in known:
                known.append(clean_name(part))
        return {owner: tuple(known) for owner, known in parts.items()}


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
