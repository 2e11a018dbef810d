"""Parts of the embedded model alone. Importing this package registers its family and its presets."""

from __future__ import annotations

from segue.models.mini.configuration_mini import MiniConfig
from segue.models.mini.embedded import EmbeddedConfig, EmbeddedModel
from segue.models.mini.modeling_mini import MiniModel
from segue.models.mini.presets_mini import MINI_PRESETS
from segue.models.mini.talking import TalkingProcessor
from segue.models.presets import PRESETS
from segue.models.processing_grounded import PrimaProcessor
from segue.models.registry import register

register(MiniConfig, MiniModel, PrimaProcessor)
register(EmbeddedConfig, EmbeddedModel, TalkingProcessor)
PRESETS.update(MINI_PRESETS)
