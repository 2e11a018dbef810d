"""Fresh embedded models: configuration, random weights and a processor that agree with each other."""

from __future__ import annotations

from typing import Any

from segue.models.build import start_prima
from segue.models.mini.configuration_mini import MiniConfig
from segue.models.mini.modeling_mini import MiniModel
from segue.models.mini.presets_mini import mini_streams_for
from segue.models.mini.slot_vocabulary import slot_name_ids, slot_word_ids
from segue.models.presets import preset
from segue.models.processing_grounded import PrimaProcessor


def build_from_tokenizer(
    name: str, tokenizer: Any, *, seed: int = 0, **overrides: Any
) -> tuple[MiniModel, PrimaProcessor]:
    """A model of a preset of this family around a tokenizer of `segue.mini.tokenizer`.

    Args:
        name: `segue-scenes` or `tiny`.
        tokenizer: also serves as the Q-Former's, with its own embedding table.
        seed: of the random weights.
        **overrides: configuration fields.

    Returns:
        Model (in eval mode) and processor.
    """
    config = preset(name).config(**overrides)
    assert isinstance(config, MiniConfig)
    names = (*config.slot_classes, *config.slot_attributes)
    if config.slot_classes and "slot_word_ids" not in overrides:
        config.slot_word_ids = slot_word_ids(tokenizer, names)
    if config.slot_relevance and "slot_name_ids" not in overrides:
        config.slot_name_ids = slot_name_ids(tokenizer, names)
    if config.slot_classes and "image_number_ids" not in overrides:
        numbers = range(1, len(config.identifier_token_ids) + 1)
        spelled = [tokenizer(f" {n}", add_special_tokens=False)["input_ids"] for n in numbers]
        config.image_number_ids = [ids[-1] for ids in spelled]
    return start_prima(MiniModel, config, tokenizer, mini_streams_for(config), seed)
