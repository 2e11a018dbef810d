"""Base of every source: the annotated images of one split, read one by one, with a report."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from segue.data.formats.annotations import AnnotatedImage
from segue.data.sources.report import SourceReport
from segue.errors import InputError

_CHUNK = 1 << 20  # bytes


class Unusable(Exception):
    """An image cannot be used: `(reason, found)`; the source drops and counts it."""


class ImageSource(ABC):
    r"""The annotated images of one split of a data set, in a fixed order.

    Iterating reads one image at a time and keeps none; each pass starts anew and fills a new `report`. What
    is broken is left out and counted in the report with its reason; only what makes the whole source useless
    (a wrong folder, ids in another order than the taxonomy) is an error.

        source = open_source("pascal_part", "/data/pascal_part", split="train")
        for image in source:
            ...
        print("\n".join(source.report.lines()))

    Args:
        root: Folder (or file) of the download.
        split: One of `splits`.

    Attributes:
        name: Name of the source; an image's full identifier in records is `f"{name}:{image.image_id}"`.
        splits: Which splits there are; empty when any is accepted, because the data is not divided.
        has_instances: Whether several objects of one class are several regions. Where not (label maps of
            classes), numbers of objects mean nothing.
        advice: For each reason of a drop, what was expected and what to do.
        options: The options that the source was opened with, as plain JSON values.
        report: Of the latest pass, complete when it has ended.

    Source: paper silent on file formats; ours.
    """

    name: ClassVar[str]
    splits: ClassVar[tuple[str, ...]] = ()
    has_instances: ClassVar[bool] = True
    advice: ClassVar[Mapping[str, tuple[str, str]]] = {}

    def __init__(self, root: Path, split: str) -> None:
        if self.splits and split not in self.splits:
            raise InputError(
                f"The source {self.name} has no such split.",
                expected=", ".join(self.splits),
                found=repr(split),
                where="split",
                fix="choose one of them",
            )
        self.root, self.split = root, split
        self.options: dict[str, Any] = {}
        self.report = self._new_report()

    def __iter__(self) -> Iterator[AnnotatedImage]:
        self.report = report = self._new_report()
        self.check()
        for key in self.keys():
            report.listed += 1
            try:
                image = self.read(key)
            except Unusable as problem:
                self.drop(f"image {key}", *problem.args)
                continue
            report.keep(image)
            yield image

    def __len__(self) -> int:
        """Number of images that the source lists, before anything is dropped; for progress bars."""
        return len(self.keys())

    @abstractmethod
    def keys(self) -> Sequence[str]:
        """Keys that `read` takes: one for each image, always in the same order."""

    @abstractmethod
    def read(self, key: str) -> AnnotatedImage:
        """Read one image with everything annotated in it.

        Raises:
            Unusable: Nothing of it can be kept; what could be kept in part is counted in `report`.
        """

    @abstractmethod
    def annotation_files(self) -> Iterable[Path]:
        """The files that hold the annotations; their content identifies the data."""

    @abstractmethod
    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """All names that may occur: each object with its parts, as `AnnotatedRegion.name` writes them.

        Empty when the source has no fixed list of names.
        """

    def check(self) -> None:  # noqa: B027  most sources have nothing to check beyond each single image
        """Look for mistakes that only show over several images; runs at the start of each pass.

        Raises:
            RecordError: The source means something else than its format says.
        """

    def drop(self, record: str, reason: str, found: str = "", where: str = "") -> None:
        """Count a record that is left out."""
        expected, fix = self.advice.get(reason, ("", ""))
        self.report.drop(record, reason, expected=expected, found=found, where=where, fix=fix)

    def fingerprint(self) -> str:
        """SHA-256 over name, split, options and the content of the annotation files (not of the images).

        Two sources with the same fingerprint give the same regions; a stage that depends on them may be kept.
        """
        digest = hashlib.sha256()
        # With the options: other vocabularies make other regions of the same files.
        digest.update(json.dumps([self.name, self.split, self.options], sort_keys=True).encode())
        for path in self.annotation_files():
            # The file's own name, not its path: a download that moved is the same data.
            digest.update(f"\0{path.name}\0".encode())
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        return digest.hexdigest()

    def _new_report(self) -> SourceReport:
        return SourceReport(self.name, self.root, split=self.split)
