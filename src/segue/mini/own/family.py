"""How the embedded model that finds learns from own data. Importing this module registers the family."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from segue.mini.look.features import store_features
from segue.mini.look.objective import HELD_BACK, Shelf
from segue.mini.own.calibration import found_wholes
from segue.mini.own.grow import grow, grow_eyes
from segue.mini.own.lists import OwnLists
from segue.mini.own.names import names_of
from segue.mini.own.objective import OwnLook, OwnObjective
from segue.mini.own.photographs import annotated_sources, photographs_of, write_left_out
from segue.mini.talk.conversation import frequent_names
from segue.mini.talk.objective import TalkObjective
from segue.mini.talk.questions import MARKED_SHARE
from segue.models.auto import ModelBundle
from segue.models.mini.embedded import EmbeddedModel
from segue.models.mini.trunk import load_trunk
from segue.models.modeling_grounded import GroundedModel
from segue.training.adapters import FinetuneFamily, register_family
from segue.training.engine.engines import Processes
from segue.training.engine.progress import tell
from segue.training.finetune.skips import SkipJournal
from segue.training.finetune.sources import Sources
from segue.training.recipe import Recipe

BATCH, MASKS, CONVERSATIONS = 7, 15, 8
"""Photographs, masks and drawn-up conversations of a step."""

LEAST_HELD = 24
"""From so many photographs on, some are held back to calibrate presence; fewer are all learned from."""


def own_objective(recipe: Recipe, bundle: ModelBundle, sources: Sources, out: Path) -> OwnObjective:
    """What a run on own data learns; the model gets the names of the data first.

    Writes `left_out.json`, `skipped.jsonl` and `features/` into the run folder.

    Raises:
        InputError: the data name no masks, or too many images cannot be used.
    """
    model = bundle.model
    assert isinstance(model, EmbeddedModel)
    annotated, shares, others = annotated_sources(sources.mixture)
    own = names_of(annotated, model.config.table())
    known = [name for name in own.names if name in model.seeing.eyes.table.shipped()]
    lines = write_left_out(out / "left_out.json", own, known, others)
    if Processes.launched().first:
        tell(lines)
    journal = SkipJournal(out / "skipped.jsonl")
    trunk = load_trunk()
    shelves = []
    for source, share in zip(annotated, shares, strict=True):
        photographs = photographs_of(source, own, journal)
        stored = store_features(trunk, [photograph.path for photograph in photographs], out / "features")
        shelves.append(Shelf(photographs, stored, share))
    wholes = dict.fromkeys(entry["whole"] for entry in own.entries if "whole" in entry)
    own = own.under(found_wholes(model.seeing.eyes, shelves, tuple(wholes)))
    kinds = grow(model, bundle.processor, own)
    count, seed, options = sum(len(s.photographs) for s in shelves), recipe.data.seed, recipe.options
    table = model.seeing.eyes.table
    look = OwnLook(
        shelves,
        table,
        pictures=int(options.get("batch_size", BATCH)),
        masks=int(options.get("masks", MASKS)),
        held_back=int(options.get("held_back", HELD_BACK)) if count >= LEAST_HELD else 0,
        seed=seed,
        readout=table.branches[-1],
    )
    everything = [photograph for shelf in shelves for photograph in shelf.photographs]
    talk = TalkObjective(
        model,
        bundle.processor,
        kinds,
        batch_size=int(options.get("conversations", CONVERSATIONS)),
        seed=seed,
        frequent=(*own.names, *frequent_names()),
        lists=OwnLists(everything, own.names),
        marked=recipe.data.regions or MARKED_SHARE,
    )
    return OwnObjective(look, talk, journal, model.seeing.eyes)


def grown(model: GroundedModel, sources: Sources) -> None:
    """Give a model on the meta device the readout and the decoder that own data will bring.

    The rows of the vocabulary that new names need are left out: a tokenizer would have to count them.

    Raises:
        InputError: as `own_objective`.
    """
    assert isinstance(model, EmbeddedModel)
    own = names_of(annotated_sources(sources.mixture)[0], model.config.table())
    with torch.device("meta"):
        grow_eyes(model, own)


def defaults(model: GroundedModel) -> Mapping[str, Mapping[str, Any]]:
    """Fields of a recipe: many small steps, as for stage look.

    Source: ours.
    """
    options = {"batch_size": BATCH, "masks": MASKS, "conversations": CONVERSATIONS}
    return {"options": options, "finetune": {"min_steps": 400}}


register_family(
    "prima_embedded",
    FinetuneFamily(
        ("seeing.eyes.branches", "language_model", "seg_projection"),
        lora=(),
        defaults=defaults,
        options=frozenset({"masks", "conversations", "held_back"}),
        objective=own_objective,
        grown=grown,
    ),
)
