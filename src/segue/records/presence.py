"""How sure a model is that the thing of a grounding is there at all, and the calibration of that number.

Two confidences of the model go in: of the segmenter in its mask, and of the language model in the phrase and
its `[SEG]`. Raw, they rank groundings; they are a probability only after a calibration was fitted on data
(`segue calibrate`), so every score says whether it is calibrated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segue.errors import InputError
from segue.files import write_atomic

FORMAT = "segue-calibration/1"
FILE_NAME = "calibration.json"
"""In a model's folder; a session takes it from there."""

SIGNALS = ("mask", "text")
EDGE = 1e-4
"""Confidences are kept this far from 0 and 1, so that their logits are finite."""


@dataclass(frozen=True, slots=True)
class Presence:
    """How sure the model is that a grounding's thing is in its image.

    Attributes:
        score: 0..1; a probability where `calibrated`.
        calibrated: whether `score` was brought to frequencies measured on data.
        mask: mean foreground probability inside the mask; 0 for an empty one.
        text: geometric mean of the probabilities that the language model gave to the tokens of the phrase and
            to its `[SEG]`; None where they are not known (a chat model behind a server).
    """

    score: float
    calibrated: bool
    mask: float
    text: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        text = None if self.text is None else float(self.text)
        return {
            "score": float(self.score),
            "calibrated": self.calibrated,
            "mask": float(self.mask),
            "text": text,
        }


def logit(confidence: float) -> float:
    """Log odds, finite."""
    kept = min(max(confidence, EDGE), 1 - EDGE)
    return math.log(kept / (1 - kept))


@dataclass(frozen=True)
class Calibration:
    """A probability from the two confidences: a logistic function of their logits.

    Attributes:
        weights: of each of `SIGNALS`; one that is missing counts nothing.
        bias: of the sum.
        about: what it was fitted on and how good it is, for people.

    Source: Platt (1999), with two inputs in the manner of temperature scaling; which two is ours.
    """

    weights: Mapping[str, float]
    bias: float
    about: Mapping[str, Any] = field(default_factory=dict)

    def probability(self, mask: float, text: float | None) -> float | None:
        """The calibrated score; None where it was fitted with a confidence that is not known here."""
        values = {"mask": mask, "text": text}
        total = self.bias
        for name, weight in self.weights.items():
            value = values[name]
            if value is None:
                return None
            total += weight * logit(value)
        # Both forms, so that neither overflows.
        return 1 / (1 + math.exp(-total)) if total >= 0 else math.exp(total) / (1 + math.exp(total))

    def about_it(self, about: Mapping[str, Any]) -> Calibration:
        """The same with a description."""
        return Calibration(self.weights, self.bias, about)

    def to_json(self) -> dict[str, Any]:
        """Return the content of a calibration file."""
        return {"format": FORMAT, "weights": dict(self.weights), "bias": self.bias, "about": dict(self.about)}


def write_calibration(calibration: Calibration, file: Path) -> Path:
    """Write a calibration file, whole or not at all."""
    return write_atomic(file, json.dumps(calibration.to_json(), indent=1) + "\n")


def presence_of(mask: float, text: float | None, calibration: Calibration | None = None) -> Presence:
    """The presence of a grounding: calibrated where that is possible, else the mean of what is known.

    Args:
        mask: confidence in the mask, 0..1.
        text: confidence in the phrase, 0..1; None where it is not known.
        calibration: of the model.

    Source: ours; without a calibration the geometric mean, which is low where either confidence is.
    """
    score = None if calibration is None else calibration.probability(mask, text)
    if score is not None:
        return Presence(score, True, mask, text)
    return Presence(mask if text is None else math.sqrt(mask * text), False, mask, text)


def read_calibration(file: Path) -> Calibration:
    """Read a file that `segue calibrate` wrote.

    Raises:
        InputError: there is none, or it is no calibration.
    """
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _no_calibration(file, str(error)) from None
    weights = content.get("weights") if isinstance(content, dict) else None
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(weights, dict):
        raise _no_calibration(file, "another JSON file")
    numbers = [*weights.values(), content.get("bias")]
    finite = all(type(n) in (int, float) and math.isfinite(n) for n in numbers)
    if not finite or not weights or not set(weights) <= set(SIGNALS):
        raise _no_calibration(file, f"weights {weights} and bias {content.get('bias')}"[:120])
    about = content.get("about")
    return Calibration(weights, float(content["bias"]), about if isinstance(about, dict) else {})


def _no_calibration(file: Path, found: str) -> InputError:
    return InputError(
        "The calibration cannot be read.",
        expected=f"a file that `segue calibrate` wrote ({FORMAT})",
        found=found,
        where=str(file),
        fix="make one with `segue calibrate --model M --data D --out FILE`, or leave --calibration out",
    )
