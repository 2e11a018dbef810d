"""Meaning of the four numbers of a chat model's box.

Models are asked for 0 to 1000, and answer in whatever they were trained with. One reply uses one way of
counting, so all its boxes are looked at together; the first rule that applies decides:

1. Nothing above 1: fractions of the image.
2. Only one of {0-1000, pixels of the sent image, pixels of the original} holds all boxes: that one.
3. Several do: the one that an earlier reply of the session has settled (or that the model's family is known
   for), else 0-1000, which was asked for, else the pixels of the sent image, which is all the model has seen.
4. None does: the one that holds most boxes; what sticks out is cut off.

Among numbers above 1, a single box with nothing above 1 is read as fractions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Box = tuple[float, float, float, float]
"""left, top, right, bottom."""

Size = tuple[int, int]
"""height, width."""

_UNIT_LIMIT = 1.05
"""Slight overshoot of a whole-image box; a box of one unit in any other way of counting would be a speck."""
_SLACK = 1.02
"""Models overshoot borders: so much beyond the limit still counts as inside."""

_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_X_FIRST = ("left", "top", "right", "bottom"), ("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax")
_WITH_SIZE = ("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height")


class BoxUnits(StrEnum):
    """Way of counting coordinates; the value stands in notes."""

    UNIT = "0 to 1"
    THOUSAND = "0 to 1000"
    SENT = "pixels of the sent image"
    ORIGINAL = "pixels of the original image"


FAMILY_UNITS: dict[str, BoxUnits] = {
    "qwen2.5-vl": BoxUnits.SENT,
    "qwen2_5-vl": BoxUnits.SENT,
    "qwen2.5vl": BoxUnits.SENT,
}
"""Part of a model's name -> what it answers in whatever it is asked for. Source: the models' own cards."""


@dataclass(frozen=True)
class UnitsDecision:
    """Decision on how one reply's boxes are read.

    Args:
        units: The way of counting.
        certain: Whether rule 1 or 2 decided.
        note: The decision in a sentence.
    """

    units: BoxUnits
    certain: bool
    note: str


def family_units(model: str) -> BoxUnits | None:
    """Units that a model's family is known to answer in; None when nothing is known."""
    return next((units for part, units in FAMILY_UNITS.items() if part in model.lower()), None)


_DEEPEST = 8
"""Lists in lists that are looked into; the deepest form that models are known to write has three."""


def read_boxes(value: Any, *, y_first: bool = False, depth: int = _DEEPEST) -> list[Box]:
    """The boxes in one value of a reply: a list of four, a mapping, a string, or a list of such.

    Args:
        value: Whatever JSON holds there.
        y_first: top, left, bottom, right, as some models have it under the name `box_2d`.
        depth: how many lists deep it still looks; a reply of a thousand brackets must not end the program.

    Returns:
        Boxes with corners in order; none where there are not four finite numbers.
    """
    if isinstance(value, str):
        # Bounded, as everything that a model wrote: four numbers take no more.
        found = _NUMBER.findall(value[:200])
        value = [float(number) for number in found] if len(found) == 4 else None
    if isinstance(value, Mapping):
        box = _from_mapping(value)
        return [box] if box else []
    if not isinstance(value, list):
        return []
    # Two corners, [[x1, y1], [x2, y2]].
    if len(value) == 2 and all(isinstance(v, list) and len(v) == 2 for v in value):
        value = [*value[0], *value[1]]
    if value and all(isinstance(v, (list, Mapping)) for v in value):
        if depth == 0:
            return []
        return [box for part in value[:100] for box in read_boxes(part, y_first=y_first, depth=depth - 1)]
    numbers = _finite(value)
    if numbers is None:
        return []
    a, b, c, d = numbers
    return [_ordered((b, a, d, c) if y_first else (a, b, c, d))]


