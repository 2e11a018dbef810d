"""Examples that need no files: photographs that come with scikit-image, and scenes that are drawn here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np
from PIL import Image

from segue.apps.demo.pictures import Picture, picture_of
from segue.scenes.render import SPLITS, render_set

_SCENES = (2026, SPLITS.index("train"), 4)
"""Seed, split and number of a set; see `segue.scenes.build`."""


@dataclass(frozen=True)
class Example:
    """Pictures with a first question.

    Attributes:
        label: On its button.
        known: Whether a model of a name knows such pictures.
        load: Its pictures.
        question: To begin with.
    """

    label: str
    known: Callable[[str], bool]
    load: Callable[[], list[Picture]]
    question: str

    def model_of(self, names: Sequence[str], current: str) -> str | None:
        """Which of the models to ask: the one that is chosen, where it knows such pictures; None for none."""
        fitting = [name for name in names if self.known(name)]
        return current if current in fitting else next(iter(fitting), None)


def examples_for(names: Sequence[str]) -> list[Example]:
    """Examples that one of the models can answer, and whose pictures are there."""
    return [e for e in _EXAMPLES if e.model_of(names, "") and (e.load is not _photographs or _has_skimage())]


def _has_skimage() -> bool:
    return find_spec("skimage") is not None


@cache
def _arrays() -> tuple[np.ndarray, ...]:
    import skimage.data  # CC0, and in the package: nothing is downloaded

    return skimage.data.chelsea(), skimage.data.coffee()


def _photographs() -> list[Picture]:
    names = "chelsea.png", "coffee.png"
    return [picture_of(Image.fromarray(a), name) for a, name in zip(_arrays(), names, strict=True)]


def _scenes() -> list[Picture]:
    drawn = render_set(np.random.default_rng((*_SCENES, 0)), size=448)
    return [picture_of(Image.fromarray(s.image), f"scene_{k}.png") for k, s in enumerate(drawn, 1)]


def _knows_scenes(model: str) -> bool:
    return model == "segue-scenes"


def _knows_photographs(model: str) -> bool:
    # Every model but the one that was taught drawn scenes and nothing else.
    return not _knows_scenes(model)


_EXAMPLES = (
    Example("Two photographs: where is the cat?", _knows_photographs, _photographs, "Where is the cat?"),
    Example("Two photographs: what do you see?", _knows_photographs, _photographs, "What do you see?"),
    Example("Two drawn scenes: compare the guitars", _knows_scenes, _scenes, "Compare the guitars."),
)
