"""Frozen parts run without gradient."""

from __future__ import annotations

import torch
from torch import nn


def gradients_of(part: nn.Module) -> torch.set_grad_enabled:
    """Context in which a part of a model runs: without gradient while the part is frozen.

    Freezing the weights alone would still keep every activation of a tower for a backward pass that never
    comes: two thirds of a training step's memory.
    """
    trains = any(p.requires_grad for p in part.parameters())
    return torch.set_grad_enabled(trains and torch.is_grad_enabled())
