"""Base of the sources with one large COCO JSON: its index, and one image of it at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from segue.data.formats.annotations import AnnotatedImage
from segue.data.formats.coco import CocoReading, read_image
from segue.data.formats.coco_advice import ADVICE
from segue.data.formats.coco_categories import Categories
from segue.data.formats.coco_report import CocoReport, UnusableRecord
from segue.data.formats.frames import UnusableFrame
from segue.data.formats.image_folder import ImageFolder
from segue.data.sources.json_index import CocoIndex
from segue.data.sources.photograph import SIZE_ADVICE
from segue.data.sources.source import ImageSource, Unusable


class IndexedSource(ImageSource):
    """A source whose images are listed in one COCO JSON; what is kept of it is written at `read_coco`.

    Attributes:
        file: The JSON; set by the source when it opens.
        images: Folder that image names are relative to; None for where exports put them.
        keep_crowds: Keep what is marked `iscrowd` 1, each as one object.
    """

    advice = {**ADVICE, **SIZE_ADVICE}
    file: Path
    images: Path | None
    keep_crowds = False

    @cached_property
    def _index(self) -> CocoIndex:
        return CocoIndex(self.file, keep_crowds=self.keep_crowds)

    @cached_property
    def _categories(self) -> Categories:
        return Categories(self._index.categories)

    @cached_property
    def _reading(self) -> CocoReading:
        folder = ImageFolder.beside(self.file, self.images)
        return CocoReading(self._categories, folder, self._index.crowds)

    def keys(self) -> Sequence[str]:
        return list(self._index.image_keys)

    def check(self) -> None:
        for reason, count in self._index.dropped.items():
            self.drop(f"{count} records", reason, self._index.examples.get(reason, ""))
            self.report.dropped[reason] = count
        self.report.notes += [*self._categories.notes(), *self._index.crowds.notes(), *self._index.notes]

    def annotation_files(self) -> Iterator[Path]:
        yield self.file

    def _listed(self, key: str) -> tuple[AnnotatedImage, list[dict[str, Any]]]:
        """The image of a key, and its annotations as the file has them; what is left out is in the report.

        Raises:
            Unusable: Nothing of it can be kept, or its file is not the image that was annotated.
        """
        entry, annotations = self._index.image(key)
        found = CocoReport(self.file)
        try:
            image = read_image(entry, annotations, self._reading, found)
        except (UnusableRecord, UnusableFrame) as problem:
            raise Unusable(*problem.args) from None
        finally:
            # Also where the image is of no use: what it lost first is the reason.
            for record in found.dropped:
                self.drop(record.record, record.reason, record.detail)
            for record in found.repaired:
                self.report.repaired[record.reason] += 1
        return image, annotations
