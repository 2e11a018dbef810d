"""Stage "finetune": from any grounded model and any data to a model that has learned from them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import torch

from segue.errors import InputError
from segue.files import write_atomic
from segue.models.auto import ModelBundle, load_config, weights_folder
from segue.training.adapters import FAMILIES, family_named
from segue.training.engine.engines import Processes, join_processes
from segue.training.engine.estimate import estimate
from segue.training.engine.loop import check_prefixes, finish_run, make_trainer, run_to_end, write_facts
from segue.training.engine.progress import EverySteps, replace_progress, tell
from segue.training.engine.resume import resume_point
from segue.training.finetune.defaults import (
    known_family,
    with_family_defaults,
    with_steps,
    without_absent_parts,
)
from segue.training.finetune.feature_store import FeatureStore
from segue.training.finetune.objective import GIVEN, RecordsObjective
from segue.training.finetune.own_objective import OwnDataObjective
from segue.training.finetune.picture_sheet import PictureSheets
from segue.training.finetune.skips import SkipJournal
from segue.training.finetune.sources import Sources, check_given, check_same_data, open_sources
from segue.training.finetune.start import (
    MEMORY,
    check_options,
    choose_trainable,
    model_without_weights,
    open_model,
    start_of,
)
from segue.training.recipe import Recipe, options_of, refuse_unknown, written_recipe
from segue.training.stages import Plan, missing_paths

REPORTERS = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio"}
"""Names of `report_to` that need a package, which Segue does not install by itself."""


class FinetuneStage:
    """Stage "finetune": any model of a known family, on any data."""

    def check(self, recipe: Recipe) -> None:
        """Refuse options that no family reads, and data that cannot be mixed."""
        known = (options_of(RecordsObjective) - GIVEN).union(*(f.options for f in FAMILIES.values()))
        refuse_unknown(recipe.options, known, "options")
        check_options(recipe.model.overrides)
        check_given(recipe)
        if recipe.finetune.family is not None:
            family_named(recipe.finetune.family)

    def paths(self, recipe: Recipe) -> dict[str, str]:
        """The data, and `model.start` where it is no name of a preset."""
        entries = {f"data.own.{k}": own for k, own in enumerate(recipe.data.own)}
        if recipe.data.val is not None:
            entries["data.val"] = recipe.data.val
        found = {f"{name}.path": entry.path for name, entry in entries.items()}
        found |= {f"{n}.images": e.images for n, e in entries.items() if e.images is not None}
        start = recipe.model.start
        if start is not None and Path(start).name != start:
            found = {"model.start": start} | found
        return found

    def plan(self, recipe: Recipe) -> Plan:
        """The model without its weights, the family's defaults, and what trains."""
        model = model_without_weights(recipe)
        recipe = without_absent_parts(with_family_defaults(recipe, model), model)
        check_prefixes(recipe, model)
        remarks: list[str] = []
        if not {name for name in missing_paths(self, recipe) if name != "model.start"}:
            # Reading them is quick beside training, and says how many steps there will be.
            sources = open_sources(recipe)
            recipe = with_steps(recipe, sources.mixture)
            remarks = sources.lines()
            family = known_family(recipe, model.config)
            if family is not None and family.grown is not None:
                family.grown(model, sources)
        trains = choose_trainable(model, recipe)
        return Plan(recipe, model, trains, remarks, conversations=int(recipe.options.get("batch_size", 8)))

    def run(self, recipe: Recipe, out: Path, *, resume: bool) -> Path:
        """Train; see `finetune`."""
        return finetune(recipe, out, resume=resume)


def finetune(recipe: Recipe, out: Path, *, resume: bool = True) -> Path:
    """Train a model on own data.

    Writes into `out`, before step 1: `recipe.yaml` (resolved), `run.json` (versions, commit, parameters, data
    hash), `data.json` (what was read and what was left out), `estimate.json`; then `losses.jsonl`,
    `skipped.jsonl`, `sheets/`, `features/`, checkpoints, and `final/`, which `segue.load` takes.

    Args:
        recipe: Of stage "finetune".
        out: Run folder.
        resume: Go on from the last checkpoint in `out`.

    Returns:
        The folder of the final model.

    Raises:
        InputError: Anything of the recipe or the data that cannot be used, before anything is trained.
    """
    # First what fails at once, then what takes minutes to read.
    check_reporters(recipe.report_to)
    known_family(recipe, load_config(weights_folder(start_of(recipe))))
    processes = join_processes(recipe.engine)
    sources = open_sources(recipe, out)
    # What the model gets anew, such as LoRA, is then the same whatever ran before in this process.
    torch.manual_seed(recipe.model.seed)
    bundle = open_model(recipe)
    model = bundle.model
    recipe = without_absent_parts(with_family_defaults(recipe, model), model)
    check_prefixes(recipe, model)
    recipe = with_steps(recipe, sources.mixture)
    checkpoint = resume_point(out, recipe, processes, resume=resume)
    check_same_data(out, sources.hash, resuming=checkpoint is not None)
    out.mkdir(parents=True, exist_ok=True)
    objective, trains = prepare(recipe, bundle, sources, out)
    if processes.first:
        write_down(recipe, out, bundle, sources, trains, fresh=checkpoint is None)
        if checkpoint is None:
            measured = estimate(model, objective, recipe.optimiser.max_steps)
            write_atomic(out / "estimate.json", json.dumps(measured.to_json(), indent=1))
            tell(measured.lines())
        if objective.journal.count:
            tell([f"{objective.journal.count} draws could not be used so far: {objective.journal.path}"])
    trainer = make_trainer(recipe, out, model, objective)
    replace_progress(trainer)
    sheets = make_sheets(recipe, bundle, sources, out)
    settle = partial(objective.settle, model) if hasattr(objective, "settle") else lambda: None
    trainer.add_callback(EverySteps(recipe.finetune.sheet_every, lambda step: (settle(), sheets.draw(step))))
    run_to_end(trainer, checkpoint)
    settle()
    final = finish_run(trainer, out, bundle.processor)
    if processes.first and objective.journal.count:
        tell([f"{objective.journal.count} draws could not be used: {objective.journal.path}"])
    return final


