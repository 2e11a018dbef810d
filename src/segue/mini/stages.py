"""The embedded model's stages of training; importing this module lets recipes name them.

`masks`, `vision`, `slots`, `labels` and `conversation` make segue-scenes from nothing, over drawn scenes and
photographs. `segue.mini.own_data`, imported here, says how it learns from own data.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, PreTrainedTokenizerFast

import segue.mini.look.stage
import segue.mini.own.family
import segue.mini.own_data
import segue.mini.talk.stage  # noqa: F401  registers stage "talk"
from segue.errors import InputError
from segue.files import write_atomic
from segue.mini.pools import PhotoPool, ScenePool, photo_pool, scene_pool
from segue.mini.slots import free_queries
from segue.mini.starts import start_sam, start_towers
from segue.mini.vocabulary import PHOTO_LABELS, SLOT_CLASSES
from segue.models.mini.build import build_from_tokenizer
from segue.models.mini.configuration_mini import MiniConfig
from segue.models.mini.modeling_mini import MiniModel
from segue.models.presets import preset
from segue.models.processing_grounded import PrimaProcessor
from segue.training.engine.engines import Processes, join_processes
from segue.training.engine.loop import (
    check_prefixes,
    finish_run,
    load_parts,
    make_trainer,
    run_to_end,
    write_facts,
)
from segue.training.engine.resume import resume_point
from segue.training.engine.trainer import Objective, set_trainable
from segue.training.recipe import Recipe, options_of, refuse_unknown, written_recipe
from segue.training.stages import Plan, register_stage

GIVEN = frozenset({"cache", "trainable"})
"""Arguments of the objectives that follow from the run; options of a recipe do not name them."""


@dataclass(frozen=True)
class MiniStage:
    """One stage of making the embedded model.

    Attributes:
        name: As recipes write it.
    """

    name: str

    def check(self, recipe: Recipe) -> None:
        """Refuse, before anything is rendered or built, an unknown preset, model override or option."""
        config = preset(recipe.model.preset).config()
        fields = {f.name for f in dataclasses.fields(type(config))} - {"slot_classes"}
        refuse_unknown(recipe.options, options_of(objective_class(self.name)) - GIVEN, "options")
        refuse_unknown(recipe.model.overrides, fields, "model.overrides")

    def paths(self, recipe: Recipe) -> dict[str, str]:
        """Photographs, and models that parts are taken from; scenes and tokenizer are made when absent."""
        found = {f"model.init.{k}.folder": init.folder for k, init in enumerate(recipe.model.init)}
        photos = recipe.data.photos
        if photos is not None and recipe.data.photo_share > 0:
            found |= {"data.photos.coco": photos.coco, "data.photos.images": photos.images}
        return found

    def plan(self, recipe: Recipe) -> Plan:
        """The model of the recipe's preset without numbers, and what trains of it."""
        config = preset(recipe.model.preset).config(
            slot_classes=SLOT_CLASSES, **label_names(recipe), **recipe.model.overrides
        )
        words = recipe.model.tokenizer.vocab_size
        config.text_config.vocab_size = config.qformer_config.vocab_size = words
        with torch.device("meta"):
            model = AutoModel.from_config(config)
        prefixes = tuple(recipe.trainable) or trainable_parts(recipe, config)
        trains = set_trainable(model, prefixes)
        batch = None
        if self.name == "conversation":
            batch = int(recipe.options.get("batch_size", 32))
        return Plan(recipe, model, trains, scene_remarks(recipe), conversations=batch)

    def run(self, recipe: Recipe, out: Path, *, resume: bool) -> Path:
        """Train the stage; returns the folder of the final model."""
        processes = join_processes(recipe.engine)
        checkpoint = resume_point(out, recipe, processes, resume=resume)
        out.mkdir(parents=True, exist_ok=True)
        if processes.first:
            write_atomic(out / "recipe.yaml", written_recipe(recipe))
        model, processor, objective = build(recipe, out, processes)
        check_prefixes(recipe, model)
        trainable = set_trainable(model, tuple(recipe.trainable) or objective.trainable)
        if processes.first:
            write_facts(out, recipe, model, trainable)
        trainer = make_trainer(recipe, out, model, objective)
        run_to_end(trainer, checkpoint)
        return finish_run(trainer, out, processor)


def build(recipe: Recipe, out: Path, processes: Processes) -> tuple[MiniModel, PrimaProcessor, Objective]:
    """Model, processor and objective of a run; what has to be made on the disk the first process makes."""
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
    return model, processor, objective


def scene_remarks(recipe: Recipe) -> list[str]:
    """Say what a run would render and learn before its first step."""
    s, folder = recipe.data.scenes, Path(recipe.model.tokenizer.folder)
    remarks = [f"scenes: {s.count:,} of {s.size} x {s.size} pixels in {s.folder}, rendered when absent"]
    if not (folder / "tokenizer.json").exists():
        remarks.append(
            f"tokenizer: learned from {recipe.model.tokenizer.dialogues:,} dialogues into {folder}"
        )
    return remarks


def trainable_parts(recipe: Recipe, config: Any) -> tuple[str, ...]:
    """Prefixes of what a stage's objective trains, without the objective."""
    if recipe.stage == "conversation":
        from segue.mini.conversation_objective import conversation_parts

        masks = bool(recipe.options.get("masks"))
        return conversation_parts(masks=masks, region_alignment=config.region_alignment)
    parts: tuple[str, ...] = objective_class(recipe.stage).trainable
    return parts


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
    fits = isinstance(config, MiniConfig) and free_queries(config) >= len(PHOTO_LABELS)
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


def objective_class(stage: str) -> Any:
    """The class of a stage's objective; imported here, because a run needs one of them."""
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
    from segue.mini.conversation_objective import ConversationObjective

    return ConversationObjective


def make_objective(
    recipe: Recipe,
    model: MiniModel,
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


def start_fresh(recipe: Recipe, model: MiniModel, objective: Objective) -> None:
    """Give towers that are trained from nothing their starts; `model.init` keeps what it loaded."""
    if recipe.model.init or recipe.stage not in ("masks", "vision"):
        return
    batches = [objective.batch(step) for step in range(1_000_000, 1_000_008)]
    if recipe.stage == "masks":
        start_sam(model, torch.cat([b["pixels"] for b in batches]))
    else:
        clip, dino = (torch.cat([b[n] for b in batches]) for n in ("pixel_values", "pixel_values_aux"))
        start_towers(model, clip, dino)


for _name in ("masks", "vision", "slots", "labels", "conversation"):
    register_stage(_name, MiniStage(_name))
