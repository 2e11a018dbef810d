"""Hypothesis strategies: COCO and LabelMe files with the faults of real exports, written with their pictures.

Every picture has a colour of its own, and every annotation the number of its picture in its mask: a square
whose left edge says which picture it was drawn on. A test can so tell whether a mask ended on another image.
"""

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

H, W = 40, 64
STEP = 6
"""Pixels between the left edges of the squares of two pictures."""
NAMES = ("mug", "book", "bottle (full)", "bottle (empty)", "Mug", "pool_table")


def left_of(picture: int) -> int:
    """Left edge of every square that is drawn on a picture."""
    return 2 + STEP * picture


def square(picture: int, row: int) -> list[float]:
    x, y = left_of(picture), 3 + 9 * row
    return [x, y, x + 5, y, x + 5, y + 7, x, y + 7]


def as_runs(polygon: list[float]) -> dict[str, Any]:
    """COCO's uncompressed run lengths of an upright rectangle."""
    left, top, right, bottom = (int(polygon[k]) for k in (0, 1, 2, 5))
    height = bottom - top
    runs = [left * H + top]
    for column in range(left, right):
        runs += [height, H - height if column < right - 1 else (W - right) * H + H - bottom]
    return {"size": [H, W], "counts": runs}


ANNOTATION_FAULTS = (
    *(
        "none",
        "none",
        "none",
        "two points",
        "no outline",
        "crowd",
        "wrong bbox",
        "fractions",
        "text image id",
    ),
    *("no id", "same id", "unknown category", "stray", "run lengths", "flat", "points"),
)
IMAGE_FAULTS = (
    *(
        "none",
        "none",
        "none",
        "backslash",
        "other computer",
        "missing",
        "same id",
        "text id",
        "small",
        "case",
    ),
    *("address", "no size"),
)


