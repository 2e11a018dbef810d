"""COCO's `segmentation`, whatever it is, as compressed run lengths that agree with the rest of the record."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pycocotools import mask as coco_mask

from segue import masks
from segue.data.formats.coco_report import UnusableRecord
from segue.data.formats.frames import HW, Frame, Reach
from segue.data.formats.image_header import turned_upright
from segue.errors import InputError, RecordError
from segue.masks import RLE

_FARTHEST = 1e6  # pixels; also false for NaN
_AGREES = 0.5
"""Overlap of a mask's box with the stated one below which they contradict each other; many are drawn
loosely."""
_CLEARLY = 0.75
"""Overlap that another reading of a mask must reach before it is preferred."""
_AREA_FACTOR = 3.0
FRACTIONS = "coordinates are fractions of the picture: scaled to pixels"
BY_ROW = "run lengths counted row by row, as the bbox shows: read so"
SWAPPED = "run lengths with height and width swapped, as the bbox shows: read so"
SHORT_POLYGON = "polygon of fewer than 3 points, left out of its region"

Polygons = list[list[float]]


@dataclass(frozen=True)
class Outline:
    """A segmentation in one of its two forms, checked for shape but not drawn.

    Attributes:
        polygons: Flat lists of x, y; empty where there are run lengths.
        rles: Run lengths as the file has them.
        num_short: Polygons that cannot be filled and were left out.
    """

    polygons: Polygons
    rles: tuple[Mapping[str, Any], ...] = ()
    num_short: int = 0

    @property
    def is_fractions(self) -> bool:
        """Whether all coordinates lie between 0 and 1, and some of them between whole pixels."""
        values = [value for polygon in self.polygons for value in polygon]
        within = bool(values) and min(values) >= -0.01 and max(values) <= 1.01
        return within and any(not float(value).is_integer() for value in values)

    def reach(self) -> Reach | None:
        """How far it reaches; None where that says nothing about the picture's size."""
        if self.rles:
            size = self.rles[0].get("size")
            is_size = isinstance(size, (list, tuple)) and len(size) == 2
            whole = is_size and all(isinstance(n, (int, float)) for n in size or ())
            return Reach(size[0], size[1], exact=True) if whole and size is not None else None
        if self.is_fractions:
            return None
        return Reach(max(max(p[1::2]) for p in self.polygons), max(max(p[::2]) for p in self.polygons))


def read_outline(segmentation: Any) -> Outline:
    """Sort out the forms in which files write a segmentation.

    Polygons are lists of flat lists; one flat list, and lists of points, are taken too, and so are texts of
    numbers. Run lengths are an object, or a list of objects, which then are one region.

    Raises:
        UnusableRecord: It is none of these.
    """
    if isinstance(segmentation, Mapping):
        return Outline([], (segmentation,))
    if not isinstance(segmentation, (list, tuple)) or not segmentation:
        raise UnusableRecord("no segmentation", repr(segmentation)[:60])
    if all(isinstance(item, Mapping) for item in segmentation):
        return Outline([], tuple(segmentation))
    polygons = [_flat(item) for item in _as_polygons(segmentation)]
    sound = [polygon for polygon in polygons if polygon is not None]
    if not sound:
        raise UnusableRecord("no usable polygon", "a polygon needs at least 3 points x, y, all finite")
    return Outline(sound, num_short=len(polygons) - len(sound))


def _as_polygons(segmentation: Sequence[Any]) -> Sequence[Any]:
    """A list of polygons, from one flat polygon, one list of points, or what it already is."""
    first = segmentation[0]
    if not isinstance(first, (list, tuple)):
        return [segmentation]
    points = all(isinstance(item, (list, tuple)) and len(item) == 2 for item in segmentation)
    return [segmentation] if points and not isinstance(first[0], (list, tuple)) else segmentation


def _flat(polygon: Any) -> list[float] | None:
    """A flat list of at least 3 points; None for what cannot be filled (two points, odd lengths)."""
    if not isinstance(polygon, (list, tuple)):
        return None
    if polygon and all(isinstance(point, (list, tuple)) and len(point) == 2 for point in polygon):
        polygon = [value for point in polygon for value in point]
    try:
        numbers = [float(value) for value in polygon if not isinstance(value, bool)]
    except (TypeError, ValueError, OverflowError):
        return None
    sound = len(numbers) == len(polygon) >= 6 and len(numbers) % 2 == 0
    return numbers if sound and all(abs(number) < _FARTHEST for number in numbers) else None


