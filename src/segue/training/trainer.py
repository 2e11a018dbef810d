"""The project's trainer: Hugging Face `Trainer` over objectives whose batch i depends on (seed, i) alone."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer

from segue.training.checkpoints import restore
from segue.training.optimisers import MuonAdamW, parameter_groups


class Objective(Protocol):
    """What a stage trains on."""

    trainable: tuple[str, ...]

    def batch(self, step: int) -> dict[str, Any]:
        """The batch of a step; the same for the same step, whoever asks and whenever."""

    def loss(self, model: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """Loss and readings to be logged."""


class Batches(Dataset):
    """The batches of an objective from `start` to `steps`; a resumed run starts where it stopped."""

    def __init__(self, objective: Objective, steps: int) -> None:
        self.objective, self.steps, self.start = objective, steps, 0

    def __len__(self) -> int:
        return self.steps - self.start

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.objective.batch(self.start + index)


class StageTrainer(Trainer):
    """Trains one stage; readings of the objective are averaged between logs."""

    optimizer: torch.optim.Optimizer | None

    def __init__(
        self,
        objective: Objective,
        slow: dict[str, float] | None = None,
        muon_rate: float = 0.0,
        muon_parts: tuple[str, ...] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.muon_rate, self.muon_parts = muon_rate, muon_parts or ("",)
        self.objective, self.slow = objective, slow or {}
        self.readings: dict[str, list[float]] = defaultdict(list)

    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(
            self.train_dataset,
            batch_size=None,
            shuffle=False,
            num_workers=self.args.dataloader_num_workers,
            persistent_workers=False,
        )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        loss, readings = self.objective.loss(model, inputs)
        for name, value in readings.items():
            self.readings[name].append(value)
        return loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        for name, values in self.readings.items():
            logs[name] = round(sum(values) / len(values), 4)
        self.readings.clear()
        super().log(logs, *args, **kwargs)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        # The inherited one compares the file's names with those in memory, where parts that transformers
        # renames on saving (DINOv2's attention) have others, and goes on with fresh weights for them.
        restore(self.model, Path(resume_from_checkpoint))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW, with Muon for the matrices where the recipe gives it a learning rate."""
        if self.optimizer is None:
            rate, decay = self.args.learning_rate, self.args.weight_decay
            betas = (self.args.adam_beta1, self.args.adam_beta2)
            groups = {
                matrices: parameter_groups(
                    self.model,
                    self.slow,
                    matrices=matrices,
                    decay=decay,
                    rate=self.muon_rate if matrices and self.muon_rate else rate,
                    muon_parts=self.muon_parts,
                )
                for matrices in (True, False)
            }
            if self.muon_rate:
                self.optimizer = MuonAdamW(groups[True], groups[False], betas)
            else:
                self.optimizer = torch.optim.AdamW(groups[True] + groups[False], betas=betas)
        return self.optimizer


def set_trainable(model: nn.Module, prefixes: tuple[str, ...]) -> list[str]:
    """Let exactly the parameters with these prefixes train; returns their names."""
    chosen = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(prefixes))
        if parameter.requires_grad:
            chosen.append(name)
    return chosen