@st.composite
def coco_content(draw: st.DrawFn) -> dict[str, Any]:
    """A COCO file as JSON values, and `pictures`: file name -> (number, size) to write beside it."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    pictures: dict[str, tuple[int, tuple[int, int]]] = {}
    for k in range(draw(st.integers(1, 5))):
        fault = draw(st.sampled_from(IMAGE_FAULTS))
        name = f"p{k}.png"
        if fault != "missing":
            pictures[name] = (k, (W // 2, H // 2) if fault == "small" else (W, H))
        images.append({"id": k, "file_name": name, "height": H, "width": W} | _image(fault, k, name))
        if fault == "address":
            del images[-1]["file_name"]
        if fault == "no size":
            del images[-1]["height"], images[-1]["width"]
        for row in range(draw(st.integers(0, 4))):
            annotations.append(
                _annotation(draw(st.sampled_from(ANNOTATION_FAULTS)), k, row, len(annotations))
            )
            if fault == "same id" and annotations[-1]["image_id"] == k:
                annotations[-1]["image_id"] = 0  # as a careless merge leaves it
            annotations[-1].setdefault("category_id", draw(st.integers(1, len(NAMES))))
    categories = [{"id": n, "name": name} for n, name in enumerate(NAMES, start=1)]
    if draw(st.booleans()) and draw(st.booleans()):
        categories.append({"id": 2, "name": "plate"})
    content = {"images": images, "annotations": annotations, "categories": categories}
    return {"content": content, "pictures": pictures}


def _image(fault: str, k: int, name: str) -> dict[str, Any]:
    changed: dict[str, dict[str, Any]] = {
        "backslash": {"file_name": f"images\\{name}"},
        "other computer": {"file_name": f"C:\\Users\\me\\{name}"},
        "same id": {"id": 0},
        "text id": {"id": str(k)},
        "case": {"file_name": name.upper()},
        "address": {"coco_url": f"http://example.org/val/{name}"},
    }
    return changed.get(fault, {})


def _annotation(fault: str, k: int, row: int, number: int) -> dict[str, Any]:
    polygon = square(k, row)
    box = [polygon[0], polygon[1], 5, 7]
    plain = {"id": number, "image_id": k, "segmentation": [polygon], "bbox": box, "iscrowd": 0}
    changed: dict[str, dict[str, Any]] = {
        "two points": {"segmentation": [polygon[:4]]},
        "no outline": {"segmentation": []},
        "crowd": {"segmentation": as_runs(polygon), "iscrowd": 1},
        "wrong bbox": {"bbox": [box[0] + 20, box[1], 5, 7]},
        "fractions": {"segmentation": [[v / (W, H)[i % 2] for i, v in enumerate(polygon)]]},
        "text image id": {"image_id": str(k)},
        "no id": {"id": None},
        "same id": {"id": 0},
        "unknown category": {"category_id": 99},
        "stray": {"image_id": 77},
        "run lengths": {"segmentation": as_runs(polygon)},
        "flat": {"segmentation": polygon},
        "points": {"segmentation": [[[polygon[i], polygon[i + 1]] for i in range(0, 8, 2)]]},
    }
    return plain | changed.get(fault, {})


def write_pictures(folder: Path, pictures: dict[str, tuple[int, tuple[int, int]]]) -> None:
    for name, (_, size) in pictures.items():
        Image.new("RGB", size).save(folder / name)


SHAPE_FAULTS = (
    *("none", "none", "none", "two points", "line", "no label", "no points", "fractions", "rectangle"),
    *("far out", "rubbish"),
)
FILE_FAULTS = ("none", "none", "none", "other computer", "small", "missing", "no size", "not json", "cp1252")


@st.composite
def labelme_folder(draw: st.DrawFn) -> dict[str, Any]:
    """`files`: name -> bytes of a JSON; `pictures` as in `coco_content`; `shapes`: how many there are."""
    files: dict[str, bytes] = {}
    pictures: dict[str, tuple[int, tuple[int, int]]] = {}
    shapes_in: dict[str, int] = {}
    for k in range(draw(st.integers(1, 4))):
        fault = draw(st.sampled_from(FILE_FAULTS))
        stem = f"p{k}"
        shapes = [
            _shape(draw(st.sampled_from(SHAPE_FAULTS)), k, row, draw(st.sampled_from(NAMES)))
            for row in range(draw(st.integers(0, 4)))
        ]
        content: dict[str, Any] = {"shapes": shapes, "imagePath": f"{stem}.png", "imageData": None}
        content |= {"imageHeight": None, "imageWidth": None} if fault == "no size" else {}
        content = {"imageHeight": H, "imageWidth": W} | content
        if fault == "other computer":
            content["imagePath"] = f"D:\\shots\\{stem}.png"
        if fault != "missing":
            pictures[f"{stem}.png"] = (k, (W // 2, H // 2) if fault == "small" else (W, H))
        if fault == "cp1252":
            content["note"] = "é"
        text = json.dumps(content, ensure_ascii=False)
        files[f"{stem}.json"] = b"{" if fault == "not json" else text.encode("cp1252")
        shapes_in[f"{stem}.json"] = len(shapes)
    return {"files": files, "pictures": pictures, "shapes": shapes_in}


def _shape(fault: str, k: int, row: int, name: str) -> Any:
    flat = square(k, row)
    points = [[flat[i], flat[i + 1]] for i in range(0, 8, 2)]
    plain = {"label": name, "points": points, "shape_type": "polygon", "group_id": None}
    changed: dict[str, Any] = {
        "two points": {"points": points[:2]},
        "line": {"shape_type": "line"},
        "no label": {"label": " "},
        "no points": {"points": None},
        "fractions": {"points": [[x / W, y / H] for x, y in points]},
        "rectangle": {"points": [points[0], points[2]], "shape_type": "rectangle"},
        "far out": {"points": [[x + 1000, y] for x, y in points]},
    }
    return "rubbish" if fault == "rubbish" else plain | changed.get(fault, {})
