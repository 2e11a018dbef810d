"""Exported masks read back."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from segue import masks
from segue.errors import InputError
from segue.exports.content import PicturedMasks, PlacedMask
from segue.exports.png import LIST


def read_export(folder: str | Path, form: str) -> list[PicturedMasks]:
    """Read what `segue.exports.export` wrote.

    YOLO's files do not hold the size of an image: `read_yolo` is told it. LabelMe and COCO files are also
    read by `segue.data`, as own data to train on.

    Args:
        folder: Of the export.
        form: Its format: png, index-png, coco, coco-results, labelme or polygons.

    Returns:
        Images with their masks; what the format cannot hold is missing, see `Exported.lost`.

    Raises:
        InputError: A format that is not read back, or a damaged file.
    """
    if form not in _READERS:
        raise InputError(
            "This format is not read back.",
            expected=", ".join(_READERS),
            found=repr(form),
            where="format",
            fix="export in one of these beside it",
        )
    try:
        return _READERS[form](Path(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "The export cannot be read.",
            expected=f"files of format {form}, as segue export writes them",
            found=f"{type(error).__name__}: {error}",
            where=str(folder),
            fix="export it again",
        ) from None


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_png(folder: Path) -> list[PicturedMasks]:
    content = _json(folder / LIST)
    found: dict[int, list[PlacedMask]] = defaultdict(list)
    for entry in content["masks"]:
        pixels = np.asarray(Image.open(folder / Path(entry["file"]).name))
        inside = pixels == entry["index"] if "index" in entry else pixels > 127
        found[entry["image"]].append(PlacedMask(entry["phrase"], masks.encode(inside), entry["score"]))
    return [
        PicturedMasks(image["path"], (image["height"], image["width"]), tuple(found[k]))
        for k, image in enumerate(content["images"], start=1)
    ]


def _read_coco(folder: Path, results: list[dict[str, Any]] | None = None) -> list[PicturedMasks]:
    content = _json(folder / "instances.json")
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    found: dict[int, list[PlacedMask]] = defaultdict(list)
    for entry in content["annotations"] if results is None else results:
        placed = PlacedMask(names[entry["category_id"]], entry["segmentation"], entry["score"])
        found[entry["image_id"]].append(placed)
    return [
        PicturedMasks(entry["file_name"], (entry["height"], entry["width"]), tuple(found[entry["id"]]))
        for entry in content["images"]
    ]


def _read_coco_results(folder: Path) -> list[PicturedMasks]:
    return _read_coco(folder, _json(folder / "results.json"))


def _read_polygons(folder: Path) -> list[PicturedMasks]:
    return [
        PicturedMasks(
            image["path"],
            hw := (image["height"], image["width"]),
            tuple(
                PlacedMask(m["phrase"], masks.encode(masks.from_polygons(m["polygons"], hw)), m["score"])
                for m in image["masks"]
            ),
        )
        for image in _json(folder / "polygons.json")
    ]


def _read_labelme(folder: Path) -> list[PicturedMasks]:
    images = []
    for path in sorted(folder.glob("*.json")):
        content = _json(path)
        hw = (content["imageHeight"], content["imageWidth"])
        groups: dict[tuple[int, str], list[list[float]]] = defaultdict(list)
        for shape in content["shapes"]:
            outline = [float(v) for point in shape["points"] for v in point]
            groups[shape["group_id"], shape["label"]].append(outline)
        placed = tuple(
            PlacedMask(label, masks.encode(masks.from_polygons(outlines, hw)))
            for (_, label), outlines in groups.items()
        )
        images.append(PicturedMasks(content["imagePath"], hw, placed))
    return images


def read_yolo(folder: str | Path, sizes: dict[str, tuple[int, int]]) -> dict[str, list[PlacedMask]]:
    """Read YOLO-seg labels; each line is a mask of its own.

    Args:
        folder: With `labels/` and `data.yaml`.
        sizes: Name of a label file, without its suffix, to height and width: YOLO's files do not hold them.
    """
    folder = Path(folder)
    names = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))["names"]
    found: dict[str, list[PlacedMask]] = {}
    for name, hw in sizes.items():
        found[name] = []
        for line in (folder / "labels" / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            number, *fractions = line.split()
            # Back on the grid of pixel corners, from which nine digits are never half a pixel away.
            outline = [float(round(float(v) * hw[1 - k % 2])) for k, v in enumerate(fractions)]
            mask = masks.from_polygons([outline], hw)
            found[name].append(PlacedMask(names[int(number)], masks.encode(mask)))
    return found


_READERS: dict[str, Callable[[Path], list[PicturedMasks]]] = {
    "png": _read_png,
    "index-png": _read_png,
    "coco": _read_coco,
    "coco-results": _read_coco_results,
    "labelme": _read_labelme,
    "polygons": _read_polygons,
}
