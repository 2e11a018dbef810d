"""Parts of a mask: which of them pictures show, and where its label stands.

The rule, for pictures and pages only (`answer.json` and exports keep every pixel): a part is a set of pixels
that touch, corners included, and the largest is the main one. A part is a speck, and left out, when it has
less than `SPECK_SHARE` of the main one's pixels and its box is farther than `NEAR` of the picture's longer
side from the main one's box. The label stands at the main part, never at another.

Source: ours.
"""

from __future__ import annotations

import numpy as np

from segue.masks import Mask

SPECK_SHARE = 0.02
NEAR = 0.02

_CORNERS_TOUCH = np.ones((3, 3), dtype=bool)


def main_part(mask: Mask) -> Mask:
    """The largest part of a mask; of equal ones the first, row by row. An empty mask has an empty one.

    Args:
        mask: bool `[height, width]`.

    Returns:
        bool `[height, width]`.
    """
    parts, areas = _parts(mask)
    return parts == 1 + int(areas.argmax()) if len(areas) else mask.copy()


def without_specks(mask: Mask) -> Mask:
    """The mask as pictures show it, by the rule above.

    Args:
        mask: bool `[height, width]`.

    Returns:
        bool `[height, width]`; the mask itself where nothing is left out.
    """
    parts, areas = _parts(mask)
    if len(areas) < 2:
        return mask
    from scipy import ndimage

    boxes = ndimage.find_objects(parts)
    main = boxes[int(areas.argmax())]
    far = NEAR * max(mask.shape)
    specks = [
        number
        for number, (area, box) in enumerate(zip(areas, boxes, strict=True), 1)
        if area < SPECK_SHARE * areas.max() and max(_gap(a, b) for a, b in zip(box, main, strict=True)) > far
    ]
    return mask & ~np.isin(parts, specks) if specks else mask


def label_point(mask: Mask) -> tuple[float, float]:
    """Where a label belongs: the middle of the main part's upper edge.

    Args:
        mask: bool `[height, width]`, not empty.

    Returns:
        (x, y) in pixels; x is the median of the columns in the upper tenth of the part, so that it lies over
        the part even where that leans.
    """
    part = main_part(mask)
    rows = np.flatnonzero(part.any(axis=1))
    top, height = int(rows[0]), int(rows[-1] - rows[0]) + 1
    columns = np.nonzero(part[top : top + max(1, height // 10)])[1]
    return float(np.median(columns)) + 0.5, float(top)


def _parts(mask: Mask) -> tuple[np.ndarray, np.ndarray]:
    """Number of each pixel's part, 0 outside, and the pixels of the parts 1, 2, ..."""
    from scipy import ndimage  # only where a picture is drawn: it takes a fifth of a second

    parts, count = ndimage.label(mask, structure=_CORNERS_TOUCH)
    return parts, np.bincount(parts.ravel(), minlength=count + 1)[1:]


def _gap(a: slice, b: slice) -> int:
    """Pixels between two ranges; 0 where they meet."""
    return max(0, a.start - b.stop, b.start - a.stop)
