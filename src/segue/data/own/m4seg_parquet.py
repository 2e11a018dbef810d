"""M4Seg's Parquet as conversations to train on and to evaluate with: rows whose phrases have masks.

Files that `segue data m4seg` wrote hold whole records; of any other file the columns are found by name and
content, see `m4seg_release`. Rows without masks teach nothing about masks and are left out, with the reason.
"""

from __future__ import annotations

from pathlib import Path

from segue.data.formats.coco_masks import read_outline, upright_rle
from segue.data.formats.coco_report import UnusableRecord
from segue.data.formats.frames import Frame
from segue.data.formats.image_folder import ImageFolder
from segue.data.formats.image_header import read_header
from segue.data.formats.parquet_rows import columns_of, parquet_files, rows_of
from segue.data.formats.report import ReadReport
from segue.data.formats.splits import names_split
from segue.data.own.gconv import drop_line, found_paths
from segue.data.own.m4seg_release import LOOKED_FOR, Release, read_release
from segue.data.own.row_masks import RowMask, row_masks
from segue.data.own.sources import FinishedRecord, OwnData, RecordSource, TextRecord
from segue.errors import ImageError, InputError, SegueError
from segue.records import Conversation, ImageRef, Region
from segue.records.conversation import Split

RECORD = "record"
"""Column of files that `segue.datasets.m4seg.parquet` wrote: the record itself."""


class _Unusable(Exception):
    """A row cannot be used: `(reason, expected, found)`."""


def read(path: Path, images: Path | None, split: Split) -> OwnData:
    """Read Parquet files of questions and answers.

    Args:
        path: A file, or a folder with some; those named like the split where any is.
        images: Folder that the images' names are relative to.
        split: Which rows to take where they say theirs; written into the records.

    Raises:
        InputError: No file, or nothing usable; it lists what was looked for.
        RecordError: A file is not Parquet, or no columns can be questions and answers.
    """
    files = [path] if path.is_file() else parquet_files(path)
    files = [file for file in files if names_split(file.stem, split)] or files
    if not files:
        raise InputError(
            "There are no Parquet files.",
            expected="*.parquet",
            found="none",
            where=str(path),
            fix="check the path",
        )
    root = images or (path.parent if path.is_file() else path)
    report, folder = ReadReport("m4seg", path), ImageFolder(root)
    if all(RECORD in columns_of(file) for file in files):
        records = _own_rows(files, folder, split, report)
    else:
        release = read_release(files, split=split)
        report.notes += release.lines()
        records = _release_rows(release, folder, split, report)
        report.notes += release.dropped_lines()
    for record in records:
        report.regions += len(record.regions)
        report.names.update(region.name for region in record.regions)
    report.images = len({image.path for record in records for image in record.images})
    report.conversations = len(records)
    if not records:
        raise report.nothing_usable(f"rows whose images are here and whose phrases have masks; {LOOKED_FOR}")
    kept: list[TextRecord] = [FinishedRecord(record) for record in records]
    return OwnData("m4seg", RecordSource(kept, root), report, files)


def _own_rows(files: list[Path], folder: ImageFolder, split: str, report: ReadReport) -> list[Conversation]:
    kept = []
    for file in files:
        for number, row in enumerate(rows_of(file, [RECORD])):
            try:
                record = Conversation.from_json(row[RECORD], where=f"{file.name}, row {number}")
                kept += [_at(record, found_paths(record, folder))] if record.split == split else []
            except SegueError as error:
                drop_line(report, number, error, file)
    return kept


def _at(record: Conversation, paths: tuple[str, ...]) -> Conversation:
    shown = [image.model_copy(update={"path": p}) for image, p in zip(record.images, paths, strict=True)]
    return record.model_copy(update={"images": shown})


def _release_rows(
    release: Release, folder: ImageFolder, split: str, report: ReadReport
) -> list[Conversation]:
    kept = []
    column = release.columns.get("masks")
    for row, record in release.with_rows():
        if record.split != split:
            continue
        try:
            kept.append(_masked(record, row_masks(row.get(column)) if column else [], folder))
        except _Unusable as problem:
            reason, expected, found = problem.args
            report.drop(record.id, reason, expected=expected, found=found, fix=_ADVICE[reason])
        except SegueError as error:
            report.drop(record.id, error.summary, expected=error.expected, found=error.found, fix=error.fix)
    return kept


_ADVICE = {
    "answer without grounded phrase": "nothing, if the row asks for nothing that can be drawn",
    "phrases without masks": "build the data from its sources (docs/m4seg.md): this file lacks their masks",
    "masks and phrases do not match": "tell us the form of the column, with a row",
    "image file not found": "pass the images with --images",
    "mask that cannot be read": "repair the mask",
}


def _masked(record: Conversation, found: list[RowMask], folder: ImageFolder) -> Conversation:
    """The record with its masks and the sizes of its images."""
    if not record.regions:
        raise _Unusable("answer without grounded phrase", "phrases in <p> tags or with identifiers", "none")
    if not found:
        raise _Unusable("phrases without masks", f"a column of masks; {LOOKED_FOR}", "none")
    images = [_sized(image, folder) for image in record.images]
    chosen = matched(record.regions, found)
    regions = []
    for region, mask in zip(record.regions, chosen, strict=True):
        image = images[region.image_index]
        try:
            rle, _ = upright_rle(read_outline(mask.segmentation), {}, Frame((image.height, image.width)))
        except UnusableRecord as problem:
            raise _Unusable(
                "mask that cannot be read", "run lengths or polygons", str(problem.args)[:120]
            ) from None
        regions.append(region.model_copy(update={"mask": rle}))
    return record.model_copy(update={"images": images, "regions": regions})


def _sized(image: ImageRef, folder: ImageFolder) -> ImageRef:
    place = folder.look(image.path)
    if place.path is None:
        raise _Unusable("image file not found", "the file of every image", image.path)
    try:
        height, width = read_header(place.path).hw
    except ImageError as error:
        raise _Unusable("image file not found", "a picture", error.found) from None
    return image.model_copy(update={"path": str(place.path), "height": height, "width": width})


def matched(regions: list[Region], found: list[RowMask]) -> list[RowMask]:
    """The mask of each phrase: by name and image where the masks have names, else by place.

    Raises:
        _Unusable: they do not match in number, or a phrase finds no mask.
    """
    if not any(mask.name for mask in found):
        if len(found) != len(regions):
            raise _Unusable(
                "masks and phrases do not match", f"{len(regions)} masks, one a phrase", f"{len(found)}"
            )
        return found
    # Numbers from 0 where any is 0, else from 1.
    first = 0 if any(mask.image == 0 for mask in found) else 1
    left = list(found)
    chosen = []
    for region in regions:
        fitting = [
            mask
            for mask in left
            if _tidy(mask.name) == _tidy(region.name)
            and (mask.image is None or mask.image - first == region.image_index)
        ]
        if not fitting:
            names = ", ".join(f"{m.name} ({m.image})" for m in found)
            raise _Unusable("masks and phrases do not match", f"a mask of {region.name!r}", names[:120])
        # A phrase that comes twice takes the second mask of its name, and the first again where there is one.
        chosen.append(fitting[0])
        if len(fitting) > 1:
            left.remove(fitting[0])
    return chosen


def _tidy(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).lower()
