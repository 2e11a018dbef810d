"""The pen on which drawings put their shapes, and its rasteriser.

A drawing works in its own frame: x to the right, y down, the object roughly inside [-1, 1] x [-1, 1]. Every
shape belongs to a part and has a tone. The pen only collects polygons; `rasterise` turns, mirrors and scales
them into ONE layer of paint numbers, from which colours and part numbers follow by table look-up. So masks
and colours cannot disagree, and each polygon is filled once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

Points = NDArray[np.float64]
Tone = float | tuple[int, int, int]
"""A factor on the object's colour (below 1 darker, above 1 towards white), or an sRGB accent of its own."""

SUPERSAMPLE = 2
EDGE_PAINTS = 128
"""Paint p + EDGE_PAINTS is paint p darkened, used along the outlines of parts."""


@lru_cache(maxsize=1024)
def _unit_arc(start: float, stop: float, n: int) -> Points:
    t = np.linspace(np.radians(start), np.radians(stop), n)
    return np.stack([np.cos(t), np.sin(t)], axis=1)


def arc(
    cx: float, cy: float, rx: float, ry: float, start: float = 0, stop: float = 360, n: int = 28
) -> Points:
    """Points `[n, 2]` on an ellipse, from `start` to `stop` degrees (0 is right, 90 is down)."""
    return _unit_arc(start, stop, n) * (rx, ry) + (cx, cy)


def turned(points: ArrayLike, degrees: float, about: tuple[float, float] = (0, 0)) -> Points:
    """The points `[n, 2]` turned clockwise about a point."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (np.asarray(points, dtype=float) - about) @ np.array([[c, s], [-s, c]]) + about


def smooth(points: ArrayLike, closed: bool = True, steps: int = 6) -> Points:
    """A Catmull-Rom curve through the points `[n, 2]`, `steps` samples per segment."""
    p = np.asarray(points, dtype=float)
    if closed:
        # A segment takes one point before and one behind it: of a closed curve those that come round again.
        p = np.concatenate([p[-1:], p, p[:2]])
    else:
        # Of an open one the ends are mirrored, so that it leaves them straight.
        p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve = curve.transpose(1, 0, 2).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-2:-1]])


@dataclass
class Pen:
    """Collects the shapes of one object, from back to front.

    Args:
        parts: the part names of the kind.
        rng: source of the variation inside a kind.
        colour: name of the object's colour, for drawings whose accents must not equal it.
        turn: largest rotation, in degrees either way, that suits the object.
    """

    parts: tuple[str, ...]
    rng: np.random.Generator
    colour: str
    turn: float = 12.0
    shapes: list[tuple[int, Points]] = field(default_factory=list)
    paints: dict[tuple[int, Tone], int] = field(default_factory=dict)

    def vary(self, low: float, high: float) -> float:
        """A uniform draw."""
        return low + (high - low) * self.rng.random()

    def chance(self, probability: float) -> bool:
        """Whether something happens."""
        return bool(self.rng.random() < probability)

    def poly(self, part: str, points: ArrayLike, tone: Tone = 1.0) -> None:
        """A filled polygon `[n, 2]`."""
        key = (self.parts.index(part) + 1, tone)
        paint = self.paints.setdefault(key, len(self.paints) + 1)
        self.shapes.append((paint, np.asarray(points, dtype=float)))

    def ellipse(
        self, part: str, cx: float, cy: float, rx: float, ry: float, tone: Tone = 1.0, turn: float = 0
    ) -> None:
        """A filled ellipse, turned about its centre."""
        points = arc(cx, cy, rx, ry, n=max(10, min(36, round(40 * max(rx, ry)))))
        self.poly(part, turned(points, turn, (cx, cy)) if turn else points, tone)

    def rect(
        self, part: str, x0: float, y0: float, x1: float, y1: float, tone: Tone = 1.0, r: float = 0
    ) -> None:
        """A filled rectangle with corner radius r."""
        if r <= 0:
            self.poly(part, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)], tone)
            return
        corners = [(x1 - r, y1 - r, 0), (x0 + r, y1 - r, 90), (x0 + r, y0 + r, 180), (x1 - r, y0 + r, 270)]
        self.poly(part, np.concatenate([arc(x, y, r, r, a, a + 90, 5) for x, y, a in corners]), tone)

    def stroke(self, part: str, path: ArrayLike, width: float, tone: Tone = 1.0, caps: bool = True) -> None:
        """A line of constant width along a path `[n, 2]`, with round ends if `caps`."""
        p = np.asarray(path, dtype=float)
        along = np.gradient(p, axis=0)
        normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
        normal *= width / 2 / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        # There along one side and back along the other.
        self.poly(part, np.concatenate([p + normal, (p - normal)[::-1]]), tone)
        if caps:
            for x, y in (p[0], p[-1]):
                self.ellipse(part, x, y, width / 2, width / 2, tone)

    def ring(
        self,
        part: str,
        cx: float,
        cy: float,
        rx: float,
        ry: float,
        width: float,
        tone: Tone = 1.0,
        turn: float = 0,
    ) -> None:
        """An elliptic ring with a hole; rx and ry reach to the middle of its band."""
        h = width / 2
        # The inner edge runs backwards, so that one outline closes into a band with a hole.
        points = np.concatenate([arc(cx, cy, rx + h, ry + h), arc(cx, cy, rx - h, ry - h)[::-1]])
        self.poly(part, turned(points, turn, (cx, cy)), tone)


@dataclass(frozen=True)
class Raster:
    """An object in pixels, before it has a place.

    Args:
        layer: paint numbers at `SUPERSAMPLE` times the output resolution, `uint8 [2 * height, 2 * width]`.
        palette: premultiplied RGBA of each paint number, `uint32 [256]`.
        part_of: part number of each paint number, `uint8 [256]`.
        parts: part number at output pixels, `uint8 [height, width]`, 0 outside the object.
        pad: empty margin around the object, in output pixels.
        main: number of the part that wears the object's plain colour (and a texture, if there is one).
    """

    layer: NDArray[np.uint8]
    palette: NDArray[np.uint32]
    part_of: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    pad: int
    main: int


def toned(rgb: Sequence[float], tone: Tone) -> NDArray[np.float64]:
    """The sRGB colour `[3]` that a tone makes of an object's colour."""
    if isinstance(tone, tuple):
        return np.array(tone, dtype=float)
    base = np.array(rgb, dtype=float)
    if tone > 1:
        return base + (255 - base) * (tone - 1)
    if base[0] > base[1] > base[2]:  # shadows of yellow and orange turn towards red; olive looks dirty
        return base * (tone, tone**1.2, tone)
    return base * tone


