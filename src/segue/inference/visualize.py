"""Pictures and coloured text of an answer: one colour per phrase, the same everywhere.

The palette is fixed and ordered: its first eight colours stay apart for readers with protanopia and
deuteranopia, all eighteen for others. Beyond that it repeats, and labels tell the phrases apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segue.inference.mask_parts import label_point, main_part

if TYPE_CHECKING:
    from rich.text import Text

Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    (239, 71, 58),  # red
    (43, 99, 255),  # blue
    (255, 200, 20),  # amber
    (0, 178, 150),  # teal
    (190, 60, 200),  # purple
    (255, 140, 30),  # orange
    (90, 205, 255),  # sky
    (140, 20, 70),  # wine
    (190, 220, 70),  # lime
    (250, 150, 185),  # pink
    (60, 45, 160),  # indigo
    (150, 95, 60),  # brown
    (30, 130, 60),  # green
    (120, 240, 190),  # mint
    (0, 115, 140),  # petrol
    (185, 165, 235),  # lavender
    (165, 145, 20),  # olive
    (110, 120, 135),  # slate
)
"""RGB; a phrase takes the entry of its place in the answer."""

FILL_ALPHA = 0.42
"""Opacity of a mask's inside: the picture stays readable under it."""

HALO: Colour = (16, 16, 20)
HALO_ALPHA = 0.55
LONGEST_LABEL = 30
LARGEST_OVERLAY = 4_000_000
"""Pixels; larger pictures are drawn smaller (the masks in answer.json keep the original size)."""


class Located(Protocol):
    """Parts of a grounding that colour text."""

    @property
    def span(self) -> tuple[int, int]:
        """Character range in the answer."""
        ...

    @property
    def image_index(self) -> int:
        """0-based image."""
        ...

    @property
    def score(self) -> float:
        """0..1."""
        ...


@dataclass(frozen=True)
class Layer:
    """A mask with its label and colour, ready to be drawn.

    Attributes:
        mask: bool `[height, width]` of the picture it is drawn on.
        label: Short text; empty for none.
        colour: RGB.
    """

    mask: np.ndarray
    label: str
    colour: Colour


def colour_numbers(spans: Sequence[tuple[int, int]]) -> list[int]:
    """Number the phrases of an answer: masks of one span share a number, spans count in order of appearance.

    Example: spans (4, 11), (4, 11), (20, 24) give 0, 0, 1.
    """
    numbers: dict[tuple[int, int], int] = {}
    return [numbers.setdefault(span, len(numbers)) for span in spans]


def colour(number: int) -> Colour:
    """The colour of phrase `number`; repeats after `len(PALETTE)`."""
    return PALETTE[number % len(PALETTE)]


