"""The embedded model, as a user meets it: it looks at the pictures and remembers the talk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segue
from segue.mini.evaluation.which_photo import LABELS, which_photo
from segue.mini.photos.facts import load_photo_facts
from segue.models.auto import WEIGHTS_FOLDER
from segue.scenes.kinds import Scene
from segue.scenes.render import render_scene

WEIGHTS = WEIGHTS_FOLDER / "segue-scenes"


@pytest.fixture(scope="module")
def mini() -> segue.inference.LoadedModel:
    return segue.load("segue-scenes")


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Twelve scenes of a seed that no training used."""
    return [render_scene(np.random.default_rng([77, i]), split="test") for i in range(12)]


def test_weights_are_small_and_complete() -> None:
    assert (WEIGHTS / "README.md").is_file(), "the model card belongs to the weights"
    assert sum(f.stat().st_size for f in WEIGHTS.rglob("*") if f.is_file()) <= 32 * 2**20
    bundle = segue.load("segue-scenes")
    assert sum(p.numel() for p in bundle.model.parameters()) <= 16e6


def found(answer: object) -> set[tuple[int, str]]:
    return {(g.image_index, g.phrase) for g in answer.groundings}  # type: ignore[attr-defined]


def contents(scenes: Sequence[Scene]) -> set[tuple[int, str]]:
    return {(k, thing.phrase) for k, scene in enumerate(scenes) for thing in scene.objects}


def test_the_answer_is_read_from_the_picture(mini: object, scenes: list[Scene]) -> None:
    """Most things named are in the picture shown, and few of them in another one."""
    own = others = named = 0
    for scene, other in zip(scenes, [*scenes[1:], scenes[0]], strict=True):
        answer = mini.session([Image.fromarray(scene.image)]).ask("What is in image 1?")  # type: ignore[attr-defined]
        named += len(found(answer))
        own += len(found(answer) & contents([scene]))
        others += len(found(answer) & contents([other]))
    assert named >= 10
    assert own >= 0.6 * named
    assert others <= 0.3 * named


def test_the_answer_follows_the_order_of_the_pictures(mini: object, scenes: list[Scene]) -> None:
    """Of the same two pictures, "image 1" is the one that is shown first, whichever that is."""
    named = own = swapped = 0
    for first, second in zip(scenes[::2], scenes[1::2], strict=True):
        for pair in ([first, second], [second, first]):
            answer = mini.session([Image.fromarray(s.image) for s in pair]).ask("What is in image 1?")  # type: ignore[attr-defined]
            named += len(found(answer))
            own += len(found(answer) & contents(pair))
            swapped += len(found(answer) & contents(pair[::-1]))
    assert named >= 20
    assert own >= 0.6 * named
    assert swapped <= 0.25 * named


def test_masks_lie_on_what_is_named(mini: object, scenes: list[Scene]) -> None:
    """Masks of rightly named things cover them."""
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
    assert float(np.mean(ious)) >= 0.7


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


def test_of_two_photographs_it_finds_the_one_that_shows_it(mini: object, shared: Path) -> None:
    """Photographs that no training used; chance is a half. The whole measurement is in the model card."""
    folder = shared / "data" / "clothing"
    scores = which_photo(mini, load_photo_facts(folder / "val.json", folder), count=6)  # type: ignore[arg-type]
    assert np.mean([scores[label] for label in LABELS]) >= 0.7
