"""Does the model look? What its answers and masks are worth when one thing that it looks at is taken away.

Controls change a loaded model for a while and leave it as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from segue.errors import InputError
from segue.inference.encoder_cache import EncoderCache
from segue.inference.loaded_model import LoadedModel
from segue.mini.evaluation.photo_pairs import Pair, measure
from segue.models.mini.embedded import EmbeddedModel
from segue.models.mini.findings import Finding
from segue.models.mini.heat import are_kin
from segue.models.mini.names import NameTable
from segue.models.segmenter import SegmenterFeatures


def _no_findings(model: EmbeddedModel) -> dict[str, Any]:
    """The language model reads that every image shows nothing; masks are drawn as ever."""
    spell = model.spell

    def silent(images: Sequence[Sequence[Finding]]) -> Tensor:
        return spell([[] for _ in images])

    return {"spell": silent}


def _no_visual_tokens(model: EmbeddedModel) -> dict[str, Any]:
    """Zeros stand where the language model reads an image."""
    usual = model.encode_images

    def blank(*arguments: Any, **inputs: Any) -> Any:
        tokens = usual(*arguments, **inputs)
        return replace(tokens, tokens=torch.zeros_like(tokens.tokens))

    return {"encode_images": blank}


def _no_heat(model: EmbeddedModel) -> dict[str, Any]:
    """The mask decoder is told the place, and of no name where it may be."""
    usual = model.segmenter.heat_prompts

    def cold(features: SegmenterFeatures, names: list[str], image_index: Tensor) -> Tensor:
        return torch.zeros_like(usual(features, names, image_index))

    return {"heat_prompts": cold}


def _other_heat(model: EmbeddedModel) -> dict[str, Any]:
    """The mask decoder is given the heat of a name that was not asked for."""
    usual, table = model.segmenter.heat_prompts, model.segmenter.eyes.table

    def wrong(features: SegmenterFeatures, names: list[str], image_index: Tensor) -> Tensor:
        return usual(features, [other_name(name, table) for name in names], image_index)

    return {"heat_prompts": wrong}


CONTROLS: dict[str, tuple[str, Callable[[EmbeddedModel], dict[str, Any]]]] = {
    "findings withheld": ("model", _no_findings),
    "visual tokens withheld": ("model", _no_visual_tokens),
    "heat withheld": ("segmenter", _no_heat),
    "another name's heat": ("segmenter", _other_heat),
}
"""Name -> whose methods are changed, and into what."""

OTHER_PICTURES = "other pictures shown"


def other_name(name: str, table: NameTable) -> str:
    """The next name after it in the table that may not be right of the same place."""
    names = list(table.names)
    after = names[names.index(name) + 1 :] + names
    return next(other for other in after if not are_kin(table.names[name], table.names[other]))


@contextmanager
def changed(model: LoadedModel, control: str) -> Iterator[None]:
    """The model with one of `CONTROLS`, until the context ends.

    Raises:
        InputError: the model spells no findings, so there is nothing to withhold.
    """
    if not isinstance(model.model, EmbeddedModel):
        raise InputError(
            "This model has no findings and no heat.",
            expected="a model of type prima_embedded, such as segue-mini",
            found=model.name,
            where="segue.mini.evaluation.controls",
            fix="choose another model; `segue eval --shuffle-images` works with all",
        )
    where, change = CONTROLS[control]
    owner = model.model if where == "model" else model.model.segmenter
    kept, methods = model.encoder_cache, change(model.model)
    usual = {name: owner.__dict__.get(name) for name in methods}
    # What was encoded before holds the findings, so a changed model must not find it.
    model.encoder_cache = EncoderCache() if control == "findings withheld" else kept
    for name, method in methods.items():
        object.__setattr__(owner, name, method)
    try:
        yield
    finally:
        for name, method in usual.items():
            if method is None:
                object.__delattr__(owner, name)
            else:
                object.__setattr__(owner, name, method)
        model.encoder_cache = kept


def exchanged(pairs: Sequence[Pair]) -> list[Pair]:
    """Each question with the photographs of the next pair that asks for another name; answers stay."""
    shown = []
    for number, pair in enumerate(pairs):
        after = [*pairs[number + 1 :], *pairs[:number]]
        other = next((p for p in after if p.name != pair.name), pair)
        shown.append(replace(pair, photographs=other.photographs))
    return shown


def measure_controls(model: LoadedModel, pairs: Sequence[Pair]) -> dict[str, dict[str, float]]:
    """Figures of `photo_pairs.measure` as usual and under each control.

    Args:
        pairs: of which one photograph shows the name.
    """
    found = {"as usual": measure(model, pairs), OTHER_PICTURES: measure(model, exchanged(pairs))}
    for control in CONTROLS:
        with changed(model, control):
            found[control] = measure(model, pairs)
    keys = ("right_image", "mean_iou", "mean_iou_right_image", "refused")
    return {name: {k: figures[k] for k in keys if k in figures} for name, figures in found.items()}
