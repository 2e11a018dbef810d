"""A region that a user marks in one image: a mask, a box or a point, checked against its image.

Boxes and points become masks by the model's own segmenter, so that everything behind them knows masks alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from segue import masks
from segue.errors import ImageError, InputError
from segue.images import MAX_PIXELS
from segue.masks import Mask

FORMS = ("mask", "box", "point")
_EXPECTED = "1:mask.png, 1:x0,y0,x1,y1 or 1:x,y, with the number of the image"
_WRITTEN = re.compile(r"^([1-9]\d{0,2}):(.+)$", re.DOTALL)
_NUMBERS = re.compile(r"^\s*-?\d+(?:\.\d+)?(?:\s*,\s*-?\d+(?:\.\d+)?)*\s*$")


@dataclass(frozen=True, eq=False, kw_only=True)
class Region:
    """A mask, a box or a point in one image; exactly one of the three.

    `segue.records.Region` is a region of a record, with a name; this one is what a user points at.

    Args:
        image_index: 0-based image.
        mask: Bool or integer array `[height, width]` of the image, its COCO RLE, or the path of a picture of
            it: what is not black is inside.
        box: Left, top, right, bottom in pixels of the image.
        point: x, y in pixels of the image.

    Raises:
        InputError: None or several of them, or values that are no such thing.
    """

    image_index: int
    mask: Any = None
    box: Sequence[float] | None = None
    point: Sequence[float] | None = None

    def __post_init__(self) -> None:
        given = [form for form in FORMS if getattr(self, form) is not None]
        if len(given) != 1:
            raise InputError(
                "A region is a mask, a box or a point.",
                expected="exactly one of mask, box, point",
                found=" and ".join(given) or "none",
                where="Region",
                fix="give one of them",
            )
        if not isinstance(self.image_index, int) or self.image_index < 0:
            raise _wrong("A region lies in an image.", "image_index, from 0", repr(self.image_index))
        for form, count in (("box", 4), ("point", 2)):
            values = getattr(self, form)
            if values is not None and not _are_numbers(values, count):
                what = "left, top, right, bottom" if form == "box" else "x, y"
                raise _wrong(f"This is no {form}.", f"{count} numbers: {what}", repr(values)[:60])

    @property
    def form(self) -> str:
        """`mask`, `box` or `point`."""
        return next(form for form in FORMS if getattr(self, form) is not None)

    def to_json(self) -> dict[str, Any]:
        """The JSON form of a checked region: its image from 0, and a COCO RLE or its numbers in pixels."""
        if self.form == "mask":
            return {"image_index": self.image_index, "segmentation": masks.encode(self.mask)}
        values = [float(value) for value in (self.box or self.point or ())]
        return {"image_index": self.image_index, self.form: values}

    def checked(self, image_hws: Sequence[tuple[int, int]], where: str = "regions") -> Region:
        """The same with its mask as an array, known to lie inside its image.

        Args:
            image_hws: Sizes of the conversation's images.
            where: For errors.

        Raises:
            InputError: No such image, another size, an empty mask, or a box or point outside the image.
        """
        if self.image_index >= len(image_hws):
            number = len(image_hws)
            raise InputError(
                "A region lies in an image that is not there.",
                expected=f"image {'1' if number == 1 else f'1 to {number}'}",
                found=f"image {self.image_index + 1} (image_index {self.image_index})",
                where=where,
                fix="count the images as they were given",
            )
        hw = image_hws[self.image_index]
        if self.form == "mask":
            return Region(image_index=self.image_index, mask=_checked_mask(self.mask, hw, where))
        corners = [float(value) for value in (self.box or self.point or ())]
        if self.form == "box":
            left, top, right, bottom = corners
            fits = 0.0 <= left < right <= hw[1] and 0.0 <= top < bottom <= hw[0]
            expected = f"0 <= left < right <= {hw[1]} and 0 <= top < bottom <= {hw[0]}"
        else:
            x, y = corners
            fits = 0.0 <= x < hw[1] and 0.0 <= y < hw[0]
            expected = f"0 <= x < {hw[1]} and 0 <= y < {hw[0]}"
        if not fits:
            raise InputError(
                f"A {self.form} lies outside of its image.",
                expected=f"{expected}, in pixels",
                found=", ".join(f"{value:g}" for value in corners),
                where=f"{where}, image {self.image_index + 1}",
                fix="count pixels of the image as it is shown, upright, from its top left corner",
            )
        return self


def as_region(given: Any) -> Region:
    """A region from what callers have: one of ours, one of a record, or a mapping with the same fields.

    A mapping may also be what `to_json` gave, with `segmentation` in the mask's place.

    Raises:
        InputError: It is none of these.
    """
    if isinstance(given, Region):
        return given
    if isinstance(given, Mapping) and "segmentation" in given:
        given = {("mask" if name == "segmentation" else name): value for name, value in given.items()}
    if isinstance(given, Mapping) and set(given) <= {"image_index", *FORMS} and "image_index" in given:
        return Region(**given)
    mask, box = getattr(given, "mask", None), getattr(given, "bbox", None)
    if hasattr(given, "image_index") and (mask is not None or box is not None):
        if box is None or mask is not None:
            return Region(image_index=given.image_index, mask=mask)
        left, top, width, height = box
        return Region(image_index=given.image_index, box=(left, top, left + width, top + height))
    raise _wrong("This is no region.", "Region(image_index=0, mask=...)", type(given).__name__)


def read_region(text: str, where: str = "--region") -> Region:
    """A region as it is written on a command line: `1:mask.png`, `1:x0,y0,x1,y1` or `1:x,y`.

    Args:
        text: The number of the image, from 1, and what is marked in it.
        where: For errors.

    Raises:
        InputError: It cannot be read.
    """
    found = _WRITTEN.match(text)
    if found is None:
        raise _wrong("A region cannot be read.", _EXPECTED, repr(text[:60]), where)
    return marked(int(found[1]) - 1, found[2], where)


def marked(image_index: int, text: str, where: str) -> Region:
    """What is marked in an image: numbers of a box or a point, or else the path of a mask."""
    if not _NUMBERS.match(text):
        return Region(image_index=image_index, mask=text)
    numbers = [float(number) for number in text.split(",")]
    if len(numbers) not in (2, 4):
        raise _wrong("A region cannot be read.", "2 numbers of a point or 4 of a box", text[:60], where)
    if len(numbers) == 2:
        return Region(image_index=image_index, point=numbers)
    return Region(image_index=image_index, box=numbers)


def read_mask(source: str | Path | bytes, hw: tuple[int, int] | None = None, where: str = "") -> Mask:
    """The mask that a picture file shows, `[height, width]`.

    Inside is what is brighter than half, or not zero where a file holds only small numbers (0 and 1, labels);
    a picture with transparency is inside where it can be seen.

    Args:
        source: PNG or any other picture: its path or its bytes.
        hw: Size of the image that it is a mask of, as it is shown; known from the header, before it is read.
        where: For errors; the path by default.

    Raises:
        ImageError: No such file, or no picture. InputError: It has another size than its image.
    """
    where = where or ("the mask" if isinstance(source, bytes) else str(source))
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
            if hw is not None and (opened.height, opened.width) != hw:
                raise _another_size((opened.height, opened.width), hw, where)
            if opened.width * opened.height > MAX_PIXELS:
                raise ImageError(
                    "The mask is too large.",
                    expected=f"at most {MAX_PIXELS:,} pixels",
                    found=f"{opened.width} x {opened.height}",
                    where=where,
                    fix="save it at the size of its image",
                )
            has_alpha = opened.mode in ("RGBA", "LA")
            values = np.asarray(opened.getchannel("A") if has_alpha else opened)
            if has_alpha and values.min() == 255:
                values = np.asarray(opened.convert("L"))
    except InputError:
        raise
    # PIL's decoders raise nearly anything on damaged files.
    except Exception as error:
        raise ImageError(
            "The mask cannot be read.",
            expected="a picture file of the image's size, black outside of the mask",
            found=_told(error),
            where=where,
            fix="save the mask as PNG" if isinstance(source, bytes) else "check the path of the mask",
        ) from None
    if values.ndim == 3:
        values = values.max(axis=2)
    if values.dtype != np.bool_:
        # Written from 0..255, or with the numbers of labels.
        values = values > (127 if int(values.max()) == 255 else 0)
    return np.ascontiguousarray(values)


def _told(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "nothing"
    # PIL names the object that it was to read, which tells nobody anything.
    unknown = isinstance(error, UnidentifiedImageError)
    return "no picture" if unknown else f"{type(error).__name__}: {error}"


def _checked_mask(given: Any, hw: tuple[int, int], where: str) -> Mask:
    if isinstance(given, str | Path):
        where, mask = str(given), read_mask(given, hw)
    elif isinstance(given, Mapping):
        masks.check_rle(given)
        # Before it is decoded: a few bytes may claim any size.
        if tuple(given["size"]) != hw:
            raise _another_size(tuple(given["size"]), hw, where)
        mask = masks.decode(given)
    else:
        array = np.asarray(given)
        if array.ndim != 2 or array.dtype.kind not in "biu":
            what = f"{array.dtype} of shape {array.shape}"
            raise _wrong("This is no mask.", "bool or integers [height, width]", what, where)
        mask = array != 0
    if mask.shape != hw:
        raise _another_size(mask.shape, hw, where)
    if not mask.any():
        raise _wrong("A mask is empty.", "at least one pixel", "none", where)
    return mask


def _another_size(found: tuple[int, ...], hw: tuple[int, int], where: str) -> InputError:
    return InputError(
        "A mask has another size than its image.",
        expected=f"(height, width) {hw}",
        found=str(found),
        where=where,
        fix="draw it on the image as it is shown, upright and at its own size",
    )


def _are_numbers(values: Any, count: int) -> bool:
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError):
        return False
    return len(found) == count and all(np.isfinite(found))


def _wrong(summary: str, expected: str, found: str, where: str = "Region") -> InputError:
    fix = "see docs/matching.md"
    return InputError(summary, expected=expected, found=found, where=where, fix=fix)
