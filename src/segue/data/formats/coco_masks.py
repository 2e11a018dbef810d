"""COCO's `segmentation`, whatever it is, as compressed run lengths that are safe to decode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segue import masks
from segue.data.formats.coco_report import UnusableRecord
from segue.errors import InputError, RecordError
from segue.masks import RLE

_FARTHEST = 1e6  # pixels; also false for NaN


def _checked_rle(segmentation: Mapping[str, Any], hw: tuple[int, int]) -> RLE:
    size = segmentation.get("size")
    if not isinstance(size, (list, tuple)) or list(size) != list(hw):
        raise UnusableRecord("mask size differs from image size", f"mask {size}, image {list(hw)}")
    try:
        masks.check_rle(segmentation)
    except InputError as error:
        raise UnusableRecord(
            "damaged run lengths", f"expected {error.expected}, found {error.found}"
        ) from None
    counts = segmentation["counts"]
    if isinstance(counts, str):
        return {"size": list(hw), "counts": counts}
    return masks.encode(masks.decode(segmentation))


def _polygon_rle(polygons: list[Any], hw: tuple[int, int]) -> RLE:
    if not isinstance(polygons[0], (list, tuple)):
        polygons = [polygons]  # one flat polygon instead of a list of polygons
    sound = [polygon for polygon in polygons if _is_polygon(polygon)]
    if not sound:
        raise UnusableRecord("no usable polygon", "a polygon needs at least 3 points x, y, all finite")
    return masks.encode(masks.from_polygons(sound, hw))


def _is_polygon(polygon: Any) -> bool:
    """Two-point "polygons" and odd lengths occur in COCO and ADE20K; a region goes without them."""
    return (
        isinstance(polygon, (list, tuple))
        and len(polygon) >= 6
        and len(polygon) % 2 == 0
        and all(isinstance(number, (int, float)) and abs(number) < _FARTHEST for number in polygon)
    )


def to_rle(segmentation: Any, hw: tuple[int, int]) -> RLE:
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
        return segmentation_rle(segmentation, hw)
    except UnusableRecord as problem:
        reason, detail = problem.args
        raise RecordError(
            f"Segmentation cannot be used: {reason}",
            expected="COCO polygons or RLE of the image's size",
            found=detail,
        ) from None


def segmentation_rle(segmentation: Any, hw: tuple[int, int]) -> RLE:
    """As `to_rle`.

    Raises:
        UnusableRecord: With the reason in the words of the report.
    """
    if isinstance(segmentation, Mapping):
        rle = _checked_rle(segmentation, hw)
    elif isinstance(segmentation, list) and segmentation:
        rle = _polygon_rle(segmentation, hw)
    else:
        raise UnusableRecord("no segmentation", repr(segmentation)[:60])
    if masks.area(rle) == 0:
        raise UnusableRecord("empty mask", "no pixel is set")
    return rle
