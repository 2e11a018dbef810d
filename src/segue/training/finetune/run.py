"""Stage "finetune": from any grounded model and any data to a model that has learned from them."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml

from segue.errors import InputError
from segue.mini.name_presence import NamePresence, common_names
from segue.models import auto
from segue.models.auto import ModelBundle
from segue.models.mini.slot_vocabulary import add_slot_names, forget_labels
from segue.models.modeling_grounded import GroundedModel
from segue.protocol import OBJ_TOKEN, PHRASE_START
from segue.records import Conversation
from segue.training.adapters import (
    LORA_TARGETS,
    TOKENS_ONLY,
    add_lora,
    prepare_for_training,
    special_token_ids,
)
from segue.training.engine.data_hash import DataHash, hash_data
from segue.training.engine.engines import join_processes
from segue.training.engine.estimate import estimate
from segue.training.engine.progress import EverySteps, replace_progress
from segue.training.engine.resume import resume_point
from segue.training.engine.trainer import set_trainable
from segue.training.finetune.defaults import (
    family_for,
    with_family_defaults,
    with_steps,
    without_absent_parts,
)
from segue.training.finetune.feature_store import ModelFeatures
from segue.training.finetune.mixture import Mixture, Source
from segue.training.finetune.objective import RecordsObjective
from segue.training.finetune.picture_sheet import PictureSheets
from segue.training.finetune.skips import SkipJournal
from segue.training.recipe import OwnDataRecipe, Recipe

if TYPE_CHECKING:
    from segue.data.own import OwnData

REPORTERS = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio"}
"""Names of `report_to` that need a package, which Segue does not install by itself."""


@dataclass
class Sources:
    """The mixture of a run, what the sheets ask, and where all of it came from.

    Attributes:
        mixture: Of the training data.
        questions: Validation data; the first training data where there are none.
        read: What was read, in the order of `data.own`, then `data.val`.
        recipes: The entries of the recipe that they were read by.
        hash: Of the training data.
    """

    mixture: Mixture
    questions: Source
    read: list[OwnData]
    recipes: list[OwnDataRecipe]
    hash: DataHash

    def fixed_questions(self, count: int) -> list[tuple[Conversation, Path]]:
        """The same questions in every run of the same data."""
        return [(c, self.questions.root) for c in self.questions.fixed(count, self.mixture.seed)]

    def show_all_regions(self, wanted: bool) -> None:
        """Whether conversations that are made from annotations carry also what they do not name."""
        for own in self.read:
            if hasattr(own.source, "all_regions"):
                own.source.all_regions = wanted

    def lines(self) -> list[str]:
        """The reports of the readings and the shares, for people."""
        said = [line for own in self.read for line in own.report.lines()]
        if len(self.mixture.shares) > 1:
            shares = zip(self.mixture.shares, self.recipes, strict=False)
            said.append("mixture: " + ", ".join(f"{share:.1%} {r.path}" for share, r in shares))
        return [*said, self.hash.line()]

    def to_json(self) -> dict[str, Any]:
        """For data.json."""
        shares = [*self.mixture.shares, *([None] * (len(self.read) - len(self.mixture.shares)))]
        return {
            "hash": self.hash.to_json(),
            "sources": [
                {
                    "path": recipe.path,
                    "format": own.format,
                    "share": share,
                    "length": len(own.source),
                    "report": own.report.to_json(),
                }
                for own, recipe, share in zip(self.read, self.recipes, shares, strict=True)
            ],
        }


def finetune(recipe: Recipe, out: Path, *, dry_run: bool = False, resume: bool = True) -> Path:
    """Train a model on own data.

    Writes into `out`, before step 1: `recipe.yaml` (resolved), `run.json` (versions, commit, parameters, data
    hash), `data.json` (what was read and what was left out), `estimate.json`; then `losses.jsonl`,
    `skipped.jsonl`, `sheets/`, `features/`, checkpoints, and `final/`, which `segue.load` takes.

    Args:
        recipe: Of stage "finetune".
        out: Run folder.
        dry_run: Stop before step 1.
        resume: Go on from the last checkpoint in `out`.

    Returns:
        The folder of the final model (of the run in a dry run).

    Raises:
        InputError: Anything of the recipe or the data that cannot be used, before anything is trained.
    """
    from segue.training.run import check_prefixes, finish_run, make_trainer, run_to_end, write_facts

    check_reporters(recipe.report_to)
    sources = open_sources(recipe, out)
    bundle = open_model(recipe)
    model = bundle.model
    recipe = without_absent_parts(with_family_defaults(recipe, model), model)
    check_prefixes(recipe, model)
    names = teach_names(recipe, bundle, sources.mixture)
    trains = choose_trainable(model, recipe, bundle.processor.tokenizer)
    recipe = with_steps(recipe, sources.mixture)
    sources.show_all_regions(bool(recipe.options.get("code_prompts")))
    processes = join_processes(recipe.engine)
    checkpoint = resume_point(out, recipe, processes, resume=resume)
    check_same_data(out, sources.hash, resuming=checkpoint is not None)
    out.mkdir(parents=True, exist_ok=True)
    objective = make_objective(recipe, bundle, sources.mixture, out, trains, names)
    if is_first_process():
        write_whole(out / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
        write_whole(out / "data.json", json.dumps(sources.to_json(), indent=1))
        if checkpoint is None:
            (out / "run.json").unlink(missing_ok=True)
        write_facts(out, recipe, model, trains, {"data": sources.hash.to_json(), "start": bundle.name})
        tell([*sources.lines(), *fact_lines(out)])
        if checkpoint is None:
            measured = estimate(model, objective, recipe.optimiser.max_steps)
            write_whole(out / "estimate.json", json.dumps(measured.to_json(), indent=1))
            tell(measured.lines())
        if objective.journal.count:
            tell([f"{objective.journal.count} draws could not be used so far: {objective.journal.path}"])
    if dry_run:
        return out
    trainer = make_trainer(recipe, out, model, objective)
    replace_progress(trainer)
    sheets = make_sheets(recipe, bundle, sources, out)
    trainer.add_callback(EverySteps(recipe.finetune.sheet_every, sheets.draw))
    run_to_end(trainer, checkpoint)
    final = finish_run(trainer, out, bundle.processor)
    if is_first_process() and objective.journal.count:
        tell([f"{objective.journal.count} draws could not be used: {objective.journal.path}"])
    return final


# ---- data ------------------------------------------------------------------------------------------------


def open_sources(recipe: Recipe, out: Path) -> Sources:
    """Read every data set of a recipe.

    Args:
        out: Run folder; what lies in it is no part of the data, wherever it is.

    Raises:
        InputError: None is named, one cannot be read, or only some have weights.
    """
    from segue.data.own import read_own_data

    given = recipe.data.own
    if not given:
        raise InputError(
            "There are no data to train on.",
            expected="at least one file or folder of annotations",
            found="none",
            where="data.own",
            fix="give --data FILE --images DIR, or fill in data.own of the recipe",
        )
    weights = [own.weight for own in given if own.weight is not None]
    if weights and len(weights) < len(given):
        without = next(own.path for own in given if own.weight is None)
        raise InputError(
            "Some data sets have a weight and some have none.",
            expected="a weight for every data set, or for none",
            found=f"no weight for {without}",
            where="data.own",
            fix=f"write --data {without}::1.0, or leave out the other weights",
        )
    entries = [*given, *([recipe.data.val] if recipe.data.val is not None else [])]
    read = [
        read_own_data(
            Path(entry.path),
            images=Path(entry.images) if entry.images else None,
            format=entry.format,
            split=entry.split or ("train" if place < len(given) else "val"),
        )
        for place, entry in enumerate(entries)
    ]
    training = read[: len(given)]
    mixture = Mixture([own.source for own in training], weights or None, recipe.data.seed)
    paths = [file for own in training for file in own.files]
    paths += [Path(own.images) for own in given if own.images is not None]
    questions = read[-1 if recipe.data.val else 0].source
    return Sources(mixture, questions, read, entries, hash_data(paths, without=out))


def check_same_data(out: Path, found: DataHash, *, resuming: bool) -> None:
    """Refuse to go on with a run on other data: its curve would not be what it seems.

    Raises:
        InputError: The hash differs from that of the run.
    """
    path = out / "run.json"
    if not resuming or not path.is_file():
        return
    before = json.loads(path.read_text()).get("data", {}).get("sha256")
    if before not in (None, found.sha256):
        raise InputError(
            "The data are not those that this run began with.",
            expected=f"data hash {before[:16]}",
            found=found.sha256[:16],
            where=str(out),
            fix="restore the data, train into another folder, or begin anew with --no-resume",
        )


# ---- model -----------------------------------------------------------------------------------------------


def open_model(recipe: Recipe) -> ModelBundle:
    """The whole model that the recipe starts from, on this process's device.

    Raises:
        InputError: None is named. ModelError: it cannot be loaded.
    """
    if recipe.model.start is None:
        raise InputError(
            "There is no model to start from.",
            expected="a preset with weights, or a folder that save_pretrained wrote",
            found="nothing",
            where="model.start",
            fix="give --model segue-mini, or set model.start",
        )
    rank = os.environ.get("LOCAL_RANK")
    device = f"cuda:{rank}" if rank is not None and torch.cuda.is_available() else None
    bundle = auto.load(recipe.model.start, device)
    switch_options(bundle, recipe.model.overrides)
    return bundle


def switch_options(bundle: ModelBundle, options: dict[str, Any]) -> None:
    """Switch region alignment of a trained model on (it starts as the identity) or off, in place.

    Args:
        options: `model.overrides` of the recipe. A model that has it keeps its weights when it is asked for.

    Raises:
        InputError: an option that a model cannot change once it has been made.
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
    if options:
        tokenizer, dialect = bundle.processor.tokenizer, bundle.processor.dialect
        opening = tokenizer.convert_tokens_to_ids(OBJ_TOKEN if dialect == "miras" else PHRASE_START)
        bundle.model.switch_region_alignment(int(opening), **options)


