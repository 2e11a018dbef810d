"""COCO and PACO-style JSON of any size as a source: one image in memory at a time."""

from __future__ import annotations

from pathlib import Path

from segue.data.formats.annotations import AnnotatedImage
from segue.data.formats.report import ReadReport
from segue.data.own.coco_instances import choose_file
from segue.data.own.usable import usable_images
from segue.data.sources.indexed import IndexedSource
from segue.data.sources.merging import merge_parts
from segue.data.sources.source import ImageSource, Unusable


class CocoFile(IndexedSource):
    """COCO instances; a category `object:part` is a part. What is kept is written at `read_coco`.

    Args:
        root: The JSON file, or a folder with one whose name contains the split ("instances_train.json").
        split: Chooses the file in a folder.
        images: Folder that image names are relative to; by default where exports put them.
        keep_crowds: Keep what is marked `iscrowd` 1, each as one object.
        merge_same_parts: Make one region of an object's parts that bear the same name, as PACO does.
    """

    name = "coco"

    def __init__(
        self,
        root: Path,
        split: str = "train",
        *,
        images: Path | None = None,
        keep_crowds: bool = False,
        merge_same_parts: bool = False,
    ) -> None:
        super().__init__(root, split)
        self.file = root if root.is_file() else choose_file(root, split)
        self.images = None if images is None else Path(images).expanduser()
        self.keep_crowds = keep_crowds
        self.options = {"merge_same_parts": merge_same_parts, "keep_crowds": keep_crowds}
        self._merge = merge_same_parts

    def read(self, key: str) -> AnnotatedImage:
        image, _ = self._listed(key)
        if self._merge:
            image, merged = merge_parts(image)
            self.report.noticed["same-named parts of one object, merged"] += merged
        return writable(image, self)

    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        parts: dict[str, list[str]] = {}
        names = self._categories.names
        for name in self._categories:
            known = parts.setdefault(names.object(name), [])
            if ":" in name and names.part(name) not in known:
                known.append(names.part(name))
        return {owner: tuple(known) for owner, known in parts.items()}


def writable(image: AnnotatedImage, source: ImageSource) -> AnnotatedImage:
    """Leave out regions whose name cannot stand in a sentence, as `segue train` does with own data.

    Raises:
        Unusable: Nothing is left.
    """
    judged = ReadReport(source.name, source.root)
    kept = usable_images([image], judged)
    # Of the names alone: an image of which nothing is left is counted by whoever catches `Unusable`.
    source.report.dropped.update({k: v for k, v in judged.dropped.items() if k.startswith("unusable name")})
    if not kept:
        raise Unusable(next(iter(judged.dropped)), judged.examples[0].found)
    return kept[0]
