"""Public checkpoints become models of ours: planned name by name, then streamed tensor by tensor.

`convert` does both; `plan` alone checks names and shapes without reading a weight.
"""

from __future__ import annotations

from segue.models.conversion.checkpoints import Checkpoint, open_checkpoint
from segue.models.conversion.convert import Report, convert
from segue.models.conversion.families import FAMILIES, Family, identify, lisa_config, target_shapes
from segue.models.conversion.plan import ConversionError, Move, Plan, plan

__all__ = [
    "FAMILIES",
    "Checkpoint",
    "ConversionError",
    "Family",
    "Move",
    "Plan",
    "Report",
    "convert",
    "identify",
    "lisa_config",
    "open_checkpoint",
    "plan",
    "target_shapes",
]
