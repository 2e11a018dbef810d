"""Own data train every family: what trains, the loss, and kept features do not know PRIMA."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segue.training.adapters import add_lora, prepare_for_training
from segue.training.finetune.feature_store import FeatureStore
from segue.training.finetune.mixture import Mixture
from segue.training.finetune.objective import RecordsObjective


@pytest.mark.parametrize("family", ["prima_mini-frozen", "lisa"])
def test_lisa_trains_on_records(
    tiny_lisa: Callable[..., Any], records: Any, tmp_path: Path, family: str
) -> None:
    model, processor = tiny_lisa()
    if family == "lisa":
        names = add_lora(model, targets=("q_proj", "v_proj"))
        assert len(names) == 2 * 2 * model.config.text_config.num_hidden_layers
    trains = prepare_for_training(model, family)
    assert not any(name.startswith(("vision_model", "sam.vision_encoder")) for name in trains)
    assert any(name.startswith("image_projection") for name in trains) == (family == "prima_mini-frozen")
    losses = []
    for features in (
        None,
        FeatureStore(model, processor, tmp_path),
        FeatureStore(model, processor, tmp_path),
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
