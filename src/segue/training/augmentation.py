"""Small changes of training images that keep their labels right; every one takes an explicit rng."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segue.models.presets import IMAGENET_MEAN

Picture = NDArray[np.uint8]


def jitter(image: Picture, rng: np.random.Generator, strength: float = 0.12) -> Picture:
    """Brightness and contrast, by at most `strength` of the range."""
    gain, offset = 1 + rng.uniform(-strength, strength), 255 * rng.uniform(-strength, strength) / 2
    return np.clip(image.astype(np.float32) * gain + offset, 0, 255).astype(np.uint8)


def permute_channels(image: Picture, rng: np.random.Generator) -> Picture:
    """Another order of R, G and B: the shapes stay, the colour names do not."""
    orders = ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    return np.ascontiguousarray(image[..., orders[int(rng.integers(len(orders)))]])


def flip(*arrays: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Mirror left and right."""
    return [np.ascontiguousarray(a[:, ::-1]) for a in arrays]


def random_crop(
    image: Picture, label_map: NDArray[np.uint8], rng: np.random.Generator, least: float = 0.72
) -> tuple[Picture, NDArray[np.uint8]]:
    """The same random window of a photograph and of its labels, each side at least `least` as long."""
    height, width = label_map.shape
    h, w = int(height * rng.uniform(least, 1)), int(width * rng.uniform(least, 1))
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    window = np.s_[top : top + h, left : left + w]
    return image[window], label_map[window]


def resize_pair(
    image: Picture, label_map: NDArray[np.uint8], hw: tuple[int, int]
) -> tuple[Picture, NDArray[np.uint8]]:
    """Image (bilinear) and labels (nearest) at `hw`."""
    wh = (hw[1], hw[0])
    return (
        np.asarray(Image.fromarray(image).resize(wh, Image.Resampling.BILINEAR)),
        np.asarray(Image.fromarray(label_map).resize(wh, Image.Resampling.NEAREST)),
    )


def pad_square(array: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Fill up to a square on the bottom and the right: labels with 0, pictures with the mean colour.

    The processor pads with zeros after normalising; the mean colour before it is the same.
    """
    square = np.zeros((size, size, *array.shape[2:]), np.uint8)
    if array.ndim == 3:
        square[:] = np.round(np.asarray(IMAGENET_MEAN) * 255).astype(np.uint8)
    square[: array.shape[0], : array.shape[1]] = array
    return square
