"""One answer to the files of a format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue.errors import InputError
from segue.exports.coco import write_coco, write_coco_results
from segue.exports.content import PicturedMasks, masks_of
from segue.exports.png import write_index_pngs, write_pngs
from segue.exports.polygon_files import write_labelme, write_polygons, write_yolo
from segue.exports.tables import write_datasets
from segue.files import make_folder

Writer = Callable[[list[PicturedMasks], Path], tuple[list[Path], list[str]]]

FORMATS: dict[str, Writer] = {
    "png": write_pngs,
    "index-png": write_index_pngs,
    "coco": write_coco,
    "coco-results": write_coco_results,
    "labelme": write_labelme,
    "yolo": write_yolo,
    "polygons": write_polygons,
    "datasets": write_datasets,
}
"""Name of a format -> its writer."""


@dataclass(frozen=True)
class Exported:
    """Outcome of an export.

    Attributes:
        paths: The files.
        lost: What the format cannot hold, in words.
    """

    paths: list[Path]
    lost: list[str]


def export(content: Mapping[str, Any], form: str, folder: str | Path) -> Exported:
    """Write an answer's masks in a format.

    Args:
        content: Of `answer.to_json()` or of an `answer.json`.
        form: One of `FORMATS`.
        folder: Made when it does not exist; files of the same names are replaced.

    Raises:
        InputError: No such format, a folder that cannot be written, or an answer that the format cannot hold.

    Source: ours; each format by its own published rules.
    """
    if form not in FORMATS:
        raise InputError(
            "There is no such format.",
            expected=", ".join(FORMATS),
            found=repr(form),
            where="format",
            fix="choose one of these",
        )
    folder = Path(folder)
    make_folder(folder)
    return Exported(*FORMATS[form](masks_of(content), folder))
