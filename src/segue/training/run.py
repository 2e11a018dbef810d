"""Run a recipe: build model and data, train, resume, export."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import PreTrainedTokenizerFast, TrainingArguments

import segue
from segue.errors import InputError
from segue.mini.pools import PhotoPool, ScenePool, photo_pool, scene_pool
from segue.mini.slots import free_queries
from segue.mini.starts import start_sam, start_towers
from segue.mini.vocabulary import PHOTO_LABELS, SLOT_CLASSES
from segue.models.configuration_grounded import PrimaConfig
from segue.models.mini.build import build_from_tokenizer
from segue.models.modeling_grounded import GroundedModel
from segue.models.modeling_prima import PrimaModel
from segue.models.presets import preset
from segue.models.processing_grounded import GroundedProcessor, PrimaProcessor
from segue.training.adapters import has_adapters, merged_state
from segue.training.engine.accumulation import check_divisible
from segue.training.engine.checkpoints import saved_weights, step_of
from segue.training.engine.engines import (
    check_engaged,
    check_optimiser,
    engine_arguments,
    join_processes,
    lighten,
)
from segue.training.engine.loss_log import LossLog
from segue.training.engine.resume import resume_point
from segue.training.engine.trainer import Batches, Objective, StageTrainer, set_trainable
from segue.training.recipe import InitRecipe, Recipe, load_recipe


def train(
    recipe_path: str | Path,
    out: str | Path,
    overrides: list[str] | None = None,
    dry_run: bool = False,
    resume: bool = True,
) -> Path:
    """Train one stage.

    Args:
        recipe_path: YAML, see `segue.training.recipe`.
        out: run folder; holds the resolved recipe, checkpoints, and at the end `final/`.
        overrides: `a.b=value`.
        dry_run: write the resolved recipe and the parameter counts, then stop.
        resume: go on from the last checkpoint in `out`.

    Returns:
        The folder of the final model (of the run in a dry run).
    """
    recipe, out = load_recipe(recipe_path, overrides), Path(out)
    check_recipe(recipe)
    check_optimiser(recipe)
    processes = join_processes(recipe.engine)
    if recipe.stage == "finetune":
        from segue.training.finetune.run import finetune

        return finetune(recipe, out, dry_run=dry_run, resume=resume)
    checkpoint = resume_point(out, recipe, processes, resume=resume)
    out.mkdir(parents=True, exist_ok=True)
    if processes.first:
        (out / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    with processes.first_alone():
        scenes, photos = open_data(recipe)
        tokenizer = open_tokenizer(recipe, scenes, photos)
    model, processor = build_from_tokenizer(
        recipe.model.preset,
        tokenizer,
        seed=recipe.model.seed,
        slot_classes=SLOT_CLASSES,
        **label_names(recipe),
        **recipe.model.overrides,
    )
    for init in recipe.model.init:
        load_parts(model, init)
    with processes.first_alone():
        objective = make_objective(recipe, model, processor, scenes, photos, out)
    start_fresh(recipe, model, objective)
    check_prefixes(recipe, model)
    trainable = set_trainable(model, tuple(recipe.trainable) or objective.trainable)
    if processes.first:
        write_facts(out, recipe, model, trainable)
    if dry_run:
        return out
    trainer = make_trainer(recipe, out, model, objective)
    run_to_end(trainer, checkpoint)
    return finish_run(trainer, out, processor)


def run_to_end(trainer: StageTrainer, checkpoint: Path | None) -> None:
    """Train all steps, or those after a checkpoint; `run.json` gets the seconds of all processes so far."""
    out, start = Path(str(trainer.args.output_dir)), step_of(checkpoint) if checkpoint is not None else 0
    trainer.train_dataset.start = start
    if trainer.processes.first:
        trainer.losses = LossLog(out, start)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
    if trainer.losses is not None:
        facts = json.loads((out / "run.json").read_text())
        facts["seconds"] = round(trainer.losses.seconds)
        (out / "run.json").write_text(json.dumps(facts, indent=1))


def finish_run(trainer: StageTrainer, out: Path, processor: GroundedProcessor) -> Path:
    """Write `final/` from the weights of all processes, with LoRA folded in."""
    state = trainer.whole_state()
    if trainer.processes.first:
        save_final(out / "final", trainer.stage_model, processor, state=state)
    trainer.processes.wait()
    return out / "final"


def open_data(recipe: Recipe) -> tuple[ScenePool, PhotoPool | None]:
    """The image pools of a recipe; scenes are rendered on first use."""
    s = recipe.data.scenes
    scenes = scene_pool(
        Path(s.folder), seed=s.seed, count=s.count, size=s.size, split=s.split, workers=os.cpu_count() or 1
    )
    p = recipe.data.photos
    if p is None or recipe.data.photo_share == 0:
        return scenes, None
    if not Path(p.coco).exists():
        raise InputError(
            "no photographs",
            expected="a COCO file",
            found="nothing there",
            where=p.coco,
            fix="set data.photos.coco, or data.photos=null to train on scenes alone",
        )
    return scenes, photo_pool(
        Path(p.coco), Path(p.images), size=p.size, cache=Path(s.folder).parent / "photo_facts.json"
    )


def label_names(recipe: Recipe) -> dict[str, Any]:
    """`label_reader_names` where the model has a query for every label of photographs, else nothing."""
    config = preset(recipe.model.preset).config(**recipe.model.overrides)
    fits = isinstance(config, PrimaConfig) and free_queries(config) >= len(PHOTO_LABELS)
    return {"label_reader_names": PHOTO_LABELS} if fits else {}


def open_tokenizer(recipe: Recipe, scenes: ScenePool, photos: PhotoPool | None) -> PreTrainedTokenizerFast:
    """The recipe's tokenizer; learned from dialogues when its folder is empty."""
    folder = Path(recipe.model.tokenizer.folder)
    if (folder / "tokenizer.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    from segue.mini.dialogues import dialogue_texts
    from segue.mini.tokenizer import train_tokenizer

    texts = dialogue_texts(scenes, photos, recipe.model.tokenizer.dialogues)
    tokenizer = train_tokenizer(texts, recipe.model.tokenizer.vocab_size)
    tokenizer.save_pretrained(folder)
    return tokenizer


def objective_class(stage: str) -> type:
    """The class of a stage's objective."""
    if stage == "masks":
        from segue.mini.mask_objective import MaskObjective

        return MaskObjective
    if stage == "slots":
        from segue.mini.slot_objective import SlotObjective

        return SlotObjective
    if stage == "vision":
        from segue.mini.vision_objective import VisionObjective

        return VisionObjective
    if stage == "labels":
        from segue.mini.label_objective import LabelObjective

        return LabelObjective
    if stage == "finetune":
        from segue.training.finetune.objective import RecordsObjective

        return RecordsObjective
    from segue.mini.conversation_objective import ConversationObjective

    return ConversationObjective


GIVEN = frozenset(
    {"cache", "max_tokens", "trainable", "features", "journal", "dialect", "prompt_width", "names"}
)
"""Arguments of the objectives that follow from the run; options of a recipe do not name them."""


def check_recipe(recipe: Recipe) -> None:
    """Refuse, before anything is rendered or built, names that nothing would read.

    Raises:
        InputError: unknown preset, model override or option of the stage.
    """
    parameters = inspect.signature(objective_class(recipe.stage)).parameters.values()
    options = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - GIVEN
    config = preset(recipe.model.preset).config()
    fields = {f.name for f in dataclasses.fields(config)} - {"slot_classes"}
    for given, known, where in (
        (recipe.options, options, "options"),
        (recipe.model.overrides, fields, "model.overrides"),
    ):
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known) or sorted(known)
                raise InputError(
                    "unknown name in the recipe",
                    expected=" or ".join(near),
                    found=name,
                    where=where,
                    fix="mend the name",
                )


