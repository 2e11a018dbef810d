"""Own data train every family: what trains, the loss, and kept features do not know PRIMA."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.errors import RecordError
from segue.models.build import build_segue
from segue.training.adapters import FAMILIES, add_lora, prepare_for_training, special_token_ids
from segue.training.finetune.feature_store import FeatureStore
from segue.training.finetune.mixture import Mixture
from segue.training.finetune.objective import RecordsObjective

FROM_SA2VA = {"prompt_position": "at", "prompt_norm": "before", "padding_points": 2, "best_of_three": True}
"""What weights of Sa2VA keep under PRIMA's protocol; its own way of writing names no image."""


@pytest.mark.parametrize("family", ["prima-encoders-frozen", "lisa", "segue", "segue from Sa2VA"])
def test_other_families_train_on_records(
    tiny_lisa: Callable[..., Any], small_tokenizer: Any, records: Any, tmp_path: Path, family: str
) -> None:
    options = FROM_SA2VA if "Sa2VA" in family else {}
    of_segue, family = family.startswith("segue"), family.split(" ")[0]
    model, processor = build_segue(small_tokenizer, **options) if of_segue else tiny_lisa()
    row = FAMILIES[family]
    if row.lora:
        ids = special_token_ids(processor.tokenizer, family) if row.token_rows else ()
        names = add_lora(model, targets=row.lora, token_ids=ids)
        layers = [name for name in names if "lora_" in name]
        assert len(layers) == 2 * len(row.lora) * model.config.text_config.num_hidden_layers
    trains = prepare_for_training(model, family)
    assert not any(name.startswith(model.encoder_parts) for name in trains)
    assert any(name.startswith("image_projection") for name in trains) == (family == "prima-encoders-frozen")
    losses = []
    for features in (
        None,
        FeatureStore(model, processor, tmp_path),
        FeatureStore(model, processor, tmp_path),
    ):
        objective = RecordsObjective(
            processor, Mixture([records], seed=1), max_tokens=1024, batch_size=2, features=features
        )
        assert objective.dialect == processor.dialect
        loss, readings = objective.loss(model, objective.batch(0))
        assert readings["skipped"] == 0
        losses.append(float(loss.detach()))
    # One image at a time instead of a batch: float32 sums in another order.
    assert losses[1] == losses[2] == pytest.approx(losses[0], rel=1e-4)
    loss.backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    for part in ("language_model", "seg_projection", "sam.mask_decoder"):
        assert any(name.startswith(part) for name in reached), part


def test_images_count_in_the_length_of_a_conversation(small_tokenizer: Any, records: Any) -> None:
    processor = build_segue(small_tokenizer)[1]
    mixture = Mixture([records], seed=1)
    drawn = mixture.draw(0, 0, 0)
    wide = RecordsObjective(processor, mixture, max_tokens=10**6)
    ids = len(wide.encode(drawn.conversation, np.random.default_rng(0))[0]["input_ids"])
    hidden = processor.hidden_tokens([(image.height, image.width) for image in drawn.conversation.images])
    assert hidden > 0
    fits = RecordsObjective(processor, mixture, max_tokens=ids + hidden)
    assert fits.encode(drawn.conversation, np.random.default_rng(0))[2] == 0
    narrow = RecordsObjective(processor, mixture, max_tokens=ids + hidden - 1)
    try:
        cut = narrow.encode(drawn.conversation, np.random.default_rng(0))[2]
    except RecordError:
        cut = 1
    assert cut > 0
