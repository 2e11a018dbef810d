"""How well a marked thing is found in other photographs: `segue match` measured on annotated images.

python -m segue.evaluation.matching ../shared/data/everyday/val.json --images ../shared/data/everyday

Triples: A, in which a thing is marked; B, which shows a thing of the same kind; C, which shows none. No word
is given. Asked are: does B score higher than C (right one of two), is the mask in B right (IoU, 0 where the
thing is not found), is nothing marked in C (false masks), and does the answer follow the mark (the control:
another thing of A is marked).
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.formats.coco import read_coco
from segue.errors import InputError
from segue.inference.regions import Region
from segue.masks import Mask
from segue.scenes.source import SceneFolder

if TYPE_CHECKING:
    from segue.inference.answer import SessionAnswer
    from segue.inference.loaded_model import LoadedModel

LEAST_AREA = 0.02
"""Smaller things, as fractions of their picture, are neither marked nor asked for."""

SAME = 0.5
"""Masks of B from two marks that overlap more than this are the same answer."""


@dataclass(frozen=True)
class Triple:
    """What is marked, and where it is and is not.

    Attributes:
        kind: "cat", or "cat:head" for a part.
        home: A.
        mark: The largest thing of the kind in A.
        other: Another thing of A, of a kind that is neither the marked one nor part or whole of it.
        having: B.
        target: All things of the kind in B.
        lacking: C.
    """

    kind: str
    home: AnnotatedImage
    mark: Mask
    other: Mask | None
    having: AnnotatedImage
    target: Mask
    lacking: AnnotatedImage


def kind_of(image: AnnotatedImage, region: AnnotatedRegion) -> str:
    """`cat` for an object, `cat:head` for a part."""
    if region.parent is None:
        return region.name
    whole = next(r.name for r in image.regions if r.rid == region.parent)
    return f"{whole}:{region.name}"


def draw_triples(images: Sequence[AnnotatedImage], count: int, *, seed: int = 0) -> list[Triple]:
    """Triples over all kinds that at least two images show and one certainly does not.

    Each image is A once for each kind that is large enough in it; of these `count` are drawn, B and C at
    random. A part is absent where its whole is: parts are not annotated everywhere.

    Raises:
        InputError: No triple can be made.
    """
    rng = np.random.default_rng(seed)
    large: dict[str, list[AnnotatedImage]] = defaultdict(list)
    unions: dict[tuple[str, str], Mask] = {}
    shown: dict[str, set[str]] = {}
    for image in images:
        by_kind: dict[str, list[AnnotatedRegion]] = defaultdict(list)
        for region in image.regions:
            by_kind[kind_of(image, region)].append(region)
        shown[image.image_id] = set(by_kind)
        for kind, regions in by_kind.items():
            union = masks.union([region.mask for region in regions])
            if union.mean() >= LEAST_AREA:
                large[kind].append(image)
                unions[image.image_id, kind] = union
    triples = []
    for kind in sorted(large):
        lacking = [image for image in images if _lacks(image, kind, shown[image.image_id])]
        for home in large[kind]:
            having = [image for image in large[kind] if image is not home]
            mark = _largest(home, kind)
            if having and lacking and mark.mean() >= LEAST_AREA:
                b = having[int(rng.integers(len(having)))]
                c = lacking[int(rng.integers(len(lacking)))]
                other = _other(home, kind)
                triples.append(Triple(kind, home, mark, other, b, unions[b.image_id, kind], c))
    if not triples:
        raise InputError(
            "No triples can be made of these annotations.",
            expected="a kind that two images show, large enough, and a third does not",
            found=f"{len(images)} images, {len(large)} kinds",
            where="draw_triples",
            fix="give more annotated images",
        )
    order = rng.permutation(len(triples))[:count]
    return [triples[k] for k in order]


def _lacks(image: AnnotatedImage, kind: str, shown: set[str]) -> bool:
    whole = kind.partition(":")[0]
    if whole in shown or whole in image.unsure or kind in image.unsure:
        return False
    return image.absent is None or whole in image.absent


def _largest(image: AnnotatedImage, kind: str) -> Mask:
    own = [region for region in image.regions if kind_of(image, region) == kind]
    return max(own, key=lambda region: region.area).mask


def _other(image: AnnotatedImage, kind: str) -> Mask | None:
    """The largest thing of A that another mark could mean."""
    whole = kind.partition(":")[0]
    others = [r for r in image.regions if kind_of(image, r).partition(":")[0] != whole]
    least = LEAST_AREA * image.height * image.width
    largest = max(others, key=lambda region: region.area, default=None)
    return largest.mask if largest is not None and largest.area >= least else None


@dataclass(frozen=True)
class Outcome:
    """What was answered to one triple.

    Attributes:
        kind: Of the thing.
        higher: Whether B scored higher than C.
        found, false: Whether the thing was found in B, in C.
        drawn: IoU of the best mask in B with the target, found or not.
        iou: The same, 0 where the thing was not found.
        moved: With another thing of A marked: whether the answer about B changed, and the IoU of its mask
            with the first target (0 without a mask); None where A shows nothing else, and where neither mark
            finds anything in B.
    """

    kind: str
    higher: bool
    found: bool
    false: bool
    drawn: float
    iou: float
    moved: tuple[bool, float] | None


def ask_by_match(model: LoadedModel, triple: Triple) -> Outcome:
    """The outcome of a triple by `LoadedModel.match`."""
    images = [image.path for image in (triple.home, triple.having, triple.lacking)]
    answer = model.match(images, Region(image_index=0, mask=triple.mark))
    b, c = answer.matches
    drawn = masks.iou(b.mask, triple.target)
    moved = None
    if triple.other is not None:
        (again,) = model.match(images[:2], Region(image_index=0, mask=triple.other)).matches
        same = again.is_there and b.is_there and masks.iou(again.mask, b.mask) > SAME
        if again.is_there or b.is_there:
            moved = (not same, masks.iou(again.mask, triple.target) if again.is_there else 0.0)
    return Outcome(
        triple.kind, b.score > c.score, b.is_there, c.is_there, drawn, drawn if b.is_there else 0.0, moved
    )


def ask_in_words(
    model: LoadedModel, triple: Triple, question: str = "Find [this] in the other images."
) -> Outcome:
    """The outcome of a triple by a session's `ask` with a region, for weights that take regions."""
    images = [image.path for image in (triple.home, triple.having, triple.lacking)]

    def asked(mark: Mask, shown: list[Path]) -> tuple[Mask, bool]:
        regions = [Region(image_index=0, mask=mark)]
        answer: SessionAnswer = model.session(shown).ask(question, regions=regions)
        found = [g.mask for g in answer.groundings if g.image_index == 1]
        union = masks.union(found) if found else np.zeros_like(triple.target)
        return union, any(g.image_index == 2 for g in answer.groundings)

    mask, false = asked(triple.mark, images)
    found, iou = bool(mask.any()), float(masks.iou(mask, triple.target))
    moved = None
    if triple.other is not None:
        again, _ = asked(triple.other, images)
        # Two empty masks overlap entirely, one empty mask not at all.
        if found or again.any():
            moved = (masks.iou(again, mask) <= SAME, float(masks.iou(again, triple.target)))
    return Outcome(triple.kind, found and not false, found, false, iou, iou, moved)


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Means over triples, and over their objects and parts apart.

    Returns:
        `right_one_of_two`, `found`, `false_masks`, `mean_iou`, `iou_drawn` (whether found or not),
        `iou_at_least_half`, and of the control `moved`, `moved_changed`, `asked_iou` and `moved_iou` (of the
        same triples: the first mark's and the other's mask, held against the first's target).
    """
    moved = [o for o in outcomes if o.moved is not None]
    groups = {"objects": [o for o in outcomes if ":" not in o.kind],
              "parts": [o for o in outcomes if ":" in o.kind]}  # fmt: skip
    found: dict[str, Any] = {
        "triples": len(outcomes),
        "kinds": len({o.kind for o in outcomes}),
        "right_one_of_two": _mean([o.higher for o in outcomes]),
        "found": _mean([o.found for o in outcomes]),
        "false_masks": _mean([o.false for o in outcomes]),
        "mean_iou": _mean([o.iou for o in outcomes]),
        "iou_drawn": _mean([o.drawn for o in outcomes]),
        "iou_at_least_half": _mean([o.iou >= 0.5 for o in outcomes]),
        "moved": len(moved),
        "moved_changed": _mean([o.moved[0] for o in moved if o.moved]),
        "asked_iou": _mean([o.iou for o in moved]),
        "moved_iou": _mean([o.moved[1] for o in moved if o.moved]),
    }
    for name, group in groups.items():
        if group:
            found[name] = {"triples": len(group), "mean_iou": _mean([o.iou for o in group]),
                           "right_one_of_two": _mean([o.higher for o in group])}  # fmt: skip
    return found


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 4) if len(values) else None


def measure(
    model: LoadedModel,
    triples: Sequence[Triple],
    ask: Callable[[LoadedModel, Triple], Outcome] = ask_by_match,
) -> dict[str, Any]:
    """Figures of a model on triples."""
    return figures([ask(model, triple) for triple in triples])


def main() -> None:
    """Print the figures of a model as JSON."""
    from segue.loading import load

    parser = argparse.ArgumentParser(description="Mark a thing in one photograph, find it in others.")
    parser.add_argument(
        "annotations", type=Path, help="COCO or PACO-style instances file, or a folder of `segue data scenes`"
    )
    parser.add_argument("--images", type=Path, help="folder that file names are relative to")
    parser.add_argument("--model", default="segue-mini", help="name or folder")
    parser.add_argument("--triples", type=int, default=300)
    parser.add_argument("--split", default="val", help="of a folder of scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ask", action="store_true", help="in words, for weights that take regions")
    options = parser.parse_args()
    if options.annotations.is_dir():
        images = list(SceneFolder(options.annotations, options.split, attributes=True))
    else:
        images = list(read_coco(options.annotations, options.images))
    triples = draw_triples(images, options.triples, seed=options.seed)
    ways = {True: ask_in_words, False: ask_by_match}
    print(json.dumps(measure(load(options.model), triples, ways[options.ask]), indent=1))


if __name__ == "__main__":
    main()
