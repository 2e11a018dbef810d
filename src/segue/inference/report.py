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
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from segue.files import make_folder, unwritable, write_atomic
from segue.inference.visualize import (
    FILL_ALPHA,
    Colour,
    colour,
    colour_numbers,
    ink_on,
    line_width,
    outline,
    overlay_hw,
    resize_mask,
)
from segue.records import Grounding

if TYPE_CHECKING:
    from segue.inference.answer import SessionAnswer

LONGEST_SIDE = 1400
"""Pixels of a picture inside answer.html; a page over nine photographs stays a few megabytes."""

# ---- answer.json -----------------------------------------------------------------------------------------


class _Part(BaseModel):
    """Nothing beyond the documented fields, so that a typo cannot pass for data."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OverlayFile(_Part):
    """The picture with its masks drawn in."""

    file: str = Field(description="File name beside answer.json.")
    height: int = Field(ge=1, description="Pixels; smaller than the image only above 4 megapixels.")
    width: int = Field(ge=1, description="Pixels; smaller than the image only above 4 megapixels.")


class ImageEntry(_Part):
    """One image that was asked about, in the order in which the text numbers them."""

    path: str = Field(description='As it was given, or "image N" for a picture without a path.')
    height: int = Field(ge=1, description="Pixels, EXIF orientation applied.")
    width: int = Field(ge=1, description="Pixels, EXIF orientation applied.")
    overlay: OverlayFile | None = Field(default=None, description="Absent when no overlay was written.")


class Segmentation(_Part):
    """A mask as compressed COCO run-length encoding; pycocotools decodes it."""

    size: Annotated[list[int], Field(min_length=2, max_length=2, description="[height, width] of the image.")]
    counts: str = Field(description="COCO's compressed counts.")


class GroundingEntry(_Part):
    """A phrase and one mask of it; a phrase with several masks has several entries."""

    phrase: str = Field(min_length=1, description="text[span[0]:span[1]].")
    span: Annotated[
        list[int],
        Field(
            min_length=2,
            max_length=2,
            description="Start and end in `text`, in Unicode code points, end excluded.",
        ),
    ]
    image_index: int = Field(ge=0, description="0-based place in `images`.")
    segmentation: Segmentation = Field(description="The mask at the image's original size; may be empty.")
    bbox: Annotated[
        list[float],
        Field(
            min_length=4,
            max_length=4,
            description="[x, y, width, height] in pixels; zeros for an empty mask.",
        ),
    ]
    area: int = Field(ge=0, description="Pixels of the mask.")
    score: float = Field(ge=0, le=1, description="Mean probability inside the mask; 0 for an empty mask.")


class ProblemEntry(_Part):
    """A `[SEG]` of the markup that got no phrase or no image, hence no mask."""

    seg_ordinal: int = Field(ge=0, description="Its place among all [SEG] of the markup, from 0.")
    reason: str = Field(description="Stable name of the cause, such as missing_identifier.")
    detail: str = Field(description="The cause in a sentence.")
    image_index: int | None = Field(description="0-based image where only the phrase is missing, else null.")
    span: Annotated[list[int], Field(min_length=2, max_length=2, description="Where in `text` it stood.")]


class AnswerFile(_Part):
    """The content of answer.json."""

    question: str = Field(description="As it was asked.")
    text: str = Field(description="The answer without tags.")
    markup: str = Field(description="The answer as the model wrote it, tags included.")
    model: str = Field(description="Preset name, or the name of the model's folder.")
    images: Annotated[list[ImageEntry], Field(min_length=1, max_length=9)]
    groundings: list[GroundingEntry] = Field(description="In the order of the text.")
    problems: list[ProblemEntry]
    notes: list[str] = Field(description="Oddities that cost no mask, in sentences.")
    finished: bool = Field(description="False when the token budget ended the answer.")


def answer_schema() -> dict[str, Any]:
    """The JSON Schema of answer.json; shipped as `answer.schema.json` beside this module."""
    schema = AnswerFile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Segue answer"}


def write_answer(answer: SessionAnswer, folder: Path) -> list[Path]:
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
        page.write_text(render_html(answer), encoding="utf-8")
        write_atomic(folder / "answer.json", json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    except OSError as error:
        raise unwritable(folder, error) from None
    return [folder / "answer.json", page, *written]


# ---- answer.html -----------------------------------------------------------------------------------------


@cache
def _template() -> Template:
    return Template(resources.files("segue.inference").joinpath("answer.html").read_text(encoding="utf-8"))


def render_html(answer: SessionAnswer) -> str:
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


def _names(answer: SessionAnswer) -> list[str]:
    names = [*answer.images, *(f"image {k + 1}" for k in range(len(answer.images), len(answer.image_hws)))]
    return [str(name) for name in names]


def css_colour(rgb: Colour) -> str:
    """A colour as the page's style writes it: "239 71 58"."""
    return " ".join(map(str, rgb))


def ratio_style(hw: tuple[int, int]) -> str:
    """What the pages' figures need to know of a picture of a height and width: "--ratio: 1.333"."""
    return f"--ratio: {hw[1] / hw[0]:.3f}"


def _phrases(answer: SessionAnswer, numbers: list[int]) -> str:
    """The escaped text with each phrase in a focusable element of its colour."""
    number_of = {g.span: number for g, number in zip(answer.groundings, numbers, strict=True)}
    images: dict[tuple[int, int], list[str]] = {}
    for grounding in answer.groundings:
        named = images.setdefault(grounding.span, [])
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
    url = mask_url(resize_mask(grounding.mask, hw), colour(number))
    return f'<img class="mask" data-phrase="{number}" src="{url}" alt="{label}">'


def mask_url(mask: np.ndarray, tint: Colour) -> str:
    """A mask, bool `[height, width]`, as a transparent two-tone PNG: translucent inside, crisp outline."""
    tones = mask.astype(np.uint8)
    tones[outline(mask, line_width(mask.shape[:2]))] = 2
    picture = Image.fromarray(tones)
    picture.putpalette([0, 0, 0, *tint, *tint])
    return data_url(picture, "PNG", transparency=bytes([0, round(255 * FILL_ALPHA), 255]))


def _row(grounding: Grounding, number: int) -> str:
    share = 100 * grounding.mask.mean() if grounding.mask.size else 0.0
    return (
        f'<tr data-phrase="{number}" style="--tint: {css_colour(colour(number))}"><td><i></i>'
        f"{html.escape(grounding.phrase)}</td><td>{grounding.image_index + 1}</td>"
        f"<td>{grounding.score:.2f}</td><td>{share:.1f} %</td></tr>"
    )


def _page_hw(hw: tuple[int, int]) -> tuple[int, int]:
    height, width = overlay_hw(hw)
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def data_url(picture: Image.Image, kind: str, **options: Any) -> str:
    """A picture as text for the `src` of an image, JPEG or PNG; options go to PIL."""
    buffer = io.BytesIO()
    if kind == "JPEG":
        picture.convert("RGB").save(buffer, kind, quality=88)
    else:
        picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
