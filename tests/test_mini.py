"""The embedded model, as a user meets it: photographs, masks in the right one, and no confident nonsense."""

from __future__ import annotations

from pathlib import Path

import pytest
import skimage.data
from PIL import Image

import segue
from segue.inference.loaded_model import LoadedModel
from segue.mini.evaluation.photo_pairs import draw_pairs, measure
from segue.mini.look.photographs import read_photographs
from segue.models.auto import WEIGHTS_FOLDER
from segue.models.mini.names import name_table

WEIGHTS = WEIGHTS_FOLDER / "segue-mini"


@pytest.fixture(scope="module")
def mini() -> LoadedModel:
    return segue.load("segue-mini")


@pytest.fixture(scope="module")
def cat() -> Image.Image:
    return Image.fromarray(skimage.data.chelsea())


@pytest.fixture(scope="module")
def coffee() -> Image.Image:
    return Image.fromarray(skimage.data.coffee())


def test_weights_are_small_and_complete(mini: LoadedModel) -> None:
    assert (WEIGHTS / "README.md").is_file(), "the model card belongs to the weights"
    assert sum(f.stat().st_size for f in WEIGHTS.rglob("*") if f.is_file()) <= 30 * 2**20
    assert sum(p.numel() for p in mini.model.parameters()) <= 16e6


def test_the_cat_is_found_where_it_is(mini: LoadedModel, cat: Image.Image, coffee: Image.Image) -> None:
    for order in ([cat, coffee], [coffee, cat]):
        answer = mini.session(order).ask("Where is the cat?")
        assert {(g.phrase, g.image_index) for g in answer.groundings} == {("cat", order.index(cat))}
        # Its face fills the middle of the picture; the background at the upper right is not it.
        mask = answer.groundings[0].mask
        assert mask.shape == (cat.height, cat.width)
        assert mask[100:200, 150:300].mean() > 0.9
        assert mask[:100, -60:].mean() < 0.1


def test_of_two_photographs_it_finds_the_cup(
    mini: LoadedModel, cat: Image.Image, coffee: Image.Image
) -> None:
    answer = mini.session([cat, coffee]).ask("Which image shows a cup?")
    assert {(g.phrase, g.image_index) for g in answer.groundings} == {("cup", 1)}


def test_what_is_not_there_is_refused(mini: LoadedModel, cat: Image.Image, coffee: Image.Image) -> None:
    for question in ("Is there a dog?", "Where is the bus?"):
        answer = mini.session([cat, coffee]).ask(question)
        assert not answer.groundings
        assert "no " in answer.text


def test_other_questions_are_not_answered_with_masks(
    mini: LoadedModel, cat: Image.Image, coffee: Image.Image
) -> None:
    answer = mini.session([cat, coffee]).ask("What is the weather in Paris?")
    assert answer.text.startswith("I can only answer about what I see in these images")
    assert not answer.groundings


def test_of_pairs_of_photographs_most_are_right(mini: LoadedModel, shared: Path) -> None:
    """Photographs that no training used. The whole measurement, 100 pairs of each, is in the model card."""
    table = name_table()
    photographs = read_photographs(shared / "data", "everyday", "val", table)
    shown = measure(mini, draw_pairs(photographs, table, 16, absent=False, seed=3))
    absent = measure(mini, draw_pairs(photographs, table, 8, absent=True, seed=3))
    assert shown["right_image"] >= 0.5
    assert shown["mean_iou"] >= 0.3
    assert absent["refused"] >= 0.5


def test_answers_are_read_from_the_pictures(mini: LoadedModel) -> None:
    """The control: with grey pictures nothing is found, so nothing is claimed and nothing marked."""
    grey = Image.new("RGB", (300, 200), (127, 127, 127))
    answer = mini.session([grey, grey]).ask("Where is the cat?")
    assert not any(grounding.mask.any() for grounding in answer.groundings)
    assert answer.text.startswith(("There is no", "There may be", "I do not know"))
