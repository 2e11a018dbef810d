"""Training recipes: YAML files, validated, with dotted overrides; the resolved copy is kept with the run."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segue.errors import InputError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TokenizerRecipe(_Strict):
    """Stage "talk": the vocabulary, learned from dialogues when the folder does not hold one yet."""

    folder: str = "tokenizer"
    """Folder that holds the vocabulary, or gets it."""
    vocab_size: int = 1536
    """Pieces of a new vocabulary."""
    dialogues: int = 12000
    """Dialogues that a new vocabulary is learned from."""


class InitRecipe(_Strict):
    """Weights to start from: a saved model, and the parts to take from it (all when empty)."""

    folder: str
    parts: list[str] = Field(default_factory=list)


class ModelRecipe(_Strict):
    """The model that is trained and what it starts from."""

    preset: str = "segue-mini"
    """Stage "finetune": what `start` will hold, where a dry run does not find it yet."""
    start: str | None = None
    """Stage "finetune": the whole model to start from, a folder or a preset with weights."""
    seed: int = 0
    """Of random weights: of the whole model, or of what stage "finetune" adds to it."""
    tokenizer: TokenizerRecipe = Field(default_factory=TokenizerRecipe)
    init: list[InitRecipe] = Field(default_factory=list)
    """Stage "talk": saved weights in place of random ones."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Fields of the configuration: sizes of stage "talk", options that stage "finetune" can switch on."""


class OwnDataRecipe(_Strict):
    """A data set of the user's, in any format that `segue.data.own` reads."""

    path: str
    """File or folder of the annotations."""
    images: str | None = None
    """Folder of the images; that of the file when None."""
    format: str | None = None
    """Name of the format; recognised by its contents when None."""
    split: str | None = None
    """Part of data that are divided (records, refCOCO); "train" when None, "val" for `data.val`."""
    keep_crowds: bool = False
    """COCO: keep what is marked `iscrowd` 1, each as one object; see `segue.data.formats.coco_crowds`."""
    weight: float | None = Field(default=None, gt=0)
    """Share of the mixture, relative to the others; in proportion to their sizes when none has one."""


class DataRecipe(_Strict):
    """Data that the batches are drawn from."""

    own: list[OwnDataRecipe] = Field(default_factory=list)
    """The mixture: for stage "finetune" any data, for stage "look" its known sources."""
    val: OwnDataRecipe | None = None
    """Stage "finetune": what the picture sheets ask about; the first of `own` when None."""
    regions: float = Field(default=0.0, ge=0, le=1)
    """Stage "finetune": share of the draws from annotated images that point at a region, see
    `segue.data.own.pointing`. Above 0 a model that takes no regions gets a new reader of them."""
    seed: int = 0
    """Seed of every draw; batch i depends on (seed, i) alone."""
    workers: int = 0
    """Processes that prepare batches; 0 prepares them in the training process."""


class EngineRecipe(_Strict):
    """Processes and what saves memory; the loss curve depends on none of it."""

    kind: Literal["none", "ddp", "deepspeed", "fsdp2"] = "ddp"
    """Engine of several processes; one alone needs none (DeepSpeed runs there too)."""
    config: str | None = None
    """Configuration file of DeepSpeed or FSDP2, see recipes/engines/."""
    processes: int | None = Field(default=None, ge=1)
    """Number of processes that there must be; None accepts any."""
    accumulation_steps: int = Field(default=1, ge=1)
    """Forward and backward passes in which a process takes its share of a step's batch."""
    gradient_checkpointing: bool = False
    """Compute the language model's activations again in the backward pass."""
    bf16: bool = False
    """Compute in bfloat16 and keep frozen matrices in it; what trains stays float32."""


class OptimiserRecipe(_Strict):
    """AdamW with warm-up and a cosine (or a line) down to a share of the peak."""

    learning_rate: float = 1e-3
    """AdamW's peak, reached right after the warm-up."""
    muon_rate: float = 0.0
    """Learning rate of Muon for the matrices of transformer blocks; 0 leaves them to AdamW."""
    muon_parts: list[str] = Field(default_factory=list)
    """Parameter prefixes whose matrices Muon gets; all when empty."""
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.03
    """Decay of matrices and tables; biases and norms have none."""
    grad_clip: float = 1.0
    """Largest norm of all gradients of a step together."""
    warmup_steps: int = 100
    """Steps in which the rate rises from 0; stage "finetune" takes a fifth of the run at most."""
    max_steps: int = 1000
    """Optimiser steps of the run; stage "finetune" computes them from its epochs unless they are given."""
    schedule: Literal["cosine", "linear"] = "cosine"
    min_lr_ratio: float = 0.03
    """Learning rate at the end of the cosine over that of the peak; a line always ends at 0."""
    lr_multipliers: dict[str, float] = Field(default_factory=dict)
    """Parameter prefix to the factor on its learning rate (of AdamW and Muon); the first that fits counts."""


