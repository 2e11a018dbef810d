"""Muon for the matrices of transformer blocks, AdamW for everything else, as one optimiser."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

NOT_MATRICES = ("embed", "heads", "lm_head", "query_tokens", "position", "mask_tokens", "iou_token")
"""Parameters whose names contain these are tables or readouts, not maps between hidden states."""


COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic Newton-Schulz step. Source: Jordan et al. 2024."""


def orthogonalise(matrices: Tensor, steps: int = 4) -> Tensor:
    """Nearest semi-orthogonal matrices (singular values near 1), by Newton-Schulz.

    Args:
        matrices: `[M, R, C]`; `torch.optim.Muon` does one at a time in bfloat16, which a CPU without matrix
            units computes an order of magnitude slower than a batch in float32.

    Returns:
        `[M, R, C]`.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    # Of the two Gram matrices the one of the shorter side is smaller.
    x = matrices.transpose(1, 2) if tall else matrices
    # 1e-7 keeps a gradient of zeros from becoming NaN.
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    # Each step maps every singular value s to a s + b s^3 + c s^5 and leaves the singular vectors alone; the
    # division above brought all of them into [0, 1], where four steps take them close to 1.
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised; for the matrices of transformer blocks.

    Args:
        params: groups with `lr` and `weight_decay`.
        momentum: Nesterov momentum.

    Source: Jordan et al. 2024; all matrices of a shape are orthogonalised together (ours).
    """

    def __init__(self, params: list[dict[str, Any]], momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": 0.02, "weight_decay": 0.0, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for shape, parameters in shapes.items():
                updates = torch.stack([self.momentum(p, group["momentum"]) for p in parameters])
                # An orthogonal update of a tall matrix moves each of its rows less; this makes up for it.
                scale = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for parameter, update in zip(parameters, orthogonalise(updates), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-scale)

    def momentum(self, parameter: nn.Parameter, factor: float) -> Tensor:
        """The Nesterov momentum of a parameter's gradient, kept in the optimiser's state."""
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer, gradient = state["momentum_buffer"], parameter.grad
        assert gradient is not None
        buffer.lerp_(gradient, 1 - factor)
        # Nesterov: the newest gradient counts once more, ahead of the average.
        return gradient.lerp(buffer, factor)


class MuonAdamW(torch.optim.Optimizer):
    """`Muon` and `AdamW` behind one interface, each with its own parameters.

    Orthogonalised updates made small vision transformers learn about three times faster in steps than AdamW
    here.

    Args:
        matrices: parameter groups for Muon.
        others: parameter groups for AdamW.

    Source: Muon (Jordan et al. 2024); the split is ours.
    """

    def __init__(
        self, matrices: list[dict[str, Any]], others: list[dict[str, Any]], betas: tuple[float, float]
    ) -> None:
        super().__init__([p for group in (*matrices, *others) for p in group["params"]], {})
        self.muon = Muon(matrices)
        self.adamw = torch.optim.AdamW(others, betas=betas)
        # The very dictionaries of both: a scheduler that writes their learning rates reaches the optimisers.
        self.param_groups = self.muon.param_groups + self.adamw.param_groups

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
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
        # Again: loading made new dictionaries.
        self.param_groups = self.muon.param_groups + self.adamw.param_groups


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Tell whether Muon may update a parameter."""
    return parameter.ndim == 2 and min(parameter.shape) > 8 and not any(part in name for part in NOT_MATRICES)


def parameter_groups(
    model: nn.Module,
    lr_multipliers: dict[str, float],
    *,
    rate: float,
    decay: float,
    matrices: bool,
    muon_parts: tuple[str, ...] = ("",),
) -> list[dict[str, Any]]:
    """Trainable parameters by learning rate and weight decay (on matrices and tables only).

    Args:
        lr_multipliers: parameter prefix to the factor on its learning rate; the first that fits counts.
        matrices: those that `is_matrix` accepts in the parts with these prefixes, or all others.
        muon_parts: parameter prefixes; all parts by default.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        chosen = is_matrix(name, parameter) and name.startswith(muon_parts)
        if parameter.requires_grad and chosen == matrices:
            factor = next((f for prefix, f in lr_multipliers.items() if name.startswith(prefix)), 1.0)
            groups[rate * factor, decay if parameter.ndim > 1 else 0.0].append(parameter)
    return [{"params": p, "lr": lr, "weight_decay": wd} for (lr, wd), p in groups.items()]
