"""Pictures that show nothing which the model knows: pages of text, plots, textures. Does it say so?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segue.errors import InputError
from segue.images import ImageSource, content_hash, load_image
from segue.inference.loaded_model import LoadedModel
from segue.mini.look.evaluation import auc
from segue.models.mini.embedded import EmbeddedModel

PICTURE = (320, 240)
"""Width and height, as photographs of `everyday` have."""

TEXTURES = ("brick", "grass", "gravel")
"""Of scikit-image, which ships them."""

PAGES = ("page", "text")

QUESTION = "What is in the image?"
UNKNOWN = "do not know"


def unknown_pictures(count: int, seed: int = 0) -> dict[str, list[Image.Image]]:
    """Pages, plots and textures, `count` of each.

    Raises:
        InputError: scikit-image is missing.
    """
    rng = np.random.default_rng([seed, 5])
    return {
        "pages of text": [_page(rng, k) for k in range(count)],
        "plots": [_plot(rng) for _ in range(count)],
        "textures": [_cut(_shipped(TEXTURES[k % len(TEXTURES)]), rng) for k in range(count)],
    }


def _shipped(name: str) -> Image.Image:
    try:
        from skimage import data
    except ImportError as error:
        raise InputError(
            "Textures and pages come with scikit-image.",
            expected="the package scikit-image",
            found="it is not installed",
            where="segue.mini.evaluation.unknown_pictures",
            fix="pip install 'segue[examples]'",
        ) from error
    return Image.fromarray(getattr(data, name)()).convert("RGB")


def _cut(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A part of a picture, half of it to all of it, in a colour cast of its own."""
    share = rng.uniform(0.5, 1.0)
    width, height = (max(1, int(side * share)) for side in picture.size)
    left, top = (
        int(rng.integers(0, whole - part + 1))
        for whole, part in zip(picture.size, (width, height), strict=True)
    )
    part = picture.crop((left, top, left + width, top + height)).resize(PICTURE)
    cast = rng.uniform(0.75, 1.0, 3)
    return Image.fromarray((np.asarray(part) * cast).astype(np.uint8))


def _page(rng: np.random.Generator, number: int) -> Image.Image:
    """A scan of scikit-image's, or lines of made-up words."""
    if number % 4 == 0:
        return _cut(_shipped(PAGES[(number // 4) % len(PAGES)]), rng)
    paper, size = int(rng.integers(225, 256)), int(rng.integers(9, 17))
    page = Image.new("RGB", PICTURE, (paper, paper, paper - int(rng.integers(0, 20))))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size)
    for top in range(size, PICTURE[1] - size, int(size * 1.5)):
        words = ("".join(rng.choice(list("aeioutnrslhdm"), rng.integers(2, 9))) for _ in range(14))
        pen.text((size, top), " ".join(words), font=font, fill=(20, 20, 20))
    return page


def _plot(rng: np.random.Generator) -> Image.Image:
    """Axes with a curve, bars or points."""
    plot = Image.new("RGB", PICTURE, "white")
    pen, font = ImageDraw.Draw(plot), ImageFont.load_default(10)
    left, top, right, bottom = 40, 15, PICTURE[0] - 15, PICTURE[1] - 30
    pen.line([(left, top), (left, bottom), (right, bottom)], fill="black", width=2)
    for step in range(6):
        y, x = bottom - step * (bottom - top) // 6, left + step * (right - left) // 6
        pen.text((12, y - 6), f"{step * 20}", font=font, fill="black")
        pen.text((x, bottom + 6), f"{step}", font=font, fill="black")
    kind = int(rng.integers(3))
    values = bottom - (bottom - top) * np.clip(0.5 + np.cumsum(rng.normal(0, 0.12, 12)), 0.02, 0.98)
    colour = tuple(rng.integers(0, 200, 3).tolist())
    xs = np.linspace(left + 10, right - 10, 12)
    if kind == 0:
        pen.line(list(zip(xs.tolist(), values.tolist(), strict=True)), fill=colour, width=2)
    for x, y in zip(xs.tolist(), values.tolist(), strict=True):
        if kind == 1:
            pen.rectangle([x - 7, y, x + 7, bottom], fill=colour)
        elif kind == 2:
            pen.ellipse([x - 3, y - 3, x + 3, y + 3], fill=colour)
    return plot


def knownness(model: LoadedModel, picture: ImageSource) -> float:
    """How surely a picture shows anything that the model knows: presence of its surest finding."""
    embedded = model.model
    assert isinstance(embedded, EmbeddedModel)
    image = load_image(picture)
    features = model.image_encoder.drawable(image, content_hash(image)).drawable
    return max((f.presence for f in embedded.segmenter.find(features)[0]), default=0.0)


def measure_unknown(
    model: LoadedModel, known: Sequence[ImageSource], count: int, seed: int = 0
) -> dict[str, Any]:
    """AUROC by which known pictures are told from each sort of unknown ones, and what the model says.

    Args:
        known: photographs of things that it learned.
        count: of each sort of unknown picture.

    Returns:
        `auroc` over all, and for each sort `auroc` and `said_unknown`, the share of answers to `QUESTION`
        that admit it; `known` likewise.
    """
    scores = np.array([knownness(model, picture) for picture in known])
    report: dict[str, Any] = {"known": {"said_unknown": _says_unknown(model, known), "pictures": len(known)}}
    every = []
    for sort, pictures in unknown_pictures(count, seed).items():
        found = np.array([knownness(model, picture) for picture in pictures])
        report[sort] = {
            "auroc": round(_auroc(scores, found), 4),
            "said_unknown": _says_unknown(model, pictures),
            "pictures": len(pictures),
        }
        every.append(found)
    return {"auroc": round(_auroc(scores, np.concatenate(every)), 4)} | report


def _auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    return auc(np.concatenate([known, unknown]), np.arange(len(known) + len(unknown)) < len(known))


def _says_unknown(model: LoadedModel, pictures: Sequence[ImageSource]) -> float:
    said = [UNKNOWN in model.ask(QUESTION, [picture]).text for picture in pictures]
    return round(float(np.mean(said)), 4)