def choose_trainable(model: GroundedModel, recipe: Recipe, tokenizer: Any = None) -> list[str]:
    """Let the recipe's prefixes train, or the family's table with LoRA; returns the parameters' names."""
    if recipe.trainable:
        return set_trainable(model, tuple(recipe.trainable))
    family = family_for(recipe, model)
    if not family.startswith("mini"):
        ids = special_token_ids(tokenizer, family) if family in TOKENS_ONLY else ()
        add_lora(
            model,
            recipe.finetune.lora_rank,
            recipe.finetune.lora_alpha,
            targets=LORA_TARGETS.get(family, ("q_proj", "k_proj")),
            token_ids=ids,
        )
    return prepare_for_training(model, family)


def teach_names(recipe: Recipe, bundle: ModelBundle, mixture: Mixture) -> NamePresence | None:
    """Give a model with object slots the names of the data, where the recipe wants them read.

    Raises:
        ModelError: it has no slots that spell what they read.
    """
    if not recipe.options.get("name_presence"):
        return None
    names = common_names(mixture.sources)
    labels = tuple(getattr(bundle.model.config, "label_reader_names", ()))
    if names and labels and not set(names) & set(labels):
        forget_labels(bundle.model, bundle.processor)
        if is_first_process():
            tell([f"left out: the label reader, which knows none of these names ({', '.join(labels)})"])
    add_slot_names(bundle.model, bundle.processor, names)
    return NamePresence.of(bundle.model, names) if names else None


