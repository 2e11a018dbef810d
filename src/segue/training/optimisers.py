"""Muon for the matrices of transformer blocks, AdamW for everything else, as one optimiser."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

NOT_MATRICES = ("embed", "heads", "lm_head", "query_tokens", "position", "mask_tokens", "iou_token")
"""Parameters whose names contain these are tables or readouts, not maps between hidden states."""


class MuonAdamW(torch.optim.Optimizer):
    """`torch.optim.Muon` and `AdamW` behind one interface, each with its own parameters.

    Orthogonalised updates made small vision transformers learn about three times faster in steps than AdamW here.

    Args:
        matrices: parameter groups for Muon.
        others: parameter groups for AdamW.

    Source: Muon (Jordan et al. 2024); the split is ours.
    """

    def __init__(self, matrices: list[dict[str, Any]], others: list[dict[str, Any]],
                 betas: tuple[float, float]) -> None:
        super().__init__([p for group in (*matrices, *others) for p in group["params"]], {})
        self.muon = torch.optim.Muon(matrices, momentum=0.95, adjust_lr_fn="original")
        self.adamw = torch.optim.AdamW(others, betas=betas)
        self.param_groups = self.muon.param_groups + self.adamw.param_groups

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = closure() if closure is not None else None
        self.muon.step()
        self.adamw.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.muon.zero_grad(set_to_none)
        self.adamw.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self.param_groups = self.muon.param_groups + self.adamw.param_groups


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon may update it."""
    return parameter.ndim == 2 and min(parameter.shape) > 8 and not any(part in name for part in NOT_MATRICES)


def parameter_groups(model: nn.Module, slow: dict[str, float], *, rate: float, decay: float,
                     matrices: bool) -> list[dict[str, Any]]:
    """Trainable parameters by learning rate and weight decay (on matrices and tables only).

    Args:
        slow: parameter prefix to learning-rate factor.
        matrices: those that `is_matrix` accepts, or all others.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and is_matrix(name, parameter) == matrices:
            factor = next((f for prefix, f in slow.items() if name.startswith(prefix)), 1.0)
            groups[rate * factor, decay if parameter.ndim > 1 else 0.0].append(parameter)
    return [{"params": p, "lr": lr, "weight_decay": wd} for (lr, wd), p in groups.items()]
