"""The loop around one stage of training: from a model and its objective to `final/`, whatever the stage.

It knows nothing of data, of families or of what a stage learns; those bring an `Objective`.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

import segue
from segue.errors import InputError
from segue.files import write_atomic
from segue.models.modeling_grounded import GroundedModel
from segue.models.processing_grounded import GroundedProcessor
from segue.training.adapters import has_adapters, merged_state
from segue.training.engine.accumulation import check_divisible
from segue.training.engine.checkpoints import saved_weights, step_of, whole_model
from segue.training.engine.engines import check_engaged, engine_arguments, join_processes, lighten
from segue.training.engine.loss_log import LossLog
from segue.training.engine.trainer import Batches, Objective, StageTrainer
from segue.training.recipe import InitRecipe, Recipe


def run_to_end(trainer: StageTrainer, checkpoint: Path | None) -> None:
    """Train all steps, or those after a checkpoint; `run.json` gets the seconds of all processes so far."""
    out, start = Path(str(trainer.args.output_dir)), step_of(checkpoint) if checkpoint is not None else 0
    # The data set itself begins at the checkpoint's step; with `ignore_data_skip` the Trainer does not draw
    # all earlier batches to throw them away.
    trainer.train_dataset.start = start
    if trainer.processes.first:
        trainer.losses = LossLog(out, start)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
    if trainer.losses is not None:
        facts = json.loads((out / "run.json").read_text())
        facts["seconds"] = round(trainer.losses.seconds)
        write_atomic(out / "run.json", json.dumps(facts, indent=1))


def finish_run(trainer: StageTrainer, out: Path, processor: GroundedProcessor) -> Path:
    """Write `final/` from the weights of all processes, with LoRA folded in."""
    state = trainer.whole_state()
    if trainer.processes.first:
        save_final(out / "final", trainer.stage_model, processor, state=state)
    trainer.processes.wait()
    return out / "final"


def check_prefixes(recipe: Recipe, model: nn.Module) -> None:
    """Refuse prefixes of the recipe that no parameter has.

    Raises:
        InputError: one of `trainable`, `optimiser.lr_multipliers` or `optimiser.muon_parts` matches nothing.
    """
    names = [name for name, _ in model.named_parameters()]
    o = recipe.optimiser
    for where, prefixes in (
        ("trainable", recipe.trainable),
        ("optimiser.lr_multipliers", o.lr_multipliers),
        ("optimiser.muon_parts", o.muon_parts),
    ):
        for prefix in prefixes:
            if not any(name.startswith(prefix) for name in names):
                raise InputError(
                    "a prefix matches no parameter",
                    expected="the beginning of a parameter's name",
                    found=prefix,
                    where=where,
                    fix="mend the prefix",
                )


def make_trainer(recipe: Recipe, out: Path, model: GroundedModel, objective: Objective) -> StageTrainer:
    """A `StageTrainer` with the recipe's optimiser and engine.

    Raises:
        InputError: the stage's batches cannot be divided among the processes, or too small.
    """
    o, engine = recipe.optimiser, recipe.engine
    processes = join_processes(engine)
    check_divisible(objective, processes.count * engine.accumulation_steps, recipe.stage)
    lighten(model, engine)
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=o.max_steps,
        learning_rate=o.learning_rate,
        weight_decay=o.weight_decay,
        adam_beta1=o.betas[0],
        adam_beta2=o.betas[1],
        max_grad_norm=o.grad_clip,
        warmup_steps=o.warmup_steps,
        lr_scheduler_type="cosine_with_min_lr" if o.schedule == "cosine" else "linear",
        lr_scheduler_kwargs={"min_lr_rate": o.min_lr_ratio} if o.schedule == "cosine" else {},
        # An item of `Batches` is a whole share.
        per_device_train_batch_size=1,
        logging_steps=recipe.log_every,
        save_steps=recipe.save_every,
        save_total_limit=recipe.keep,
        dataloader_pin_memory=False,
        dataloader_num_workers=recipe.data.workers,
        remove_unused_columns=False,
        ignore_data_skip=True,
        report_to=recipe.report_to or "none",
        seed=recipe.data.seed,
        disable_tqdm=not processes.first,
        **engine_arguments(engine),
    )
    trainer = StageTrainer(
        objective,
        o.lr_multipliers,
        o.muon_rate,
        tuple(o.muon_parts),
        model=model,
        args=arguments,
        train_dataset=Batches(objective, o.max_steps, processes, engine.accumulation_steps),
        processes=processes,
        facts={"recipe": recipe.model_dump(mode="json")},
        adapters=has_adapters(model),
    )
    check_engaged(trainer.accelerator, engine, processes)
    return trainer


def load_parts(model: GroundedModel, init: InitRecipe) -> list[str]:
    """Copy weights of a saved model into the parts that the recipe names.

    Returns:
        Names of the parameters that were copied: all of the named parts.

    Raises:
        InputError: no such model, a part that it or the model lacks, or shapes that differ.
    """
    source, target = saved_weights(Path(init.folder), model), model.state_dict()
    # All of a part or an error: a half-loaded part would train on, half of it random.
    names = [n for n in target if not init.parts or n.startswith(tuple(init.parts))]
    empty = [part for part in init.parts if not any(n.startswith(part) for n in target)]
    wrong = [n for n in names if n not in source or source[n].shape != target[n].shape]
    if empty or wrong:
        problem = (
            f"no parameter of the model begins with {empty}"
            if empty
            else (f"{len(wrong)} of {len(names)} are absent or have other shapes: {', '.join(wrong[:3])}")
        )
        raise InputError(
            "weights do not fit",
            expected=f"all parameters of {init.parts or 'the model'}",
            found=problem,
            where=init.folder,
            fix="use the same preset and tokenizer in all stages",
        )
    model.load_state_dict({n: source[n].to(target[n].dtype) for n in names}, strict=False)
    return names


def save_final(
    folder: Path,
    model: GroundedModel,
    processor: GroundedProcessor,
    dtype: torch.dtype = torch.float32,
    state: dict[str, torch.Tensor] | None = None,
) -> Path:
    """Save model and processor for `segue.load`, LoRA folded in.

    Args:
        state: the weights, where an engine keeps them elsewhere than in the model.
    """
    whole = merged_state(model, model.state_dict() if state is None else state)
    # Tied weights share their memory: each place is cast once, so that they stay one copy on the disk.
    cast: dict[tuple[int, torch.Size], torch.Tensor] = {}
    for p in whole.values():
        cast.setdefault((p.data_ptr(), p.shape), p.detach().to(dtype))
    state = {n: cast[p.data_ptr(), p.shape] for n, p in whole.items()}
    with whole_model(folder) as unfinished:
        model.save_pretrained(unfinished, state_dict=state)
        processor.save_pretrained(unfinished)
    return folder


def git_commit() -> str:
    """The commit that runs, or why there is none to name."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent,
            check=False,
        )
    except OSError:
        return "unknown: git is not installed"
    return found.stdout.strip() or "unknown: not a git checkout"


def write_facts(
    out: Path, recipe: Recipe, model: nn.Module, trainable: list[str], more: dict[str, Any] | None = None
) -> None:
    """Write `run.json`: versions, machine, commit and parameter counts, once per run; and `more`."""
    if (out / "run.json").exists():
        return
    import transformers

    sizes = dict(model.named_parameters())
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    facts = {
        "stage": recipe.stage,
        "commit": git_commit(),
        "segue": segue.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {device}",
        "parameters": sum(p.numel() for p in sizes.values()),
        "trainable": sum(sizes[n].numel() for n in trainable),
    }
    write_atomic(out / "run.json", json.dumps(facts | (more or {}), indent=1))
