"""Masks as PNG files: one for each, or one with indices for each image.

Legend: H W the image's original size.
"""

from __future__ import annotations

import colorsys
import json
from pathlib import Path

import numpy as np
from PIL import Image

from segue.errors import InputError
from segue.exports.content import PicturedMasks, slug
from segue.files import atomic_path, write_atomic

MOST_INDICES = 255
"""Masks of one image that eight bits can tell apart; 0 is the background."""

LIST = "masks.json"
"""Beside the pictures: which phrase and score belongs to which file or index."""


def palette() -> list[int]:
    """256 colours, black first, hues a golden angle apart so that neighbours in number differ to the eye."""
    colours = [0, 0, 0]
    for number in range(MOST_INDICES):
        r, g, b = colorsys.hsv_to_rgb((number * 0.618034) % 1, 0.65 + 0.35 * (number % 2), 0.95)
        colours += [round(255 * r), round(255 * g), round(255 * b)]
    return colours


def write_pngs(images: list[PicturedMasks], folder: Path) -> tuple[list[Path], list[str]]:
    """A PNG `[H, W]` for each mask, 255 inside, and `masks.json`, which names them.

    Returns:
        The files, and what the format could not hold.
    """
    written, listed = list[Path](), list[dict[str, object]]()
    for k, image in enumerate(images, start=1):
        for n, placed in enumerate(image.masks, start=1):
            path = folder / f"image_{k}_mask_{n:02d}_{slug(placed.phrase)}.png"
            with atomic_path(path) as unfinished:
                Image.fromarray(placed.mask.astype(np.uint8) * 255).save(unfinished)
            written.append(path)
            listed.append({"file": path.name, "image": k, "phrase": placed.phrase, "score": placed.score})
    written.append(_write_list(images, listed, folder))
    return written, ["the text of the answer"]


def write_index_pngs(images: list[PicturedMasks], folder: Path) -> tuple[list[Path], list[str]]:
    """A PNG `[H, W]` with a palette for each image, pixels the number of their mask, and `masks.json`.

    Smaller masks lie above larger ones, so that a part stays visible on its object.

    Raises:
        InputError: more masks in an image than eight bits tell apart.
    """
    written, listed, covered = list[Path](), list[dict[str, object]](), 0
    for k, image in enumerate(images, start=1):
        if len(image.masks) > MOST_INDICES:
            raise InputError(
                "An index picture cannot tell so many masks apart.",
                expected=f"at most {MOST_INDICES} masks in an image",
                found=str(len(image.masks)),
                where=f"image {k}",
                fix="export with --format png, a file for each mask",
            )
        indices = np.zeros(image.hw, np.uint8)
        decoded = [placed.mask for placed in image.masks]
        for n in sorted(range(len(decoded)), key=lambda n: -int(decoded[n].sum())):
            covered += int(np.count_nonzero(indices[decoded[n]]))
            indices[decoded[n]] = n + 1
        picture = Image.fromarray(indices, "P")
        picture.putpalette(palette())
        path = folder / f"image_{k}_index.png"
        with atomic_path(path) as unfinished:
            picture.save(unfinished)
        written.append(path)
        listed += [
            {"file": path.name, "index": n, "image": k, "phrase": placed.phrase, "score": placed.score}
            for n, placed in enumerate(image.masks, start=1)
        ]
    written.append(_write_list(images, listed, folder))
    lost = ["the text of the answer"]
    if covered:
        lost.append(f"{covered} pixels of larger masks under smaller ones")
    return written, lost


def _write_list(images: list[PicturedMasks], listed: list[dict[str, object]], folder: Path) -> Path:
    content = {
        "images": [{"path": i.path, "height": i.hw[0], "width": i.hw[1]} for i in images],
        "masks": listed,
    }
    return write_atomic(folder / LIST, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
