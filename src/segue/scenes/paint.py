"""The colour of an instance, and how a rasterised object is lit and laid onto the picture."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from segue.scenes.shapes import SUPERSAMPLE, Raster

_BANDS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-0.012, 0.008), (0.78, 0.92), (0.72, 0.88)),
    "orange": ((0.068, 0.086), (0.82, 0.96), (0.92, 1.0)),
    "yellow": ((0.13, 0.152), (0.7, 0.88), (0.93, 1.0)),
    "green": ((0.31, 0.38), (0.55, 0.78), (0.5, 0.7)),
    "blue": ((0.585, 0.63), (0.68, 0.86), (0.66, 0.9)),
    "purple": ((0.74, 0.785), (0.52, 0.7), (0.5, 0.7)),
    "pink": ((0.91, 0.95), (0.32, 0.46), (0.94, 1.0)),
    "brown": ((0.05, 0.075), (0.56, 0.72), (0.36, 0.47)),
    "white": ((0.0, 1.0), (0.0, 0.035), (0.94, 1.0)),
}
"""Hue, saturation and value of each colour name, in 0..1: bands that do not touch, so a name stays right."""


def shade_of(colour: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """An sRGB colour (0..255) inside the band of a colour name."""
    (h0, h1), (s0, s1), (v0, v1) = _BANDS[colour]
    h, s, v = rng.random(3)
    r, g, b = colorsys.hsv_to_rgb((h0 + (h1 - h0) * h) % 1, s0 + (s1 - s0) * s, v0 + (v1 - v0) * v)
    return 255 * r, 255 * g, 255 * b


def _texture(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Soft stripes or dots around 1, `float32 [height, width]`, with a period of about `scale` pixels."""
    y, x = (np.arange(n, dtype=np.float32)[:, None] for n in shape)
    k, turn = np.float32(2 * np.pi / scale), 3.14 * rng.random()
    u = k * (np.float32(np.cos(turn)) * x.T + np.float32(np.sin(turn)) * y)
    if rng.random() < 0.5:
        return 1 + np.float32(0.09) * np.sin(u)
    v = k * (np.float32(np.cos(turn)) * y - np.float32(np.sin(turn)) * x.T)
    return 1 + np.float32(0.14) * np.clip(np.sin(u) * np.sin(v) * 2, 0, 1)


def lay(picture: NDArray[np.float32], raster: Raster, left: int, top: int, rng: np.random.Generator) -> None:
    """Composites an object, with its soft shadow, onto the picture in place.

    Args:
        picture: sRGB in 0..255, `float32 [3, size, size]`.
        raster: the object, with its margin.
        left: column of the raster's left edge, may be negative.
        top: row of the raster's top edge, may be negative.
        rng: source of texture and light.

    Source: paper silent; ours.
    """
    height, width = raster.parts.shape
    size = picture.shape[1]
    rgba = np.take(raster.palette, raster.layer)
    # Mode CMYK only names "four plain channels": reduce() must not undo the premultiplication.
    small = np.asarray(Image.frombuffer("CMYK", (width * 2, height * 2), rgba).reduce(SUPERSAMPLE))
    alpha8 = np.ascontiguousarray(small[:, :, 3])
    soft8 = Image.fromarray(alpha8).filter(ImageFilter.GaussianBlur(raster.pad * 0.42))
    soft = np.asarray(soft8, dtype=np.float32) * np.float32(1 / 255)
    d = max(1, raster.pad // 3)
    light = np.ones((height, width), np.float32)
    # Light comes from the upper left: borders that face it are lighter, the others darker.
    light[d:-d, d:-d] += np.float32(0.34) * (soft[2 * d :, 2 * d :] - soft[: -2 * d, : -2 * d])
    light -= np.linspace(-0.09, 0.09, height, dtype=np.float32)[:, None]
    light -= np.linspace(-0.06, 0.06, width, dtype=np.float32)[None]
    if rng.random() < 0.35:
        texture = _texture((height, width), max(height, width) * (0.09 + 0.08 * rng.random()), rng)
        light *= np.where(raster.parts == raster.main, texture, np.float32(1))
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + height, size), min(left + width, size)
    window = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    drop = np.zeros_like(soft)
    drop[d:, d // 2 + 1 :] = soft[:-d, : -(d // 2 + 1)]
    keep = (1 - alpha8[window] * np.float32(1 / 255)) * (1 - np.float32(0.42) * drop[window])
    target = picture[:, y0:y1, x0:x1]
    target *= keep
    planes = small[window].transpose(2, 0, 1)
    paint = planes[:3] * light[window]
    # A premultiplied channel is at most its alpha: light above 1 would else glow past white.
    target += np.minimum(paint, planes[3], out=paint)
