"""Groundings as regions of Label Studio, and regions as masks."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from segue import masks
from segue.apps.label_studio import brush
from segue.apps.label_studio.label_config import ImageTag, MaskControl
from segue.masks import Mask
from segue.records import Grounding

PIECE = re.compile(r"(segue-[0-9a-f]{12})-\d+")
"""Id of a polygon that is one piece of a mask: pieces with the same beginning are one region."""
_PERCENT_DIGITS = 9
"""A corner in a picture of 16,384 pixels comes back to a hundred-thousandth of one."""


@dataclass(frozen=True)
class Place:
    """Where a picture of a question stands in its task.

    Attributes:
        image: Its tag.
        item: Its place in the list; None where the tag shows one picture.
        hw: Height and width in pixels.
    """

    image: ImageTag
    item: int | None
    hw: tuple[int, int]


def regions_of(
    grounding: Grounding, place: Place, control: MaskControl, label: str
) -> Iterator[dict[str, Any]]:
    """The results that show a grounding: one brush region, or a polygon for each piece.

    Args:
        grounding: With at least one pixel, or nothing is made.
        place: Of its picture.
        control: Draws it.
        label: As the control writes it.
    """
    name = f"segue-{uuid.uuid4().hex[:12]}"
    common: dict[str, Any] = {
        "from_name": control.name,
        "to_name": place.image.name,
        "type": control.kind,
        "origin": "prediction",
        "original_width": place.hw[1],
        "original_height": place.hw[0],
        "image_rotation": 0,
        "score": round(float(grounding.score), 4),
        # The label is one of the project's; the words of the answer stand beside it.
        "meta": {"text": [grounding.phrase]},
    }
    if place.item is not None:
        common["item_index"] = place.item
    if not masks.area(grounding.mask):
        return
    if control.kind == "brushlabels":
        value = {"format": "rle", "rle": brush.encode(grounding.mask), "brushlabels": [label]}
        yield common | {"id": name, "value": value}
        return
    outlines = masks.polygons(grounding.mask)
    for number, outline in enumerate(outlines):
        points = _percent(outline, place.hw)
        drawn: dict[str, Any] = {"points": points, "polygonlabels": [label], "closed": True}
        yield common | {"id": f"{name}-{number}" if len(outlines) > 1 else name, "value": drawn}


def _percent(outline: list[float], hw: tuple[int, int]) -> list[list[float]]:
    return [
        [round(100 * x / hw[1], _PERCENT_DIGITS), round(100 * y / hw[0], _PERCENT_DIGITS)]
        for x, y in zip(outline[::2], outline[1::2], strict=True)
    ]


class UnusableRegion(Exception):
    """A region that gives no mask: `(reason, found)`."""


def region_mask(result: Mapping[str, Any]) -> Mask:
    """The mask of a result of a brush or polygon, `[original_height, original_width]`.

    Raises:
        UnusableRegion: Another kind of region, damaged, rotated, or empty.
    """
    value, kind = result.get("value"), result.get("type")
    hw = (result.get("original_height"), result.get("original_width"))
    if not isinstance(value, Mapping) or not all(type(n) is int and n > 0 for n in hw):
        raise UnusableRegion("region without size or value", f"original size {hw[1]} x {hw[0]}")
    height, width = int(str(hw[0])), int(str(hw[1]))
    if height * width > masks.MAX_PIXELS:
        raise UnusableRegion("picture too large", f"{width} x {height} pixels")
    if result.get("image_rotation"):
        raise UnusableRegion(
            "region of a turned picture",
            f"image_rotation {result['image_rotation']}: turn it back, save again",
        )
    if "rle" in value:
        try:
            mask = brush.decode(value["rle"], (height, width))
        except brush.DamagedBrush as error:
            raise UnusableRegion("damaged brush", str(error)) from None
    elif "points" in value:
        mask = _filled(value["points"], (height, width))
    else:
        raise UnusableRegion("region that is no mask", f"a result of type {kind!r}")
    if not mask.any():
        raise UnusableRegion("empty mask", f"no pixel of the {kind} lies inside {width} x {height} pixels")
    return mask


def _filled(points: Any, hw: tuple[int, int]) -> Mask:
    try:
        flat = [
            round(float(value) * side / 100, _PERCENT_DIGITS - 3)
            for x, y in points
            for value, side in ((x, hw[1]), (y, hw[0]))
        ]
        return masks.from_polygons([flat], hw)
    except (TypeError, ValueError, OverflowError) as error:
        raise UnusableRegion("damaged polygon", str(error)[:200]) from None