def prepare(
    recipe: Recipe, bundle: ModelBundle, sources: Sources, out: Path
) -> tuple[RecordsObjective | OwnDataObjective, list[str]]:
    """The family's objective, or that over conversations, and the names of what trains."""
    family = known_family(recipe, bundle.model.config)
    # Before anything is chosen to train: it may bring parameters of its own into the model.
    brought = family.objective(recipe, bundle, sources, out) if family and family.objective else None
    trains = choose_trainable(bundle.model, recipe, bundle.processor.tokenizer)
    asked = [name for name in MEMORY if recipe.model.overrides.get(name)]
    if brought is not None and asked:
        raise InputError(
            "This model cannot learn mask memory from own data.",
            expected="a model that learns from conversations",
            found=f"{bundle.name}, which learns names",
            where=f"model.overrides.{asked[0]}",
            fix="leave it out, or train a model of another family",
        )
    if brought is not None:
        return brought, trains
    return make_objective(recipe, bundle, sources, out, trains), trains


def make_objective(
    recipe: Recipe, bundle: ModelBundle, sources: Sources, out: Path, trains: Sequence[str]
) -> RecordsObjective:
    """The objective over a mixture, with kept features where the recipe asks for them."""
    features = None
    if recipe.finetune.cache_features:
        kept = recipe.finetune.feature_folder
        features = FeatureStore(bundle.model, bundle.processor, Path(kept) if kept else out / "features")
    own = options_of(RecordsObjective)
    return RecordsObjective(
        bundle.processor,
        sources.mixture,
        max_tokens=int(bundle.model.config.text_config.max_position_embeddings),
        trainable=tuple(trains),
        features=features,
        journal=SkipJournal(out / "skipped.jsonl"),
        points=bundle.model.region_reader is not None,
        memory=bool(bundle.model.config.mask_memory),
        **{name: value for name, value in recipe.options.items() if name in own},
    )


def make_sheets(recipe: Recipe, bundle: ModelBundle, sources: Sources, out: Path) -> PictureSheets:
    """Sheets over the validation data's fixed questions, in the first process."""
    first = Processes.launched().first
    wanted = recipe.finetune.sheet_questions if recipe.finetune.sheet_every and first else 0
    questions = sources.fixed_questions(wanted) if wanted else []
    return PictureSheets(bundle, questions, out / "sheets", max_new_tokens=recipe.finetune.sheet_tokens)


# ---- before and around the run ----------------------------------------------------------------------------


def check_reporters(names: Iterable[str]) -> None:
    """Refuse, before anything is loaded, to report to what is not installed.

    Raises:
        InputError: Naming the package.
    """
    for name in names:
        package = REPORTERS.get(name)
        if package is None or importlib.util.find_spec(package) is None:
            raise InputError(
                "The run cannot report there.",
                expected=" or ".join(REPORTERS) + ", installed",
                found=f"{name!r}, not installed" if package else repr(name),
                where="report_to",
                fix=f"pip install {package}" if package else "choose one of them",
            )


def write_down(
    recipe: Recipe, out: Path, bundle: ModelBundle, sources: Sources, trains: Sequence[str], *, fresh: bool
) -> None:
    """Write what the run is into its folder, and say it.

    Args:
        fresh: The run begins at step 1: its facts replace those of an earlier run.
    """
    write_atomic(out / "recipe.yaml", written_recipe(recipe))
    write_atomic(out / "data.json", json.dumps(sources.to_json(), indent=1))
    if fresh:
        (out / "run.json").unlink(missing_ok=True)
    write_facts(
        out, recipe, bundle.model, list(trains), {"data": sources.hash.to_json(), "start": bundle.name}
    )
    facts = json.loads((out / "run.json").read_text())
    versions = ", ".join(
        f"{n} {facts[n]}" for n in ("segue", "torch", "transformers", "python") if n in facts
    )
    tell(
        [*sources.lines(), sources.hash.line(), f"{versions}; commit {facts['commit']}", f"run folder {out}"]
    )
