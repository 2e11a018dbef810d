"""The names that the object slots can read: how they are spelled, and how a trained model gets more of them.

A new name starts as one that no slot reads (its logit is far below all others), so that the model answers as
before until it is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segue.errors import ModelError
from segue.models.modeling_grounded import GroundedModel
from segue.models.processing_grounded import GroundedProcessor

UNREAD = 3.0
"""How far below the others' mean the bias of a new name starts: little beside the name that wins."""

Ids = list[list[int]]


def slot_word_ids(tokenizer: Any, names: Sequence[str]) -> Ids:
    """Token ids by which the language model hears each name; see `MiniConfig.slot_word_ids`."""
    return [list(tokenizer(f" {name}", add_special_tokens=False)["input_ids"]) for name in names]


def slot_name_ids(tokenizer: Any, names: Sequence[str]) -> Ids:
    """Token ids by which an instruction names each of them in one token; see `MiniConfig.slot_name_ids`."""
    forms = [slot_word_ids(tokenizer, [f"{name}{end}" for end in ("", "s", "es")]) for name in names]
    return [[ids[0] for ids in form if len(ids) == 1] for form in forms]


def reads_names(model: GroundedModel) -> bool:
    """Whether a model has object slots that spell what they read."""
    return getattr(model, "slot_heads", None) is not None and bool(model.config.slot_word_ids)


def add_slot_names(model: GroundedModel, processor: GroundedProcessor, names: Sequence[str]) -> list[str]:
    """Let the slots of a trained model read more names, in place.

    Args:
        processor: whose vocabularies spell the names.
        names: those that it reads already are passed over.

    Returns:
        The names that were added, in order.

    Raises:
        ModelError: the model spells no slots to its language model.

    Source: paper silent; ours.
    """
    config, heads = model.config, getattr(model, "slot_heads", None)
    if heads is None or not reads_names(model):
        raise ModelError(
            "This model has no object slots that could read names.",
            expected="a model with config.slot_word_ids, such as segue-scenes",
            found=f"{config.model_type} without",
            where="add_slot_names",
            fix="leave the names out",
        )
    known = len(config.slot_classes)
    new = [name for name in dict.fromkeys(names) if name not in config.slot_classes]
    if not new:
        return new
    heads.classes = _with_rows(heads.classes, known, len(new))
    config.slot_classes = [*config.slot_classes, *new]
    config.slot_word_ids = _inserted(config.slot_word_ids, known, slot_word_ids(processor.tokenizer, new))
    if config.slot_name_ids:
        words = slot_name_ids(processor.qformer_tokenizer, new)
        config.slot_name_ids = _inserted(config.slot_name_ids, known, words)
    return new


def forget_labels(model: GroundedModel, processor: GroundedProcessor) -> None:
    """Take the label reader out of a model and its pictures out of the processor, in place.

    Where images never show one of its names it costs a third of the encoders' time and says only what is not
    there.

    Source: paper silent; ours.
    """
    model.label_reader = None
    model.config.label_reader_config, model.config.label_reader_names = None, ()
    for streams in (processor.streams, processor.image_streams):
        streams.pop("pixel_values_labels", None)


def _inserted(before: Sequence[Sequence[int]], place: int, new: Ids) -> Ids:
    return [*map(list, before[:place]), *new, *map(list, before[place:])]


def _with_rows(layer: nn.Linear, place: int, count: int) -> nn.Linear:
    """The layer with rows of zeros before its row `place`, their biases far below the mean."""
    weight, bias = layer.weight.data, layer.bias.data
    grown = nn.Linear(layer.in_features, layer.out_features + count).to(weight)

    def insert(rows: Tensor, new: Tensor) -> Tensor:
        return torch.cat([rows[:place], new, rows[place:]])

    grown.weight.data = insert(weight, weight.new_zeros(count, layer.in_features))
    grown.bias.data = insert(bias, bias.new_full((count,), float(bias.mean()) - UNREAD))
    return grown
