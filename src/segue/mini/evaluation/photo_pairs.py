"""Pairs of photographs of which one shows a thing: right image, mask, refusal, one of several; free answers.

python -m segue.mini.evaluation.photo_pairs runs/mini/whole --data ../shared/data --pairs 200
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segue.data.language import english
from segue.inference.answer import SessionAnswer
from segue.inference.loaded_model import LoadedModel
from segue.loading import load
from segue.masks import decode, iou, resize_mask, union
from segue.mini.look.photographs import Photograph, known_names, read_photographs
from segue.mini.talk.kinds import known_kinds
from segue.models.mini.names import NameTable, name_table

LEAST_AREA = 0.02
"""Smaller things, as fractions of the picture, are not asked for."""

Mask = NDArray[np.bool_]
WORDINGS = ("Where is the {x}?", "Which image shows {a_x}?")


@dataclass(frozen=True)
class Pair:
    """Two photographs and a name that one of them shows, or neither.

    Attributes:
        place: 0-based place of the one that shows it; None where neither does.
        mask: of all things of the name in it.
    """

    photographs: tuple[Photograph, Photograph]
    name: str
    place: int | None
    mask: Mask | None


def mask_of(photograph: Photograph, name: str) -> Mask | None:
    """All things of a name together; None where they are too small."""
    masks = [decode(region.rle) for region in photograph.regions if region.name == name]
    union = np.logical_or.reduce(masks) if masks else np.zeros(photograph.hw, bool)
    return union if union.mean() >= LEAST_AREA else None


def draw_pairs(
    photographs: Sequence[Photograph],
    table: NameTable,
    count: int,
    *,
    absent: bool,
    seed: int = 0,
    as_shown: bool = False,
    among: Collection[str] | None = None,
) -> list[Pair]:
    """Pairs over all names that the photographs show.

    Args:
        count: how many.
        absent: neither photograph shows the name; else exactly one does.
        as_shown: each name as often as the photographs show it, in place of all names equally often.
        among: the names that are asked for; all that the photographs show by default.
    """
    rng = np.random.default_rng([seed, int(absent)])
    having: dict[str, list[Photograph]] = defaultdict(list)
    for photograph in photographs:
        for name in sorted(photograph.shown() if among is None else photograph.shown() & set(among)):
            having[name].append(photograph)
    known = {id(p): known_names(p, table) for p in photographs}
    names, pairs = sorted(having), list[Pair]()
    if as_shown:
        names = [name for name in names for _ in having[name]]
    while len(pairs) < count:
        name = names[int(rng.integers(len(names)))]
        lacking = [p for p in photographs if name in known[id(p)] and name not in p.shown()]
        one = having[name][int(rng.integers(len(having[name])))]
        if len(lacking) < 2:
            continue
        first, second = (lacking[k] for k in rng.choice(len(lacking), 2, replace=False))
        if absent:
            pairs.append(Pair((first, second), name, None, None))
            continue
        mask, place = mask_of(one, name), int(rng.integers(2))
        if mask is not None:
            pairs.append(Pair((one, first) if place == 0 else (first, one), name, place, mask))
    return pairs


def question(wording: str, name: str) -> str:
    """A wording with `{x}` and `{a_x}` filled in: "Where is the dog's head?"."""
    phrase = known_kinds().thing(name).phrase()
    return wording.format(x=phrase, a_x=f"{english.article(phrase)} {phrase}")


def drawn_in(answer: SessionAnswer, place: int, hw: tuple[int, int]) -> Mask:
    """All masks of an answer in one image, together; stretched where that image has another size."""
    masks = [g.mask for g in answer.groundings if g.image_index == place]
    return resize_mask(union(masks), hw) if masks else np.zeros(hw, bool)


def measure(
    model: LoadedModel, pairs: Sequence[Pair], wordings: Sequence[str] = WORDINGS
) -> dict[str, float]:
    """Right image, IoU (0 where nothing is marked) and share of answers that mark nothing; by name too."""
    right: dict[str, list[float]] = defaultdict(list)
    ious: dict[str, list[float]] = defaultdict(list)
    silent = []
    for number, pair in enumerate(pairs):
        said = question(wordings[number % len(wordings)], pair.name)
        answer = model.session([p.path for p in pair.photographs]).ask(said)
        marked = {g.image_index for g in answer.groundings}
        silent.append(float(not marked))
        if pair.place is None or pair.mask is None:
            continue
        right[pair.name].append(float(marked == {pair.place}))
        drawn = drawn_in(answer, pair.place, pair.mask.shape)
        ious[pair.name].append(float(iou(drawn, pair.mask)))
    every = {"right_image": _joined(right), "mean_iou": _joined(ious)}
    every["mean_iou_right_image"] = [
        v for v, hit in zip(every["mean_iou"], every["right_image"], strict=True) if hit
    ]
    figures = {name: round(float(np.mean(found)), 4) for name, found in every.items() if found}
    figures |= {f"right_image {name}": round(float(np.mean(v)), 4) for name, v in sorted(right.items())}
    return {"pairs": float(len(pairs)), "refused": round(float(np.mean(silent)), 4)} | figures


def _joined(by_name: dict[str, list[float]]) -> list[float]:
    return [value for values in by_name.values() for value in values]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures of a model."""
    parser = argparse.ArgumentParser(description="Ask a model about pairs of photographs.")
    parser.add_argument("model", help="name or folder")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds everyday/")
    parser.add_argument("--source", choices=("everyday", "clothing", "objects"), default="everyday")
    parser.add_argument("--split", default="val")
    parser.add_argument("--pairs", type=int, default=100, help="how many of each sort")
    parser.add_argument("--as-shown", action="store_true", help="names as often as they are shown")
    options = parser.parse_args(arguments)
    table, model = name_table(), load(options.model)
    photographs = read_photographs(options.data, options.source, options.split, table)
    for absent in (False, True):
        pairs = draw_pairs(photographs, table, options.pairs, absent=absent, as_shown=options.as_shown)
        figures = measure(model, pairs)
        print("absent" if absent else "present", json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
