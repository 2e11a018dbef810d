"""Drawn scenes through the interface of the known sources of annotated images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.sources.layout import Layout, locate
from segue.data.sources.source import ImageSource, Unusable
from segue.records import Conversation, Region
from segue.scenes.build import CONVERSATIONS
from segue.scenes.kinds import KINDS


class SceneFolder(ImageSource):
    """Source of the scenes that `segue data scenes` made: exact masks of every object and visible part.

    An object is named by its kind ("mug"); with `attributes`, as the scenes' texts call it ("red mug").

    Args:
        root: The folder that was given to `segue data scenes --out`.
        split: Images of other splits are left out.
        attributes: Keep colours and the like in the names of objects.
    """

    name = "scenes"

    def __init__(self, root: Path, split: str = "train", *, attributes: bool = False) -> None:
        super().__init__(locate(root, _SCENES), split)
        self.options = {"attributes": attributes}
        self._attributes = attributes
        self._file = self.root / CONVERSATIONS
        self._splits: set[str] = set()

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        """Image id -> (byte at which its conversation begins, 0-based image in it)."""
        places: dict[str, tuple[int, int]] = {}
        offset = 0
        with self._file.open("rb") as file:
            for line in file:
                start, offset = offset, offset + len(line)
                if not line.strip():
                    continue
                record = Conversation.from_json(line.decode("utf-8"), where=str(self._file))
                self._splits.add(record.split)
                if record.split == self.split:
                    for index, image in enumerate(record.images):
                        places.setdefault(image.image_id.partition(":")[2], (start, index))
        return places

    def keys(self) -> Sequence[str]:
        return list(self._places)

    def check(self) -> None:
        if not self._places:
            there = ", ".join(sorted(self._splits)) or "none: the file is empty"
            self.report.notes.append(f"no scene is of the split {self.split!r}; splits in the file: {there}")

    def read(self, key: str) -> AnnotatedImage:
        start, index = self._places[key]
        with self._file.open("rb") as file:
            file.seek(start)
            record = Conversation.from_json(file.readline().decode("utf-8"), where=str(self._file))
        image = record.images[index]
        path = self.root / image.path
        if not path.is_file():
            raise Unusable("image file not found", str(path))
        regions = [region for region in record.regions if region.image_index == index]
        phrases = {region.rid: region.name for region in regions}
        return AnnotatedImage(
            key, path, image.height, image.width, tuple(self._region(region, phrases) for region in regions)
        )

    def _region(self, region: Region, phrases: dict[str, str]) -> AnnotatedRegion:
        if region.mask is None:
            raise Unusable("region without mask", region.rid)
        if region.parent is not None:
            # "red mug's handle" to "handle", "red scissors' blades" to "blades".
            name = region.name.removeprefix(phrases[region.parent]).removeprefix("'s").removeprefix("'")
            return AnnotatedRegion(region.rid, "part", name.strip(), region.parent, region.mask, region.name)
        name = region.name if self._attributes else _kind(region.name)
        return AnnotatedRegion(region.rid, "object", name, None, region.mask, region.name)

    def annotation_files(self) -> Iterable[Path]:
        return [self._file]

    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        return {} if self._attributes else {kind.name: kind.parts for kind in KINDS.values()}

    advice: ClassVar = {
        "image file not found": ("the file that the record names", "build the scenes again"),
        "region without mask": ("an inline mask", "build the scenes again"),
    }


_SCENES = Layout("scenes", ((CONVERSATIONS,), ("images",)), "segue data scenes --out FOLDER makes one")


def _kind(phrase: str) -> str:
    """The kind at the end of a phrase: "small red coffee cup" -> "coffee cup"."""
    fitting = [kind for kind in KINDS if phrase == kind or phrase.endswith(f" {kind}")]
    # The longest: a kind may be the end of another's name.
    return max(fitting, key=len, default=phrase)
