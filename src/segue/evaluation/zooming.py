"""What another look brings to small things: `segue.inference.zoom` measured on annotated images.

python -m segue.evaluation.zooming ../shared/data/everyday/val.json --images ../shared/data/everyday

All things of a kind that together cover less than 1 % of their picture are drawn where the picture looks like
them (the heat of their own likeness, which says roughly where, and not how far they reach), then again in a
crop around that mask.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from segue import masks
from segue.data.formats.annotations import AnnotatedImage
from segue.data.formats.coco import read_coco
from segue.evaluation.matching import kind_of
from segue.images import load_image
from segue.inference.matching import draw_heat, see
from segue.inference.zoom import zoom
from segue.masks import Mask
from segue.models.match_heat import Likeness

if TYPE_CHECKING:
    from segue.inference.loaded_model import LoadedModel

MOST_AREA = 0.01
"""Larger things, as fractions of their picture, are not measured."""

LEAST_PIXELS = 40
"""Smaller ones have no outline to speak of."""


def small_things(images: Sequence[AnnotatedImage]) -> list[tuple[AnnotatedImage, str, Mask]]:
    """Each image with the kinds that cover little of it, and the mask of all things of the kind."""
    found = []
    for image in images:
        by_kind: dict[str, list[Mask]] = defaultdict(list)
        for region in image.regions:
            by_kind[kind_of(image, region)].append(region.mask)
        for kind, parts in sorted(by_kind.items()):
            union = masks.union(parts)
            if union.mean() < MOST_AREA and union.sum() >= LEAST_PIXELS:
                found.append((image, kind, union))
    return found


def measure(model: LoadedModel, things: Sequence[tuple[AnnotatedImage, str, Mask]]) -> dict[str, Any]:
    """Mean IoU without and with another look, and in how many cases it was taken."""
    before, after, looked = [], [], []
    for image, _, target in things:
        picture = load_image(image.path)
        seen = see(model, model.image_encoder, picture)
        mark = torch.from_numpy(target).to(seen.maps[0][0].device)
        mask, _ = draw_heat(model, seen, Likeness.of(seen.maps, mark).heat(seen.maps))
        again = zoom(model, model.image_encoder, picture, mask)
        before.append(masks.iou(mask, target))
        after.append(before[-1] if again is None else masks.iou(again[0], target))
        looked.append(again is not None)
    return {
        "things": len(things),
        "looked_again": round(float(np.mean(looked)), 4),
        "mean_iou": round(float(np.mean(before)), 4),
        "mean_iou_zoomed": round(float(np.mean(after)), 4),
        "better": round(float(np.mean(np.greater(after, before))), 4),
        "worse": round(float(np.mean(np.less(after, before))), 4),
    }


def main() -> None:
    """Print the figures of a model as JSON."""
    from segue.loading import load

    parser = argparse.ArgumentParser(description="Small things, drawn once and again in a crop.")
    parser.add_argument("annotations", type=Path, help="COCO or PACO-style instances file")
    parser.add_argument("--images", type=Path, help="folder that file names are relative to")
    parser.add_argument("--model", default="segue-mini", help="name or folder")
    parser.add_argument("--things", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    things = small_things(list(read_coco(options.annotations, options.images)))
    order = np.random.default_rng(options.seed).permutation(len(things))[: options.things]
    print(json.dumps(measure(load(options.model), [things[k] for k in order]), indent=1))


if __name__ == "__main__":
    main()