def choose_units(
    boxes: Sequence[tuple[Box, int]],
    sent_hws: Sequence[Size],
    original_hws: Sequence[Size],
    expected: BoxUnits | None = None,
) -> UnitsDecision:
    """Decide how a reply counts, by the rules at the head of this module.

    Args:
        boxes: Each with the 0-based image that it lies in.
        sent_hws: (height, width) of the images as the model saw them.
        original_hws: (height, width) of the images as the user gave them.
        expected: What an earlier reply has settled, or the model's family is known for.
    """
    # Boxes of fractions say nothing of how the others count.
    larger = [(box, k) for box, k in boxes if max(box) > _UNIT_LIMIT]
    if not larger:
        return UnitsDecision(BoxUnits.UNIT, bool(boxes), "boxes are read as fractions, 0 to 1")

    def holds(units: BoxUnits, box: Box, k: int) -> bool:
        height, width = _extent(units, sent_hws[k], original_hws[k])
        return max(box[0], box[2]) <= width * _SLACK and max(box[1], box[3]) <= height * _SLACK

    # In the order of rule 3: what was asked for, then what the model has seen.
    choices = [BoxUnits.THOUSAND, BoxUnits.SENT]
    if list(sent_hws) != list(original_hws):
        choices.append(BoxUnits.ORIGINAL)
    fitting = [units for units in choices if all(holds(units, box, k) for box, k in larger)]
    if len(fitting) == 1:
        return UnitsDecision(fitting[0], True, f"boxes are read as {fitting[0]}: nothing else holds them all")
    if fitting:
        units = expected if expected in fitting else fitting[0]
        why = "as earlier" if expected in fitting else "as asked" if units is BoxUnits.THOUSAND else "as seen"
        return UnitsDecision(units, False, f"boxes fit {' and '.join(fitting)}; read as {units}, {why}")
    counts = {units: sum(holds(units, box, k) for box, k in larger) for units in choices}
    units = max(choices, key=lambda u: counts[u])
    return UnitsDecision(
        units, False, f"boxes fit no way of counting; read as {units}, what sticks out is cut off"
    )


def to_pixels(box: Box, units: BoxUnits, sent_hw: Size, original_hw: Size) -> Box | None:
    """A box in pixels of the original image, cut to it; None when less than a pixel of it is inside.

    Args:
        box: As the model wrote it, corners in order.
        units: The reply's way of counting.
        sent_hw: (height, width) of the image as the model saw it.
        original_hw: (height, width) of the original.
    """
    # A box of fractions among larger numbers; in pixels it would be less than one.
    if max(box) <= _UNIT_LIMIT:
        units = BoxUnits.UNIT
    limit_height, limit_width = _extent(units, sent_hw, original_hw)
    height, width = original_hw
    xs = [min(max(box[k] / limit_width * width, 0.0), float(width)) for k in (0, 2)]
    ys = [min(max(box[k] / limit_height * height, 0.0), float(height)) for k in (1, 3)]
    if xs[1] - xs[0] < 1.0 or ys[1] - ys[0] < 1.0:
        return None
    return xs[0], ys[0], xs[1], ys[1]


def to_thousand(box: Box, hw: Size) -> list[int]:
    """A box in pixels as the whole numbers from 0 to 1000 that models are asked for."""
    height, width = hw
    return [round(v / side * 1000) for v, side in zip(box, (width, height, width, height), strict=True)]


def _extent(units: BoxUnits, sent_hw: Size, original_hw: Size) -> tuple[float, float]:
    """The numbers that stand for the whole height and width."""
    if units is BoxUnits.UNIT:
        return 1.0, 1.0
    if units is BoxUnits.THOUSAND:
        return 1000.0, 1000.0
    return sent_hw if units is BoxUnits.SENT else original_hw


def _finite(values: Sequence[Any]) -> tuple[float, float, float, float] | None:
    """Four finite numbers, also when they are written as strings."""
    # True is an int in Python, and no coordinate.
    if len(values) != 4 or not all(isinstance(v, (int, float, str)) and v is not True and v is not False
                                   for v in values):  # fmt: skip
        return None
    try:
        a, b, c, d = (float(v) for v in values)
    except (ValueError, OverflowError):
        return None
    numbers = (a, b, c, d)
    return numbers if all(math.isfinite(v) and abs(v) < 1e7 for v in numbers) else None


def _from_mapping(value: Mapping[str, Any]) -> Box | None:
    for names in _X_FIRST:
        if all(name in value for name in names):
            numbers = _finite([value[name] for name in names])
            return _ordered(numbers) if numbers else None
    for names in _WITH_SIZE:
        if all(name in value for name in names):
            numbers = _finite([value[name] for name in names])
            if numbers:
                x, y, width, height = numbers
                return _ordered((x, y, x + width, y + height))
    return None


def _ordered(box: Box) -> Box:
    return min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])