def ink_on(background: Colour) -> Colour:
    """Black or white, whichever is easier to read on a colour. Source: relative luminance of WCAG 2."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in background)
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (12, 12, 14) if luminance > 0.20 else (255, 255, 255)


def overlay_hw(hw: tuple[int, int]) -> tuple[int, int]:
    """Size at which a picture is drawn: its own up to `LARGEST_OVERLAY` pixels, else scaled down to that."""
    height, width = hw
    if height * width <= LARGEST_OVERLAY:
        return height, width
    scale = (LARGEST_OVERLAY / (height * width)) ** 0.5
    return max(1, int(height * scale)), max(1, int(width * scale))


def line_width(hw: tuple[int, int]) -> int:
    """Width of outlines in pixels: 1 up to about 300 pixels, 4 at 1000."""
    return max(1, min(6, round(max(hw) / 250)))


HATCHINGS = 6
"""How many differ; the first is plain."""


def hatching(number: int, hw: tuple[int, int]) -> np.ndarray:
    """Lines or dots that tell phrase `number` from its neighbours without colour.

    None for the first, then diagonals, dots, the other diagonals, level lines, a grid; they repeat.

    Args:
        number: Of the phrase.
        hw: Of the picture; its longer side has some 50 lines.

    Returns:
        bool `[height, width]`.
    """
    period = max(4, round(max(hw) / 50))
    width = max(1, period // 6)
    y, x = np.ogrid[: hw[0], : hw[1]]

    def lines(where: np.ndarray) -> np.ndarray:
        return where % period < width

    plain = np.zeros(hw, dtype=bool)
    dots = ((x % period - period / 2) ** 2 + (y % period - period / 2) ** 2) < (period / 4) ** 2
    kinds = (plain, lines(x + y), dots, lines(x - y), lines(y), lines(x) | lines(y))
    return np.broadcast_to(kinds[number % HATCHINGS], hw)


def outline(mask: np.ndarray, width: int) -> np.ndarray:
    """Band `[H, W]` of a mask, bool `[H, W]`, within `width` pixels of its border, which the edge is too."""
    return mask & ~_shrink(mask, width)


def draw_overlay(picture: Image.Image, layers: Sequence[Layer]) -> Image.Image:
    """Draw masks over a picture: translucent inside, crisp outline, a label near each.

    Large masks are drawn first, so that a part stays visible on its object.

    Args:
        picture: RGB.
        layers: In the order of the answer; masks `[height, width]` of the picture.

    Returns:
        A new RGB picture of the same size.
    """
    canvas = np.asarray(picture.convert("RGB"), dtype=np.float32).copy()
    width = line_width(canvas.shape[:2])
    for layer in sorted(layers, key=lambda item: -int(np.count_nonzero(item.mask))):
        _paint(canvas, layer.mask, layer.colour, width)
    drawn = Image.fromarray(canvas.round().astype(np.uint8))
    _write_labels(drawn, layers)
    return drawn


def coloured_text(text: str, groundings: Sequence[Located]) -> Text:
    """The answer for a terminal: each phrase in its colour, followed by its images and scores.

    Args:
        text: The clean answer.
        groundings: With spans in `text`.

    Returns:
        A `rich` text such as "The red mug (image 1, 0.93) is smaller."; plain where there is no colour.
    """
    from rich.text import Text as RichText

    written = RichText()
    notes: dict[tuple[int, int], list[str]] = {}
    for item in groundings:
        there = getattr(item, "presence", None)
        # A probability is shown beside the mask's confidence; an uncalibrated score is not one.
        sure = f", there {there.score:.2f}" if there is not None and there.calibrated else ""
        notes.setdefault(item.span, []).append(f"image {item.image_index + 1}, {item.score:.2f}{sure}")
    numbers = dict(zip((g.span for g in groundings), colour_numbers([g.span for g in groundings])))
    done = 0
    for start, end in sorted(notes):
        written.append(printable(text[done:start]))
        red, green, blue = colour(numbers[start, end])
        written.append(printable(text[start:end]), style=f"bold rgb({red},{green},{blue})")
        written.append(f" ({'; '.join(notes[start, end])})", style="dim")
        done = end
    written.append(printable(text[done:]))
    return written


def printable(text: str) -> str:
    """The text without control characters: a model's output must not steer the terminal it is printed on."""
    return "".join(c if c in "\n\t" or (c.isprintable()) else "\ufffd" for c in text)


# ---- masks -----------------------------------------------------------------------------------------------


def _shift_min(mask: np.ndarray, diagonal: bool) -> np.ndarray:
    """True where a pixel and its 4 (or 8) neighbours are; pixels beyond the edge count as False."""
    padded = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), dtype=bool)
    padded[1:-1, 1:-1] = mask
    kept = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    if diagonal:
        kept &= padded[:-2, :-2] & padded[:-2, 2:] & padded[2:, :-2] & padded[2:, 2:]
    return kept


def _shrink(mask: np.ndarray, radius: int) -> np.ndarray:
    """Erode by about `radius` pixels; alternating neighbourhoods keep corners round."""
    for step in range(radius):
        mask = _shift_min(mask, diagonal=step % 2 == 1)
    return mask


