"""Does a mask hold what was asked for, or what else is there: neighbours, and one of two things of a name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segue.inference.loaded_model import LoadedModel
from segue.masks import decode, iou
from segue.masks import union as united
from segue.mini.evaluation.photo_pairs import LEAST_AREA, Mask, drawn_in, mask_of, question
from segue.mini.look.photographs import Photograph
from segue.models.mini.heat import is_part
from segue.models.mini.names import NameTable

WHERE = "Where is the {x}?"
SIDES = ("left", "right")

FARTHEST = 0.1
"""Two things of a name stand at least this fraction of the picture's width apart to be told by their side."""


@dataclass(frozen=True)
class Choice:
    """A question about one photograph with several things.

    Attributes:
        question: in words.
        wanted: mask of what is asked for.
        others: masks of what might be taken for it, without any pixel of it.
    """

    photograph: Photograph
    question: str
    wanted: Mask
    others: tuple[Mask, ...]


def neighbours(
    photographs: Sequence[Photograph], table: NameTable, count: int, *, seed: int = 0
) -> list[Choice]:
    """Questions about photographs of two or more things, or parts, of different names.

    Args:
        count: how many at most, drawn from all that there are.
    """
    choices = []
    for photograph in photographs:
        masks = {n: m for n in sorted(photograph.shown()) if (m := mask_of(photograph, n)) is not None}
        for name, wanted in masks.items():
            part = is_part(table.names[name])
            rest = [m for n, m in masks.items() if n != name and is_part(table.names[n]) == part]
            if rest:
                apart = tuple(m & ~wanted for m in rest)
                choices.append(Choice(photograph, question(WHERE, name), wanted, apart))
    return _some(choices, count, seed)


def one_of_two(photographs: Sequence[Photograph], count: int, *, seed: int = 0) -> list[Choice]:
    """Questions for the left or the right one where a photograph shows two things of a name, or more."""
    choices = []
    for photograph in photographs:
        by_name: dict[str, list[Mask]] = defaultdict(list)
        for region in photograph.regions:
            by_name[region.name].append(decode(region.rle))
        several = {r.name for r in photograph.regions if not r.single}
        for name, masks in sorted(by_name.items()):
            if len(masks) < 2 or name in several or min(float(m.mean()) for m in masks) < LEAST_AREA:
                continue
            masks.sort(key=_middle)
            for side, wanted, rest in zip(SIDES, (masks[0], masks[-1]), (masks[1:], masks[:-1]), strict=True):
                nearest = min(abs(_middle(wanted) - _middle(m)) for m in rest)
                if nearest >= FARTHEST * photograph.hw[1]:
                    asked = question(f"Where is the {side} {{x}}?", name)
                    choices.append(Choice(photograph, asked, wanted, tuple(m & ~wanted for m in rest)))
    return _some(choices, count, seed)


def _middle(mask: Mask) -> float:
    """Mean column of a mask."""
    return float(np.nonzero(mask)[1].mean())


def _some(choices: Sequence[Choice], count: int, seed: int) -> list[Choice]:
    order = np.random.default_rng([seed, 3]).permutation(len(choices))[:count]
    return [choices[k] for k in order.tolist()]


def measure_choices(model: LoadedModel, choices: Sequence[Choice]) -> dict[str, float]:
    """Mean IoU with what was asked for, with the best of the others, and with all of them together.

    `ratio` is the first by the second. What is not marked counts 0 in all.
    """
    rows = []
    for choice in choices:
        answer = model.session([choice.photograph.path]).ask(choice.question)
        drawn = drawn_in(answer, 0, choice.wanted.shape)
        everything = united([choice.wanted, *choice.others])
        rows.append(
            (iou(drawn, choice.wanted), max(iou(drawn, m) for m in choice.others), iou(drawn, everything))
        )
    asked, other, all_of_them = np.mean(rows, axis=0).tolist() if rows else (float("nan"),) * 3
    return {
        "questions": float(len(rows)),
        "asked": round(asked, 4),
        "other": round(other, 4),
        "everything": round(all_of_them, 4),
        "ratio": round(asked / max(other, 1e-6), 2),
    }
