"""Converted checkpoints compute what the official code of GLaMM and LISA computes.

The recordings lie in the folder named by SEGUE_GOLDENS (by default goldens/A in the shared data); everything
about them, sizes and cases included, is read from their files.

Tolerances: both sides are float32 and take their sums in different orders. Each recording says how far the
official code's own float32 lies from its float64 (up to 1.5e-5 for logits of size 10, that is 13 roundings of
1.2e-6); two implementations may lie apart twice that. FLOORS doubles it once more for sets that do not say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from goldens import GOLDENS, needs
from official import golden_repository, official_shapes
from segue.errors import AlignmentError
from segue.models import auto
from segue.models.conversion import convert
from segue.models.losses import IGNORE_INDEX, bce_loss, dice_loss, resize_logits
from segue.models.modeling_lisa import LisaModel
from segue.models.processing_grounded import GroundedProcessor
from segue.models.segmenter import MaskPrompts
from segue.models.segmenter_sam import EMBEDDINGS

WHICH = ("glamm", "lisa")
FLOORS = {
    "features": 2e-5,
    "last_hidden_state": 2e-5,
    "logits": 5e-5,
    "seg_embeddings": 1e-5,
    "low_res_logits": 5e-5,
    "mask_logits": 5e-5,
    "loss": 1e-5,
}


def names(which: str, prefix: str) -> list[str]:
    return sorted(p.stem for p in (GOLDENS / which).glob(f"{prefix}_*.safetensors"))


CASES = [(which, name) for which in WHICH for name in names(which, "case")]
GENERATIONS = [(which, name) for which in WHICH for name in names(which, "gen")]
needs_goldens = needs("glamm/config.json")
pytestmark = needs_goldens


@dataclass
class Recording:
    """One family's recordings and the converted model."""

    folder: Path
    config: dict[str, Any]
    model: LisaModel
    processor: GroundedProcessor
    images: dict[str, Tensor]

    def tolerance(self, quantity: str) -> float:
        own = self.config.get("max_abs_diff_vs_float64") or {}
        return max(FLOORS[quantity], 4 * float(own.get(quantity, 0)))

    def assert_close(self, quantity: str, ours: Tensor, theirs: Tensor, what: str = "") -> None:
        assert ours.shape == theirs.shape, what or quantity
        if theirs.numel():
            far = float((ours.detach().float() - theirs.float()).abs().max())
            assert far <= self.tolerance(quantity), f"{what or quantity}: {far:.2e}"

    def expand(self, row: Tensor, fill: int | None = None) -> list[int]:
        """Ids with the marker -200 replaced by one placeholder per visual token (or by `fill`)."""
        marker = self.config["image_token_index"]
        placeholder = self.model.config.image_token_id if fill is None else fill
        out: list[int] = []
        for value in row.tolist():
            out += [placeholder] * self.model.config.tokens_per_image if value == marker else [value]
        return out


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recording]:
    made = {}
    for which in WHICH:
        folder = tmp_path_factory.mktemp(which)
        source, clip = golden_repository(GOLDENS / which, folder / "source")
        report = convert(source, folder / "converted", clip=clip)
        assert report.kind == which
        bundle = auto.load(folder / "converted", device="cpu")
        assert isinstance(bundle.model, LisaModel)
        config = json.loads((GOLDENS / which / "config.json").read_text())
        images = load_file(GOLDENS / which / "images.safetensors")
        made[which] = Recording(GOLDENS / which, config, bundle.model, bundle.processor, images)
    return made


@pytest.mark.parametrize("which", WHICH)
def test_our_list_of_official_names_is_theirs(which: str) -> None:
    config = json.loads((GOLDENS / which / "config.json").read_text())
    recorded = {n: tuple(t.shape) for n, t in load_file(GOLDENS / which / "model.safetensors").items()}
    assert official_shapes(which, config["llm"], config["sam"], config["clip"]["hidden_size"]) == recorded


@pytest.mark.parametrize("which", WHICH)
def test_special_tokens_are_where_the_weights_know_them(which: str, recordings: dict[str, Recording]) -> None:
    r = recordings[which]
    ids = r.config["special_tokens"]
    tokenizer = r.processor.tokenizer
    assert r.model.config.seg_token_id == ids["SEG"] == tokenizer.convert_tokens_to_ids("[SEG]")
    assert tokenizer.convert_tokens_to_ids("<im_start>") == ids["im_start"]
    assert r.model.config.image_token_id == r.config["llm"]["vocab_size"], "beyond what the model can write"


