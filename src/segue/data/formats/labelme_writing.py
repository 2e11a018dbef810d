"""Write annotated images as a LabelMe folder, so that they can be corrected there and read again."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segue import masks
from segue.data.formats.annotations import AnnotatedImage
from segue.errors import InputError
from segue.files import write_atomic


def write_labelme(images: Sequence[AnnotatedImage], folder: str | Path) -> list[Path]:
    """Write one JSON per image; the images stay where they are and are referred to relatively.

    An object and its parts share a `group_id`, and so do the polygons of one mask, so that reading the folder
    gives the same regions. A second part of the same name in one object gets a `group_id` of its own: the
    reader then gives it to the object that it overlaps most.

    Args:
        images: With file names that differ, apart from their suffix.
        folder: Made if absent; existing files of the same name are replaced.

    Returns:
        The files written.

    Raises:
        InputError: Two images would be written to one file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for image in images:
        target = folder / f"{image.path.stem}.json"
        if target in written:
            raise InputError(
                "Two images have the same name.",
                expected="file names that differ",
                found=target.name,
                where=str(image.path),
                fix="write them into two folders",
            )
        write_atomic(target, json.dumps(_content(image, folder), ensure_ascii=False))
        written.append(target)
    return written


def _content(image: AnnotatedImage, folder: Path) -> dict[str, Any]:
    groups = {region.rid: number for number, region in enumerate(image.objects, start=1)}
    names = {region.rid: region.name for region in image.objects}
    last = len(groups)
    taken: set[tuple[str, int]] = set()
    shapes = []
    for region in image.regions:
        label = region.name if region.parent is None else f"{names[region.parent]}:{region.name}"
        group = groups[region.rid if region.parent is None else region.parent]
        if (label, group) in taken:
            last = group = last + 1
        taken.add((label, group))
        for polygon in masks.polygons(region.mask):
            points = [list(point) for point in zip(polygon[::2], polygon[1::2])]
            shapes.append(
                {"label": label, "points": points, "group_id": group, "shape_type": "polygon", "flags": {}}
            )
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": Path(os.path.relpath(image.path.resolve(), folder.resolve())).as_posix(),
        "imageData": None,
        "imageHeight": image.height,
        "imageWidth": image.width,
    }
