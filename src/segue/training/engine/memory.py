"""Memory of a run by arithmetic alone, for machines that have neither its weights nor its accelerators.

`segue.training.engine.estimate` measures the same on the machine that trains.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from torch import nn

from segue.training.recipe import EngineRecipe

LAYER_NUMBERS = 34
"""Bytes that one layer keeps for its backward pass, per token and unit of width, in 16 bits; without the
attention matrix, which is not kept. Source: Korthikanti et al. 2022, section 4.1."""
LOGIT_NUMBERS = 10
"""Bytes per token and word of the vocabulary: 16-bit logits, their float32 copy, its gradient."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that one process takes on its device.

    Attributes:
        weights: All parameters.
        gradients: One per parameter that trains.
        optimiser: AdamW's two states (or Muon's one), and the float32 copy that DeepSpeed keeps.
        activations: Of the language model, at most; None where it is not part of the stage.
        tokens: The context that `activations` is for.
        trained, parameters: Counts.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int | None
    tokens: int
    trained: int
    parameters: int

    @property
    def total(self) -> int:
        """Bytes of all together."""
        return self.weights + self.gradients + self.optimiser + (self.activations or 0)


def estimate_memory(
    model: nn.Module, trainable: Collection[str], engine: EngineRecipe, conversations: int | None
) -> MemoryEstimate:
    """Estimate a run's memory from shapes; the model may be on the meta device.

    Args:
        trainable: Names of the parameters that train.
        engine: How many processes share what; one where the recipe does not say.
        conversations: A step's batch where the language model reads it.

    Source: arithmetic of `segue.training.engine.engines.lighten` and of ZeRO (Rajbhandari et al. 2020); ours.
    """
    processes = engine.processes or 1
    trained, weights, numbers = 0, 0, 0
    for name, parameter in model.named_parameters():
        numbers += parameter.numel()
        trains = name in trainable
        trained += parameter.numel() * trains
        # As `lighten` leaves them: matrices that are frozen are halved, biases and norms are not.
        half = engine.bf16 and (engine.kind == "deepspeed" or (not trains and parameter.ndim > 1))
        weights += parameter.numel() * (2 if half else 4)
    # Bytes: float32 gradients, and AdamW's two states in float32.
    gradients, optimiser = 4 * trained, 8 * trained
    if engine.kind == "deepspeed" and engine.bf16:
        # Gradients in 16 bits; beside the two states DeepSpeed keeps the weights once more in float32.
        gradients, optimiser = 2 * trained, 12 * trained
    if engine.kind == "deepspeed":
        # ZeRO divides one thing more with each stage.
        stage = _zero_stage(engine)
        optimiser //= processes if stage >= 1 else 1
        gradients //= processes if stage >= 2 else 1
        weights //= processes if stage >= 3 else 1
    if engine.kind == "fsdp2":
        weights, gradients, optimiser = (n // processes for n in (weights, gradients, optimiser))
    text: Any = getattr(model, "config", None)
    text = getattr(text, "text_config", None)
    tokens = int(getattr(text, "max_position_embeddings", 0))
    activations = None
    if conversations is not None and text is not None:
        share = math.ceil(conversations / (processes * engine.accumulation_steps))
        activations = language_activations(text, share * tokens, engine)
    return MemoryEstimate(weights, gradients, optimiser, activations, tokens, trained, numbers)


def language_activations(text_config: Any, tokens: int, engine: EngineRecipe) -> int:
    """Bytes that the language model keeps for its backward pass, for so many tokens at once.

    With checkpointing every layer keeps its input alone, and one layer at a time has all of its numbers.
    """
    width, layers = int(text_config.hidden_size), int(text_config.num_hidden_layers)
    # LAYER_NUMBERS is for 16 bits; float32 has twice that.
    wide = 1 if engine.bf16 else 2
    layer, entry = LAYER_NUMBERS * wide * tokens * width, 2 * wide * tokens * width
    kept = layers * entry + layer if engine.gradient_checkpointing else layers * layer
    return kept + LOGIT_NUMBERS * tokens * int(text_config.vocab_size)


def memory_lines(found: MemoryEstimate, engine: EngineRecipe) -> list[str]:
    """For people."""
    parts = {"weights": found.weights, "gradients": found.gradients, "optimiser": found.optimiser}
    if found.activations is not None:
        parts[f"the language model's activations at its full context of {found.tokens:,} tokens, at most"] = (
            found.activations
        )
    said = ", ".join(f"{name} {amount(size)}" for name, size in parts.items())
    each = " a process" if (engine.processes or 1) > 1 else ""
    return [
        f"trains {found.trained / 1e6:,.2f} of {found.parameters / 1e6:,.2f} M parameters",
        f"memory about {amount(found.total)}{each}: {said}",
        "other activations come on top; "
        + ("the run measures all of it before its first step" if found.activations is not None else
           "they grow with options.batch_size"),
    ]  # fmt: skip


def amount(count: int) -> str:
    """Bytes for people, in MiB or GiB."""
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


def _zero_stage(engine: EngineRecipe) -> int:
    from segue.training.engine.engines import read_config

    return int(read_config(engine).get("zero_optimization", {}).get("stage", 0))
