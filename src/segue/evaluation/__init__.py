"""Measure a model by asking it, through the same session that users call."""

from __future__ import annotations

from segue.evaluation.evaluate import evaluate
from segue.evaluation.replay import TurnResult, replay
from segue.evaluation.scores import summarise

__all__ = ["TurnResult", "evaluate", "replay", "summarise"]
