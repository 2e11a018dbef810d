"""MIRAS's two stages: what trains by its code and by its paper, and a second stage that resets nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from segue.errors import InputError
from segue.models.auto import ModelBundle, load
from segue.models.build import build_miras
from segue.models.modeling_miras import MirasModel
from segue.models.presets import preset
from segue.training.adapters import (
    FAMILIES,
    add_lora,
    has_adapters,
    merged_state,
    prepare_for_training,
    special_token_ids,
)
from segue.training.engine.loop import save_final
from segue.training.finetune.defaults import DEFAULT_RECIPE
from segue.training.finetune.start import switch_options
from segue.training.recipe import load_recipe
from segue.training.run import train

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
STAGES = ("miras_stage1", "miras_stage2")
D, S = 4096, 256
"""Widths of the language model and of SAM's prompts."""

LORA = {
    f"language_model.model.layers.{layer}.self_attn.{target}_proj.lora_{side}.default.weight"
    for layer in range(32)
    for target in "qv"
    for side in "AB"
}
MINING = {
    f"fusion.{part}.{layer}.{leaf}"
    for part in ("query", "key", "value")
    for layer in (0, 1)
    for leaf in ("weight", "bias")
}
ALIGNMENT = {
    f"region_alignment.{name}"
    for name in (
        "attention.in_proj_weight", "attention.in_proj_bias", "attention.out_proj.weight",
        "attention.out_proj.bias", "output.weight", "output.bias",
    )
}  # fmt: skip
SEG = {f"seg_projection.{layer}.{leaf}" for layer in (0, 2) for leaf in ("weight", "bias")}
IMAGE = {f"image_projection.{layer}.{leaf}" for layer in (0, 2) for leaf in ("weight", "bias")}
TABLES = {"language_model.model.embed_tokens.weight", "language_model.lm_head.weight"}
ROWS = {f"language_model.{part}.trainable_tokens_delta.default" for part in ("model.embed_tokens", "lm_head")}
EXPECTED = {
    "miras": LORA | MINING | ALIGNMENT | SEG | TABLES,
    "miras-frozen": MINING | ALIGNMENT | SEG | IMAGE | ROWS,
}
"""Beside SAM's mask decoder."""
COUNTS = {
    "miras": 32 * 2 * 2 * 8 * D + 6_963_456 + 328_960 + (D * D + D + D * S + S) + 2 * 32005 * D,
    "miras-frozen": 6_963_456 + 328_960 + (D * D + D + D * S + S) + (1024 * D + D + D * D + D) + 2 * 4 * D,
}


@pytest.mark.parametrize("family", EXPECTED)
def test_exactly_the_table_trains(family: str) -> None:
    ids = (32000, 32001, 32002, 32003) if FAMILIES[family].token_rows else ()
    with torch.device("meta"):
        model = MirasModel(preset("miras-7b").config())
        decoder = {f"sam.mask_decoder.{n}": p.numel() for n, p in model.sam.mask_decoder.named_parameters()}
        add_lora(model, 8, 16, targets=FAMILIES[family].lora, token_ids=ids)
    trains = set(prepare_for_training(model, family))
    assert trains == EXPECTED[family] | set(decoder)
    sizes = {n: p.numel() for n, p in model.named_parameters()}
    assert sum(sizes[n] for n in trains) == COUNTS[family] + sum(decoder.values())


@pytest.mark.parametrize("name", STAGES)
def test_the_schedule_is_that_of_the_code(name: str) -> None:
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    o = recipe.optimiser
    assert (o.learning_rate, o.betas, o.weight_decay, o.grad_clip) == (3e-4, (0.9, 0.95), 0, 1)
    assert (o.warmup_steps, o.schedule) == (100, "linear")
    steps, batch = {"miras_stage1": (10 * 500, 2 * 10), "miras_stage2": (100 * 250, 8 * 10)}[name]
    assert (o.max_steps, recipe.options["batch_size"]) == (steps, batch)
    assert recipe.finetune.family == "miras"


def test_the_second_stage_starts_from_the_first() -> None:
    first, second = (load_recipe(RECIPES / f"{name}.yaml") for name in STAGES)
    assert second.model.start == "runs/miras_stage1/final"
    assert not second.model.init
    assert not second.model.overrides
    assert first.model.preset == second.model.preset == "miras-7b"


@pytest.fixture
def start(small_tokenizer: Any, tmp_path: Path) -> Path:
    """A folder with a tiny MIRAS whose tables are not tied, as the published ones."""
    text = preset("tiny-miras").config().text_config.to_dict() | {"tie_word_embeddings": False}
    return save_final(tmp_path / "start", *build_miras(small_tokenizer, text_config=text))


