"""Parity of OMG-LLaVA with the official code: objects, prior, visual tokens, masks, losses, visual prompts.

The recordings lie in `omg_llava` of the folder named by SEGUE_GOLDENS (by default goldens/A in the shared
data); everything here skips without them.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from goldens import GOLDENS, needs
from segue.models.conversion.fused import thirds
from segue.models.conversion.rules import under
from segue.models.conversion.templates_omg_llava import CLASS_TEXTS, HEAD_SHARED, PROJECTORS
from segue.models.image_streams import ImageStream, padded_square
from segue.models.omg_llava.configuration_omg_llava import OmgLlavaConfig
from segue.models.omg_llava.modeling_omg_llava import OmgLlavaModel
from segue.models.omg_llava.perception import MASK_FEATURES, MEMORIES, Perception
from segue.models.omg_llava.prior import cells_of, prior, shares
from segue.models.omg_llava.processing_omg_llava import INTERNLM2_TEMPLATE, OMG_MEAN, OmgLlavaProcessor
from segue.models.omg_llava.segmenter_omg import QueryDecoderSegmenter
from segue.models.omg_llava.square_masks import square_masks
from segue.models.omg_llava.visual_prompts import VisualPrompts, innermost, prompt_queries, starting_queries
from segue.models.point_loss import point_losses
from segue.models.presets_parts import TINY_LLAMA
from segue.models.segmenter import MaskPrompts

FOLDER = GOLDENS / "omg_llava"
pytestmark = needs("omg_llava/config.json")
# Sums of other orders, each over tens of numbers; masks are products of 32 numbers up to 10.
QUERIES, MASKS, PRIOR, TOKENS, LOSS = 2e-6, 2.2e-5, 1e-6, 3e-6, 2e-7


def recorded(name: str) -> dict[str, Tensor]:
    return load_file(FOLDER / f"{name}.safetensors")


def near(found: Tensor, wanted: Tensor, atol: float) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=atol)


@pytest.fixture(scope="module")
def model() -> OmgLlavaModel:
    """A model of the recording's sizes with the official weights, by the names that `segue convert` reads."""
    content: dict[str, Any] = json.loads((FOLDER / "config.json").read_text())
    width = content["width"]
    config = OmgLlavaConfig(
        perception_config={
            "backbone_config": {
                "model_type": "convnext",
                "hidden_sizes": content["backbone_channels"],
                "depths": [1, 1, 1, 1],
                "image_size": content["image_size"],
            },
            "feature_size": width,
            "mask_feature_size": width,
            "hidden_dim": width,
            "encoder_feedforward_dim": content["encoder_ffn"],
            "dim_feedforward": content["decoder_ffn"],
            "encoder_layers": content["encoder_layers"],
            # Predictions, of which there is one more than layers.
            "decoder_layers": content["decoder_layers"] + 1,
            "num_attention_heads": content["heads"],
            "num_queries": content["num_queries"],
            "num_classes": content["num_classes"],
            "prompts_per_class": content["prompts_per_class"],
            "class_width": content["class_embedding_width"],
            "logit_scale": content["logit_scale_log"],
            "point_half_width": content["point_half_width_pixels"],
        },
        text_config=TINY_LLAMA | {"hidden_size": content["llm_width"], "num_attention_heads": 2},
        seg_projection_hidden_size=2 * width,
    )
    made = OmgLlavaModel(config).eval()
    state = made.state_dict()
    rules = (*under("visual_encoder.panoptic_head.", "", HEAD_SHARED), *PROJECTORS, *CLASS_TEXTS)
    for name, tensor in recorded("model").items():
        for part, value in thirds(name, tensor):
            targets = next((found for rule in rules if (found := rule.apply(part)) is not None), None)
            assert targets is not None, part
            for target in targets:
                assert state[target].shape == value.shape, part
                state[target].copy_(value)
    return made


@pytest.fixture(scope="module")
def stages() -> list[Tensor]:
    features = recorded("inputs_features")
    return [features[f"feature_{number}"] for number in range(4)]


@pytest.fixture(scope="module")
def maps(model: OmgLlavaModel, stages: list[Tensor]) -> dict[str, Tensor]:
    with torch.inference_mode():
        return model.perception.maps(stages)


def test_pixel_decoder_queries_masks_and_classes(model: OmgLlavaModel, maps: dict[str, Tensor]) -> None:
    wanted = recorded("encode_and_segment")
    with torch.inference_mode():
        objects = model.perception.objects(maps)
    for name in (MASK_FEATURES, *MEMORIES):
        near(maps[name], wanted[name], QUERIES)
    near(objects.queries, wanted["query_feat"], QUERIES)
    near(objects.masks, wanted["mask_logits_stride4"], MASKS)
    near(objects.classes, wanted["class_logits"], MASKS)


