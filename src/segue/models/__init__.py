"""Grounded models; importing this package registers them with the Auto classes."""

from __future__ import annotations

from transformers import AutoConfig, AutoModel, AutoProcessor

from segue.models.configuration_grounded import GroundedConfig, PrimaConfig
from segue.models.configuration_lisa import GlammConfig, LisaConfig
from segue.models.configuration_miras import MirasConfig
from segue.models.generation import GroundedGeneration
from segue.models.modeling_glamm import GlammModel
from segue.models.modeling_grounded import GroundedModel, GroundedOutput
from segue.models.modeling_lisa import LisaModel
from segue.models.modeling_miras import MirasModel
from segue.models.modeling_prima import PrimaModel
from segue.models.processing_grounded import (
    GlammProcessor,
    GroundedProcessor,
    LisaProcessor,
    MirasProcessor,
    PrimaProcessor,
)

AutoConfig.register("prima", PrimaConfig)
AutoModel.register(PrimaConfig, PrimaModel)
AutoProcessor.register(PrimaConfig, PrimaProcessor)
AutoConfig.register("lisa", LisaConfig)
AutoModel.register(LisaConfig, LisaModel)
AutoProcessor.register(LisaConfig, LisaProcessor)
AutoConfig.register("glamm", GlammConfig)
AutoModel.register(GlammConfig, GlammModel)
AutoProcessor.register(GlammConfig, GlammProcessor)
AutoConfig.register("miras", MirasConfig)
AutoModel.register(MirasConfig, MirasModel)
AutoProcessor.register(MirasConfig, MirasProcessor)

__all__ = [
    "GlammConfig",
    "GlammModel",
    "GlammProcessor",
    "GroundedConfig",
    "GroundedGeneration",
    "GroundedModel",
    "GroundedOutput",
    "GroundedProcessor",
    "LisaConfig",
    "LisaModel",
    "LisaProcessor",
    "MirasConfig",
    "MirasModel",
    "MirasProcessor",
    "PrimaConfig",
    "PrimaModel",
    "PrimaProcessor",
]
