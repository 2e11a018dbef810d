"""The shared forward pass: loss, masks, generation, gradients, files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModel, AutoProcessor, LogitsProcessor, LogitsProcessorList

from segue.errors import AlignmentError, InputError
from segue.models.losses import bce_loss, dice_loss, focal_loss, resize_logits, shrink_masks, text_loss
from segue.models.modeling_grounded import GroundedModel
from segue.models.modeling_prima import PrimaModel
from segue.models.segmenter_sam import EMBEDDINGS

Shaken = Callable[..., Any]


# ---- loss ----


@pytest.mark.parametrize("resolution", ["original", "decoder"])
@pytest.mark.parametrize("pixel", ["bce", "focal"])
@torch.no_grad()
def test_the_loss_by_hand(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any], resolution: str, pixel: str
) -> None:
    model, processor = shaken(
        mask_loss_resolution=resolution,
        pixel_loss=pixel,
        text_loss_weight=0.7,
        dice_loss_weight=0.3,
        pixel_loss_weight=1.9,
    )
    batch = batch_of(processor, talks["three"], talks["one"])
    output = model(**batch)
    # One mask after the other in text order, each with the photograph that it addresses.
    taken = [0] * len(batch["mask_labels"])
    dice, pixels = [], []
    for logits, image in zip(output.mask_logits, batch["seg_image_index"].tolist(), strict=True):
        mask = batch["mask_labels"][image][taken[image]][None]
        taken[image] += 1
        inside, original = (tuple(batch[n][image].tolist()) for n in ("resized_hw", "original_hw"))
        if resolution == "original":
            drawn, wanted = resize_logits(logits[None], inside, original, 48), mask
        else:
            drawn, wanted = logits[None], shrink_masks(mask, inside, 16, 48)
        dice.append(dice_loss(drawn, wanted))
        pixels.append((bce_loss if pixel == "bce" else focal_loss)(drawn, wanted))
    terms = {
        "text": text_loss(output.logits, batch["labels"]),
        "dice": torch.cat(dice).mean(),
        "pixel": torch.cat(pixels).mean(),
    }
    assert set(output.loss_terms) == set(terms)
    for name, value in terms.items():
        torch.testing.assert_close(output.loss_terms[name], value, atol=1e-5, rtol=1e-5)
    total = 0.7 * terms["text"] + 0.3 * terms["dice"] + 1.9 * terms["pixel"]
    torch.testing.assert_close(output.loss, total, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_both_resolutions_agree_roughly(shaken: Shaken, batch_of: Any, talks: dict[str, Any]) -> None:
    terms = []
    for resolution in ("original", "decoder"):
        model, processor = shaken(mask_loss_resolution=resolution, pixel_loss="bce")
        terms.append(model(**batch_of(processor, talks["three"])).loss_terms)
    assert terms[0]["text"] == terms[1]["text"]
    for name in ("dice", "pixel"):
        assert terms[0][name] == pytest.approx(terms[1][name], rel=0.25)
        assert terms[0][name] != terms[1][name]


@torch.no_grad()
def test_each_mask_is_compared_with_its_own_target(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any]
) -> None:
    model, processor = shaken()
    batch = batch_of(processor, talks["three"])
    right = model(**batch).loss_terms["pixel"]
    swapped = dict(batch, mask_labels=[m.flip(0) for m in batch["mask_labels"]])
    assert abs(right - model(**swapped).loss_terms["pixel"]) > 1e-4


@torch.no_grad()
def test_an_image_with_the_masks_of_another_is_refused(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any]
) -> None:
    model, processor = shaken()
    batch = batch_of(processor, talks["three"])
    first, second, third = batch["mask_labels"]
    moved = dict(
        batch, mask_labels=[first[:1], second, torch.cat([third, third[:1]])]
    )  # four in all, as before
    with pytest.raises(AlignmentError) as caught:
        model(**moved)
    assert "2" in str(caught.value)
    assert "1" in str(caught.value)


@torch.no_grad()
def test_conversations_without_seg_have_text_loss_alone(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any]
) -> None:
    model, processor = shaken()
    output = model(**batch_of(processor, talks["silent"]))
    assert output.mask_logits.shape == (0, 16, 16)
    assert output.seg_prompts.shape == (0, 16)
    assert output.loss_terms["dice"] == output.loss_terms["pixel"] == 0
    assert output.loss == output.loss_terms["text"] > 0


@torch.no_grad()
def test_without_labels_nothing_but_logits(shaken: Shaken, batch_of: Any, talks: dict[str, Any]) -> None:
    model, processor = shaken()
    batch = batch_of(processor, talks["one"])
    output = model(**{k: v for k, v in batch.items() if k != "labels"})
    assert output.loss is None
    assert output.mask_logits is None
    assert torch.equal(output.logits, model(**batch).logits)


@torch.no_grad()
def test_without_mask_labels_masks_but_no_mask_loss(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any]
) -> None:
    model, processor = shaken()
    batch = batch_of(processor, talks["three"])
    output = model(**{k: v for k, v in batch.items() if k != "mask_labels"})
    assert output.mask_logits.shape == (4, 16, 16)
    assert set(output.loss_terms) == {"text"}
    without_sam = {k: v for k, v in batch.items() if k != "pixel_values_sam"}
    assert set(model(**without_sam).loss_terms) == {"text"}


@torch.no_grad()
def test_token_weights_reach_the_text_loss(shaken: Shaken, batch_of: Any, talks: dict[str, Any]) -> None:
    model, processor = shaken()
    batch = batch_of(processor, talks["one"])
    weights = torch.ones(len(processor.tokenizer))
    weights[model.config.seg_token_id] = 50
    output = model(**batch, token_weights=weights)
    expected = text_loss(output.logits, batch["labels"], weights)
    torch.testing.assert_close(output.loss_terms["text"], expected)
    assert abs(expected - text_loss(output.logits, batch["labels"])) > 1e-3


@torch.no_grad()
def test_seams_are_loud(shaken: Shaken, batch_of: Any, talks: dict[str, Any]) -> None:
    model, processor = shaken()
    batch = batch_of(processor, talks["three"])
    with pytest.raises(AlignmentError, match="indices 0"):
        model(**dict(batch, seg_image_index=torch.tensor([3, 0, 0, 2])))
    with pytest.raises(AlignmentError, match="4 masks and image indices"):
        model(**dict(batch, seg_image_index=batch["seg_image_index"][:3]))
    fewer = {name: batch[name][:2] for name in ("pixel_values", "pixel_values_aux", "pixel_values_sam")}
    expected = int((batch["input_ids"] == model.config.image_token_id).sum())
    with pytest.raises(
        AlignmentError, match=f"{expected} visual tokens(.|\n)*{expected // 3 * 2} from 2 images"
    ):
        model(**dict(batch, **fewer, num_images=[2]))


# ---- gradients ----

WITHOUT_GRADIENT = (
    "aux_vision_model.embeddings.mask_token",  # used by DINOv2's own pretraining only
    "sam.mask_decoder.iou_prediction_head",
    "sam.mask_decoder.output_hypernetworks_mlps.1",  # several masks a prompt
    "sam.prompt_encoder.point_embed",
    "sam.prompt_encoder.not_a_point_embed",
    "sam.prompt_encoder.mask_embed",  # clicks and masks as prompts
)
"""What the loss of the paper does not reach, and why."""


@pytest.mark.parametrize("module", ["fusion", "square"])
def test_every_part_gets_a_gradient(fresh: Shaken, batch_of: Any, talks: dict[str, Any], module: str) -> None:
    model, processor = fresh(visual_module=module, keep_text_outputs=True)
    model(**batch_of(processor, talks["three"], talks["one"])).loss.backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [n for n in dead if not n.startswith(WITHOUT_GRADIENT)] == []
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


def test_frozen_encoders_get_none_and_cost_none(fresh: Shaken, batch_of: Any, talks: dict[str, Any]) -> None:
    model, processor = fresh()
    batch = batch_of(processor, talks["three"])
    assert model.segmenter.encode(batch["pixel_values_sam"])[EMBEDDINGS].requires_grad
    for part in (model.sam.vision_encoder, model.vision_model, model.aux_vision_model):
        part.requires_grad_(False)
    assert not model.segmenter.encode(batch["pixel_values_sam"])[EMBEDDINGS].requires_grad
    towers = model.encode_towers(batch["pixel_values"], batch["pixel_values_aux"])
    assert not any(features.requires_grad for features in towers)
    model(**batch).loss.backward()
    for name, parameter in model.named_parameters():
        frozen = name.startswith(("sam.vision_encoder", "vision_model", "aux_vision_model"))
        assert not frozen or parameter.grad is None, name
    for name in ("seg_projection.0.weight", "fusion.query_norm.weight", "sam.mask_decoder.iou_token.weight"):
        assert model.get_parameter(name).grad is not None, name


# ---- generation ----


class Say(LogitsProcessor):
    """Makes generation say these ids."""

    def __init__(self, ids: list[int]) -> None:
        self.ids, self.step = ids, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self.ids[min(self.step, len(self.ids) - 1)]] = 0
        self.step += 1
        return forced


def say(model: GroundedModel, inputs: dict[str, Any], ids: list[int], **options: Any) -> Any:
    kept = {
        k: v
        for k, v in inputs.items()
        if k
        in (
            "input_ids",
            "attention_mask",
            "num_images",
            "pixel_values",
            "pixel_values_aux",
            "qformer_input_ids",
            "qformer_attention_mask",
        )
    }
    forced = {"logits_processor": LogitsProcessorList([Say(ids)])}
    return model.generate_grounded(
        **kept, **({"max_new_tokens": len(ids), "generation_options": forced} | options)
    )


@pytest.mark.parametrize("module", ["fusion", "square"])
@pytest.mark.parametrize(
    "answer",
    [
        "The <p> mug </p> [SEG] (IMAGE3), the <p> lamp </p> [SEG] (IMAGE1) [SEG] (IMAGE2).",
        "[SEG] (IMAGE1)",
        "Nothing.",
    ],
)
@torch.no_grad()
def test_the_state_of_a_generated_seg_is_the_teacher_forced_one(
    shaken: Shaken, talks: dict[str, Any], module: str, answer: str
) -> None:
    model, processor = shaken(visual_module=module, keep_text_outputs=True)
    images, turns = talks["three"].images(), [("user", "What can you drink from?")]
    whole = processor(images=images, turns=[*turns, ("assistant", answer)], add_generation_prompt=False)
    prompt = processor(images=images, turns=turns)
    spoken = whole["input_ids"][0, prompt["input_ids"].shape[1] :].tolist()
    found = say(model, prompt, spoken)
    assert found.token_ids.tolist() == spoken
    assert found.finished
    assert processor.decode_markup(found.token_ids) == answer
    expected = model(**whole).seg_prompts
    assert found.seg_prompts.shape == (answer.count("[SEG]"), 16)
    torch.testing.assert_close(found.seg_prompts, expected, atol=1e-5, rtol=1e-5)
    if len(expected) > 1:
        assert (expected[0] - expected[1]).abs().max() > 1e-2, (
            "the states must differ, or this proves nothing"
        )


@torch.no_grad()
def test_an_answer_cut_by_the_budget_is_not_finished(shaken: Shaken, talks: dict[str, Any]) -> None:
    model, processor = shaken()
    seg = model.config.seg_token_id
    inputs = processor(images=talks["one"].images(), turns=[("user", "What?")])
    found = say(model, inputs, [30, seg, 31, seg, 2], max_new_tokens=4)
    assert found.token_ids.tolist() == [30, seg, 31, seg]
    assert not found.finished
    assert len(found.seg_prompts) == 2


@torch.no_grad()
def test_greedy_generation_follows_the_logits(shaken: Shaken, talks: dict[str, Any]) -> None:
    model, processor = shaken()
    inputs = processor(images=talks["three"].images(), turns=[("user", "What?")])
    kept = {k: v for k, v in inputs.items() if k != "labels"}
    found = model.generate_grounded(**kept, max_new_tokens=6).token_ids.tolist()
    ids = inputs["input_ids"]
    for token in found:
        step = dict(kept, input_ids=ids, attention_mask=torch.ones_like(ids))
        assert model(**step).logits[0, -1].argmax() == token
        ids = torch.cat([ids, torch.tensor([[token]])], dim=1)


@torch.no_grad()
def test_generation_leaves_no_hook_behind_even_when_it_fails(shaken: Shaken, talks: dict[str, Any]) -> None:
    model, processor = shaken()
    inputs = processor(images=talks["one"].images(), turns=[("user", "What?")])

    class Broken(LogitsProcessor):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        say(model, inputs, [30], generation_options={"logits_processor": LogitsProcessorList([Broken()])})
    assert not model.language_model.model.norm._forward_hooks


def test_what_cannot_be_grounded_is_refused(shaken: Shaken, batch_of: Any, talks: dict[str, Any]) -> None:
    model, processor = shaken()
    inputs = processor(images=talks["one"].images(), turns=[("user", "What?")])
    with pytest.raises(InputError, match="num_beams"):
        say(model, inputs, [30], generation_options={"num_beams": 2})
    with pytest.raises(AlignmentError, match="2"):
        say(model, batch_of(processor, talks["one"], talks["silent"]), [30])


# ---- files ----


@pytest.mark.parametrize("module", ["fusion", "square"])
@torch.no_grad()
def test_saved_models_come_back_identical(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any], tmp_path: Path, module: str
) -> None:
    model, processor = shaken(visual_module=module, keep_text_outputs=True)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert isinstance(again, PrimaModel)
    assert {name: found for name, found in report.items() if found} == {}
    first, second = model.state_dict(), again.state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(first[n], second[n]) for n in first)
    batch = batch_of(AutoProcessor.from_pretrained(tmp_path), talks["three"], talks["one"])
    expected, found = model(**batch_of(processor, talks["three"], talks["one"])), again.eval()(**batch)
    for name in ("logits", "mask_logits", "seg_prompts", "loss"):
        # Equal weights at differently aligned addresses may be summed in another order.
        torch.testing.assert_close(getattr(expected, name), getattr(found, name), atol=2e-6, rtol=0)
    assert again.get_output_embeddings().weight is again.get_input_embeddings().weight


@torch.no_grad()
def test_half_precision_files_can_be_read(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any], tmp_path: Path
) -> None:
    model, processor = shaken()
    state = {name: value.half() for name, value in model.state_dict().items()}
    model.save_pretrained(tmp_path, state_dict=state)
    again, report = AutoModel.from_pretrained(tmp_path, dtype=torch.float32, output_loading_info=True)
    assert {name: found for name, found in report.items() if found} == {}
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    batch = batch_of(processor, talks["three"])
    found, expected = again.eval()(**batch), model(**batch)
    torch.testing.assert_close(found.logits, expected.logits, atol=0.05, rtol=0.05)
    assert not torch.equal(found.logits, expected.logits)
