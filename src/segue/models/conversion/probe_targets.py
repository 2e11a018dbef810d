"""The model that each kind of checkpoint would become; parts that it leaves out are taken as published.

A conversion needs those parts and a tokenizer; a probe takes the published sizes in their place and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import ConvNextModel, SamConfig, SamModel

from segue.errors import ModelError
from segue.models.conversion import authors, miras
from segue.models.conversion.checkpoints import Checkpoint
from segue.models.conversion.families import FAMILIES, lisa_config, target_shapes
from segue.models.conversion.parts import instructblip_target
from segue.models.conversion.plan import Shape, Target
from segue.models.conversion.sa2va import sa2va_target
from segue.models.conversion.sizes import sam_sizes
from segue.models.conversion.templates import SAM_HF, SAM_ORIGINAL
from segue.models.modeling_miras import MirasModel
from segue.models.presets import preset
from segue.models.presets_miras import MIRAS_COMPONENTS

Beside = Mapping[str, Checkpoint]
"""Repositories given beside the checkpoint, by the name of their option."""


@dataclass(frozen=True)
class Outlook:
    """What a checkpoint would become.

    Attributes:
        target: the model.
        beside: repositories that are at hand, by the label that their names get.
        elsewhere: prefix of parameters -> public repository that fills them and is not at hand.
    """

    target: Target
    beside: Mapping[str, Checkpoint] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)


def outlook(kind: str, checkpoint: Checkpoint, beside: Beside) -> Outlook:
    """What a checkpoint of a kind would become.

    Raises:
        ModelError: sizes cannot be read from its shapes or config.json.
    """
    if kind not in _OUTLOOKS:
        raise ModelError(
            "Checkpoints of this kind are converted, but not probed.",
            expected=" or ".join(_OUTLOOKS),
            found=kind,
            fix="run `segue convert` itself: it says what is left over before it reads a weight",
        )
    return _OUTLOOKS[kind](checkpoint, beside)


def _lisa(kind: str) -> Callable[[Checkpoint, Beside], Outlook]:
    def of(checkpoint: Checkpoint, beside: Beside) -> Outlook:
        family = FAMILIES[kind]
        tower = beside.get("clip")
        published = preset(f"{kind}-7b").config().vision_config.to_dict()
        rows = checkpoint.shapes["model.embed_tokens.weight"][0]
        # Ids are the tokenizer's; no shape depends on them.
        config = lisa_config(
            family, checkpoint.shapes, checkpoint.config, tower.config if tower else published, rows - 1, rows
        )
        target = Target(config, target_shapes(family.model, config), family.rules)
        return Outlook(target, *_part("clip", tower, "vision_model.", family.clip))

    return of


def _part(
    option: str, given: Checkpoint | None, prefix: str, public: str
) -> tuple[dict[str, Checkpoint], dict[str, str]]:
    """A part that is at hand under its label, or where it comes from."""
    return ({f"{option}:": given}, {}) if given else ({}, {prefix: f"{public} (--{option})"})


def _miras(checkpoint: Checkpoint, beside: Beside) -> Outlook:
    published: Any = preset("miras-7b").config()
    names = checkpoint.shapes
    has_masks = miras.has_masks(names)
    needed = {
        "clip": (not any("vision_tower." in n for n in names), "vision_model."),
        "convnext": (not any("vision_tower_aux." in n for n in names), "aux_vision_model."),
        "sam": (not has_masks, "sam."),
    }
    at_hand: dict[str, Checkpoint] = {}
    elsewhere: dict[str, str] = {}
    for option, (wanted, prefix) in needed.items():
        if wanted:
            public = MIRAS_COMPONENTS[prefix.removesuffix(".")]
            here, there = _part(option, beside.get(option), prefix, public)
            at_hand, elsewhere = at_hand | here, elsewhere | there
    rows = miras.table_shape(names)[0]
    # LLaVA's 32000 pieces, and without a tokenizer the published order of what MIRAS added.
    words = miras.vocabulary(names, min(rows, 32000), {})
    tower = checkpoint.config if "vision_config" in checkpoint.config else published.vision_config.to_dict()
    trunk: Mapping[str, Shape] = names
    if needed["convnext"][0]:
        given = at_hand.get("convnext:")
        trunk = given.shapes if given else target_shapes(ConvNextModel, published.aux_vision_config)
    sam = at_hand.get("sam:") or Checkpoint(
        Path("sam"), published.sam_config.to_dict(), target_shapes(SamModel, published.sam_config)
    )
    clip = at_hand.get("clip:")
    config = miras.miras_config(checkpoint, words, clip.config if clip else tower, trunk, sam)
    lacking = tuple(part for part, word in miras.FRESH.items() if not any(word in name for name in names))
    rules = miras.miras_rules(names, words.kept, miras.is_transformers_sam(sam))
    return Outlook(Target(config, target_shapes(MirasModel, config), rules, lacking), at_hand, elsewhere)


def _sam(checkpoint: Checkpoint, beside: Beside) -> Outlook:
    config = SamConfig(**sam_sizes(checkpoint.shapes))
    return Outlook(Target(config, target_shapes(SamModel, config), SAM_ORIGINAL))


def _sam_hf(checkpoint: Checkpoint, beside: Beside) -> Outlook:
    config = SamConfig(**checkpoint.config)
    return Outlook(Target(config, target_shapes(SamModel, config), SAM_HF))


def _prima(checkpoint: Checkpoint, beside: Beside) -> Outlook:
    dinov2 = beside.get("dinov2")
    return Outlook(authors.prima_target(checkpoint, dinov2), {"dinov2:": dinov2} if dinov2 else {})


_OUTLOOKS: dict[str, Callable[[Checkpoint, Beside], Outlook]] = {
    "lisa": _lisa("lisa"),
    "glamm": _lisa("glamm"),
    "miras": _miras,
    "llava": _miras,
    "sam": _sam,
    "sam-hf": _sam_hf,
    "sa2va": lambda checkpoint, beside: Outlook(sa2va_target(checkpoint)),
    "instructblip": lambda checkpoint, beside: Outlook(instructblip_target(checkpoint)),
    "prima": _prima,
}
