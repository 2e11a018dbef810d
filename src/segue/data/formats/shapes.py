"""LabelMe's shapes as masks: polygons, rectangles, circles and small pictures of masks."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from segue import masks
from segue.data.formats.frames import HW, Reach
from segue.masks import Mask

Points = np.ndarray[Any, np.dtype[np.float64]]
_FARTHEST = 1e6  # pixels; also false for NaN


class UnusableShape(Exception):
    """A shape gives no mask: `(reason, found)`."""


@dataclass(frozen=True)
class Shape:
    """A shape that is sound as it stands in its file, not drawn yet.

    Attributes:
        kind: LabelMe's `shape_type`.
        points: `[n, 2]`, x and y; in fractions of the picture where `is_fractions`.
        encoded: The base64 picture of a mask.
    """

    kind: str
    points: Points
    encoded: Any = None

    @property
    def is_fractions(self) -> bool:
        """Whether all coordinates lie between 0 and 1, and some of them between whole pixels."""
        within = bool(len(self.points)) and self.points.min() >= -0.01 and self.points.max() <= 1.01
        return self.kind != "mask" and within and bool((self.points % 1).any())

    def reach(self) -> Reach | None:
        """How far it reaches; None where that says nothing about the picture's size."""
        if not len(self.points) or self.is_fractions or self.kind == "circle":
            return None
        return Reach(float(self.points[:, 1].max()), float(self.points[:, 0].max()))

    def draw(self, hw: HW) -> Mask:
        """The mask, `[height, width]`, with at least one pixel.

        Raises:
            UnusableShape: Nothing of it lies inside the picture, or a mask is damaged.
        """
        # x grows with the width.
        scale = np.array([hw[1], hw[0]]) if self.is_fractions else 1
        points = self.points * scale
        if self.kind == "circle":
            mask = _circle(points, hw)
        elif self.kind == "mask":
            mask = _pasted(self.encoded, points, hw)
        else:
            mask = masks.from_polygons([points.ravel().tolist()], hw)
        if not mask.any():
            found = f"no pixel of the {self.kind} lies inside {hw[1]} x {hw[0]} pixels"
            raise UnusableShape("empty mask", found)
        return mask


def read_shape(shape: Mapping[str, Any]) -> Shape:
    """Check one shape.

    Args:
        shape: `points` and `shape_type` (polygon, rectangle, circle, mask, or a rotated rectangle).

    Raises:
        UnusableShape: A line or point, or too few points.
    """
    kind = str(shape.get("shape_type") or "polygon")
    points = _points(shape.get("points"))
    if kind == "rectangle" and len(points) == 2:
        # Two opposite corners, in whichever order they were drawn.
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    if kind in ("polygon", "rectangle", "rotation", "quadrilateral", "oriented_rectangle"):
        if len(points) < 3:
            raise UnusableShape("shape with too few points", f"{kind} of {len(points)} points")
    elif kind == "circle":
        if len(points) != 2:
            raise UnusableShape("shape with too few points", f"circle of {len(points)} points instead of 2")
    elif kind != "mask":
        raise UnusableShape("shape without area", f"shape_type {kind!r}")
    return Shape(kind, points, shape.get("mask"))


def shape_mask(shape: Mapping[str, Any], hw: HW) -> Mask:
    """Draw one shape as a mask `[height, width]`; see `read_shape` and `Shape.draw`.

    Raises:
        UnusableShape: A line or point, too few points, or nothing inside the image.
    """
    return read_shape(shape).draw(hw)


def shape_area(points: Any) -> float:
    """Area inside a polygon of points `[n, 2]`, by the shoelace formula; 0 where there is none."""
    try:
        found = _points(points)
    except UnusableShape:
        return 0.0
    x, y = found[:, 0], found[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _points(points: Any) -> Points:
    """`[n, 2]` finite numbers."""
    try:
        found = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.zeros(0)
    if found.ndim != 2 or found.shape[1] != 2 or not (np.abs(found) < _FARTHEST).all():
        raise UnusableShape("shape without points", repr(points)[:80])
    return found


def _circle(points: Points, hw: tuple[int, int]) -> Mask:
    """A centre and a point on the edge; a pixel belongs to it when its centre does."""
    centre, radius = points[0], float(np.hypot(*(points[1] - points[0])))
    rows = np.arange(hw[0])[:, None] + 0.5 - centre[1]
    columns = np.arange(hw[1])[None, :] + 0.5 - centre[0]
    inside: Mask = rows**2 + columns**2 <= radius**2
    return inside


def _pasted(encoded: Any, points: Points, hw: tuple[int, int]) -> Mask:
    """A base64 picture of the mask, its top left pixel at the first point."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
            if picture.width * picture.height > masks.MAX_PIXELS:
                raise UnusableShape("damaged mask", f"{picture.width} x {picture.height} pixels")
            small = np.asarray(picture.convert("L")) > 0
    except UnusableShape:
        raise
    except Exception as error:  # base64 and PIL raise nearly anything
        raise UnusableShape("damaged mask", f"{type(error).__name__}: {error}") from None
    if not len(points):
        raise UnusableShape("shape with too few points", "a mask without its corner")
    left, top = (round(float(value)) for value in points.min(axis=0))
    whole = np.zeros(hw, dtype=np.bool_)
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(hw[0], top + small.shape[0]), min(hw[1], left + small.shape[1])
    if y1 > y0 and x1 > x0:
        whole[y0:y1, x0:x1] = small[y0 - top : y1 - top, x0 - left : x1 - left]
    return whole