def test_prior_winners_and_visual_tokens(
    model: OmgLlavaModel, stages: list[Tensor], maps: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = recorded("encode_and_segment")
    # The trunk is transformers' own; the recordings begin behind it.
    monkeypatch.setattr(Perception, "stages", lambda self, pixels: stages)
    with torch.inference_mode():
        objects = model.perception.objects(maps)
        seen = shares(objects, 256, model.config.perception_config.cells_per_side)
        position = wanted["query_pos"]
        mixed, best = prior(seen, torch.cat([objects.queries, position], dim=-1))
        visual = model.encode_images([1, 1], pixel_values_sam=torch.zeros(2, 3, 256, 256))
    assert torch.equal(cells_of(stages[-1], 2), wanted["pixel_features_unshuffled"])
    near(mixed, wanted["prior_pixel_queries"], PRIOR)
    assert torch.equal(best, ~wanted["not_winning_mask"])
    for number in range(2):
        near(visual.tokens[number][visual.mask[number]], wanted[f"visual_tokens_{number}"], TOKENS)


def test_every_round_of_a_seg(model: OmgLlavaModel, maps: dict[str, Tensor]) -> None:
    wanted = recorded("encode_and_segment")
    with torch.inference_mode():
        prompts = model.seg_projection(wanted["seg_hidden"])
        segmenter = QueryDecoderSegmenter(model.perception, model.mask_decoder)
        rounds = segmenter.predictions(maps, MaskPrompts(prompts, wanted["seg_image_index"]))
    near(prompts, wanted["seg_prompts"], PRIOR)
    for number, logits in enumerate(rounds):
        near(logits, wanted[f"seg_mask_logits_{number}"][:, 0], MASKS)


def test_losses_at_the_recorded_points() -> None:
    wanted, masks = recorded("losses"), recorded("encode_and_segment")
    targets = wanted["gt_masks"].float()
    totals = torch.zeros(2)
    for number in range(5):
        logits, points = masks[f"seg_mask_logits_{number}"][:, 0], wanted[f"points_{number}"]
        dice, pixel = point_losses(logits, targets, points)
        # As `OmgLlavaModel.mask_terms` divides; 5 is the inner weight.
        found = torch.stack([5 * dice.sum() / (len(dice) + 1e-4), 5 * pixel.mean()])
        torch.testing.assert_close(
            found, torch.stack([wanted[f"dice_{number}"], wanted[f"bce_{number}"]]), rtol=LOSS, atol=0
        )
        totals += found
    weighed = totals * torch.tensor([0.1, 0.4])
    torch.testing.assert_close(
        weighed, torch.stack([wanted["loss_dice_total"], wanted["loss_mask_total"]]), rtol=LOSS, atol=0
    )


@pytest.mark.parametrize("kind", ["point", "box", "region"])
def test_visual_prompts(model: OmgLlavaModel, maps: dict[str, Tensor], kind: str) -> None:
    wanted = recorded("visual_prompts")
    argument = {"point": "points", "box": "boxes", "region": "masks"}[kind]
    marks = wanted["regions" if kind == "region" else argument]
    prompts = VisualPrompts(wanted[f"{kind}_image_index"], **{argument: marks})
    with torch.inference_mode():
        near(prompt_queries(model.perception, maps, prompts), wanted[f"{kind}_queries"], QUERIES)
        near(model.prompt_tokens(maps, prompts), wanted[f"{kind}_tokens"], TOKENS)


def test_where_visual_prompts_begin(model: OmgLlavaModel) -> None:
    wanted = recorded("visual_prompts")
    with torch.inference_mode():
        feature, position = starting_queries(model.perception, wanted["points"] / 256).chunk(2, dim=-1)
    near(feature, wanted["point_query_feat"], QUERIES)
    near(position, wanted["point_query_pos"], QUERIES)
    centres = [list(innermost(mask)) for mask in wanted["regions"]]
    assert centres == wanted["region_centres_xy"].tolist()


@pytest.mark.parametrize("shape", ["wide", "tall"])
def test_squares_of_pictures_and_masks(shape: str) -> None:
    wanted = recorded("square")
    picture = Image.fromarray(wanted[f"{shape}.rgb"].numpy())
    square = padded_square(picture, tuple(OMG_MEAN))
    assert np.array_equal(np.asarray(square), wanted[f"{shape}.square_rgb"].numpy())
    side = square.width
    # At the size that it has, so that nothing is resized.
    masks = square_masks(wanted[f"{shape}.masks"], side)
    assert torch.equal(masks, wanted[f"{shape}.square_masks"].float())
    stream = ImageStream(side, "square", tuple(OMG_MEAN), (1.0, 1.0, 1.0))
    shown = stream(picture) + torch.tensor(OMG_MEAN).reshape(3, 1, 1)
    assert torch.equal((shown * 255).round().permute(1, 2, 0).byte(), wanted[f"{shape}.square_rgb"])
    # A mask of the square comes back as that of the photograph.
    processor = OmgLlavaProcessor.__new__(OmgLlavaProcessor)
    hw = (picture.height, picture.width)
    found = processor.enlarge(masks * 2 - 1, stream.resized_hw(hw), hw) > 0
    assert torch.equal(found, wanted[f"{shape}.masks"].bool())


def test_chat_text_and_what_is_supervised() -> None:
    wanted = json.loads((FOLDER / "conversation.json").read_text())
    turns = []
    before, after = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
    for turn in wanted["conversation"]:
        question = turn["input"].removeprefix(before).removesuffix(after).removeprefix("<image>\n")
        turns += [("user", question), ("assistant", turn["output"].removesuffix("<|im_end|>"))]
    processor = OmgLlavaProcessor.__new__(OmgLlavaProcessor)
    processor.template, processor.image_wrap = dict(INTERNLM2_TEMPLATE), ["", ""]
    text, answers = processor.render_chat(turns, 1, 1, False)
    # The first token is put by hand, and what follows the last answer is read by nobody.
    assert f"<s>{text}\n" == wanted["text"]
    assert [text[start:end] for start, end in answers] == wanted["supervised"]