def make_objective(
    recipe: Recipe,
    bundle: ModelBundle,
    mixture: Mixture,
    out: Path,
    trains: list[str],
    names: NamePresence | None = None,
) -> RecordsObjective:
    """The objective over a mixture, with kept features where the recipe asks for them."""
    features = None
    if recipe.finetune.cache_features:
        features = ModelFeatures(bundle.model, bundle.processor, out / "features")
    return RecordsObjective(
        bundle.processor,
        mixture,
        max_tokens=int(bundle.model.config.text_config.max_position_embeddings),
        trainable=tuple(trains),
        features=features,
        journal=SkipJournal(out / "skipped.jsonl"),
        prompt_width=bundle.model.config.prompt_width,
        names=names,
        **recipe.options,
    )


def make_sheets(recipe: Recipe, bundle: ModelBundle, sources: Sources, out: Path) -> PictureSheets:
    """Sheets over the validation data's fixed questions, in the first process."""
    wanted = recipe.finetune.sheet_questions if recipe.finetune.sheet_every and is_first_process() else 0
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


def is_first_process() -> bool:
    """Whether this process writes and speaks for all."""
    return os.environ.get("RANK", "0") == "0"


def fact_lines(out: Path) -> list[str]:
    """Versions and commit, as run.json has them."""
    facts = json.loads((out / "run.json").read_text())
    versions = ", ".join(
        f"{n} {facts[n]}" for n in ("segue", "torch", "transformers", "python") if n in facts
    )
    return [f"{versions}; commit {facts['commit']}", f"run folder {out}"]


def tell(lines: Iterable[str]) -> None:
    """Print remarks; results of a command go to stdout, remarks to stderr."""
    for line in lines:
        print(line, file=sys.stderr)


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears complete or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)
