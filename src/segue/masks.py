"""Binary masks and their three written forms: COCO RLE, boxes and polygons.

A mask is a boolean array `[height, width]`; sizes are `(height, width)` everywhere. An RLE is the
compressed form of the COCO tools, `{"size": [height, width], "counts": "..."}` with `counts` a plain
string, so that it can go into JSON as it is. One rule for empty masks: area 0, box [0, 0, 0, 0], no
polygons, and IoU 1 with another empty mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from typing_extensions import TypedDict

from segue.errors import InputError
from segue.mask_outlines import trace_outlines

__all__ = [
    "MAX_PIXELS",
    "RLE",
    "Mask",
    "area",
    "box",
    "check_rle",
    "decode",
    "encode",
    "from_polygons",
    "iou",
    "polygons",
    "resize_mask",
    "union",
    "union_rle",
]

MAX_PIXELS = 200_000_000
"""The largest image or mask that is decoded: a few bytes of RLE or of an image header can claim any size.
Phones take pictures of 108 and 200 megapixels."""

Mask = NDArray[np.bool_]
"""Boolean array `[height, width]`."""


class RLE(TypedDict):
    """A mask in COCO's compressed run-length form; `size` is `[height, width]`."""

    size: list[int]
    counts: str


def encode(mask: NDArray[Any]) -> RLE:
    """Compress a mask.

    Args:
        mask: `[height, width]`, boolean, or integers where non-zero means inside.

    Returns:
        The COCO RLE, ready for JSON.

    Raises:
        InputError: Not two-dimensional, no pixels, or floating point (a probability is not a mask yet).
    """
    array = _as_mask(mask)
    # COCO counts down the columns, so its encoder takes column-major arrays only. The view costs nothing:
    # True is 1.
    rle = coco_mask.encode(np.asfortranarray(array.view(np.uint8)))
    return {"size": [int(array.shape[0]), int(array.shape[1])], "counts": rle["counts"].decode("ascii")}


def decode(rle: Mapping[str, Any]) -> Mask:
    """Expand an RLE into a mask.

    Args:
        rle: COCO RLE; `counts` may be a string, bytes, or COCO's uncompressed list of run lengths.

    Returns:
        The mask, `[height, width]`.

    Raises:
        InputError: The counts are damaged or do not add up to `height * width`.
    """
    height, width, runs = _runs(rle)
    values = np.zeros(len(runs), dtype=np.bool_)
    values[1::2] = True
    # Down the columns again: size [2, 3], runs [1, 2, 3] -> 0 1 1 0 0 0 -> columns 01, 10, 00, which is [[0,
    # 1, 0], [1, 0, 0]]. The copy is contiguous, row by row.
    return np.repeat(values, runs).reshape((width, height)).T.copy()


def check_rle(rle: Mapping[str, Any]) -> None:
    """Raise InputError unless `rle` is a sound COCO RLE; costs microseconds, decodes nothing."""
    _runs(rle)


def area(mask: NDArray[Any] | Mapping[str, Any]) -> int:
    """Count the pixels of a mask or RLE."""
    if isinstance(mask, Mapping):
        # Runs begin with background, of length 0 if need be: every second one is the mask.
        return int(_runs(mask)[2][1::2].sum())
    return int(np.count_nonzero(_as_mask(mask)))


def box(mask: NDArray[Any] | Mapping[str, Any]) -> list[float]:
    """Return the tight box `[x, y, width, height]` of a mask or RLE in pixels; [0, 0, 0, 0] when empty."""
    array = decode(mask) if isinstance(mask, Mapping) else _as_mask(mask)
    columns = np.flatnonzero(array.any(axis=0))
    if not len(columns):
        return [0.0, 0.0, 0.0, 0.0]
    rows = np.flatnonzero(array.any(axis=1))
    # One past the last pixel: a single pixel is 1 wide.
    left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    return [float(left), float(top), float(right - left), float(bottom - top)]


def union(masks: Sequence[NDArray[Any]]) -> Mask:
    """Merge masks of one image.

    Args:
        masks: At least one, all `[height, width]` of the same size.

    Returns:
        A new mask, true where any of them is.

    Raises:
        InputError: No masks (the size would be unknown), or sizes differ.
    """
    if not len(masks):
        raise InputError(
            "The union of no masks has no size.",
            expected="at least one mask",
            found="an empty list",
            where="segue.masks.union",
            fix="start from np.zeros((height, width), bool) when there may be none",
        )
    merged = _as_mask(masks[0]).copy()
    for mask in masks[1:]:
        merged |= _same_size(merged, _as_mask(mask))
    return merged