class FinetuneRecipe(_Strict):
    """Fields that only stage "finetune" reads."""

    epochs: float = Field(default=3.0, gt=0)
    """Passes over the data, unless `optimiser.max_steps` is given."""
    min_steps: int = Field(default=300, ge=1)
    """Small data sets are passed more often than `epochs`, until this many steps."""
    family: str | None = None
    """Row of `segue.training.adapters.FAMILIES`; found from the model's `model_type` when None."""
    lora_rank: int = Field(default=8, ge=1)
    lora_alpha: int = Field(default=16, ge=1)
    """Scale of LoRA's change, divided by the rank. Source of both: PRIMA appendix C."""
    cache_features: bool = False
    """Keep the outputs of the frozen encoders in the run folder."""
    feature_folder: str | None = None
    """Where they are kept instead: a folder that runs on the same images share."""
    sheet_every: int = Field(default=200, ge=0)
    """Steps between picture sheets; one more at the end. 0 draws none."""
    sheet_questions: int = Field(default=6, ge=1)
    """Fixed questions that each sheet asks anew."""
    sheet_tokens: int = Field(default=160, ge=1)
    """Budget of each answer on a sheet."""


class Recipe(_Strict):
    """One stage of training."""

    stage: str
    """Name of a registered stage, see `segue.training.stages`."""
    model: ModelRecipe = Field(default_factory=ModelRecipe)
    data: DataRecipe = Field(default_factory=DataRecipe)
    optimiser: OptimiserRecipe = Field(default_factory=OptimiserRecipe)
    finetune: FinetuneRecipe = Field(default_factory=FinetuneRecipe)
    options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the stage's objective (batch_size, ...)."""
    trainable: list[str] = Field(default_factory=list)
    """Parameter prefixes that train; the objective's own list when empty."""
    engine: EngineRecipe = Field(default_factory=EngineRecipe)
    may_change: list[str] = Field(default_factory=list)
    """Fields (dotted, or the mapping that holds them) that may differ from a checkpoint's when resuming."""
    log_every: int = 25
    """Steps between two logs of the Trainer; `losses.jsonl` has every step."""
    save_every: int = 250
    """Steps between two checkpoints."""
    keep: int = 2
    """Newest checkpoints that stay; older ones are deleted."""
    report_to: list[str] = Field(default_factory=list)


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe and apply `a.b=value` overrides (values are YAML).

    Raises:
        InputError: missing file, bad YAML, unknown field or bad value.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "cannot read the recipe",
            expected="a YAML file",
            found=str(error),
            where=str(path),
            fix="give the path of a recipe, e.g. recipes/mini_talk.yaml",
        ) from error
    except yaml.YAMLError as error:
        raise InputError(
            "the recipe is not YAML", expected="YAML", found=str(error), where=str(path), fix="mend the file"
        ) from error
    if not isinstance(data, dict):
        raise InputError(
            "the recipe is not a mapping",
            expected="keys such as stage, model, data",
            found=type(data).__name__,
            where=str(path),
            fix="see recipes/mini_talk.yaml",
        )
    for override in overrides or []:
        apply_override(data, override)
    # After the overrides, which may have an old name too.
    refuse_renamed(data, str(path))
    try:
        # PyYAML takes 1e-3 for a string (YAML 1.1 wants 1.0e-3); pydantic makes a number of it.
        return Recipe.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            "bad recipe",
            expected=first["msg"],
            found=repr(first.get("input")),
            where=f"{path}: {'.'.join(str(p) for p in first['loc'])}",
            fix="mend this field (all fields: segue/training/recipe.py)",
        ) from error


RENAMED = {
    "optimiser.slow": "optimiser.lr_multipliers",
    "optimiser.floor": "optimiser.min_lr_ratio",
    "engine.gradient_accumulation": "engine.accumulation_steps",
    "finetune.least_steps": "finetune.min_steps",
}
"""Fields that had other names once; there are no aliases."""


def refuse_renamed(data: dict[str, Any], where: str) -> None:
    """Refuse a field under a name that it had once, and say the name that it has.

    Raises:
        InputError: naming both.
    """
    for old, new in RENAMED.items():
        section, _, name = old.partition(".")
        if isinstance(data.get(section), dict) and name in data[section]:
            raise InputError(
                "A field of the recipe has another name now.", expected=new, found=old, where=where,
                fix=f"write {new}",
            )  # fmt: skip


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set one value of a nested mapping in place.

    Args:
        data: the recipe as read; mappings on the way are made where there is none yet.
        override: `a.b=value`, the value as YAML.

    Raises:
        InputError: no `=`, a value that is not YAML, or a path through something that is not a mapping.
    """
    key, found, value = override.partition("=")
    if not found or not all(key.split(".")):
        raise InputError(
            "bad override", expected="a.b=value", found=override, where="--set", fix="add =value"
        )
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(
            "bad override",
            expected="a YAML value",
            found=value,
            where=f"--set {key}",
            fix="quote the value, or close its brackets",
        ) from error
    node: Any = data
    *parents, last = key.split(".")
    for place, parent in enumerate(parents):
        # `data:` with nothing behind it is None in YAML.
        if node.get(parent) is None:
            node[parent] = {}
        node = node[parent]
        if not isinstance(node, dict):
            raise InputError(
                "bad override",
                expected="a.b=value where a is a mapping",
                found=repr(node),
                where=f"--set {'.'.join(parents[: place + 1])}",
                fix="override the whole value instead",
            )
    node[last] = parsed


def written_recipe(recipe: Recipe) -> str:
    """A resolved recipe as YAML, with every field; what lies in a run folder as `recipe.yaml`."""
    return str(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))


def options_of(objective: Callable[..., Any]) -> set[str]:
    """Names of an objective's keyword-only arguments: what `options` of a recipe may say."""
    parameters = inspect.signature(objective).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}


def refuse_unknown(given: Iterable[str], known: Collection[str], where: str) -> None:
    """Refuse names that nothing would read, with the nearest known ones.

    Raises:
        InputError: Naming the first of them.
    """
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
