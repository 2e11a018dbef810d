"""Masks by name: which outlines of a LabelMe file belong to a dialogue's focus.

PRIST names its target in words ("sign on the door") and keeps masks in a LabelMe file per image, whose labels
are meant to be those words. The released code takes every label that *contains* the focus, so "logo" also
collects "logo on the shirt", and a focus without any label silently gets an empty mask. Here a label has to
be the focus, but for case and blanks; the released rule remains as an option, and what it collects beyond
that is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segue import masks
from segue.data.formats.shapes import UnusableShape, shape_mask
from segue.data.formats.text_file import load_json
from segue.errors import InputError
from segue.masks import RLE

Matching = Literal["exact", "substring"]


@dataclass(frozen=True)
class FoundMask:
    """Mask that the labels of an image gave for a focus.

    Attributes:
        rle: The union of all outlines that match; None when there is none.
        hw: `(height, width)` of the image; None when the file does not tell.
        problem: Why there is no mask, in fixed words fit for counting; empty when there is one.
        collisions: Labels that contain the focus but are not it. With "exact" they were left out, with
            "substring" they are part of the mask.
        unusable: Outlines of matching labels that could not be drawn.
    """

    rle: RLE | None
    hw: tuple[int, int] | None
    problem: str = ""
    collisions: tuple[str, ...] = ()
    unusable: int = 0


def folded(text: str) -> str:
    """A name for comparing: without case, and with single blanks."""
    return " ".join(text.casefold().split())


def label_file(folder: Path, image_name: str) -> Path | None:
    """`a.json` or `a.jpg.json` of an image `a.jpg`, in the folder."""
    name = Path(image_name).name
    candidates = (folder / f"{Path(name).stem}.json", folder / f"{name}.json")
    return next((file for file in candidates if file.is_file()), None)


def mask_of_focus(file: Path, focus: str, matching: Matching = "exact") -> FoundMask:
    """Draw the mask of a focus.

    Args:
        file: LabelMe JSON.
        focus: What the dialogue is about.
        matching: "exact", or the released "substring" (the label contains the focus).

    Source: PRIST's released code for "substring"; "exact" is ours.
    """
    try:
        data = load_json(file)
    except InputError:
        return FoundMask(None, None, "label file is not JSON")
    hw = _size(data)
    if hw is None:
        return FoundMask(None, None, "label file without image size or shapes")
    wanted = folded(focus)
    shapes = [s for s in data["shapes"] if isinstance(s, dict) and isinstance(s.get("label"), str)]
    # The focus "Square clock" is part of the label "Square clock with transparent casing": by substring, as
    # PRIST's evaluation does, the mask of the first would cover the second as well.
    same = [s for s in shapes if folded(s["label"]) == wanted]
    wider = [s for s in shapes if folded(s["label"]) != wanted and wanted in folded(s["label"])]
    collisions = tuple(sorted({s["label"] for s in wider}))
    chosen = same + (wider if matching == "substring" else [])
    if not chosen:
        problem = "only labels that contain the focus" if wider else "no label with the focus"
        return FoundMask(None, hw, problem, collisions)
    whole, unusable = np.zeros(hw, dtype=np.bool_), 0
    for shape in chosen:
        try:
            whole |= shape_mask(shape, hw)
        except UnusableShape:
            unusable += 1
    if not whole.any():
        return FoundMask(None, hw, "no usable outline", collisions, unusable)
    return FoundMask(masks.encode(whole), hw, "", collisions, unusable)


def _size(data: Any) -> tuple[int, int] | None:
    """`(height, width)` of a LabelMe file; None when it is none."""
    if not isinstance(data, dict) or not isinstance(data.get("shapes"), list):
        return None
    height, width = data.get("imageHeight"), data.get("imageWidth")
    if type(height) is not int or type(width) is not int or not 0 < height * width <= masks.MAX_PIXELS:
        return None
    return (height, width) if height > 0 else None
