"""Small changes of training images that keep their labels right; every one takes an explicit rng."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segue.models.image_streams import IMAGENET_MEAN

Picture = NDArray[np.uint8]
MEAN_COLOUR = tuple(round(255 * c) for c in IMAGENET_MEAN)


def jitter(image: Picture, rng: np.random.Generator, strength: float = 0.12) -> Picture:
    """Brightness and contrast, by at most `strength` of the range."""
    gain, offset = 1 + rng.uniform(-strength, strength), 255 * rng.uniform(-strength, strength) / 2
    return np.clip(image.astype(np.float32) * gain + offset, 0, 255).astype(np.uint8)


def permute_channels(image: Picture, rng: np.random.Generator) -> Picture:
    """Another order of R, G and B: the shapes stay, the colour names do not."""
    # All but the order that it has.
    orders = ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    return np.ascontiguousarray(image[..., orders[int(rng.integers(len(orders)))]])


def tint(image: Picture, mask: NDArray[np.bool_], rng: np.random.Generator) -> Picture:
    """The pixels of a mask in another colour: channels in another order, each lighter or darker."""
    pixels = image[mask][:, rng.permutation(3)].astype(np.float32)
    tinted = image.copy()
    tinted[mask] = np.clip(pixels * rng.uniform(0.5, 1.5, 3) + rng.uniform(-30, 30, 3), 0, 255)
    return tinted


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


def warp(
    image: Picture, label_map: NDArray[np.uint8], size: int, rng: np.random.Generator
) -> tuple[Picture, NDArray[np.uint8]]:
    """A photograph and its labels squeezed to a square, seen a little differently.

    Scale 0.7 to 1.4, aspect, up to 10 degrees of rotation, shift and mirror image, in one resampling. What
    lies beyond the photograph has the mean colour and no label.
    """
    height, width = label_map.shape
    # Even in the logarithm: half as large is as likely as twice.
    zoom, aspect = np.exp(rng.uniform(np.log(0.7), np.log(1.4))), np.exp(rng.uniform(-0.15, 0.15))
    angle = np.deg2rad(rng.uniform(-10, 10))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    side = -1.0 if rng.random() < 0.5 else 1.0
    # PIL asks for the way back: from a place (x, y) of the square to one of the photograph.
    matrix = turn @ np.diag([side * width / (size * zoom * aspect), height * aspect / (size * zoom)])
    slack = 0.05 + max(0.0, 1 - 1 / zoom) / 2
    middle = np.array([width, height]) * (0.5 + rng.uniform(-slack, slack, 2))
    # So that the middle of the square shows `middle`.
    start = middle - matrix @ np.array([size / 2, size / 2])
    data = (*matrix[0], start[0], *matrix[1], start[1])
    square, affine = (size, size), Image.Transform.AFFINE
    bilinear, nearest = Image.Resampling.BILINEAR, Image.Resampling.NEAREST
    seen = Image.fromarray(image).transform(square, affine, data, bilinear, fillcolor=MEAN_COLOUR)
    # Labels are numbers of things: a mean of two would be a third.
    return np.asarray(seen), np.asarray(Image.fromarray(label_map).transform(square, affine, data, nearest))


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
        square[:] = MEAN_COLOUR
    square[: array.shape[0], : array.shape[1]] = array
    return square
