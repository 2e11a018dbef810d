"""Photographs of own data seen a little differently, so that few of them teach more; every answer stays true.

All that is annotated stays in the picture; nothing is mirrored, because names and questions may say left and
right; all images of a conversation are brought equally near, because questions compare sizes; and colours
keep their names.

Source: paper silent; ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segue import masks
from segue.masks import Mask
from segue.records import Conversation
from segue.training.augmentation import MEAN_COLOUR, jitter

NEAREST, FARTHEST = 0.75, 1.3
"""Bounds of the window's side, in sides of the photograph."""
MOST_ASPECT, MOST_TURN, MOST_SHIFT, LIGHT = 0.1, 6.0, 0.2, 0.2
"""Logarithm of the aspect, degrees, shares of the sides, share of the range of brightness and contrast."""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """A window on an image, as large as the image.

    Attributes:
        linear: `[2, 2]` pixels (x, y) of the image for one pixel of the window.
        centre: `[2]` where the window's middle lies, in shares of width and height.
        light: seed of the change of brightness and contrast.
    """

    linear: Points
    centre: Points
    light: int

    def coefficients(self, hw: tuple[int, int]) -> tuple[float, ...]:
        """PIL's affine transform, from pixels of the window to those of the image at a size."""
        size = np.array([hw[1], hw[0]])
        start = self.centre * size - self.linear @ (size / 2)
        return (*self.linear[0], start[0], *self.linear[1], start[1])

    def image(self, image: Image.Image) -> Image.Image:
        """An RGB image; what lies beyond it has the mean colour."""
        moved = image.transform(
            image.size,
            Image.Transform.AFFINE,
            self.coefficients((image.height, image.width)),
            Image.Resampling.BILINEAR,
            fillcolor=MEAN_COLOUR,
        )
        return Image.fromarray(jitter(np.asarray(moved), np.random.default_rng(self.light), LIGHT))

    def mask(self, mask: Mask) -> Mask:
        """A mask of that image, at its size or smaller."""
        moved = Image.fromarray(mask.astype(np.uint8)).transform(
            (mask.shape[1], mask.shape[0]),
            Image.Transform.AFFINE,
            self.coefficients((mask.shape[0], mask.shape[1])),
            Image.Resampling.NEAREST,
        )
        return np.asarray(moved) > 0


def draw_views(
    conversation: Conversation, hws: Sequence[tuple[int, int]], rng: np.random.Generator
) -> list[View]:
    """A view of every image of a conversation."""
    side = float(np.exp(rng.uniform(np.log(NEAREST), np.log(FARTHEST))))
    aspect = float(np.exp(rng.uniform(-MOST_ASPECT, MOST_ASPECT)))
    turns = np.deg2rad(rng.uniform(-MOST_TURN, MOST_TURN, len(hws)))
    shapes = [turning(turn) @ np.diag([aspect, 1 / aspect]) for turn in turns]
    corners = [annotated_corners(conversation, k, hw) for k, hw in enumerate(hws)]
    for shape, points, (height, width) in zip(shapes, corners, hws, strict=True):
        extent = np.ptp(points @ np.linalg.inv(shape).T, axis=0)
        side = max(side, *(extent / (width, height)).tolist())
    views = []
    for shape, points, (height, width) in zip(shapes, corners, hws, strict=True):
        linear, size = side * shape, np.array([width, height])
        inverse = np.linalg.inv(linear)
        seen, middle = points @ inverse.T, inverse @ (size / 2)
        low = np.maximum(seen.max(0) - size / 2, middle - MOST_SHIFT * size)
        high = np.minimum(seen.min(0) + size / 2, middle + MOST_SHIFT * size)
        # Rounding may leave an empty interval where all of the image is annotated.
        place = low + rng.random(2) * np.maximum(high - low, 0)
        views.append(View(linear, (linear @ place) / size, int(rng.integers(1 << 31))))
    return views


def turning(angle: float) -> Points:
    """`[2, 2]` rotation by an angle in radians."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def annotated_corners(conversation: Conversation, image: int, hw: tuple[int, int]) -> Points:
    """`[4, 2]` corners (x, y) of the box around all regions of an image; its middle when there are none."""
    regions = [r for r in conversation.regions if r.image_index == image and r.mask is not None]
    found = [r.bbox if r.bbox is not None else masks.box(r.mask) for r in regions if r.mask is not None]
    boxes = np.array(found, dtype=np.float64).reshape(-1, 4)
    boxes = boxes[boxes[:, 2:].min(1, initial=np.inf) > 0]
    if not len(boxes):
        return np.tile([hw[1] / 2, hw[0] / 2], (4, 1))
    (left, top), (right, bottom) = boxes[:, :2].min(0), (boxes[:, :2] + boxes[:, 2:]).max(0)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
