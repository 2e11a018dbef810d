"""Grounded models; importing this package registers them with the Auto classes."""

from __future__ import annotations

from importlib import import_module

from transformers import AutoConfig

from segue.models.configuration_grounded import GroundedConfig, PrimaConfig
from segue.models.configuration_lisa import GlammConfig, LisaConfig
from segue.models.configuration_miras import MirasConfig
from segue.models.configuration_qwen3_vl import Qwen3VLGroundedConfig, Sa2vaConfig
from segue.models.generation import GroundedGeneration
from segue.models.modeling_glamm import GlammModel
from segue.models.modeling_grounded import GroundedModel, GroundedOutput
from segue.models.modeling_lisa import LisaModel
from segue.models.modeling_miras import MirasModel
from segue.models.modeling_prima import PrimaModel
from segue.models.omg_llava.configuration_omg_llava import OmgLlavaConfig, PerceptionConfig
from segue.models.omg_llava.modeling_omg_llava import OmgLlavaModel
from segue.models.omg_llava.processing_omg_llava import OmgLlavaProcessor
from segue.models.processing_grounded import (
    GlammProcessor,
    GroundedProcessor,
    LisaProcessor,
    MirasProcessor,
    PrimaProcessor,
)
from segue.models.processing_qwen3_vl import Qwen3VLGroundedProcessor, Sa2vaProcessor
from segue.models.qwen3_vl import Qwen3VLGroundedModel, Sa2vaModel
from segue.models.registry import register

register(PrimaConfig, PrimaModel, PrimaProcessor)
register(LisaConfig, LisaModel, LisaProcessor)
register(GlammConfig, GlammModel, GlammProcessor)
register(MirasConfig, MirasModel, MirasProcessor)
# A part of a configuration, which transformers finds by its name.
AutoConfig.register(PerceptionConfig.model_type, PerceptionConfig)
register(OmgLlavaConfig, OmgLlavaModel, OmgLlavaProcessor)
register(Qwen3VLGroundedConfig, Qwen3VLGroundedModel, Qwen3VLGroundedProcessor)
register(Sa2vaConfig, Sa2vaModel, Sa2vaProcessor)

# The embedded model registers itself and its presets; the papers' models work in a copy that lacks it.
try:
    import_module("segue.models.mini")
except ModuleNotFoundError as error:
    if error.name != "segue.models.mini":
        raise

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
    "OmgLlavaConfig",
    "OmgLlavaModel",
    "OmgLlavaProcessor",
    "PrimaConfig",
    "PrimaModel",
    "PrimaProcessor",
    "Qwen3VLGroundedConfig",
    "Qwen3VLGroundedModel",
    "Qwen3VLGroundedProcessor",
    "Sa2vaConfig",
    "Sa2vaModel",
    "Sa2vaProcessor",
]
