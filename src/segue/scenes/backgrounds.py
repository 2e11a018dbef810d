"""Backgrounds: a muted wall or sky over a muted ground, with texture and small clutter that is no kind."""

from __future__ import annotations

import colorsys
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw


@lru_cache(maxsize=4)
def _noise(size: int) -> NDArray[np.float32]:
    """Fixed smooth noise `[2 * size, 2 * size]` around 0 (about +-1); images cut windows out of it."""
    rng = np.random.default_rng(20240501)
    total = np.zeros((2 * size, 2 * size), np.float32)
    for cells, weight in ((8, 0.5), (32, 0.3), (128, 0.2)):
        grid = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
        total += weight * np.asarray(grid.resize((2 * size, 2 * size), Image.Resampling.BICUBIC))
    return total / np.float32(total.std())


def _muted(rng: np.random.Generator, low: float, high: float, saturation: float) -> tuple[int, int, int]:
    """An unsaturated sRGB colour of any hue with its value in [low, high]."""
    r, g, b = colorsys.hsv_to_rgb(rng.random(), saturation * rng.random(), low + (high - low) * rng.random())
    return round(255 * r), round(255 * g), round(255 * b)


def _scaled(colour: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    r, g, b = (min(255, round(factor * c)) for c in colour)
    return r, g, b


def _wall(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, horizon: float) -> None:
    """Wallpaper stripes, tiles, dots, hills or nothing, between the top and the horizon."""
    low, high = ((0.72, 0.92), (0.36, 0.55))[int(rng.random() < 0.25)]
    base = _muted(rng, low, high, 0.22)
    other = _scaled(base, 0.94 + 0.1 * rng.random())
    draw.rectangle((0, 0, size, size), fill=base)
    pattern, step = int(rng.integers(6)), size * (0.07 + 0.1 * rng.random())
    count = int(size / step) + 2
    if pattern == 0:
        for k in range(0, count, 2):
            draw.rectangle((k * step, 0, (k + 1) * step, horizon), fill=other)
    elif pattern == 1:
        for k in range(count):
            draw.line((k * step, 0, k * step, horizon), fill=other, width=max(1, size // 112))
            draw.line((0, k * step, size, k * step), fill=other, width=max(1, size // 112))
    elif pattern == 2:
        r = step * 0.18
        for k in range(count * count):
            x, y = (k % count + 0.5 * (k // count % 2)) * step, (k // count) * step
            draw.ellipse((x - r, y - r, x + r, y + r), fill=other)
    elif pattern == 3:
        for shade in (0.97, 0.92):
            xs = np.linspace(0, size, 13)
            wave = np.sin(xs / size * (3 + 5 * rng.random()) + 6 * rng.random())
            ys = horizon - size * (0.05 + 0.12 * rng.random()) - wave * size * 0.05
            points = [*np.stack([xs, ys], 1).ravel().tolist(), size, size, 0, size]
            draw.polygon(points, fill=_scaled(base, shade))


def _ground(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int, horizon: float) -> None:
    """Planks, floor tiles or plain ground below the horizon, with the edge that a table or a skirting has."""
    base = _muted(rng, 0.5, 0.86, 0.25)
    other = _scaled(base, 0.9)
    draw.rectangle((0, horizon, size, size), fill=base)
    pattern, thin = int(rng.integers(4)), max(1, size // 112)
    if pattern == 0:
        y, gap = horizon, size * 0.04
        while y < size:
            draw.line((0, y, size, y), fill=other, width=thin)
            # Wider towards the viewer, as in perspective.
            y, gap = y + gap, gap * 1.45
    elif pattern == 1:
        vanish, y, gap = size * rng.random(), horizon, size * 0.05
        for k in range(-9, 10):
            draw.line(
                (vanish + k * size * 0.12, horizon, vanish + k * size * 0.34, size), fill=other, width=thin
            )
        while y < size:
            draw.line((0, y, size, y), fill=other, width=thin)
            y, gap = y + gap, gap * 1.5
    if rng.random() < 0.7:
        band = size * (0.012 + 0.02 * rng.random())
        draw.rectangle(
            (0, horizon, size, horizon + band), fill=_scaled(base, 1.1 if rng.random() < 0.5 else 0.78)
        )


def _clutter(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int) -> None:
    """Small greyish pebbles, leaves and confetti anywhere."""
    for _ in range(int(rng.integers(2, 13))):
        x, y, r = size * rng.random(), size * rng.random(), size * (0.008 + 0.018 * rng.random())
        fill = _muted(rng, 0.35, 0.8, 0.22)
        turn, sides = 6.28 * rng.random(), (3, 4, 12)[int(rng.integers(3))]
        t = turn + np.arange(sides) * (2 * np.pi / sides)
        squash = 0.45 + 0.4 * rng.random()
        points = np.stack([x + r * np.cos(t), y + squash * r * np.sin(t)], 1)
        draw.polygon((points + r * 0.35).ravel().tolist(), fill=(96, 92, 92))
        draw.polygon(points.ravel().tolist(), fill=fill)


def background(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """A background, sRGB in 0..255 as `float32 [3, size, size]`.

    Source: paper silent; ours.
    """
    image = Image.new("RGB", (size, size))
    draw = ImageDraw.Draw(image)
    horizon = size * (0.42 + 0.33 * rng.random())
    _wall(draw, rng, size, horizon)
    if rng.random() < 0.85:
        _ground(draw, rng, size, horizon)
    _clutter(draw, rng, size)
    planes = np.asarray(image).transpose(2, 0, 1).astype(np.float32)
    # The mean of 2 x 2 neighbours softens the stairs of PIL's edges.
    planes[:, :, 1:] += planes[:, :, :-1].copy()
    # The first column has no neighbour to the left and counts twice.
    planes[:, :, 0] *= 2
    planes[:, 1:] += planes[:, :-1].copy()
    planes[:, 0] *= 2
    x, y = rng.integers(size, size=2)
    light = _noise(size)[y : y + size, x : x + size] * np.float32(0.0025 + 0.005 * rng.random())
    slope_x, slope_y = 0.06 * (rng.random(2) - 0.5).astype(np.float32)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    # A quarter: the planes hold sums of four neighbours.
    light += (np.float32(0.25) + slope_y * ramp)[:, None] + (slope_x * ramp)[None]
    planes *= light
    return planes
