"""How furniture, vessels and tools are drawn, part by part; the frame is that of `drawing.py`."""

from __future__ import annotations

import numpy as np

from segue.scenes.materials import IRON, PAPER, RUBBER, STEEL
from segue.scenes.shapes import Pen, arc, smooth, turned


def mug(pen: Pen) -> None:
    """Draw one mug."""
    # From back to front, here as in all drawings: the body covers where the handle enters it.
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


def teapot(pen: Pen) -> None:
    """Draw one teapot."""
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


def bottle(pen: Pen) -> None:
    """Draw one bottle."""
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


def lamp(pen: Pen) -> None:
    """Draw one lamp."""
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


def chair(pen: Pen) -> None:
    """Draw one chair."""
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


def table(pen: Pen) -> None:
    """Draw one table."""
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


def umbrella(pen: Pen) -> None:
    """Draw one umbrella."""
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


def hammer(pen: Pen) -> None:
    """Draw one hammer."""
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


def scissors(pen: Pen) -> None:
    """Draw a pair of scissors."""
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


def guitar(pen: Pen) -> None:
    """Draw one guitar."""
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


def bucket(pen: Pen) -> None:
    """Draw one bucket."""
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


def clock(pen: Pen) -> None:
    """Draw one clock."""
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
    # At least 50 degrees apart, so that both hands can be seen.
    for a, reach in ((hour, 0.42), (hour + pen.vary(50, 310), 0.56)):
        pen.stroke("hands", turned([(0, 0), (reach / 2, 0), (reach, 0)], a), 0.15, RUBBER)