def check_prefixes(recipe: Recipe, model: PrimaModel) -> None:
    """Refuse prefixes of the recipe that no parameter has.

    Raises:
        InputError: one of `trainable`, `optimiser.slow` or `optimiser.muon_parts` matches nothing.
    """
    names = [name for name, _ in model.named_parameters()]
    o = recipe.optimiser
    for where, prefixes in (
        ("trainable", recipe.trainable),
        ("optimiser.slow", o.slow),
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


def make_objective(
    recipe: Recipe,
    model: PrimaModel,
    processor: PrimaProcessor,
    scenes: ScenePool,
    photos: PhotoPool | None,
    out: Path,
) -> Objective:
    """The objective that the recipe's stage names."""
    shared: dict[str, Any] = {
        "seed": recipe.data.seed,
        "photo_share": recipe.data.photo_share,
    } | recipe.options
    make: Any = objective_class(recipe.stage)
    if recipe.stage in ("masks", "labels"):
        return make(model, scenes, photos, **shared)
    cache = out.parent / "features"
    if recipe.stage == "conversation":
        return make(model, processor, scenes, photos, cache=cache, **shared)
    from segue.mini.dialogues import instruction_bank

    bank = instruction_bank(processor, scenes, photos)
    if recipe.stage == "slots":
        return make(model, scenes, photos, bank, cache=cache, **shared)
    return make(model, scenes, photos, bank, **shared)


def start_fresh(recipe: Recipe, model: PrimaModel, objective: Objective) -> None:
    """Give towers that are trained from nothing their starts; `model.init` keeps what it loaded."""
    if recipe.model.init or recipe.stage not in ("masks", "vision"):
        return
    batches = [objective.batch(step) for step in range(1_000_000, 1_000_008)]
    if recipe.stage == "masks":
        start_sam(model, torch.cat([b["pixels"] for b in batches]))
    else:
        clip, dino = (torch.cat([b[n] for b in batches]) for n in ("pixel_values", "pixel_values_aux"))
        start_towers(model, clip, dino)


def make_trainer(recipe: Recipe, out: Path, model: PrimaModel, objective: Objective) -> StageTrainer:
    """A `StageTrainer` with the recipe's optimiser and engine.

    Raises:
        InputError: the stage's batches cannot be divided among the processes, or too small.
    """
    o, engine = recipe.optimiser, recipe.engine
    processes = join_processes(engine)
    check_divisible(objective, processes.count * engine.gradient_accumulation, recipe.stage)
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
        lr_scheduler_kwargs={"min_lr_rate": o.floor} if o.schedule == "cosine" else {},
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
        o.slow,
        o.muon_rate,
        tuple(o.muon_parts),
        model=model,
        args=arguments,
        train_dataset=Batches(objective, o.max_steps, processes, engine.gradient_accumulation),
        processes=processes,
        facts={"recipe": recipe.model_dump(mode="json")},
        adapters=has_adapters(model),
    )
    check_engaged(trainer.accelerator, engine, processes)
    return trainer


