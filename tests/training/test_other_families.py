"""Own data train every family: what trains, the loss, and kept features do not know PRIMA."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from segue.models.configuration_lisa import LisaConfig
from segue.models.image_streams import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD
from segue.models.mini.presets_mini import tiny_config
from segue.models.modeling_lisa import LisaModel
from segue.models.processing_grounded import SHORT_TEMPLATE, LisaProcessor
from segue.training.adapters import add_lora, prepare_for_training
from segue.training.finetune.feature_store import ModelFeatures
from segue.training.finetune.mixture import Mixture
from segue.training.finetune.objective import RecordsObjective


def tiny_lisa(tokenizer: Any) -> tuple[LisaModel, LisaProcessor]:
    like = tiny_config()
    text = like.text_config.to_dict() | {"vocab_size": len(tokenizer)}
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LisaConfig(
        text_config=text,
        sam_config=like.sam_config.to_dict(),
        vision_config=vision | {"image_size": 28, "patch_size": 14},
        image_token_id=3,
        seg_token_id=4,
    )
    torch.manual_seed(0)
    streams = {
        "pixel_values": {"size": 28, "fit": "stretch", "mean": CLIP_MEAN, "std": CLIP_STD},
        "pixel_values_sam": {"size": 48, "fit": "pad", "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
    }
    processor = LisaProcessor(tokenizer, streams, config.tokens_per_image, dict(SHORT_TEMPLATE))
    return LisaModel(config).eval(), processor


@pytest.mark.parametrize("family", ["mini-frozen", "lisa"])
def test_lisa_trains_on_records(ground: SimpleNamespace, records: Any, tmp_path: Path, family: str) -> None:
    model, processor = tiny_lisa(ground.tokenizer)
    if family == "lisa":
        names = add_lora(model, targets=("q_proj", "v_proj"))
        assert len(names) == 2 * 2 * model.config.text_config.num_hidden_layers
    trains = prepare_for_training(model, family)
    assert not any(name.startswith(("vision_model", "sam.vision_encoder")) for name in trains)
    assert any(name.startswith("image_projection") for name in trains) == (family == "mini-frozen")
    losses = []
    for features in (
        None,
        ModelFeatures(model, processor, tmp_path),
        ModelFeatures(model, processor, tmp_path),
    ):
        objective = RecordsObjective(
            processor, Mixture([records], seed=1), max_tokens=1024, batch_size=2, features=features
        )
        assert objective.dialect == "lisa"
        loss, readings = objective.loss(model, objective.batch(0))
        assert readings["skipped"] == 0
        losses.append(float(loss.detach()))
    # One image at a time instead of a batch: float32 sums in another order.
    assert losses[1] == losses[2] == pytest.approx(losses[0], rel=1e-4)
    loss.backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    for part in ("language_model", "seg_projection", "sam.mask_decoder"):
        assert any(name.startswith(part) for name in reached), part
