"""Stage "look" of making the embedded model: the seeing half, from photographs, over stored features."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from segue.errors import InputError
from segue.files import write_atomic
from segue.mini.look.calibration import calibrate
from segue.mini.look.features import store_features
from segue.mini.look.objective import LookObjective, Shelf
from segue.mini.look.photographs import Source, read_photographs, source_of
from segue.models.mini.names import NameTable, name_table
from segue.models.mini.seeing import SeeingConfig, SeeingModel
from segue.models.mini.trunk import load_trunk
from segue.training.engine.checkpoints import whole_model
from segue.training.engine.engines import join_processes
from segue.training.engine.loop import check_prefixes, load_parts, make_trainer, run_to_end, write_facts
from segue.training.engine.resume import resume_point
from segue.training.engine.trainer import set_trainable
from segue.training.recipe import Recipe, options_of, refuse_unknown, written_recipe
from segue.training.stages import Plan, register_stage

GIVEN = frozenset({"seed"})
"""Arguments of the objective that other fields of a recipe say."""


@dataclass(frozen=True)
class LookStage:
    """Trains readout and mask decoder, then calibrates presence; the trunk comes with its package."""

    def check(self, recipe: Recipe) -> None:
        """Refuse options that nothing reads, and data that are none of the known sources."""
        refuse_unknown(recipe.options, (options_of(LookObjective) - GIVEN) | {"features"}, "options")
        for number, own in enumerate(recipe.data.own):
            source_of(own.path, f"data.own.{number}.path")
        if not recipe.data.own:
            raise InputError(
                "no photographs",
                expected="at least one source in data.own",
                found="none",
                where="data.own",
                fix="see recipes/mini_look.yaml",
            )

    def paths(self, recipe: Recipe) -> dict[str, str]:
        """The annotation files, and models that parts are taken from."""
        files = {f"data.own.{k}.path": own.path for k, own in enumerate(recipe.data.own)}
        return files | {f"model.init.{k}.folder": init.folder for k, init in enumerate(recipe.model.init)}

    def plan(self, recipe: Recipe) -> Plan:
        """The model without numbers, and how many photographs would be looked at first."""
        with torch.device("meta"):
            model = SeeingModel(config_of(recipe))
        trains = set_trainable(model, tuple(recipe.trainable) or LookObjective.trainable)
        remark = f"features: about 0.7 MB a photograph in {recipe.options.get('features', FEATURES)}"
        return Plan(recipe, model, trains, [remark])

    def run(self, recipe: Recipe, out: Path, *, resume: bool) -> Path:
        """Train the stage; returns the folder of the final model."""
        processes = join_processes(recipe.engine)
        checkpoint = resume_point(out, recipe, processes, resume=resume)
        out.mkdir(parents=True, exist_ok=True)
        if processes.first:
            write_atomic(out / "recipe.yaml", written_recipe(recipe))
        torch.manual_seed(recipe.model.seed)
        model = SeeingModel(config_of(recipe))
        for init in recipe.model.init:
            load_parts(model, init)
        options = dict(recipe.options)
        table = model.seeing.eyes.table
        with processes.first_alone():
            shelves = open_shelves(recipe, table, Path(options.pop("features", FEATURES)))
        objective = LookObjective(shelves, table, seed=recipe.data.seed, **options)
        check_prefixes(recipe, model)
        trainable = set_trainable(model, tuple(recipe.trainable) or objective.trainable)
        if processes.first:
            write_facts(out, recipe, model, trainable)
        trainer = make_trainer(recipe, out, model, objective)
        run_to_end(trainer, checkpoint)
        weighed = calibrate(model.float().eval().seeing.eyes, shelves, objective.held_back)
        write_atomic(out / "calibration.json", json.dumps(weighed, indent=1))
        with whole_model(out / "final") as unfinished:
            model.save_pretrained(unfinished)
        return out / "final"


def config_of(recipe: Recipe) -> SeeingConfig:
    """The configuration of the model that a recipe trains."""
    return SeeingConfig(left_out=list(recipe.options.get("left_out", ())))


FEATURES = "runs/mini/features"
"""Where features are stored unless the recipe says otherwise."""


def open_shelves(recipe: Recipe, table: NameTable, features: Path) -> list[Shelf]:
    """The recipe's photographs and their features, computed where they are missing."""
    trunk = load_trunk()
    weights = [own.weight or 1.0 for own in recipe.data.own]
    shelves = []
    for own, weight in zip(recipe.data.own, weights, strict=True):
        file = Path(own.path)
        source = source_of(file, "data.own")
        photographs = read_photographs(file.parent.parent, source, own.split or file.stem, table)
        stored = store_features(trunk, [photograph.path for photograph in photographs], features)
        shelves.append(Shelf(photographs, stored, weight / sum(weights)))
    return shelves


def shelf_of(root: Path, source: Source, split: str, features: Path, every: int = 1) -> Shelf:
    """One source by itself, or every so many-th photograph of it, for checks."""
    photographs = read_photographs(root, source, split, name_table())[::every]
    paths: Sequence[Path] = [photograph.path for photograph in photographs]
    return Shelf(photographs, store_features(load_trunk(), paths, features), 1.0)


register_stage("look", LookStage())