def to_rle(segmentation: Any, hw: HW) -> RLE:
    """Turn any COCO `segmentation` into compressed run lengths that are safe to decode.

    Args:
        segmentation: Polygons, or RLE with a string or a list of counts.
        hw: Image size `(height, width)`.

    Returns:
        `{"size": [height, width], "counts": str}`.

    Raises:
        RecordError: The segmentation is empty or broken; the message says how.
    """
    try:
        return agreeing_rle(read_outline(segmentation), {}, hw)[0]
    except UnusableRecord as problem:
        reason, detail = problem.args
        raise RecordError(
            f"Segmentation cannot be used: {reason}",
            expected="COCO polygons or RLE of the image's size",
            found=detail,
        ) from None


def agreeing_rle(outline: Outline, record: Mapping[str, Any], hw: HW) -> tuple[RLE, str]:
    """Draw an outline in the reading that its record's `bbox` and `area` support.

    Args:
        outline: What to draw.
        record: The annotation.
        hw: Size of the picture that the coordinates lie on.

    Returns:
        The mask, and the repair that it took ("" for none).

    Raises:
        UnusableRecord: It is empty, damaged, or contradicts its record in every reading.
    """
    readings = _readings(outline, hw)
    # The others are read only where the record contradicts this one: they decode the mask.
    standard = next(readings)
    stated = _boxes(record.get("bbox"), hw)
    if not stated:
        rle, repair = standard
        if repair == SWAPPED:
            raise _size_differs(outline, hw)
        # Without a box the area is all there is to check against.
        return _of_stated_area(_not_empty(rle), record.get("area"), outline), repair
    overlap = _overlap(standard[0], stated)
    if overlap >= _CLEARLY or (overlap >= _AGREES and standard[1] != SWAPPED):
        return _not_empty(standard[0]), standard[1]
    # Another reading must agree clearly: a loosely drawn box would else turn a sound mask around.
    for rle, repair in readings:
        if _overlap(rle, stated) >= _CLEARLY:
            return _not_empty(rle), repair
    if standard[1] == SWAPPED:
        raise _size_differs(outline, hw)
    if overlap >= _AGREES:
        return _not_empty(standard[0]), standard[1]
    drawn = [round(float(value), 1) for value in coco_mask.toBbox(_not_empty(standard[0]))]
    raise UnusableRecord("mask contradicts its bbox", f"mask within {drawn}, bbox {record.get('bbox')}")


def upright_rle(outline: Outline, record: Mapping[str, Any], frame: Frame) -> tuple[RLE, str]:
    """As `agreeing_rle`, read on a frame and turned as the picture is looked at."""
    rle, repair = agreeing_rle(outline, record, frame.hw)
    if frame.orientation == 1:
        return rle, repair
    return masks.encode(turned_upright(masks.decode(rle), frame.orientation)), repair


def _readings(outline: Outline, hw: HW) -> Iterator[tuple[RLE, str]]:
    """Read an outline in each way it may be meant, the usual one first."""
    if outline.polygons:
        # In a picture of two pixels, fractions and pixels cannot be told apart.
        if outline.is_fractions and min(hw) > 2:
            # Flat x, y, x, y: even places are x and grow with the width, which is hw[1].
            polygons = [[v * hw[1 - i % 2] for i, v in enumerate(p)] for p in outline.polygons]
            yield masks.encode(masks.from_polygons(polygons, hw)), FRACTIONS
        else:
            yield masks.encode(masks.from_polygons(outline.polygons, hw)), ""
        return
    sizes = {tuple(s) if isinstance(s := rle.get("size"), (list, tuple)) else None for rle in outline.rles}
    if sizes not in ({hw}, {hw[::-1]}):
        raise _size_differs(outline, hw)
    first = "" if sizes == {hw} else SWAPPED
    columns = [_by_column(rle, hw) for rle in outline.rles]
    yield masks.union_rle(columns), first
    # COCO counts down the columns; a program that flattens an array as numpy does counts along the rows.
    rows = [masks.encode(masks.decode(rle).T.ravel().reshape(hw)) for rle in columns]
    yield masks.union_rle(rows), first or BY_ROW