def load_parts(model: PrimaModel, init: InitRecipe) -> list[str]:
    """Copy weights of a saved model into the parts that the recipe names.

    Returns:
        Names of the parameters that were copied: all of the named parts.

    Raises:
        InputError: no such model, a part that it or the model lacks, or shapes that differ.
    """
    source, target = saved_weights(Path(init.folder), model), model.state_dict()
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
    """Save model and processor for `segue.load`; training's heads stay behind, LoRA is folded in.

    Args:
        state: the weights, where an engine keeps them elsewhere than in the model.
    """
    whole = merged_state(model, model.state_dict() if state is None else state)
    cast: dict[
        tuple[int, torch.Size], torch.Tensor
    ] = {}  # tied weights must stay one tensor to be written once
    for p in whole.values():
        cast.setdefault((p.data_ptr(), p.shape), p.detach().to(dtype))
    state = {n: cast[p.data_ptr(), p.shape] for n, p in whole.items() if not n.startswith("training_heads")}
    model.save_pretrained(folder, state_dict=state)
    processor.save_pretrained(folder)
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
    out: Path, recipe: Recipe, model: PrimaModel, trainable: list[str], more: dict[str, Any] | None = None
) -> None:
    """Write `run.json`: versions, machine, commit and parameter counts, once per run; and `more`."""
    if (out / "run.json").exists():
        return
    import transformers

    sizes = dict(model.named_parameters())
    (out / "run.json").write_text(
        json.dumps(
            {
                "stage": recipe.stage,
                "commit": git_commit(),
                "segue": segue.__version__,
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "python": platform.python_version(),
                "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
                f"{torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'}",
                "parameters": sum(p.numel() for p in sizes.values()),
                "trainable": sum(sizes[n].numel() for n in trainable),
            }
            | (more or {}),
            indent=1,
        )
    )
