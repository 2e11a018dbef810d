"""The embedded model, as a user meets it: it looks at the pictures and remembers the talk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segue
from segue.data.scenes.kinds import Scene
from segue.data.scenes.render import render_scene
from segue.models.auto import WEIGHTS_FOLDER

WEIGHTS = WEIGHTS_FOLDER / "segue-mini"


@pytest.fixture(scope="module")
def mini() -> segue.inference.session.LoadedModel:
    return segue.load("segue-mini")


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Twelve scenes of a seed that no training used."""
    return [render_scene(np.random.default_rng([77, i]), split="test") for i in range(12)]


def test_weights_are_small_and_complete() -> None:
    assert (WEIGHTS / "README.md").is_file(), "the model card belongs to the weights"
    assert sum(f.stat().st_size for f in WEIGHTS.rglob("*") if f.is_file()) <= 32 * 2**20
    bundle = segue.load("segue-mini")
    assert sum(p.numel() for p in bundle.model.parameters()) <= 16e6


def found(answer: object) -> set[tuple[int, str]]:
    return {(g.image_index, g.phrase) for g in answer.groundings}  # type: ignore[attr-defined]


def contents(scenes: Sequence[Scene]) -> set[tuple[int, str]]:
    return {(k, thing.phrase) for k, scene in enumerate(scenes) for thing in scene.objects}


def test_the_answer_follows_the_images(mini: object, scenes: list[Scene]) -> None:
    """Shown in the other order, the same pictures give the same phrases with other image numbers."""
    question = "What is the largest thing in each image?"
    right = swapped = total = 0
    for one, two in zip(scenes[::2], scenes[1::2], strict=True):
        pictures = [Image.fromarray(s.image) for s in (one, two)]
        there = found(mini.session(pictures).ask(question))  # type: ignore[attr-defined]
        back = found(mini.session(pictures[::-1]).ask(question))  # type: ignore[attr-defined]
        right += len(there & contents([one, two]))
        swapped += len(back & contents([two, one]))
        total += 2
    assert right >= 0.5 * total
    assert swapped >= 0.5 * total


def test_masks_lie_on_what_is_named(mini: object, scenes: list[Scene]) -> None:
    """Masks of rightly named things cover them: mean IoU of at least a half."""
    ious = []
    for scene in scenes:
        answer = mini.session([Image.fromarray(scene.image)]).ask("What is in image 1?")  # type: ignore[attr-defined]
        for g in answer.groundings:
            for k, thing in enumerate(scene.objects):
                if g.phrase == thing.phrase:
                    truth = scene.mask(k)
                    ious.append((g.mask & truth).sum() / max(1, (g.mask | truth).sum()))
                    assert g.mask.shape == truth.shape
    assert len(ious) >= 10
    assert float(np.mean(ious)) >= 0.5


def test_a_second_turn_keeps_the_first_in_mind(mini: object, scenes: list[Scene]) -> None:
    session = mini.session([Image.fromarray(s.image) for s in scenes[:2]])  # type: ignore[attr-defined]
    session.ask("What is the leftmost thing in image 1?")
    second = session.ask("And in image 2?")
    assert len(session.history) == 2
    assert all(g.image_index == 1 for g in second.groundings)


def test_demo_pictures_get_a_grounded_answer(mini: object) -> None:
    pictures = sorted((Path(__file__).parents[1] / "examples" / "images").glob("*.png"))
    assert len(pictures) in (2, 3)
    answer = mini.session(pictures).ask("What is the largest thing in each image?")  # type: ignore[attr-defined]
    assert answer.groundings
    assert all(g.mask.any() for g in answer.groundings)
