"""LabelMe through the interface of the known sources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from segue.data.formats.annotations import AnnotatedImage
from segue.data.formats.image_folder import ImageFolder
from segue.data.formats.splits import json_files
from segue.data.own import labelme
from segue.data.sources.coco_file import writable
from segue.data.sources.source import ImageSource, Unusable
from segue.errors import InputError


class LabelMeFolder(ImageSource):
    """LabelMe: one JSON an image; `object:part` labels are parts. Formats and repairs as `segue train` reads.

    Args:
        root: The folder, with its subfolders (only `root/split` where there is one), or one JSON file.
        split: Any.
        images: Folder of the images, if not where `imagePath` says.
    """

    name = "labelme"

    def __init__(self, root: Path, split: str = "train", *, images: Path | None = None) -> None:
        super().__init__(root, split)
        folder = ImageFolder(Path(images).expanduser()) if images is not None else None
        self._base = root.parent if root.is_file() else root
        files = [root] if root.is_file() else json_files(root, split)
        self._reading = labelme.LabelMeReading(self._base, labelme.label_names(files), folder)
        self._files = {file.relative_to(self._base).with_suffix("").as_posix(): file for file in files}
        if not self._files:
            raise InputError(
                "There is no LabelMe file.",
                expected="a folder with one .json for each image",
                found="a folder without .json" if root.is_dir() else "nothing",
                where=str(root),
                fix="check the path",
            )

    def keys(self) -> Sequence[str]:
        return list(self._files)

    def read(self, key: str) -> AnnotatedImage:
        try:
            image = labelme.read_file(self._files[key], self._reading, self.report)
        except labelme.UnusableFile as problem:
            raise Unusable(*problem.args) from None
        return writable(image, self)

    def annotation_files(self) -> Iterable[Path]:
        return self._files.values()

    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        return {}