def _by_column(rle: Mapping[str, Any], hw: HW) -> RLE:
    counts = rle.get("counts")
    sized: dict[str, Any] = {"size": list(hw), "counts": counts}
    try:
        masks.check_rle(sized)
    except InputError as error:
        raise UnusableRecord(
            "damaged run lengths", f"expected {error.expected}, found {error.found}"
        ) from None
    return (
        {"size": list(hw), "counts": counts} if isinstance(counts, str) else masks.encode(masks.decode(sized))
    )


def _size_differs(outline: Outline, hw: HW) -> UnusableRecord:
    sizes = ", ".join(str(rle.get("size")) for rle in outline.rles[:3])
    return UnusableRecord("mask size differs from image size", f"mask {sizes}, image {list(hw)}")


def _not_empty(rle: RLE) -> RLE:
    if int(coco_mask.area(rle)) == 0:
        raise UnusableRecord("empty mask", "no pixel is set")
    return rle


# ---- agreement with the record -----------------------------------------------------------------------------

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def _boxes(bbox: Any, hw: HW) -> list[Box]:
    """Boxes that a `bbox` may mean, cut to the picture: x, y, width, height; two corners; or fractions."""
    if not isinstance(bbox, (list, tuple)) or len(bbox) != 4:
        return []
    try:
        a, b, c, d = (float(value) for value in bbox)
    except (TypeError, ValueError, OverflowError):
        return []
    if not all(math.isfinite(value) and abs(value) < _FARTHEST for value in (a, b, c, d)) or c <= 0 or d <= 0:
        return []
    found: list[Box] = []
    for x, y in ((1, 1), (hw[1], hw[0]) if max(a, b, c, d) <= 1.01 else (1, 1)):
        # [10, 20, 50, 60] is a box of 50 x 60 pixels, or one that ends at (50, 60).
        found.append((a * x, b * y, (a + c) * x, (b + d) * y))
        if c > a and d > b:
            found.append((a * x, b * y, c * x, d * y))
    cut = [
        (max(0.0, x0), max(0.0, y0), min(float(hw[1]), x1), min(float(hw[0]), y1)) for x0, y0, x1, y1 in found
    ]
    return [box for box in cut if box[2] > box[0] and box[3] > box[1]]


def _overlap(rle: RLE, stated: Sequence[Box]) -> float:
    """The largest overlap (IoU) of a mask's box with what was stated; 1 where all edges nearly meet."""
    left, top, width, height = (float(value) for value in coco_mask.toBbox(rle))
    drawn = (left, top, left + width, top + height)
    best = 0.0
    for box in stated:
        sides = (box[2] - box[0], box[3] - box[1])
        slack = [max(2.0, 0.05 * sides[i % 2]) for i in range(4)]
        if all(abs(one - other) <= s for one, other, s in zip(drawn, box, slack, strict=True)):
            return 1.0
        across = max(0.0, min(drawn[2], box[2]) - max(drawn[0], box[0]))
        down = max(0.0, min(drawn[3], box[3]) - max(drawn[1], box[1]))
        shared = across * down
        best = max(best, shared / (width * height + sides[0] * sides[1] - shared))
    return best


def _of_stated_area(rle: RLE, area: Any, outline: Outline) -> RLE:
    """The mask, unless there is no box and the stated area is quite another one."""
    usable = isinstance(area, (int, float)) and not isinstance(area, bool) and 1 < area < _FARTHEST**2
    if not usable or outline.is_fractions:
        return rle
    drawn = int(coco_mask.area(rle))
    # Thin outlines gain or lose a pixel along their whole edge when they are drawn.
    off = abs(drawn - area) > 100
    if off and not 1 / _AREA_FACTOR <= drawn / area <= _AREA_FACTOR:
        raise UnusableRecord("mask contradicts its area", f"mask of {drawn} pixels, area {area}")
    return rle
