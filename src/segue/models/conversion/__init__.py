"""Public checkpoints become models of ours: planned name by name, then streamed tensor by tensor.

`convert` does both; `plan` alone checks names and shapes without reading a weight, and `probe` reports them.
"""

from __future__ import annotations

from segue.models.conversion.checkpoints import Checkpoint, open_checkpoint
from segue.models.conversion.convert import Report, convert, locate
from segue.models.conversion.families import FAMILIES, Family, identify, lisa_config, target_shapes
from segue.models.conversion.headers import Headers, open_headers
from segue.models.conversion.initialise import composed_config, initialise_prima, plan_composition
from segue.models.conversion.plan import ConversionError, Move, Plan, plan
from segue.models.conversion.probe import Probe, probe
from segue.models.conversion.probe_report import told, write_report
from segue.models.conversion.qwen3_vl import composed_segue_config, initialise_segue, plan_segue
from segue.models.conversion.sa2va import convert_sa2va, start_from_sa2va

__all__ = [
    "FAMILIES",
    "Checkpoint",
    "ConversionError",
    "Family",
    "Headers",
    "Move",
    "Plan",
    "Probe",
    "Report",
    "composed_config",
    "composed_segue_config",
    "convert",
    "convert_sa2va",
    "identify",
    "initialise_prima",
    "initialise_segue",
    "lisa_config",
    "locate",
    "open_checkpoint",
    "open_headers",
    "plan",
    "plan_composition",
    "plan_segue",
    "probe",
    "start_from_sa2va",
    "target_shapes",
    "told",
    "write_report",
]
