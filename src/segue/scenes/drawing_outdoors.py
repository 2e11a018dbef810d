"""How vehicles, houses, plants and animals are drawn, part by part; the frame is that of `drawing.py`."""

from __future__ import annotations

import numpy as np

from segue.scenes.materials import GLASS, IRON, PAPER, POLLEN, RUBBER, STALK, STEEL
from segue.scenes.shapes import Pen, arc, smooth, turned


def car(pen: Pen) -> None:
    """Draw one car."""
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


def boat(pen: Pen) -> None:
    """Draw one boat."""
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


def house(pen: Pen) -> None:
    """Draw one house."""
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


def flower(pen: Pen) -> None:
    """Draw one flower."""
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
    # POLLEN is yellow, and would be lost among yellow, orange or white petals.
    pen.ellipse(
        "centre", 0, y, 0.23, 0.23, (120, 84, 52) if pen.colour in ("yellow", "orange", "white") else POLLEN
    )


def fish(pen: Pen) -> None:
    """Draw one fish."""
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


def bird(pen: Pen) -> None:
    """Draw one bird."""
    plump = pen.vary(0.5, 0.58)
    pen.poly("tail", [(0.3, 0.0), (1.1, -0.3 + pen.vary(-0.1, 0.1)), (1.24, 0.16), (0.4, 0.5)], 0.5)
    # Orange, unless the bird is: a part of its body's colour could not be told from it.
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