def union_rle(rles: Sequence[RLE]) -> RLE:
    """The union of compressed masks of one size, without decoding them."""
    if len(rles) == 1:
        return rles[0]
    merged = coco_mask.merge(list(rles))
    return {"size": list(rles[0]["size"]), "counts": merged["counts"].decode("ascii")}


def iou(a: NDArray[Any] | Mapping[str, Any], b: NDArray[Any] | Mapping[str, Any]) -> float:
    """Return intersection over union of two masks (or RLEs) of one image.

    Two empty masks agree completely: 1.0. One empty mask: 0.0.

    Raises:
        InputError: Sizes differ.
    """
    first = decode(a) if isinstance(a, Mapping) else _as_mask(a)
    second = _same_size(first, decode(b) if isinstance(b, Mapping) else _as_mask(b))
    total = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / total) if total else 1.0


def from_polygons(polygons: Sequence[Sequence[float]], hw: tuple[int, int]) -> Mask:
    """Fill polygons with the COCO rasteriser; several are united.

    Args:
        polygons: Flat lists `[x0, y0, x1, y1, ...]` in pixels, at least 3 points each.
        hw: `(height, width)` of the image.

    Returns:
        The mask, `[height, width]`; parts outside of the image are cut off.

    Raises:
        InputError: A polygon with fewer than 3 points, an odd number of values, or values that are not
            finite.
    """
    height, width = hw
    # pycocotools (2.0.11) takes a list of four numbers for a box, and ends in a TypeError about it.
    for number, polygon in enumerate(polygons):
        if len(polygon) < 6 or len(polygon) % 2 or not np.isfinite(np.asarray(polygon, dtype=float)).all():
            raise InputError(
                "A polygon cannot be filled.",
                expected="a flat list x0, y0, x1, y1, ... of at least 3 points with finite values",
                found=f"{len(polygon)} values: {list(polygon)[:8]}",
                where=f"polygon {number}",
                fix="drop the polygon or repair its points",
            )
    if not len(polygons):
        return np.zeros((height, width), dtype=np.bool_)
    rles = coco_mask.frPyObjects([list(map(float, p)) for p in polygons], height, width)
    return np.ascontiguousarray(coco_mask.decode(coco_mask.merge(rles)).astype(np.bool_))


def polygons(mask: NDArray[Any]) -> list[list[float]]:
    """Trace the outline of a mask along its pixel edges, as COCO polygons.

    One polygon for each 4-connected part. A hole is joined to its outline by a cut of width zero (there and
    back along the same line), since COCO polygons know no holes. Exact: `from_polygons(polygons(m),
    m.shape)` is `m`.

    Args:
        mask: `[height, width]`.

    Returns:
        Flat lists `[x0, y0, x1, y1, ...]` in pixels, ordered by their first pixel row by row; [] for an
        empty mask.
    """
    return trace_outlines(_as_mask(mask))


def resize_mask(mask: Mask, hw: tuple[int, int]) -> Mask:
    """Bring a mask to another size by taking the nearest pixel.

    Args:
        mask: bool `[height, width]`.
        hw: Wanted height and width.

    Returns:
        bool `hw`; the mask itself where it has this size already.
    """
    if mask.shape == hw:
        return mask
    # Row 0 of 4 -> 2 rows takes pixel 0, row 1 pixel 2: the upper left one of those that it covers.
    rows = (np.arange(hw[0]) * mask.shape[0]) // hw[0]
    columns = (np.arange(hw[1]) * mask.shape[1]) // hw[1]
    return mask[rows][:, columns]


# ---- arrays and runs ---------------------------------------------------------------------------------------


def _as_mask(mask: NDArray[Any]) -> Mask:
    array = np.asarray(mask)
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "bui":
        raise InputError(
            "This array is not a mask.",
            expected="a boolean (or integer) array [height, width] with at least one pixel",
            found=f"shape {array.shape}, dtype {array.dtype}",
            where="segue.masks",
            fix="threshold probabilities first (probs > 0.5) and pass one mask at a time",
        )
    return np.ascontiguousarray(array if array.dtype == np.bool_ else array != 0)


def _same_size(first: Mask, second: Mask) -> Mask:
    if first.shape != second.shape:
        raise InputError(
            "Two masks have different sizes.",
            expected=f"(height, width) {first.shape}",
            found=f"{second.shape}",
            where="segue.masks",
            fix="resize the predicted mask to the size of its image, and compare masks of one image only",
        )
    return second


