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


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that a model cannot change once it has been made.

    Raises:
        InputError: Naming them.
    """
    fixed = sorted(name for name in options if not name.startswith("region_alignment"))
    if fixed:
        raise InputError(
            "This option of a model cannot be changed when it is finetuned.",
            expected="region_alignment, region_alignment_heads or region_alignment_residual",
            found=", ".join(fixed),
            where="model.overrides",
            fix="leave it out: finetuning starts from the model as it is",
        )


def switch_options(bundle: ModelBundle, options: dict[str, Any]) -> None:
    """Switch region alignment of a trained model on (it starts as the identity) or off, in place.

    Args:
        options: `model.overrides` of the recipe. A model that has it keeps its weights when it is asked for.

    Raises:
        InputError: an option that a model cannot change once it has been made.
    """
    check_options(options)
    if options:
        tokenizer, dialect = bundle.processor.tokenizer, bundle.processor.dialect
        opening = tokenizer.convert_tokens_to_ids(OBJ_TOKEN if dialect == "miras" else PHRASE_START)
        bundle.model.switch_region_alignment(int(opening), **options)


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
        if recipe.model.overrides:
            # The id of the opening tag changes no shape.
            model.switch_region_alignment(0, **recipe.model.overrides)
        if recipe.data.regions and model.region_reader is None:
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
