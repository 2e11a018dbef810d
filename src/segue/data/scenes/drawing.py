"""How each kind is drawn: the shapes of one instance, part by part, from back to front.

Frame: x to the right, y down, the object roughly inside [-1, 1] x [-1, 1]. The object's colour is on its main
parts; the others are a darker or lighter tone of it or a neutral accent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from segue.data.scenes.shapes import Pen, arc, smooth, turned

Drawing = Callable[[Pen], None]

RUBBER = (46, 46, 54)
GLASS = (178, 212, 230)
STEEL = (160, 167, 176)
IRON = (88, 93, 102)
PAPER = (238, 230, 208)
STALK = (112, 140, 84)
POLLEN = (236, 188, 60)


def _mug(pen: Pen) -> None:
    w, h, taper = pen.vary(0.52, 0.64), pen.vary(0.66, 0.8), pen.vary(0, 0.1)
    pen.stroke("handle", arc(w - 0.1, 0.02, 0.45, h * 0.58, -82, 82, 18), 0.21, 0.72)
    pen.poly("body", np.concatenate([[(-w, -h), (w, -h)], arc(0, h - 0.1, w - taper, 0.14, 0, 180, 12)]))
    pen.ellipse("body", 0, -h, w, 0.15, 1.3)
    pen.ellipse("body", 0, -h, w - 0.09, 0.1, 0.5)
    pen.poly(
        "body",
        [(-w + 0.1, -h + 0.2), (-w + 0.24, -h + 0.22), (-w + 0.26, h - 0.2), (-w + 0.14, h - 0.22)],
        1.3,
    )
    if pen.chance(0.3):
        pen.rect("body", -w + taper / 2, -0.12, w - taper / 2, 0.18, 0.78)


def _teapot(pen: Pen) -> None:
    rx, ry = pen.vary(0.62, 0.72), pen.vary(0.5, 0.6)
    pen.stroke("handle", arc(rx - 0.08, 0.12, 0.42, 0.4, -92, 92, 18), 0.19, 0.72)
    pen.poly(
        "spout",
        smooth(
            [
                (-rx + 0.2, 0.5),
                (-rx - 0.22, 0.24),
                (-rx - 0.48, -0.36),
                (-rx - 0.2, -0.4),
                (-rx - 0.02, -0.1),
                (-rx + 0.2, 0.0),
            ]
        ),
        0.8,
    )
    pen.ellipse("body", 0, 0.18, rx, ry)
    pen.rect("body", -0.36, ry + 0.06, 0.36, ry + 0.22, 0.75)
    pen.poly(
        "lid",
        np.concatenate(
            [
                arc(0, 0.18 - ry * 0.86, 0.44, 0.3, 180, 360, 14),
                arc(0, 0.18 - ry * 0.86, 0.44, 0.08, 0, 180, 10),
            ]
        ),
        1.32,
    )
    pen.ellipse("lid", 0, -0.12 - ry * 0.9 - 0.06, 0.13, 0.13, 1.32)
    pen.ellipse("body", -rx * 0.45, -0.02, 0.12, 0.2, 1.45, 25)


def _bottle(pen: Pen) -> None:
    w, shoulder, neck = pen.vary(0.34, 0.42), pen.vary(-0.45, -0.3), pen.vary(0.14, 0.17)
    right = smooth(
        [(neck, -0.8), (neck, -0.62), (w * 0.8, shoulder), (w, shoulder + 0.25), (w, 0.85)], closed=False
    )
    right = np.concatenate([right, [(w - 0.07, 1.0)]])
    pen.poly("body", np.concatenate([right, right[::-1] * (-1, 1)]))
    pen.poly(
        "body",
        [(-w + 0.07, shoulder + 0.2), (-w + 0.16, shoulder + 0.12), (-w + 0.16, 0.9), (-w + 0.07, 0.9)],
        1.45,
    )
    pen.rect("cap", -neck - 0.06, -1.06, neck + 0.06, -0.74, 0.55, 0.05)
    top, bottom = pen.vary(0.0, 0.1), pen.vary(0.55, 0.68)
    pen.poly("label", [(-w, top), (w, top), (w, bottom), (-w, bottom)], PAPER)
    pen.rect("label", -w * 0.6, top + 0.12, w * 0.6, top + 0.2, (150, 146, 138))
    pen.rect("label", -w * 0.6, top + 0.28, w * 0.3, top + 0.36, (150, 146, 138))


def _lamp(pen: Pen) -> None:
    up, down, bottom = pen.vary(0.28, 0.42), pen.vary(0.64, 0.76), pen.vary(-0.28, -0.15)
    metal = IRON if pen.chance(0.5) else 0.5
    pen.rect("pole", -0.1, bottom - 0.1, 0.1, 0.85, STEEL if metal == IRON else 0.68)
    pen.poly(
        "base",
        np.concatenate([arc(0, 0.95, 0.5, 0.34, 180, 360, 16), arc(0, 0.95, 0.5, 0.1, 0, 180, 12)]),
        metal,
    )
    pen.poly(
        "shade", np.concatenate([arc(0, -1, up, 0.07, 180, 360, 10), arc(0, bottom, down, 0.11, 0, 180, 14)])
    )
    pen.poly(
        "shade",
        [(-up + 0.08, -0.98), (-up + 0.22, -0.98), (-down + 0.34, bottom), (-down + 0.12, bottom)],
        1.35,
    )
    if pen.chance(0.4):
        pen.poly(
            "shade",
            np.concatenate(
                [
                    arc(0, bottom, down, 0.11, 0, 180, 14),
                    arc(0, bottom - 0.12, down - 0.05, 0.11, 0, 180, 14)[::-1],
                ]
            ),
            0.75,
        )


def _chair(pen: Pen) -> None:
    w, thick, tall = pen.vary(0.5, 0.58), pen.vary(0.15, 0.18), pen.vary(0.95, 1.1)
    for x, y in ((-w + 0.02, 0.78), (w - 0.04, 0.78)):
        pen.rect("legs", x - thick * 0.4, 0.1, x + thick * 0.4, y, 0.5)
    for x in (-w - 0.1, w + 0.1):
        pen.rect("legs", x - thick / 2, 0.2, x + thick / 2, 1.05, 0.62)
    pen.rect("back", -w, -tall, w, 0.0, 1.22, 0.14)
    for x in (-0.4, 0.0, 0.4):
        pen.rect("back", x * w / 0.5 - 0.045, -tall + 0.2, x * w / 0.5 + 0.045, -0.1, 0.92, 0.03)
    pen.poly("seat", [(-w, -0.04), (w, -0.04), (w + 0.2, 0.28), (-w - 0.2, 0.28)])
    pen.rect("seat", -w - 0.2, 0.26, w + 0.2, 0.4, 0.86, 0.04)


def _table(pen: Pen) -> None:
    depth, tall, thick = pen.vary(0.3, 0.42), pen.vary(0.62, 0.8), pen.vary(0.15, 0.19)
    round_top = pen.chance(0.35)
    for x in (-0.5, 0.5):
        pen.rect("legs", x - thick * 0.4, -0.1, x + thick * 0.4, tall - 0.26, 0.48)
    for x in (-0.82, 0.82) if not round_top else (-0.66, 0.66):
        pen.poly(
            "legs",
            [(x - thick / 2, 0), (x + thick / 2, 0), (x + thick * 0.4, tall), (x - thick * 0.4, tall)],
            0.64,
        )
    if round_top:
        pen.ellipse("top", 0, -0.08, 1.0, depth * 0.75, 0.8)
        pen.ellipse("top", 0, -0.18, 1.0, depth * 0.75)
        pen.ellipse("top", -0.25, -0.24, 0.45, depth * 0.28, 1.14)
    else:
        pen.poly("top", [(-0.74, -depth), (0.74, -depth), (1.0, 0), (-1.0, 0)])
        pen.poly("top", [(-0.5, -depth + 0.08), (-0.2, -depth + 0.08), (-0.4, -0.08), (-0.74, -0.08)], 1.14)
        pen.rect("top", -1.0, -0.02, 1.0, 0.14, 0.8)


def _car(pen: Pen) -> None:
    roof, back = pen.vary(-0.62, -0.52), pen.vary(-0.62, -0.5)
    pen.poly(
        "body",
        smooth(
            [
                (-1.04, 0.05),
                (-0.78, -0.14),
                (back, roof + 0.08),
                (-0.2, roof),
                (0.28, roof + 0.05),
                (0.58, -0.12),
                (0.98, -0.02),
                (1.06, 0.3),
                (0.9, 0.4),
                (-0.95, 0.4),
            ],
            steps=5,
        ),
    )
    pen.rect("body", -1.0, 0.18, 1.02, 0.28, 0.7)
    pen.poly(
        "windows",
        [(back - 0.04, -0.12), (back + 0.14, roof + 0.14), (-0.12, roof + 0.1), (-0.12, -0.12)],
        GLASS,
    )
    pen.poly("windows", [(0.0, -0.12), (0.0, roof + 0.1), (0.24, roof + 0.14), (0.42, -0.12)], GLASS)
    pen.ellipse("body", 0.96, 0.1, 0.08, 0.08, (250, 240, 190))
    r = pen.vary(0.25, 0.3)
    for x in (-0.56, 0.58):
        pen.ellipse("wheels", x, 0.4, r, r, RUBBER)
        pen.ellipse("wheels", x, 0.4, r * 0.45, r * 0.45, STEEL)


def _boat(pen: Pen) -> None:
    top, lean = pen.vary(-1.1, -0.95), pen.vary(-0.1, 0.08)
    pen.rect("mast", lean - 0.075, top, lean + 0.075, 0.45, IRON)
    pen.poly(
        "sail",
        smooth([(lean + 0.12, top + 0.06), (lean + 0.5, -0.3), (0.86, 0.3), (lean + 0.12, 0.3)], steps=4)
        if pen.chance(0.3)
        else [(lean + 0.11, top + 0.04), (0.86, 0.3), (lean + 0.11, 0.3)],
        1.5,
    )
    pen.poly("sail", [(lean - 0.12, top + 0.25), (-0.7, 0.3), (lean - 0.12, 0.3)], 1.42)
    pen.poly("hull", smooth([(-1.02, 0.4), (0, 0.44), (1.08, 0.36), (0.72, 0.86), (-0.66, 0.86)], steps=4))
    pen.poly("hull", [(-0.92, 0.5), (0.96, 0.48), (0.9, 0.58), (-0.86, 0.6)], 1.5 if pen.chance(0.5) else 0.7)


def _house(pen: Pen) -> None:
    w, eave, floor = pen.vary(0.66, 0.78), pen.vary(-0.2, -0.05), 0.9
    if pen.chance(0.6):
        pen.rect("roof", 0.32, -0.92, 0.54, -0.35, 0.42)
    pen.rect("wall", -w, eave - 0.1, w, floor)
    pen.poly(
        "roof",
        [
            (-w - 0.2, eave + 0.04),
            (-pen.vary(0, 0.25), -1.0),
            (pen.vary(0, 0.25), -1.0),
            (w + 0.2, eave + 0.04),
        ],
        0.52,
    )
    x = pen.vary(-0.36, 0.0)
    pen.rect("door", x - 0.2, 0.2, x + 0.2, floor, 0.3 if pen.colour != "brown" else PAPER, 0.03)
    pen.ellipse("door", x + 0.1, 0.58, 0.04, 0.04, POLLEN)
    pen.rect("wall", x + 0.34, 0.14, x + 0.66, 0.48, (110, 104, 98))
    pen.rect("wall", x + 0.38, 0.18, x + 0.62, 0.44, GLASS)


def _flower(pen: Pen) -> None:
    n, y, reach = int(pen.rng.integers(5, 8)), -0.42, pen.vary(0.36, 0.42)
    pen.stroke("stem", smooth([(0, y), (pen.vary(-0.1, 0.1), 0.3), (0.0, 1.05)], closed=False), 0.15, STALK)
    blade = smooth([(0, 0), (0.25, -0.2), (0.62, -0.04), (0.28, 0.14)])
    pen.poly("leaf", np.add(turned(blade, -28), (0.02, 0.74)), (92, 122, 72))
    if pen.chance(0.5):
        pen.poly("leaf", np.add(turned(blade * (-1, 1), 28), (0, 0.66)), (92, 122, 72))
    spin = pen.vary(0, 360)
    for k in range(n):
        a = np.radians(spin + 360 * k / n)
        pen.ellipse(
            "petals",
            reach * np.cos(a),
            y + reach * np.sin(a),
            0.31,
            0.9 / n + 0.06,
            1.0 if k % 2 else 1.14,
            np.degrees(a),
        )
    pen.ellipse(
        "centre", 0, y, 0.23, 0.23, (120, 84, 52) if pen.colour in ("yellow", "orange", "white") else POLLEN
    )


def _umbrella(pen: Pen) -> None:
    rise, ribs = pen.vary(0.75, 0.9), int(pen.rng.integers(4, 6))
    hook = np.concatenate(
        [[(0, -0.9), (0, -0.2), (0, 0.5), (0, 0.78)], arc(0.19, 0.8, 0.19, 0.2, 180, 10, 12)]
    )
    pen.stroke("handle", hook, 0.13, IRON)
    edge = np.linspace(-1, 1, ribs + 1)
    y = -0.02
    for k in range(ribs):
        a, b = edge[k], edge[k + 1]
        scallop = arc((a + b) / 2, y, (b - a) / 2, 0.11, -180, 0, 8)
        # A panel: up its left rib to the apex, down its right rib, back along the scalloped edge.
        left = arc(0, y, a, rise, 0, -90, 10)
        right = arc(0, y, b, rise, -90, 0, 10)
        pen.poly("canopy", np.concatenate([left, right, scallop[::-1]]), 1.0 if k % 2 else 1.25)
    pen.rect("canopy", -0.05, y - rise - 0.12, 0.05, y - rise + 0.04, 0.7)


def _hammer(pen: Pen) -> None:
    pen.turn = 32
    w, y = pen.vary(0.12, 0.15), pen.vary(-0.66, -0.56)
    pen.rect("handle", -w, y - 0.1, w, 1.05, 1.0, 0.1)
    pen.rect("handle", -w, 0.42, w, 0.56, 0.7)
    pen.rect("handle", -w, 0.68, w, 0.82, 0.7)
    pen.poly(
        "head",
        smooth(
            [(-0.14, y - 0.2), (-0.5, y - 0.22), (-0.86, y + 0.16), (-0.46, y + 0.06), (-0.14, y + 0.2)],
            steps=4,
        ),
        IRON,
    )
    pen.rect("head", -0.2, y - 0.22, 0.3, y + 0.2, IRON, 0.03)
    pen.rect("head", 0.28, y - 0.28, 0.62, y + 0.26, (108, 114, 124), 0.06)


def _scissors(pen: Pen) -> None:
    pen.turn = 35
    spread = pen.vary(13, 21)
    for side in (-1, 1):
        blade = [
            (side * -0.14, -0.1),
            (side * -0.13, -0.85),
            (side * -0.02, -1.12),
            (side * 0.12, -0.2),
            (side * 0.1, 0.3),
            (side * -0.1, 0.3),
        ]
        pen.poly("blades", turned(blade, side * -spread), STEEL if side > 0 else (188, 194, 202))
    for side in (-1, 1):
        cx, cy = turned([(side * -0.11, 0.64)], side * -spread * 1.35)[0]
        pen.stroke("handles", turned([(0, 0.16), (0, 0.36)], side * -spread), 0.18)
        pen.ring("handles", cx, cy, 0.26, 0.33, 0.17, 1.0 if side > 0 else 0.86, side * -spread)
    pen.ellipse("blades", 0, 0.0, 0.08, 0.08, IRON)


def _guitar(pen: Pen) -> None:
    pen.turn = 32
    w, waist = pen.vary(0.5, 0.58), pen.vary(0.3, 0.36)
    pen.poly(
        "head",
        [(-0.17, -0.8), (-0.24, -1.22), (0.24, -1.22), (0.17, -0.8)],
        0.4 if pen.colour != "brown" else PAPER,
    )
    right = [
        (0, -0.12),
        (0.3, -0.12),
        (waist + 0.08, 0.12),
        (waist, 0.32),
        (w, 0.62),
        (w * 0.8, 0.98),
        (0.0, 1.08),
    ]
    pen.poly("body", smooth(right + [(-x, y) for x, y in right[-2:0:-1]], steps=5))
    pen.ellipse("body", 0, 0.34, 0.17, 0.17, 0.3)
    pen.rect("neck", -0.11, -0.88, 0.11, 0.18, 0.66)
    for y in (-0.7, -0.5, -0.3, -0.1):
        pen.rect("neck", -0.11, y - 0.02, 0.11, y + 0.02, 0.9)
    pen.rect("body", -0.24, 0.7, 0.24, 0.8, 0.45)


def _fish(pen: Pen) -> None:
    pen.turn = 20
    ry = pen.vary(0.4, 0.52)
    pen.poly(
        "tail",
        smooth([(0.42, 0), (0.78, -0.26), (1.08, -0.5), (0.94, 0.0), (1.08, 0.5), (0.78, 0.26)], steps=4),
        0.68,
    )
    pen.poly(
        "fin",
        smooth([(-0.3, -ry * 0.75), (0.0, -ry - 0.32), (0.42, -ry - 0.2), (0.36, -ry * 0.5)], steps=4),
        0.68,
    )
    pen.poly(
        "fin", smooth([(-0.1, ry * 0.8), (0.1, ry + 0.25), (0.34, ry + 0.2), (0.26, ry * 0.6)], steps=4), 0.68
    )
    pen.poly(
        "body",
        smooth(
            [
                (-0.98, 0.04),
                (-0.6, -ry * 0.8),
                (-0.1, -ry),
                (0.4, -ry * 0.6),
                (0.66, 0),
                (0.4, ry * 0.6),
                (-0.1, ry),
                (-0.6, ry * 0.8),
            ],
            steps=4,
        ),
    )
    for x in (-0.06, 0.16, 0.38) if pen.chance(0.5) else ():
        pen.stroke("body", arc(x - 0.12, 0, 0.13, ry * 0.45, -80, 80, 8), 0.07, 0.8)
    pen.ellipse("body", -0.62, -0.1, 0.13, 0.13, (250, 250, 250))
    pen.ellipse("body", -0.64, -0.1, 0.07, 0.07, (30, 30, 34))


def _bird(pen: Pen) -> None:
    plump = pen.vary(0.5, 0.58)
    pen.poly("tail", [(0.3, 0.0), (1.1, -0.3 + pen.vary(-0.1, 0.1)), (1.24, 0.16), (0.4, 0.5)], 0.5)
    beak = (240, 158, 40) if pen.colour not in ("orange", "yellow") else IRON
    pen.poly("beak", [(-0.6, -0.72), (-1.22, -0.42), (-0.64, -0.14)], beak)
    pen.poly(
        "body",
        smooth(
            [
                (-0.78, -0.42),
                (-0.66, -0.74),
                (-0.36, -0.84),
                (-0.06, -0.62),
                (0.16, -0.26),
                (0.66, 0.16),
                (0.42, plump + 0.06),
                (-0.1, plump + 0.2),
                (-0.6, plump - 0.1),
                (-0.76, 0.02),
            ],
            steps=4,
        ),
    )
    pen.poly(
        "wing",
        smooth([(-0.34, -0.04), (0.1, -0.16), (0.58, 0.08), (0.78, 0.3), (0.3, 0.48), (-0.2, 0.36)], steps=4),
        0.7,
    )
    pen.ellipse("body", -0.5, -0.5, 0.1, 0.1, (250, 250, 250))
    pen.ellipse("body", -0.52, -0.5, 0.06, 0.06, (30, 30, 34))


def _bucket(pen: Pen) -> None:
    up, down, h = pen.vary(0.7, 0.8), pen.vary(0.46, 0.56), pen.vary(0.8, 0.95)
    pen.stroke("handle", arc(0, -0.3, up - 0.04, pen.vary(0.62, 0.74), 180, 360, 22), 0.13, IRON)
    pen.poly("body", np.concatenate([[(-up, -0.28), (up, -0.28)], arc(0, h - 0.06, down, 0.12, 0, 180, 12)]))
    pen.ellipse("body", 0, -0.28, up, 0.17, 1.28)
    pen.ellipse("body", 0, -0.27, up - 0.08, 0.12, 0.5)
    pen.poly(
        "body", [(-up + 0.16, 0.0), (-up + 0.32, 0.04), (-down + 0.22, h - 0.1), (-down + 0.1, h - 0.14)], 1.3
    )
    if pen.chance(0.4):
        pen.poly("body", [(-up + 0.1, 0.22), (up - 0.1, 0.22), (up - 0.15, 0.4), (-up + 0.15, 0.4)], 0.75)


def _clock(pen: Pen) -> None:
    if pen.chance(0.5):
        for x in (-1, 1):
            pen.ellipse("frame", x * 0.56, -0.84, 0.32, 0.24, 0.8, x * 35)
            pen.stroke("frame", [(x * 0.45, 0.7), (x * 0.68, 1.06)], 0.18, 0.7)
    pen.ellipse("frame", 0, 0, 1, 1)
    pen.ellipse("face", 0, 0, 0.74, 0.74, (246, 242, 230))
    for k in range(12):
        r = 0.05 if k % 3 else 0.075
        pen.ellipse("face", 0.62 * np.cos(k * np.pi / 6), 0.62 * np.sin(k * np.pi / 6), r, r, (130, 126, 120))
    hour = pen.vary(0, 360)
    for a, reach in ((hour, 0.42), (hour + pen.vary(50, 310), 0.56)):
        pen.stroke("hands", turned([(0, 0), (reach / 2, 0), (reach, 0)], a), 0.15, RUBBER)


DRAWINGS: Mapping[str, Drawing] = MappingProxyType(
    {
        "mug": _mug,
        "teapot": _teapot,
        "bottle": _bottle,
        "lamp": _lamp,
        "chair": _chair,
        "table": _table,
        "car": _car,
        "boat": _boat,
        "house": _house,
        "flower": _flower,
        "umbrella": _umbrella,
        "hammer": _hammer,
        "scissors": _scissors,
        "guitar": _guitar,
        "fish": _fish,
        "bird": _bird,
        "bucket": _bucket,
        "clock": _clock,
    }
)
"""The drawing of each kind."""
