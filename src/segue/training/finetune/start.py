"""The model that a run on own data starts from, and what of it trains."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from segue.errors import InputError
from segue.models import auto
from segue.models.auto import ModelBundle
from segue.models.modeling_grounded import GroundedModel
from segue.models.presets import preset
from segue.models.region_tokens import switch_region_tokens
from segue.protocol import OBJ_TOKEN, PHRASE_START
from segue.training.adapters import add_lora, family_named, prepare_for_training, special_token_ids
from segue.training.engine.trainer import set_trainable
from segue.training.finetune.defaults import family_for
from segue.training.recipe import Recipe


def open_model(recipe: Recipe) -> ModelBundle:
    """The whole model that the recipe starts from, on this process's device.

    Raises:
        InputError: None is named. ModelError: it cannot be loaded.
    """
    # The place on this machine; RANK counts over all machines.
    rank = os.environ.get("LOCAL_RANK")
    device = f"cuda:{rank}" if rank is not None and torch.cuda.is_available() else None
    bundle = auto.load(start_of(recipe), device)
    # A new part of the model depends on the seed alone, whatever loading drew, and no later draw on the part.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.model.seed)
        switch_options(bundle, recipe.model.overrides)
        if recipe.data.regions:
            switch_region_tokens(bundle)
    return bundle


def start_of(recipe: Recipe) -> str:
    """Name or folder of the model that a run starts from, looked for before any data are read.

    Raises:
        InputError: None is named. ModelError: there is no such model.
    """
    start = recipe.model.start
    if start is None:
        raise _no_start()
    auto.weights_folder(start)
    return start


ALIGNMENT = ("region_alignment", "region_alignment_heads", "region_alignment_residual")
"""Options of region alignment, see `segue.models.region_alignment`."""
MEMORY = ("region_tokens", "mask_memory")
"""Options that let questions speak of regions, see `segue.models.region_tokens`."""


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that a model cannot change once it has been made, and memory without regions.

    Raises:
        InputError: Naming them.
    """
    if options.get("mask_memory") and options.get("region_tokens") is False:
        raise InputError(
            "Mask memory needs region tokens: masks are remembered as regions.",
            expected="region_tokens true, or left out",
            found="region_tokens false with mask_memory true",
            where="model.overrides",
            fix="leave out one of the two",
        )
    fixed = sorted(set(options) - {*ALIGNMENT, *MEMORY})
    if fixed:
        raise InputError(
            "This option of a model cannot be changed when it is finetuned.",
            expected=" or ".join((*ALIGNMENT, *MEMORY)),
            found=", ".join(fixed),
            where="model.overrides",
            fix="leave it out: finetuning starts from the model as it is",
        )


def switch_options(bundle: ModelBundle, options: dict[str, Any]) -> None:
    """Switch options of a trained model on or off, in place: region alignment (it starts as the identity),
    region tokens (their reader is new), mask memory (which brings region tokens with it).

    Args:
        options: `model.overrides` of the recipe. A model that has a part keeps its weights when it is asked
            for.

    Raises:
        InputError: an option that a model cannot change once it has been made.
    """
    check_options(options)
    alignment = _alignment_of(options)
    if alignment:
        tokenizer, dialect = bundle.processor.tokenizer, bundle.processor.dialect
        opening = tokenizer.convert_tokens_to_ids(OBJ_TOKEN if dialect == "miras" else PHRASE_START)
        bundle.model.switch_region_alignment(int(opening), **alignment)
    wanted = _region_tokens_of(options)
    if wanted is not None:
        switch_region_tokens(bundle, wanted)
    if "mask_memory" in options or wanted is False:
        bundle.model.config.mask_memory = bool(options.get("mask_memory"))


def _alignment_of(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in ALIGNMENT}


def _region_tokens_of(options: Mapping[str, Any]) -> bool | None:
    """Whether region tokens are switched on or off; None leaves them as they are."""
    return True if options.get("mask_memory") else options.get("region_tokens")


def model_without_weights(recipe: Recipe) -> GroundedModel:
    """The model that a run would start from, on the meta device: shapes without numbers.

    Where the folder of `model.start` is not there yet, the recipe's preset says what it will hold.

    Raises:
        InputError: None is named. ModelError: nothing says what it is.
    """
    start = recipe.model.start
    if start is None:
        raise _no_start()
    if Path(start).is_dir() or "preset" not in recipe.model.model_fields_set:
        config = auto.load_config(auto.weights_folder(start))
    else:
        config = preset(recipe.model.preset).config()
    with torch.device("meta"):
        model: GroundedModel = AutoModel.from_config(config)
        check_options(recipe.model.overrides)
        # The ids of tags change no shape.
        alignment = _alignment_of(recipe.model.overrides)
        if alignment:
            model.switch_region_alignment(0, **alignment)
        wanted = _region_tokens_of(recipe.model.overrides)
        if wanted is False:
            model.switch_region_tokens(-1, False)
        elif (wanted or recipe.data.regions) and model.region_reader is None:
            model.switch_region_tokens(0)
    return model


def choose_trainable(model: GroundedModel, recipe: Recipe, tokenizer: Any = None) -> list[str]:
    """Let the recipe's prefixes train, or the family's table with LoRA; returns the parameters' names.

    Args:
        tokenizer: Knows the ids of the rows that train; None takes as many rows as there are tokens.
    """
    if recipe.trainable:
        return set_trainable(model, tuple(recipe.trainable))
    name = family_for(recipe, model.config)
    family = family_named(name)
    if family.lora or family.token_rows:
        ids: Sequence[int] = range(len(family.token_rows))
        if tokenizer is not None and family.token_rows:
            ids = special_token_ids(tokenizer, name)
        rank, alpha = recipe.finetune.lora_rank, recipe.finetune.lora_alpha
        add_lora(model, rank, alpha, targets=family.lora, token_ids=ids)
    return prepare_for_training(model, name)


def _no_start() -> InputError:
    return InputError(
        "There is no model to start from.",
        expected="a preset with weights, or a folder that save_pretrained wrote",
        found="nothing",
        where="model.start",
        fix="give --model segue-mini, or set model.start",
    )
