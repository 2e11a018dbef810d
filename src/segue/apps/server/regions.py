"""Regions of a request: what questions point at, and marks to find elsewhere; checked ahead of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segue import masks
from segue.apps.server.errors import ApiError, from_exception, refusal
from segue.apps.server.inline import inline_bytes
from segue.errors import InputError
from segue.inference.regions import Region, read_mask
from segue.protocol import mark_question

FORMS = ("box", "point", "segmentation", "mask")
_EXPECTED = '{"image_index": 0, "box": [x0, y0, x1, y1]}, or a point, a segmentation or a mask in its place'


@dataclass(frozen=True)
class RegionRef:
    """A region as a request names it; its image's size is not known yet.

    Attributes:
        where: Its field, `messages.0.regions.1`.
        image_index: 0-based number of the image in the conversation.
        form: One of `FORMS`.
        value: Four or two numbers, a COCO RLE, or the bytes of a picture file.
    """

    where: str
    image_index: int
    form: str
    value: Any


Pointed = tuple[tuple[Region, ...], ...]
"""Regions of each question of a conversation, the new one's last."""


@dataclass(frozen=True, eq=False)
class Mark:
    """A region to be found in the other pictures.

    Attributes:
        region: In one of the pictures.
        threshold: Score from which it is there; None for the model's own.
    """

    region: Region
    threshold: float | None = None


def read_regions(given: Any, where: str, most: int, there: int = 0) -> tuple[RegionRef, ...]:
    """Read a list of regions; null is as good as none.

    Args:
        given: `[{"image_index": 0, "box": [...]}, ...]`.
        where: Field of the request.
        most: How many there may be in all.
        there: How many there are already.

    Raises:
        ApiError: Something else; the error names the field.
    """
    if given is None:
        return ()
    if not isinstance(given, list):
        raise _wrong("`regions` is no list of regions.", where, f"[{_EXPECTED}]", given)
    if there + len(given) > most:
        raise refusal(
            "The request has too many regions.", where, code="too_many_regions",
            expected=f"at most {most} in all messages", found=str(there + len(given)),
            fix="point at what the question needs",
        )  # fmt: skip
    return tuple(_region(entry, f"{where}.{number}") for number, entry in enumerate(given))


def checked_region(ref: RegionRef, image_hws: Sequence[tuple[int, int]]) -> Region:
    """A region known to lie in its image; a mask as COCO RLE, which takes little memory.

    Args:
        ref: From `read_regions`.
        image_hws: (height, width) of the images of the conversation.

    Raises:
        ApiError: No such image, or the region does not fit it.
    """
    try:
        value = ref.value
        if ref.form == "mask":
            hw = image_hws[ref.image_index] if ref.image_index < len(image_hws) else None
            value = read_mask(value, hw, ref.where)
        form = ref.form if ref.form in ("box", "point") else "mask"
        region = Region(image_index=ref.image_index, **{form: value}).checked(image_hws, ref.where)
    except InputError as error:
        raise from_exception(error, ref.where) from None
    if region.form != "mask":
        return region
    return Region(image_index=region.image_index, mask=masks.encode(region.mask))


def marked_question(text: str, refs: Sequence[RegionRef]) -> str:
    """The question as it is, known to have a marker for each region.

    Raises:
        ApiError: It has fewer or more; the error names the field of the regions.
    """
    if refs:
        try:
            mark_question(text, [ref.image_index for ref in refs])
        except InputError as error:
            raise from_exception(error, refs[0].where.rpartition(".")[0]) from None
    return text


def takes_no_regions(model: str) -> ApiError:
    """The answer to questions that point, where the model cannot read them."""
    return refusal(
        "This model's weights never saw regions.", "messages", code="regions_not_supported",
        expected="a model with region tokens, such as one trained with `segue train --regions 0.3`",
        found=model, fix="POST /v1/images/matches finds a marked thing in other images, with any model",
    )  # fmt: skip


def _region(entry: Any, where: str) -> RegionRef:
    if not isinstance(entry, Mapping):
        raise _wrong("A region is no object.", where, _EXPECTED, entry)
    index = entry.get("image_index")
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise _wrong("A region names no image.", f"{where}.image_index", "its number from 0", index)
    forms = [form for form in FORMS if entry.get(form) is not None]
    if len(forms) != 1:
        expected = f"exactly one of {', '.join(FORMS)}"
        raise _wrong("A region is one thing.", where, expected, " and ".join(forms) or "none of them")
    (form,) = forms
    return RegionRef(where, index, form, read_value(form, entry[form], f"{where}.{form}"))


def read_value(form: str, value: Any, where: str) -> Any:
    """What a region of a form is; see `RegionRef.value`.

    Raises:
        ApiError: It is no such thing.
    """
    if form in ("box", "point"):
        names = ["left", "top", "right", "bottom"] if form == "box" else ["x", "y"]
        if not isinstance(value, list) or len(value) != len(names) or not all(map(_is_number, value)):
            expected = f"[{', '.join(names)}] in pixels of the image"
            raise _wrong(f"This is no {form}.", where, expected, value)
        return [float(number) for number in value]
    if form == "segmentation":
        if not isinstance(value, Mapping):
            expected = '{"size": [height, width], "counts": "..."}'
            raise _wrong("A segmentation is no RLE.", where, expected, value)
        return dict(value)
    found = inline_bytes(value, where) if isinstance(value, str) else None
    if found is None:
        raise _wrong("A mask is no picture.", where, "a PNG file in base64, or a data URL of it", value)
    return found


def _is_number(value: Any) -> bool:
    # Bounds, because an integer of JSON may be larger than any float.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def _wrong(summary: str, where: str, expected: str, found: Any) -> ApiError:
    return refusal(
        summary, where, code="invalid_value", expected=expected,
        found=found if isinstance(found, str) and len(found) < 200 else repr(found)[:200],
        fix="docs/serving.md shows a question with regions",
    )  # fmt: skip
