"""Own data teach the embedded model more than the papers' losses: codes of phrases and names of the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from segue.mini.own_data import CodeDistillation, CodePromptLoss
from segue.models.presets import preset
from segue.training.adapters import FAMILIES
from segue.training.engine.accumulation import Share
from segue.training.finetune.defaults import known_family, own_recipe, with_family_defaults

Make = Callable[..., Any]
WIDTH = preset("tiny").config().sam_config.mask_decoder_config.hidden_size


def test_codes_train_the_masks_and_the_prompts(records_objective: Make) -> None:
    model, objective = records_objective(auxiliary=[CodeDistillation(WIDTH, 1.0), CodePromptLoss(WIDTH, 2)])
    batch = objective.batch(0)
    number = len(batch["auxiliary"]["codes"])
    asked = len(batch["auxiliary"]["code_prompts"].codes)
    loss, readings = objective.loss(model, batch)
    assert number > 0
    assert asked > 0
    assert {"text", "dice", "pixel", "seg", "code_dice", "code_pixel", "skipped", "cut"} == set(readings)
    loss.backward()
    encoder = [p.grad for p in model.sam.vision_encoder.parameters() if p.grad is not None]
    assert any(bool(g.abs().sum() > 0) for g in encoder), "SAM's encoder learns from both"
    without = records_objective()[1]
    plain, _ = without.loss(model, without.batch(0))
    weights = model.config
    by_hand = (
        float(plain.detach())
        + readings["seg"]
        + weights.dice_loss_weight * readings["code_dice"]
        + weights.pixel_loss_weight * readings["code_pixel"]
    )
    assert float(loss.detach()) == pytest.approx(by_hand, rel=1e-5)


def test_shares_with_codes_add_up_to_the_batch(records_objective: Make) -> None:
    model, objective = records_objective(auxiliary=[CodeDistillation(WIDTH, 0.5), CodePromptLoss(WIDTH, 3)])
    model.eval()
    whole = objective.batch(1)
    totals = objective.counts(whole)
    loss, _ = objective.loss(model, whole)
    parts = [objective.loss(model, objective.share(1, Share(k, 3)), totals)[0] for k in range(3)]
    assert float(sum(parts)) == pytest.approx(float(loss), rel=1e-4)


def test_only_models_that_read_names_are_taught_names(tiny: Callable[..., Any]) -> None:
    silent, reading = tiny(slot_word_ids=())[0], tiny()[0]
    assert "name_presence" not in with_family_defaults(own_recipe([]), silent).options
    assert with_family_defaults(own_recipe([]), reading).options["name_presence"] > 0
    asked = own_recipe(["options.name_presence=0.5"])
    assert with_family_defaults(asked, silent).options["name_presence"] == 0.5, "a wish is not dropped"


def test_its_encoder_learns_unless_its_features_are_kept(tiny: Callable[..., Any]) -> None:
    model = tiny()[0]
    plain, kept = own_recipe([]), own_recipe(["finetune.cache_features=true"])
    for recipe, trains in ((plain, True), (kept, False)):
        family = known_family(recipe, model)
        assert family is not None
        assert ("sam.vision_encoder" in family.trainable) is trains
        assert (with_family_defaults(recipe, model).optimiser.muon_rate > 0) is trains
        assert not family.lora
    assert set(FAMILIES["prima_mini"].trainable) - set(FAMILIES["prima_mini-frozen"].trainable) == {
        "sam.vision_encoder"
    }
