"""Grounded models; importing this package registers them with the Auto classes."""

from __future__ import annotations

from transformers import AutoConfig, AutoModel, AutoProcessor

from segue.models.configuration_grounded import GroundedConfig, PrimaConfig
from segue.models.modeling_grounded import GroundedGeneration, GroundedModel, GroundedOutput
from segue.models.modeling_prima import PrimaModel
from segue.models.processing_grounded import GroundedProcessor, PrimaProcessor

AutoConfig.register("prima", PrimaConfig)
AutoModel.register(PrimaConfig, PrimaModel)
AutoProcessor.register(PrimaConfig, PrimaProcessor)

__all__ = [
    "GroundedConfig",
    "GroundedGeneration",
    "GroundedModel",
    "GroundedOutput",
    "GroundedProcessor",
    "PrimaConfig",
    "PrimaModel",
    "PrimaProcessor",
]
