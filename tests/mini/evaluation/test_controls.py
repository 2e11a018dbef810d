"""Controls take away what they say, and give it back."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import skimage.data
import torch
from PIL import Image
from tests.mini.evaluation.test_photo_pairs import PHOTOGRAPHS

import segue
from segue.errors import InputError
from segue.inference.loaded_model import LoadedModel
from segue.mini.evaluation.controls import CONTROLS, changed, exchanged, other_name
from segue.mini.evaluation.photo_pairs import draw_pairs
from segue.models.mini.heat import are_kin
from segue.models.mini.names import name_table


@pytest.fixture(scope="module")
def mini() -> LoadedModel:
    return segue.load("segue-mini")


@pytest.fixture(scope="module")
def pixels(mini: LoadedModel) -> Any:
    cat = Image.fromarray(skimage.data.chelsea())
    return mini.processor.encode_pixels([cat], ("pixel_values_sam",))


def seen(mini: LoadedModel, pixels: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Findings as read, visual tokens, and the heat of "cat"."""
    with torch.inference_mode():
        said, features = mini.model.encode(pixels)
        tokens = mini.model.encode_images([1], **said).tokens
        heat = mini.model.segmenter.heat_prompts(features, ["cat"], torch.tensor([0]))
    return said["finding_ids"], tokens, heat


def test_each_control_takes_one_thing_away_and_gives_it_back(mini: LoadedModel, pixels: Any) -> None:
    cache = mini.encoder_cache
    usual = seen(mini, pixels)
    for control in CONTROLS:
        with changed(mini, control):
            ids, tokens, heat = seen(mini, pixels)
        same = (torch.equal(ids, usual[0]), torch.equal(tokens, usual[1]), torch.equal(heat, usual[2]))
        assert (
            same
            == {
                "findings withheld": (False, False, True),
                "visual tokens withheld": (True, False, True),
                "heat withheld": (True, True, False),
                "another name's heat": (True, True, False),
            }[control]
        )
        if control == "visual tokens withheld":
            assert not tokens.any()
        if control == "heat withheld":
            assert not heat.any()
        if control == "findings withheld":
            assert len(ids[0].unique(dim=0)) == 1, "every place says that there is nothing"
    assert all(torch.equal(a, b) for a, b in zip(usual, seen(mini, pixels), strict=True))
    assert mini.encoder_cache is cache


def test_a_control_ends_with_its_context(mini: LoadedModel) -> None:
    with pytest.raises(KeyError), changed(mini, "heat withheld"):
        raise KeyError
    assert "heat_prompts" not in vars(mini.model.segmenter)


def test_another_name_may_not_be_right_of_the_same_place() -> None:
    table = name_table()
    for name in ("dog", "owl", "cow head", list(table.names)[-1]):
        assert not are_kin(table.names[name], table.names[other_name(name, table)])


def test_questions_are_asked_of_pictures_of_another_pair() -> None:
    pairs = draw_pairs(PHOTOGRAPHS, name_table(), 6, absent=False)
    assert len({p.name for p in pairs}) > 1
    for pair, shown in zip(pairs, exchanged(pairs), strict=True):
        assert shown == replace(pair, photographs=shown.photographs)
        assert any(shown.photographs == p.photographs for p in pairs if p.name != pair.name)


def test_a_model_without_findings_is_refused() -> None:
    other = cast(LoadedModel, SimpleNamespace(model=torch.nn.Identity(), name="lisa-7b"))
    with pytest.raises(InputError, match="no findings"), changed(other, "heat withheld"):
        pass