@pytest.mark.parametrize("which", WHICH)
def test_pictures_are_prepared_alike(which: str, recordings: dict[str, Recording]) -> None:
    r = recordings[which]
    for entry in r.config["images"]:
        index = entry["index"]
        raw = Image.fromarray(np.asarray(r.images[f"raw_rgb.{index}"]))
        assert (raw.height, raw.width) == tuple(entry["original_hw"])
        assert r.processor.sam_stream.resized_hw((raw.height, raw.width)) == tuple(entry["resize_hw"])
        streams = r.processor.encode_pixels([raw])
        # Values up to 2.7 in float32 from bytes: one rounding of the mean, the scale and the quotient each.
        for name, recorded in (("pixel_values", "clip_pixels"), ("pixel_values_sam", "sam_pixels")):
            torch.testing.assert_close(streams[name][0], r.images[recorded][index], atol=2e-6, rtol=0)


@pytest.mark.parametrize("which", WHICH)
@torch.no_grad()
def test_encoders(which: str, recordings: dict[str, Recording]) -> None:
    r = recordings[which]
    features = r.model.encode_features(pixel_values=r.images["clip_pixels"])
    r.assert_close("features", features["vision_features"], r.images["clip_features"])
    tokens = r.model.encode_images([1] * len(r.images["clip_pixels"]), **features).tokens
    r.assert_close("features", tokens, r.images["projected_features"])
    embeddings = r.model.segmenter.encode(r.images["sam_pixels"])[EMBEDDINGS]
    r.assert_close("features", embeddings, r.images["sam_image_embeddings"])
    dense = r.model.sam.get_image_wide_positional_embeddings()
    r.assert_close("features", dense.reshape(r.images["sam_dense_pe"].shape), r.images["sam_dense_pe"])


def case_inputs(r: Recording, case: dict[str, Tensor], entry: dict[str, Any]) -> dict[str, Any]:
    """A recorded batch as the arguments of our forward pass; rows that share an image repeat its pixels."""
    lengths = case["attention_mask"].sum(1).tolist()
    rows = [row[:n] for row, n in zip(case["input_ids"], lengths, strict=True)]
    labels = [row[:n] for row, n in zip(case["labels"], lengths, strict=True)]
    ids = [r.expand(row) for row in rows]
    marker = r.config["image_token_index"]
    aims: list[list[int]] = []
    for row, own in zip(rows, labels, strict=True):
        spread: list[int] = []
        for token, label in zip(row.tolist(), own.tolist(), strict=True):
            spread += [IGNORE_INDEX] * r.model.config.tokens_per_image if token == marker else [label]
        aims.append(spread)
    longest = max(map(len, ids))

    def padded(values: list[list[int]], fill: int) -> Tensor:
        return torch.tensor([v + [fill] * (longest - len(v)) for v in values])

    offset = entry["offset"]
    image_of_row = [k for k in range(len(offset) - 1) for _ in range(offset[k], offset[k + 1])]
    chosen = torch.tensor(entry["image_indices"])
    segs = [sum(t == r.model.config.seg_token_id for t in row) for row in ids]
    drawn = entry["num_seg_per_image"]
    return {
        "input_ids": padded(ids, 0),
        "attention_mask": padded([[1] * len(i) for i in ids], 0),
        "labels": padded(aims, IGNORE_INDEX),
        "num_images": [1] * len(ids),
        "pixel_values": r.images["clip_pixels"][chosen[image_of_row]],
        "pixel_values_sam": r.images["sam_pixels"][chosen],
        "seg_image_index": torch.tensor(
            [k for k, n in zip(image_of_row, segs, strict=True) for _ in range(n)], dtype=torch.long
        ),
        "mask_labels": [case[f"gt_masks.{k}"][:n] for k, n in enumerate(drawn)],
        "original_hw": torch.tensor(entry["original_hw"]),
        "resized_hw": torch.tensor(entry["resize_hw"]),
    }


@pytest.mark.parametrize(("which", "name"), CASES)
@torch.no_grad()
def test_a_training_batch(which: str, name: str, recordings: dict[str, Recording]) -> None:
    r = recordings[which]
    entry = r.config["cases"][name.removeprefix("case_")]
    case = load_file(r.folder / f"{name}.safetensors")
    inputs = case_inputs(r, case, entry)
    states: list[Tensor] = []
    hook = r.model.language_model.model.norm.register_forward_hook(lambda m, a, out: states.append(out))
    try:
        out = r.model(**inputs)
    finally:
        hook.remove()
    real, positions = case["expanded_attention_mask"].bool(), case["positions"]
    assert torch.equal(inputs["attention_mask"].bool(), real)
    assert torch.equal(inputs["labels"], case["expanded_labels"])
    kept = real[:, positions]
    r.assert_close("logits", out.logits[:, positions][kept], case["logits"][kept])
    r.assert_close("last_hidden_state", states[0][:, positions][kept], case["last_hidden_state"][kept])
    for k, (inside, outside) in enumerate(zip(entry["resize_hw"], entry["original_hw"], strict=True)):
        mine = inputs["seg_image_index"] == k
        r.assert_close("seg_embeddings", out.seg_prompts[mine], case[f"seg_embeddings.{k}"])
        r.assert_close("low_res_logits", out.mask_logits[mine], case[f"low_res_logits.{k}"])
        if bool(mine.any()):
            full = resize_logits(
                out.mask_logits[mine], tuple(inside), tuple(outside), r.images["sam_pixels"].shape[-1]
            )
            r.assert_close("mask_logits", full, case[f"mask_logits.{k}"])
    terms, config = out.loss_terms, r.model.config
    r.assert_close("loss", config.text_loss_weight * terms["text"], case["ce_loss"], "text")
    r.assert_close("loss", config.dice_loss_weight * terms["dice"], case["mask_dice_loss"], "dice")
    r.assert_close("loss", config.pixel_loss_weight * terms["pixel"], case["mask_bce_loss"], "pixel")
    r.assert_close("loss", out.loss, case["loss"], "total")


