"""Regions of questions in OMG-LLaVA: read as the published code reads a mask that a user marked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from segue.inference import LoadedModel, Region
from segue.models.omg_llava.visual_prompts import VisualPrompts
from segue.models.region_tokens import region_grid
from tiny_model import picture

MARK = Region(image_index=0, box=(8, 6, 40, 30))


@pytest.mark.parametrize("tiny_model", ["omg_llava"], indirect=True)
def test_a_session_points(tiny_model: LoadedModel) -> None:
    assert tiny_model.takes_regions
    session = tiny_model.session([picture(), picture(shade=220)])
    answer = session.ask("Find [this] in the other image.", regions=[MARK], max_new_tokens=4)
    (region,) = answer.regions
    assert region.mask.any()
    # The next question shows the model the first one's region again.
    again = session.ask("And a <region> that was typed?", max_new_tokens=4)
    assert again.regions == ()
    assert again.prompt_tokens > answer.prompt_tokens


@pytest.mark.parametrize("tiny_model", ["omg_llava"], indirect=True)
@torch.no_grad()
def test_a_region_is_the_token_of_a_marked_mask(tiny_model: LoadedModel) -> None:
    model: Any = tiny_model.model
    image = picture()
    pixels = tiny_model.processor.encode_pixels([image])["pixel_values_sam"]
    seen, drawn = model.encode({"pixel_values_sam": pixels})
    mask = torch.zeros(image.height, image.width, dtype=torch.bool)
    mask[6:30, 8:40] = True
    grid = region_grid(tiny_model.processor, mask, (image.height, image.width))
    queries = model.pool_regions(seen, drawn, grid[None])
    assert queries.shape == (1, model.region_width)
    size = model.config.perception_config.backbone_config.image_size
    square = torch.nn.functional.interpolate(grid[None, None], size=(size, size), mode="bilinear")[0]
    prompts = VisualPrompts(torch.tensor([0]), masks=(square > 0.5 * square.amax()).float())
    assert torch.equal(model.region_reader(queries), model.prompt_tokens(drawn, prompts))


@pytest.mark.parametrize("tiny_model", ["omg_llava"], indirect=True)
def test_regions_add_nothing_to_the_weights(tiny_model: LoadedModel, tmp_path: Path) -> None:
    assert not any("region_reader" in name for name in tiny_model.model.state_dict())
    before = tiny_model.model.config.region_token_id
    tiny_model.model.switch_region_tokens(-1, False)
    assert tiny_model.model.config.region_token_id == before
    tiny_model.model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["region_token_id"] == before
