"""One entrance for a user's data, whatever its format."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from segue.data.own import (
    coco_instances,
    gconv,
    grand,
    labelme,
    m4seg_parquet,
    mixed_parts,
    part_nodes,
    reasonseg,
    refcoco,
)
from segue.data.own.detect import FORMATS, LOOKED_FOR, detect_format
from segue.data.own.sources import OwnData
from segue.errors import InputError, SegueError
from segue.records import SPLITS
from segue.records.conversation import Split

_READERS: dict[str, Callable[..., OwnData]] = {
    "coco": coco_instances.read,
    "labelme": labelme.read,
    "reasonseg": reasonseg.read,
    "refcoco": refcoco.read,
    "grand": grand.read,
    "gconv": gconv.read,
    "mixedparts": mixed_parts.read,
    "partnodes": part_nodes.read,
    "m4seg": m4seg_parquet.read,
}


def read_own_data(
    path: str | Path,
    images: str | Path | None = None,
    format: str | None = None,
    *,
    split: str = "train",
    keep_crowds: bool = False,
    images_option: str = "--images",
) -> OwnData:
    """Read a user's annotated data; no image is decoded.

    Args:
        path: The annotation file or folder.
        images: Folder of the images; by default where the annotations say, or beside them.
        format: One of `FORMATS`; recognised by content when not given.
        split: Which part of the data to take where the data is divided, and what the records are marked as.
        images_option: What errors and the report call the option for the folder of the images.
        keep_crowds: COCO: keep what is marked `iscrowd` 1, each as one object.

    Returns:
        Where conversations are drawn, what was kept and dropped, and the files that were read.

    Raises:
        InputError: No such path, an unknown format or split, or nothing usable.
        RecordError: A file is not in the format that it was said to be in.
    """
    path, folder = Path(path).expanduser(), None if images is None else Path(images).expanduser()
    _check(format is None or format in FORMATS, "format", "; ".join(LOOKED_FOR), format)
    _check(split in SPLITS, "split", ", ".join(SPLITS), split)
    if folder is not None and not folder.is_dir():
        raise InputError(
            "The folder of the images is not there.",
            expected="a folder",
            found="a file" if folder.exists() else "nothing",
            where=str(folder),
            fix=f"check {images_option}",
        )
    try:
        recognised = detect_format(path) if format is None else format
        # With the format given, nobody has looked at the path yet; worded below like any other trouble with a
        # file.
        if not path.exists():
            raise FileNotFoundError("nothing")
        options = {"keep_crowds": True} if keep_crowds and recognised == "coco" else {}
        data = _READERS[recognised](path, folder, cast(Split, split), **options)
    except SegueError as error:
        error.fix = _called(error.fix, images_option)
        raise
    except OSError as error:
        raise InputError(
            "The data cannot be read.",
            expected="a file or folder of annotations that may be opened",
            found=str(error),
            where=str(path),
            fix="check the path and its permissions",
        ) from None
    data.report.examples = [
        replace(example, fix=_called(example.fix, images_option)) for example in data.report.examples
    ]
    return data


def _called(advice: str, images_option: str) -> str:
    """Advice of the readers with the name of the option that is meant: they know of `--images` alone."""
    return re.sub(r"(?<![\w-])--images\b", images_option, advice)


def _check(right: bool, what: str, expected: str, found: str | None) -> None:
    if not right:
        raise InputError(
            f"There is no such {what}.",
            expected=expected,
            found=repr(found),
            where=what,
            fix="choose one of these",
        )
