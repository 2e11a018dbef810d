"""Stage "talk" of making the embedded model: the language half, from drawn-up findings alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from segue.files import write_atomic
from segue.mini.talk.build import SIZES, build_talking, talking_config, talking_tokenizer
from segue.mini.talk.carry import load_talking
from segue.mini.talk.kinds import known_kinds
from segue.mini.talk.objective import TalkObjective
from segue.models.mini.talking import TalkingModel
from segue.training.engine.engines import join_processes
from segue.training.engine.loop import (
    check_prefixes,
    finish_run,
    make_trainer,
    run_to_end,
    write_facts,
)
from segue.training.engine.resume import resume_point
from segue.training.engine.trainer import set_trainable
from segue.training.recipe import Recipe, options_of, refuse_unknown, written_recipe
from segue.training.stages import Plan, register_stage


@dataclass(frozen=True)
class TalkStage:
    """Trains the language model that reads findings; no data but the table of names."""

    def check(self, recipe: Recipe) -> None:
        """Refuse options that `TalkObjective` lacks, and sizes that no language model has."""
        refuse_unknown(recipe.options, options_of(TalkObjective), "options")
        refuse_unknown(recipe.model.overrides, {*SIZES, "free_tokens"}, "model.overrides")

    def paths(self, recipe: Recipe) -> dict[str, str]:
        """Models that parts are taken from."""
        return {f"model.init.{k}.folder": init.folder for k, init in enumerate(recipe.model.init)}

    def plan(self, recipe: Recipe) -> Plan:
        """The model without numbers, with as many words as the recipe's `vocab_size` allows for."""
        config = talking_config(None, recipe.model.tokenizer.vocab_size, **recipe.model.overrides)
        with torch.device("meta"):
            model = TalkingModel(config)
        trains = set_trainable(model, tuple(recipe.trainable) or TalkObjective.trainable)
        remarks = [
            f"tokenizer: {recipe.model.tokenizer.folder}, made of the words of conversations when absent"
        ]
        return Plan(recipe, model, trains, remarks, conversations=int(recipe.options.get("batch_size", 32)))

    def run(self, recipe: Recipe, out: Path, *, resume: bool) -> Path:
        """Train the stage; returns the folder of the final model."""
        processes = join_processes(recipe.engine)
        checkpoint = resume_point(out, recipe, processes, resume=resume)
        out.mkdir(parents=True, exist_ok=True)
        if processes.first:
            write_atomic(out / "recipe.yaml", written_recipe(recipe))
        with processes.first_alone():
            tokenizer = open_tokenizer(recipe)
        sizes: dict[str, Any] = recipe.model.overrides
        model, processor = build_talking(tokenizer, seed=recipe.model.seed, **sizes)
        for init in recipe.model.init:
            load_talking(model, tokenizer, init)
        objective = TalkObjective(model, processor, seed=recipe.data.seed, **recipe.options)
        check_prefixes(recipe, model)
        trainable = set_trainable(model, tuple(recipe.trainable) or objective.trainable)
        if processes.first:
            write_facts(out, recipe, model, trainable)
        trainer = make_trainer(recipe, out, model, objective)
        run_to_end(trainer, checkpoint)
        return finish_run(trainer, out, processor)


def open_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """The recipe's tokenizer; made of drawn-up conversations when its folder is empty."""
    folder = Path(recipe.model.tokenizer.folder)
    if (folder / "tokenizer.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer = talking_tokenizer(known_kinds(), recipe.model.tokenizer.dialogues)
    tokenizer.save_pretrained(folder)
    return tokenizer


register_stage("talk", TalkStage())