def _tables(pen: Pen, rgb: Sequence[float]) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Colour and part of every paint number."""
    palette = np.zeros((256, 4), np.uint8)
    part_of = np.zeros(256, np.uint8)
    for (part, tone), paint in pen.paints.items():
        colour = toned(rgb, tone)
        palette[paint] = (*colour, 255)
        palette[paint + EDGE_PAINTS] = (*(colour * 0.55), 255)
        part_of[[paint, paint + EDGE_PAINTS]] = part
    # Four bytes as one number: a single look-up paints all channels.
    return palette.view(np.uint32).ravel(), part_of


def rasterise(
    pen: Pen, rgb: Sequence[float], *, long_side: float, degrees: float, mirrored: bool, edge: int, pad: int
) -> Raster:
    """Draws the pen's shapes so that the longer side of their box is `long_side` output pixels.

    A pixel of the part map is the supersample just right of and below the pixel's centre (a quarter of a
    pixel off it, with a factor of two).

    Args:
        pen: the drawn object.
        rgb: sRGB colour of the object, `[3]`.
        long_side: length of the longer side of the turned box, in output pixels.
        degrees: clockwise rotation, applied after the mirroring.
        mirrored: whether left and right are exchanged.
        edge: width of the dark outline inside each part, in supersamples.
        pad: empty margin to leave, in output pixels.

    Source: paper silent; ours.
    """
    points = np.concatenate([shape for _, shape in pen.shapes])
    if mirrored:
        points = points * (-1.0, 1.0)
    points = turned(points, degrees)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = long_side / (high - low).max()
    width, height = np.ceil((high - low) * scale).astype(int) + 2 * pad
    # Continuous coordinate s has its sample at s - 0.5 in PIL's frame.
    points = ((points - low) * scale + pad) * SUPERSAMPLE - 0.5
    image = Image.new("L", (int(width) * SUPERSAMPLE, int(height) * SUPERSAMPLE))
    draw = ImageDraw.Draw(image)
    flat, start = points.ravel().tolist(), 0
    for paint, shape in pen.shapes:
        draw.polygon(flat[start : start + shape.size], fill=paint)
        start += shape.size
    palette, part_of = _tables(pen, rgb)
    layer = np.array(image)
    part = np.asarray(image.point(part_of.tolist()))
    dark = np.zeros(layer.shape, bool)
    rows, columns = part[edge:] != part[:-edge], part[:, edge:] != part[:, :-edge]
    dark[edge:] |= rows
    dark[:-edge] |= rows
    dark[:, edge:] |= columns
    dark[:, :-edge] |= columns
    layer += (dark & (layer > 0)).view(np.uint8) * np.uint8(EDGE_PAINTS)
    main = next((part for part, tone in pen.paints if tone == 1.0), 1)
    return Raster(layer, palette, part_of, part[1::SUPERSAMPLE, 1::SUPERSAMPLE].copy(), pad, main)