@pytest.fixture
def stage(scene_records: Path, tmp_path: Path) -> Callable[..., Path]:
    """Runs a stage's recipe at tiny size on scenes; keywords are dotted overrides."""

    def run(name: str, begin: Path, **changes: Any) -> Path:
        values = {
            "model.start": str(begin),
            "data.own": [{"path": str(scene_records), "split": "train"}],
            "data.workers": 0,
            "engine": {"kind": "none"},
            "optimiser.max_steps": 3,
            "options.batch_size": 2,
            "finetune.sheet_every": 0,
            "save_every": 100,
        } | {key.replace("__", "."): value for key, value in changes.items()}
        overrides = [f"{key}={json.dumps(value)}" for key, value in values.items()]
        return train(RECIPES / f"{name}.yaml", tmp_path / name, overrides)

    return run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("family", EXPECTED)
def test_both_stages_run_and_the_second_resets_nothing(
    start: Path, stage: Callable[..., Path], family: str
) -> None:
    first = stage(STAGES[0], start, finetune__family=family)
    # Warm-up is at most a fifth of the steps: three steps learn.
    before, after = weights(start), weights(first)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    parts = {"fusion", "seg_projection", "sam.mask_decoder", "region_alignment", "language_model"}
    for part in parts | ({"image_projection"} if family == "miras-frozen" else set()):
        assert any(name.startswith(part) for name in changed), part
    frozen = ("vision_model", "aux_vision_model", "sam.vision_encoder", "sam.prompt_encoder")
    assert not any(name.startswith(frozen) for name in changed)
    inner = {name for name in changed if name.startswith("language_model.model.layers")}
    assert {name.split(".")[-2] for name in inner} == ({"q_proj", "v_proj"} if family == "miras" else set())
    if family == "miras-frozen":
        ids = special_token_ids(load(start, "cpu").processor.tokenizer, family)
        table = "language_model.lm_head.weight"
        rows = (before[table] != after[table]).any(1).nonzero()[:, 0].tolist()
        assert set(rows) <= set(ids)
        assert len(ids) == 2  # this tokenizer has no <im_start> and <im_end>
    second = stage(STAGES[1], first, finetune__family=family, optimiser__learning_rate=0.0)
    kept = weights(second)
    assert set(kept) == set(after)
    assert all(torch.equal(after[name], kept[name]) for name in after), "bit by bit, before the first step"


def test_rows_alone_fold_away_without_a_trace(small_tokenizer: Any) -> None:
    text = preset("tiny-miras").config().text_config.to_dict() | {"tie_word_embeddings": False}
    model, processor = build_miras(small_tokenizer, text_config=text)
    plain, _ = build_miras(small_tokenizer, text_config=text, seed=5)
    names = add_lora(model, targets=(), token_ids=special_token_ids(processor.tokenizer, "miras-frozen"))
    assert len(names) == 2
    with torch.no_grad():
        for name in names:
            model.get_parameter(name).normal_(0, 0.3)
    plain.load_state_dict(merged_state(model, model.state_dict()))
    assert has_adapters(model)
    assert not has_adapters(plain)
    words = torch.tensor([[4, model.config.phrase_token_id, 20, 21]])
    with torch.no_grad():
        expected, found = (m.eval().language_model(input_ids=words).logits for m in (model, plain))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


# ---- region alignment as an option of trained models ----


def test_alignment_is_switched_on_for_a_trained_prima(
    tiny: Callable[..., Any], scene_records: Path, tmp_path: Path
) -> None:
    begin = save_final(tmp_path / "start", *tiny())
    overrides = [
        f"model.start={begin}", f"data.own=[{{path: {scene_records}}}]", "options.batch_size=2",
        "optimiser.max_steps=3", "finetune.sheet_every=0", "model.overrides.region_alignment=true",
    ]  # fmt: skip
    final = train(DEFAULT_RECIPE, tmp_path / "run", overrides)
    model = load(final, "cpu").model
    assert model.config.region_alignment
    assert bool(model.region_alignment.output.weight.any()), "it has learned"
    # Training goes on from there: what is on stays as it is.
    bundle = load(final, "cpu")
    switch_options(bundle, {"region_alignment": True})
    assert torch.equal(bundle.model.region_alignment.output.weight, model.region_alignment.output.weight)
    switch_options(bundle, {"region_alignment": False})
    assert bundle.model.region_alignment is None


@torch.no_grad()
def test_switched_on_it_changes_nothing_yet(tiny: Callable[..., Any]) -> None:
    model, processor = tiny()
    ids = torch.tensor([[1, 5, 20, 4, 2]])
    inputs = {"input_ids": ids, "labels": ids.clone(), "num_images": [0]}
    inputs["labels"][0, 0] = -100
    plain = model.language_model.model(input_ids=ids).last_hidden_state[:, 2]
    switch_options(ModelBundle(model, processor, "tiny"), {"region_alignment": True})
    assert model.config.phrase_token_id == 5
    prompt = model.seg_projection(plain)
    assert torch.equal(model.align(prompt, [plain.new_ones((2, plain.shape[1]))]), prompt)


def test_other_options_of_a_finished_model_are_refused(tiny: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="num_query_tokens"):
        switch_options(ModelBundle(*tiny(), "tiny"), {"num_query_tokens": 3})
