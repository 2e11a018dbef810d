"""The 7B recipes say what the paper says, and train exactly the parameters of their family's table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from segue.models.modeling_prima import PrimaModel
from segue.models.presets import preset
from segue.models.registry import FAMILIES as MODELS
from segue.training.adapters import FAMILIES, add_lora, has_adapters, prepare_for_training
from segue.training.recipe import load_recipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SPECIAL = (32004, 32005, 32006)
"""Rows of `[SEG]` and the phrase tags."""

LORA = {
    f"language_model.model.layers.{layer}.self_attn.{target}_proj.lora_{side}.default.weight"
    for layer in range(32)
    for target in "qk"
    for side in "AB"
}
SHARED = {
    *(f"image_projection.{leaf}" for leaf in ("weight", "bias")),
    *(f"seg_projection.{layer}.{leaf}" for layer in (0, 2) for leaf in ("weight", "bias")),
}
FUSION = {
    *(f"fusion.{norm}.{leaf}" for norm in ("query_norm", "key_norm") for leaf in ("weight", "bias")),
    *(f"fusion.attention.{leaf}" for leaf in ("q_proj_weight", "k_proj_weight", "v_proj_weight")),
    *(f"fusion.attention.{leaf}" for leaf in ("in_proj_bias", "out_proj.weight", "out_proj.bias")),
    "reader.query_tokens",
}
RELATIONAL = {
    "reader.relational.queries",
    *(f"reader.relational.attention.{leaf}" for leaf in ("q_proj_weight", "k_proj_weight", "v_proj_weight")),
    *(f"reader.relational.attention.{leaf}" for leaf in ("in_proj_bias", "out_proj.weight", "out_proj.bias")),
}
TABLES = {"language_model.model.embed_tokens.weight", "language_model.lm_head.weight"}
ROWS = {
    f"language_model.{part}.token_adapter.trainable_tokens_delta.default"
    for part in ("model.embed_tokens", "lm_head")
}
NAMED = {
    "prima_7b": SHARED | FUSION | TABLES | LORA,
    "prima_square_7b": SHARED | RELATIONAL | TABLES | LORA,
    "prima_7b_lora_24gb": SHARED | FUSION | ROWS | LORA,
}
"""What trains beside SAM's mask decoder, by recipe; the decoder's names are those of the part."""

D, C, K, S = 4096, 1408, 1024, 256
"""Widths: language model, EVA-CLIP, DINOv2, SAM's prompts."""
COUNTS = {
    "lora": 32 * 2 * 2 * 8 * D,
    "seg": D * D + D + D * S + S,
    "image": 768 * D + D,
    "decoder": 4_058_340,
    "fusion": 2 * (C + K) + (C * C + 2 * K * C + 3 * C) + (C * C + C) + 32 * 768,
    "relational": 32 * 768 + (768 * 768 + 2 * C * 768 + 3 * 768) + (768 * 768 + 768),
    "tables": 2 * 32008 * D,
    "rows": 2 * len(SPECIAL) * D,
}
"""By hand. The decoder: 4.06 M, as GLaMM's and LISA's code count it."""
PARTS = {
    "prima_7b": ("lora", "seg", "image", "decoder", "fusion", "tables"),
    "prima_square_7b": ("lora", "seg", "image", "decoder", "relational", "tables"),
    "prima_7b_lora_24gb": ("lora", "seg", "image", "decoder", "fusion", "rows"),
}


@pytest.mark.parametrize("name", NAMED)
def test_exactly_the_table_trains(name: str) -> None:
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    family = str(recipe.finetune.family)
    ids = SPECIAL if FAMILIES[family].token_rows else ()
    with torch.device("meta"):
        model = PrimaModel(preset(recipe.model.preset).config())
        decoder = {f"sam.mask_decoder.{n}" for n, _ in model.sam.mask_decoder.named_parameters()}
        add_lora(model, recipe.finetune.lora_rank, recipe.finetune.lora_alpha, token_ids=ids)
    trains = set(prepare_for_training(model, family))
    assert trains == NAMED[name] | decoder
    assert trains == {n for n, p in model.named_parameters() if p.requires_grad}
    sizes = {n: p.numel() for n, p in model.named_parameters()}
    assert sum(sizes[n] for n in decoder) == COUNTS["decoder"]
    assert sum(sizes[n] for n in trains) == sum(COUNTS[part] for part in PARTS[name])
    assert has_adapters(model)
    if recipe.engine.bf16 and recipe.engine.processes == 1:
        frozen = sum(sizes.values()) - sum(sizes[n] for n in trains)
        assert 2 * frozen + 16 * sum(sizes[n] for n in trains) < 19e9, "what the recipe says of its memory"


@pytest.mark.parametrize("name", NAMED)
def test_the_schedule_is_the_papers(name: str) -> None:
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    o, engine = recipe.optimiser, recipe.engine
    assert (o.learning_rate, o.betas, o.max_steps) == (3e-4, (0.9, 0.95), 30 * 500)
    assert (o.weight_decay, o.grad_clip, o.warmup_steps, o.schedule) == (0, 1, 100, "linear")
    assert (recipe.finetune.lora_rank, recipe.finetune.lora_alpha) == (8, 16)
    assert recipe.finetune.family in FAMILIES
    # 4 a GPU, 4 GPUs, 2 accumulated: the batch of a step, however it is divided.
    assert recipe.options["batch_size"] == 4 * 4 * 2
    assert engine.processes is not None
    share = recipe.options["batch_size"] / (engine.processes * engine.accumulation_steps)
    assert share == (1 if name.endswith("24gb") else 4)
    assert engine.gradient_checkpointing
    assert engine.bf16


@pytest.mark.parametrize("name", ["segue_4b_lora_24gb", "segue_4b", "segue_4b_from_sa2va"])
def test_segue_trains_adapters_rows_projection_and_decoder(name: str) -> None:
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    row, rank = FAMILIES["segue"], recipe.finetune.lora_rank
    assert recipe.finetune.family == "segue"
    with torch.device("meta"):
        config = preset(recipe.model.preset).config()
        model = MODELS[config.model_type].model(config)
        add_lora(model, rank, recipe.finetune.lora_alpha, targets=row.lora, token_ids=range(3))
    trains = set(prepare_for_training(model, "segue"))
    sizes = {n: p.numel() for n, p in model.named_parameters()}
    # Inputs and outputs of q, k, v, o, gate, up and down: 32 heads of 128, 8 for keys and values.
    widths = (2560 + 4096) + 2 * (2560 + 1024) + (4096 + 2560) + 3 * (2560 + 9728)
    lora = {n for n in trains if "lora_" in n}
    assert sum(sizes[n] for n in lora) == 36 * rank * widths
    # One set of rows where the head is the embedding table; Sa2VA's is one of its own.
    tables = 2 if "sa2va" in name else 1
    assert sum(sizes[n] for n in trains if "trainable_tokens" in n) == tables * 3 * 2560
    assert {n.split(".")[0] for n in trains} == {"language_model", "seg_projection", "sam"}
    assert all(n.startswith("sam.mask_decoder") for n in trains if n.startswith("sam."))
    assert not any(n.startswith(model.encoder_parts) for n in trains)
    engine = recipe.engine
    share = recipe.options["batch_size"] / (int(engine.processes or 1) * engine.accumulation_steps)
    assert share == (4 if name == "segue_4b" else 1)
    if name != "segue_4b":
        trained = sum(sizes[n] for n in trains)
        assert 138e6 < trained < 150e6, "what the recipe says of its memory"
        assert 2 * (sum(sizes.values()) - trained) + 16 * trained < 13e9
