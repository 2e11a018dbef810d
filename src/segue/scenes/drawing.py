"""How each kind is drawn: the shapes of one instance, part by part, from back to front.

Frame: x to the right, y down, the object roughly inside [-1, 1] x [-1, 1]. The object's colour is on its main
parts; the others are a darker or lighter tone of it or a neutral accent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from segue.scenes import drawing_indoors, drawing_outdoors
from segue.scenes.shapes import Pen

Drawing = Callable[[Pen], None]

DRAWINGS: Mapping[str, Drawing] = MappingProxyType(
    {
        "mug": drawing_indoors.mug,
        "teapot": drawing_indoors.teapot,
        "bottle": drawing_indoors.bottle,
        "lamp": drawing_indoors.lamp,
        "chair": drawing_indoors.chair,
        "table": drawing_indoors.table,
        "car": drawing_outdoors.car,
        "boat": drawing_outdoors.boat,
        "house": drawing_outdoors.house,
        "flower": drawing_outdoors.flower,
        "umbrella": drawing_indoors.umbrella,
        "hammer": drawing_indoors.hammer,
        "scissors": drawing_indoors.scissors,
        "guitar": drawing_indoors.guitar,
        "fish": drawing_outdoors.fish,
        "bird": drawing_outdoors.bird,
        "bucket": drawing_indoors.bucket,
        "clock": drawing_indoors.clock,
    }
)
"""The drawing of each kind."""