def _damaged(rle: Mapping[str, Any], expected: str, found: str) -> InputError:
    return InputError(
        "An RLE mask is damaged.",
        expected=expected,
        found=found,
        where=f"RLE of size {rle.get('size')!r}",
        fix="encode the mask again with segue.masks.encode",
    )


def _runs(rle: Mapping[str, Any]) -> tuple[int, int, NDArray[np.int64]]:
    """Read and check an RLE in numpy: the COCO tools' own C reader walks past the end of damaged strings."""
    size, counts = rle.get("size"), rle.get("counts")
    if (
        not isinstance(size, (list, tuple))
        or len(size) != 2
        or not all(isinstance(n, (int, np.integer)) and n > 0 for n in size)
    ):
        raise _damaged(rle, "size [height, width], two integers above 0", repr(size))
    height, width = int(size[0]), int(size[1])
    if height * width > MAX_PIXELS:
        raise _damaged(rle, f"at most {MAX_PIXELS:,} pixels", f"{height} * {width}")
    if isinstance(counts, (str, bytes)):
        # `__wrapped__` is the function without its cache.
        read = _kept_runs if len(counts) <= _LONGEST_KEPT else _kept_runs.__wrapped__
        return height, width, read(height, width, counts)
    if isinstance(counts, (list, tuple)) and all(isinstance(n, (int, np.integer)) for n in counts):
        # Compared as Python's own numbers: one beyond 64 bits would not even become an array.
        if any(n < 0 or n > height * width for n in counts):
            found = f"{min(counts)} to {max(counts)}"
            raise _damaged(rle, "run lengths between 0 and height * width", found)
        return height, width, _check_runs(rle, np.asarray(counts, dtype=np.int64))
    raise _damaged(rle, "counts as a string", type(counts).__name__)


# 4096 entries of at most 4096 runs of 8 bytes.
_LONGEST_KEPT = 4096
"""Characters of a string whose runs are kept; at most 130 MB in all."""


@lru_cache(maxsize=4096)
def _kept_runs(height: int, width: int, counts: str | bytes) -> NDArray[np.int64]:
    """The runs of a string, read once: training meets the masks of its data again and again."""
    rle = {"size": [height, width], "counts": counts}
    runs = _check_runs(rle, _read_counts(rle, counts.encode("utf-8") if isinstance(counts, str) else counts))
    # All later callers get this same array.
    runs.setflags(write=False)
    return runs


def _check_runs(rle: Mapping[str, Any], runs: NDArray[np.int64]) -> NDArray[np.int64]:
    height, width = rle["size"]
    # Bounds before the sum: absurd runs could wrap around in 64 bits and come out right.
    if len(runs) and (runs.min() < 0 or runs.max() > height * width):
        raise _damaged(rle, "run lengths between 0 and height * width", f"{runs.min()} to {runs.max()}")
    total = int(runs.sum())
    if total != height * width:
        raise _damaged(rle, f"runs that add up to {height} * {width} = {height * width}", str(total))
    return runs


def _read_counts(rle: Mapping[str, Any], counts: bytes) -> NDArray[np.int64]:
    """Undo COCO's string form: 5 bits a character, little end first, from the fourth run on as differences.

    Each character minus 48 holds 5 bits, bit 6 says that more follow, and bit 5 of a number's last
    character is its sign. From index 3 on a number is the difference to the run two before.
    """
    # 100 is 00100 and 00011: "T" (4, more follow: 36) and "3". -1 is "O" (31, its highest bit the sign).
    digits = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    if not len(digits):
        return np.zeros(0, dtype=np.int64)
    if digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise _damaged(rle, "counts of the characters '0' to 'o', not cut off", repr(counts[:40]))
    ends = np.flatnonzero((digits & 32) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    # 35 bits: more than any run here, and no shift below can leave 64.
    if lengths.max() > 7:
        raise _damaged(rle, "numbers of at most 7 characters in counts", f"{lengths.max()} characters")
    place = np.arange(len(digits)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((digits & 31) << (5 * place), starts)
    # Two's complement, as wide as the number's characters: 31 of 5 bits becomes 31 - 32.
    numbers -= np.where(digits[ends] & 16, np.int64(1) << (5 * lengths), 0)
    # Columns are much alike, so COCO writes each run as its difference to the last of its kind.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
