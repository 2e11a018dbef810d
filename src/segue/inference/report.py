"""An answer as files: `answer.json` for programs, overlays and `answer.html` for people."""

from __future__ import annotations

import base64
import html
import io
import json
from functools import cache
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, Protocol

import numpy as np
from PIL import Image

from segue.files import make_folder, unwritable, write_atomic
from segue.inference.mask_parts import label_point, without_specks
from segue.inference.visualize import (
    FILL_ALPHA,
    LONGEST_LABEL,
    Colour,
    colour,
    colour_numbers,
    ink_on,
    line_width,
    outline,
    overlay_hw,
)
from segue.masks import resize_mask
from segue.protocol import Unplaced
from segue.records import Grounding

LONGEST_SIDE = 1400
"""Pixels of a picture inside answer.html; a page over nine photographs stays a few megabytes."""


class PicturedAnswer(Protocol):
    """Parts of an answer that its files show; `segue.inference.answer.SessionAnswer` has them."""

    @property
    def question(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def markup(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def images(self) -> list[str]: ...
    @property
    def image_hws(self) -> list[tuple[int, int]]: ...
    @property
    def groundings(self) -> list[Grounding]: ...
    @property
    def problems(self) -> list[Unplaced]: ...
    @property
    def notes(self) -> list[str]: ...
    @property
    def pictures(self) -> tuple[Image.Image, ...]: ...

    def to_json(self) -> dict[str, Any]:
        """The content of `answer.json` without the overlays."""
        ...

    def overlay(self, image_index: int) -> Image.Image:
        """One image with its masks drawn in; 0-based."""
        ...


# ---- files -----------------------------------------------------------------------------------------------


def write_answer(answer: PicturedAnswer, folder: Path) -> list[Path]:
    """Write overlays, `answer.html` and `answer.json` (last: where it lies, the rest is complete).

    Args:
        answer: With its pictures.
        folder: Made when it does not exist.

    Returns:
        The paths, `answer.json` first.

    Raises:
        InputError: The folder cannot be written.
    """
    make_folder(folder)
    content = answer.to_json()
    written = []
    try:
        for index, entry in enumerate(content["images"]):
            overlay = answer.overlay(index)
            path = folder / f"image_{index + 1}.png"
            overlay.save(path, compress_level=3)
            entry["overlay"] = {"file": path.name, "height": overlay.height, "width": overlay.width}
            written.append(path)
        page = folder / "answer.html"
        write_atomic(page, render_html(answer))
        write_atomic(folder / "answer.json", json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    except OSError as error:
        raise unwritable(folder, error) from None
    return [folder / "answer.json", page, *written]


# ---- answer.html -----------------------------------------------------------------------------------------


@cache
def _template() -> Template:
    # Not str.format: the page's style is full of braces.
    return Template(resources.files("segue.inference").joinpath("answer.html").read_text(encoding="utf-8"))


def render_html(answer: PicturedAnswer) -> str:
    """One self-contained page: coloured phrases, and their masks as layers that light up together.

    All text is escaped and the page's own policy forbids requests; pictures are data inside it.
    """
    numbers = colour_numbers([grounding.span for grounding in answer.groundings])
    layers: dict[int, list[str]] = {}
    # Large masks below, so that a part stays visible on its object.
    for grounding, number in sorted(
        zip(answer.groundings, numbers, strict=True), key=lambda item: -int(np.count_nonzero(item[0].mask))
    ):
        layers.setdefault(grounding.image_index, []).append(_layer(grounding, number))
    figures = [
        _figure(index, name, picture, layers.get(index, []))
        for index, (name, picture) in enumerate(zip(_names(answer), answer.pictures, strict=True))
    ]
    remarks = [f"[SEG] {p.seg_ordinal + 1}: {p.detail}" for p in answer.problems] + list(answer.notes)
    return _template().substitute(
        title=html.escape(answer.question[:80]),
        question=html.escape(answer.question),
        answer=_phrases(answer, numbers),
        figures="\n".join(figures),
        rows="\n".join(_row(g, n) for g, n in zip(answer.groundings, numbers, strict=True)),
        remarks="\n".join(f"<li>{html.escape(remark)}</li>" for remark in remarks),
        has_rows="" if answer.groundings else "hidden",
        has_remarks="" if remarks else "hidden",
        model=html.escape(answer.model),
        markup=html.escape(answer.markup),
    )


def _names(answer: PicturedAnswer) -> list[str]:
    names = [*answer.images, *(f"image {k + 1}" for k in range(len(answer.images), len(answer.image_hws)))]
    return [str(name) for name in names]


def css_colour(rgb: Colour) -> str:
    """A colour as the page's style writes it: "239 71 58"."""
    return " ".join(map(str, rgb))


def ratio_style(hw: tuple[int, int]) -> str:
    """Style of a page's figure for a picture of a height and width: "--ratio: 1.333"."""
    return f"--ratio: {hw[1] / hw[0]:.3f}"


def _phrases(answer: PicturedAnswer, numbers: list[int]) -> str:
    """The escaped text with each phrase in a focusable element of its colour."""
    number_of = {g.span: number for g, number in zip(answer.groundings, numbers, strict=True)}
    images: dict[tuple[int, int], list[str]] = {}
    for grounding in answer.groundings:
        named = images.setdefault(grounding.span, [])
        # Three masks in one image name it once.
        if str(grounding.image_index + 1) not in named:
            named.append(str(grounding.image_index + 1))
    parts, done = [], 0
    for (start, end), named in sorted(images.items()):
        number = number_of[start, end]
        tint = colour(number)
        parts.append(html.escape(answer.text[done:start]))
        parts.append(
            f'<span class="phrase" tabindex="0" data-phrase="{number}" '
            f'style="--tint: {css_colour(tint)}; --ink: {css_colour(ink_on(tint))}">'
            f"{html.escape(answer.text[start:end])}"
            f'<span class="where" aria-label="image {" and ".join(named)}">{",".join(named)}</span></span>'
        )
        done = end
    return "".join(parts) + html.escape(answer.text[done:])


def _figure(index: int, name: str, picture: Image.Image, layers: list[str]) -> str:
    hw = _page_hw((picture.height, picture.width))
    fits = (picture.height, picture.width) == hw
    shown = picture if fits else picture.resize((hw[1], hw[0]), Image.Resampling.HAMMING)
    stack = "".join(layers)
    return (
        f'<figure style="{ratio_style(hw)}"><div class="stack">'
        f'<img src="{data_url(shown, "JPEG")}" width="{hw[1]}" height="{hw[0]}" '
        f'alt="image {index + 1}">{stack}</div>'
        f"<figcaption><b>image {index + 1}</b> {html.escape(Path(name).name or name)} "
        f"<small>{picture.width} \u00d7 {picture.height}</small></figcaption></figure>"
    )


def _layer(grounding: Grounding, number: int) -> str:
    """A mask as an image element of the page."""
    hw = _page_hw(grounding.mask.shape[:2])
    label = html.escape(f"{grounding.phrase}, score {grounding.score:.2f}", quote=True)
    # Brought to the page's size before its outline is drawn: a thin line does not survive shrinking.
    mask = without_specks(resize_mask(grounding.mask, hw))
    layer = f'<img class="mask" data-phrase="{number}" src="{mask_url(mask, colour(number))}" alt="{label}">'
    return layer + (label_tag(mask, grounding.phrase, number) if mask.any() else "")


def label_tag(mask: np.ndarray, phrase: str, number: int, key: str | None = None) -> str:
    """A label over the main part of a mask, for a figure whose `.tag` is placed by `--x` and `--y`.

    Args:
        mask: bool `[height, width]`, not empty.
        phrase: Its words; cut after `LONGEST_LABEL` characters.
        number: Of the phrase, for its colour.
        key: What pairs it with its phrase on the page; the number by default.
    """
    x, y = label_point(mask)
    height, width = mask.shape
    tint = colour(number)
    words = phrase if len(phrase) <= LONGEST_LABEL else phrase[: LONGEST_LABEL - 1] + "\u2026"
    # Anchored at its left, middle or right end, so that it does not leave the picture at the sides.
    share = x / width
    return (
        f'<span class="tag" data-phrase="{number if key is None else key}" aria-hidden="true" '
        f'style="--x: {100 * share:.1f}%; --y: {100 * y / height:.1f}%; --shift: {-100 * share:.0f}%; '
        f'--tint: {css_colour(tint)}; --ink: {css_colour(ink_on(tint))}">{html.escape(words)}</span>'
    )


def mask_url(mask: np.ndarray, tint: Colour, hatching: np.ndarray | None = None) -> str:
    """A mask as a transparent PNG: translucent inside, crisp outline.

    Args:
        mask: bool `[height, width]`.
        tint: Its colour.
        hatching: bool `[height, width]`; drawn inside the mask, for readers who cannot tell the colours.
    """
    tones = mask.astype(np.uint8)
    if hatching is not None:
        tones[mask & hatching] = 3
    tones[outline(mask, line_width(mask.shape[:2]))] = 2
    picture = Image.fromarray(tones)
    # 0 outside, 1 inside, 2 the line, 3 the hatching; `transparency` gives each its alpha.
    picture.putpalette([0, 0, 0, *tint, *tint, *ink_on(tint)])
    return data_url(picture, "PNG", transparency=bytes([0, round(255 * FILL_ALPHA), 255, 110]))


def _row(grounding: Grounding, number: int) -> str:
    share = 100 * grounding.mask.mean() if grounding.mask.size else 0.0
    return (
        f'<tr data-phrase="{number}" style="--tint: {css_colour(colour(number))}"><td><i></i>'
        f"{html.escape(grounding.phrase)}</td><td>{grounding.image_index + 1}</td>"
        f"<td>{grounding.score:.2f}</td><td>{_there(grounding)}</td><td>{share:.1f} %</td></tr>"
    )


def _there(grounding: Grounding) -> str:
    """The presence of a grounding, which says where it is no probability."""
    if grounding.presence is None:
        return "-"
    return f"{grounding.presence.score:.2f}{'' if grounding.presence.calibrated else ' (uncalibrated)'}"


def _page_hw(hw: tuple[int, int]) -> tuple[int, int]:
    height, width = overlay_hw(hw)
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def jpeg_bytes(picture: Image.Image) -> bytes:
    """A picture as pages show it: a JPEG file."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def data_url(picture: Image.Image, kind: str, **options: Any) -> str:
    """A picture as text for the `src` of an image, JPEG or PNG; options go to PIL."""
    if kind == "JPEG":
        content = jpeg_bytes(picture)
    else:
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        content = buffer.getvalue()
    return f"data:image/{kind.lower()};base64," + base64.b64encode(content).decode("ascii")
