"""Colour name and brightness of a masked region."""

from __future__ import annotations

import colorsys

import numpy as np

from segue.scenes.kinds import COLOURS

COLOUR_NAMES = (*COLOURS, "black", "grey")
"""The basic colour terms: those of scenes, and two that photographs show besides. Source: ours."""


def median_rgb(image: np.ndarray, mask: np.ndarray) -> tuple[int, int, int]:
    """Median of each channel over the mask: robust against highlights, seams and a few wrong pixels.

    Args:
        image: RGB, uint8 `[height, width, 3]`.
        mask: bool `[height, width]`, at least one pixel set.

    Returns:
        `(r, g, b)` in 0..255.

    Raises:
        ValueError: The mask is empty or its size differs from the image's.
    """
    if image.shape[:2] != mask.shape:
        raise ValueError(f"mask {mask.shape} does not fit image {image.shape[:2]}")
    pixels = image[mask]
    if not len(pixels):
        raise ValueError("the median colour of an empty mask is not defined")
    r, g, b = np.median(pixels, axis=0)
    return int(r), int(g), int(b)


def colour_name(rgb: tuple[int, int, int]) -> str:
    """Name a colour with one of `COLOUR_NAMES`.

    Dark comes first (a nearly black blue is called black), then unsaturated, then hue; dark or dull orange is
    brown, light dull red is pink.

    Args:
        rgb: `(r, g, b)` in 0..255.

    Source: rule on hue, saturation and value; paper silent; ours.
    """
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in rgb))
    degrees = hue * 360
    if value < 0.2 or (value < 0.3 and saturation < 0.35):
        return "black"
    if saturation < 0.14:
        return "white" if value > 0.78 else "grey"
    if degrees < 14 or degrees >= 345:
        if value > 0.75 and saturation < 0.5:
            return "pink"
        return "brown" if saturation < 0.35 or (value < 0.5 and saturation < 0.6) else "red"
    if degrees < 45:
        if value > 0.78 and saturation < 0.22:
            return "white"
        return "orange" if value > 0.7 and saturation > 0.6 else "brown"
    if degrees < 68:
        if value > 0.8 and saturation < 0.2:
            return "white"
        return "yellow" if value > 0.55 else "brown"
    if degrees < 170:
        return "green"
    if degrees < 258:
        return "grey" if saturation < 0.2 and value < 0.6 else "blue"  # shade turns grey cloth bluish
    if degrees < 300:
        return "purple"
    return "pink" if value > 0.45 else "purple"


def luminance(rgb: tuple[int, int, int]) -> float:
    """Perceived brightness, 0..255 (weights of ITU-R BT.601)."""
    r, g, b = rgb
    return 0.299 * r + 0.587 * g + 0.114 * b