def _grow(mask: np.ndarray, radius: int) -> np.ndarray:
    """Dilate by about `radius` pixels, within the array."""
    for step in range(radius):
        padded = np.ones((mask.shape[0] + 2, mask.shape[1] + 2), dtype=bool)
        padded[1:-1, 1:-1] = ~mask
        outside = (
            padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        )
        if step % 2 == 1:
            outside &= padded[:-2, :-2] & padded[:-2, 2:] & padded[2:, :-2] & padded[2:, 2:]
        mask = ~outside
    return mask


def _paint(canvas: np.ndarray, mask: np.ndarray, tint: Colour, width: int) -> None:
    """Blend one mask into a float canvas `[height, width, 3]`, working on the mask's own box only."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return
    margin = width + 1
    top, bottom = max(0, rows[0] - margin), rows[-1] + 1 + margin
    left, right = max(0, columns[0] - margin), columns[-1] + 1 + margin
    part, inside = canvas[top:bottom, left:right], mask[top:bottom, left:right]
    line = outline(inside, width)
    halo = _grow(inside, max(1, width // 2)) & ~inside
    for where, rgb, alpha in (
        (inside & ~line, tint, FILL_ALPHA),
        (line, tint, 1.0),
        (halo, HALO, HALO_ALPHA),
    ):
        part[where] = part[where] * (1 - alpha) + np.asarray(rgb, np.float32) * alpha


# ---- labels ----------------------------------------------------------------------------------------------

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels."""


def _write_labels(picture: Image.Image, layers: Sequence[Layer]) -> None:
    """Write each label beside its mask, where it covers the least of other labels and of its own mask."""
    if min(picture.size) < 64:
        return
    font = ImageFont.load_default(size=max(9, min(36, round(6 + 0.018 * max(picture.size)))))
    draw = ImageDraw.Draw(picture)
    placed: list[Box] = []
    for layer in layers:
        if not layer.label or not layer.mask.any():
            continue
        label = (
            layer.label if len(layer.label) <= LONGEST_LABEL else layer.label[: LONGEST_LABEL - 1] + "\u2026"
        )
        left, top, right, bottom = (round(v) for v in draw.textbbox((0, 0), label, font=font))
        pad = max(2, (bottom - top) // 4)
        size = (right - left + 2 * pad, bottom - top + 2 * pad)
        spot = _place_label(layer.mask, main_part(layer.mask), size, placed)
        placed.append(spot)
        draw.rounded_rectangle((spot[0], spot[1], spot[2] - 1, spot[3] - 1), radius=pad, fill=layer.colour)
        # The font's box begins at (left, top), not at (0, 0).
        draw.text((spot[0] + pad - left, spot[1] + pad - top), label, font=font, fill=ink_on(layer.colour))


def _place_label(mask: np.ndarray, part: np.ndarray, size: tuple[int, int], placed: Sequence[Box]) -> Box:
    """Choose among above, below, left, right and inside of a mask's main part; the first breaks ties."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    middle = round(label_point(part)[0]) - size[0] // 2
    corners = [
        (middle, top - size[1] - 2),
        (left, top - size[1] - 2),
        (right - size[0], top - size[1] - 2),
        (middle, bottom + 2),
        (right + 2, (top + bottom - size[1]) // 2),
        (left - size[0] - 2, (top + bottom - size[1]) // 2),
        ((left + right - size[0]) // 2, top + 2),
        ((left + right - size[0]) // 2, (top + bottom - size[1]) // 2),
    ]
    best: tuple[float, Box] | None = None
    for x, y in corners:
        # A label that would leave the picture is pushed back inside.
        x, y = int(max(0, min(x, width - size[0]))), int(max(0, min(y, height - size[1])))
        spot = (x, y, x + size[0], y + size[1])
        clash = sum(_common_area(spot, other) for other in placed)
        covered = float(np.count_nonzero(mask[y : spot[3], x : spot[2]]))
        cost = 4.0 * clash + covered
        if best is None or cost < best[0]:
            best = (cost, spot)
    assert best is not None
    return best[1]


def _common_area(a: Box, b: Box) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
