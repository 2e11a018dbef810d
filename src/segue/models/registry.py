"""The families that can be loaded: each `model_type` with its configuration, model and processor."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import AutoConfig, AutoModel, AutoProcessor

from segue.models.configuration_grounded import GroundedConfig
from segue.models.modeling_grounded import GroundedModel
from segue.models.processing_grounded import GroundedProcessor


@dataclass(frozen=True)
class Family:
    """The three classes of a family.

    Attributes:
        config: its `model_type` is the family's name.
        model: fills `encode_images`.
        processor: prepares its inputs.
    """

    config: type[GroundedConfig]
    model: type[GroundedModel]
    processor: type[GroundedProcessor]


FAMILIES: dict[str, Family] = {}
"""`model_type` -> family, in the order of registration."""


def register(
    config: type[GroundedConfig], model: type[GroundedModel], processor: type[GroundedProcessor]
) -> None:
    """Make a family known to the Auto classes and to `segue.load`."""
    AutoConfig.register(config.model_type, config)
    AutoModel.register(config, model)
    AutoProcessor.register(config, processor)
    FAMILIES[config.model_type] = Family(config, model, processor)