def test_surplus_masks_are_refused_where_glamm_drops_them(recordings: dict[str, Recording]) -> None:
    r = recordings["glamm"]
    if "gt_more_than_seg" not in r.config["cases"]:
        pytest.skip("this set has no such case")
    case = load_file(r.folder / "case_gt_more_than_seg.safetensors")
    inputs = case_inputs(r, case, r.config["cases"]["gt_more_than_seg"])
    inputs["mask_labels"] = [case["gt_masks.0"]]
    with pytest.raises(AlignmentError, match=r"\[SEG\] tokens and masks do not match"):
        r.model(**inputs)


@pytest.mark.parametrize(("which", "name"), GENERATIONS)
def test_a_generated_answer(which: str, name: str, recordings: dict[str, Recording]) -> None:
    r = recordings[which]
    entry = r.config["generation"][name.removeprefix("gen_")] if name not in r.config["generation"] else (
        r.config["generation"][name]
    )  # fmt: skip
    case = load_file(r.folder / f"{name}.safetensors")
    prompt_length = case["input_ids"].shape[1]
    for row, image in enumerate(entry["image_indices"]):
        prompt = case["input_ids"][row]
        ours = r.model.generate_grounded(
            torch.tensor([r.expand(prompt)]),
            [1],
            max_new_tokens=entry["max_new_tokens"],
            pixel_values=r.images["clip_pixels"][image : image + 1],
        )
        theirs = case["output_ids"][row, prompt_length:].tolist()
        ids = ours.token_ids.tolist()
        assert ids == theirs[: len(ids)]
        assert set(theirs[len(ids) :]) <= {0}, "what follows the end token in a batch is padding"
        # The official code also draws a mask for every [SEG] of the prompt; a user's question asks for none.
        asked = int((prompt == r.model.config.seg_token_id).sum())
        r.assert_close("seg_embeddings", ours.seg_prompts, case[f"seg_embeddings.{row}"][asked:])
        features = r.model.segmenter.encode(r.images["sam_pixels"][image : image + 1])
        index = torch.zeros(len(ours.seg_prompts), dtype=torch.long)
        with torch.no_grad():
            low = r.model.segmenter.decode(features, MaskPrompts(ours.seg_prompts, index))
        r.assert_close("low_res_logits", low, case[f"low_res_logits.{row}"][asked:])
        if len(low):
            inside, outside = tuple(entry["resize_hw"][row]), tuple(entry["original_hw"][row])
            full = resize_logits(low, inside, outside, r.images["sam_pixels"].shape[-1])
            r.assert_close("mask_logits", full, case[f"mask_logits.{row}"][asked:])


def test_mask_losses_and_their_gradient() -> None:
    recorded = load_file(GOLDENS / "losses" / "losses.safetensors")
    for case in sorted({name.split(".")[0] for name in recorded}):
        logits, targets = recorded[f"{case}.logits"].requires_grad_(), recorded[f"{case}.targets"]
        count = len(logits) + 1e-8
        dice, bce = dice_loss(logits, targets).sum() / count, bce_loss(logits, targets).sum() / count
        # Sums of up to 5680 terms in float32, recorded as within 2e-7 of float64.
        for family in WHICH:
            torch.testing.assert_close(dice, recorded[f"{case}.{family}_dice"], rtol=2e-6, atol=1e-7)
            torch.testing.assert_close(bce, recorded[f"{case}.{family}_bce"], rtol=2e-6, atol=1e-7)
        if f"{case}.grad_2bce_0.5dice" in recorded:
            (gradient,) = torch.autograd.grad(2 * bce + 0.5 * dice, logits)
            torch.testing.assert_close(gradient, recorded[f"{case}.grad_2bce_0.5dice"], rtol=1e-5, atol=1e-7)
