"""What the sources with one large COCO JSON share: its index, and one image of it at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from segue.data.formats.annotations import AnnotatedImage
from segue.data.formats.coco import CocoReport, UnusableRecord, category_names, read_image
from segue.data.own.coco_instances import ADVICE
from segue.data.sources.json_index import CocoIndex
from segue.data.sources.photograph import SIZE_ADVICE, check_size
from segue.data.sources.source import ImageSource, Unusable


class IndexedSource(ImageSource):
    """A source whose images are listed in one COCO JSON; what is kept of it is written at `read_coco`.

    Attributes:
        file: The JSON; set by the source when it opens.
        images: Folder that `file_name` is relative to; likewise.
    """

    advice = {**ADVICE, **SIZE_ADVICE}
    file: Path
    images: Path

    @cached_property
    def _index(self) -> CocoIndex:
        return CocoIndex(self.file)

    @cached_property
    def _names(self) -> Mapping[Any, str]:
        """Names by category id."""
        return category_names(self._index.categories)

    def keys(self) -> Sequence[str]:
        return list(self._index.image_keys)

    def check(self) -> None:
        for reason, count in self._index.dropped.items():
            self.drop(f"{count} records", reason)
            self.report.dropped[reason] = count

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
            image = read_image(entry, annotations, self._names, self.images, found)
        except UnusableRecord as problem:
            raise Unusable(*problem.args) from None
        finally:
            for record in found.dropped:
                self.drop(record.record, record.reason, record.detail)
            for record in found.repaired:
                self.report.repaired[record.reason] += 1
        check_size(image)
        return image, annotations
