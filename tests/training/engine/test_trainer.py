"""The trainer asks for the right batches, groups parameters as the recipe says, and averages readings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import TrainingArguments

from segue.training.engine.accumulation import WHOLE, Share
from segue.training.engine.engines import join_processes
from segue.training.engine.trainer import Batches, StageTrainer, set_trainable
from segue.training.recipe import EngineRecipe


class Toy:
    """Fits one number per step; remembers which steps were asked for."""

    trainable = ("",)

    def __init__(self) -> None:
        self.asked: list[int] = []

    def batch(self, step: int) -> dict[str, Any]:
        self.asked.append(step)
        return {"x": torch.full((2, 3), float(step))}

    def loss(self, model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        return model(batch["x"]).pow(2).mean(), {"asked": float(batch["x"][0, 0])}


def trainer_for(tmp_path: Path, model: nn.Module, toy: Toy, steps: int = 4, **options: Any) -> StageTrainer:
    arguments = TrainingArguments(
        str(tmp_path),
        max_steps=steps,
        learning_rate=0.1,
        weight_decay=0.5,
        logging_steps=2,
        per_device_train_batch_size=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    return StageTrainer(
        toy, options.get("lr_multipliers"), model=model, args=arguments, train_dataset=Batches(toy, steps)
    )


def test_batches_begin_where_the_run_stopped() -> None:
    toy = Toy()
    batches = Batches(toy, 10)
    assert len(batches) == 10
    batches.start = 7
    assert len(batches) == 3
    assert [float(batches[i]["x"][0, 0]) for i in range(3)] == [7, 8, 9]


def test_every_step_is_asked_for_once_and_in_order(tmp_path: Path) -> None:
    toy = Toy()
    trainer = trainer_for(tmp_path, nn.Linear(3, 1), toy)
    trainer.train()
    assert toy.asked[:4] == [0, 1, 2, 3]
    assert trainer.state.global_step == 4


def test_readings_are_averaged_between_logs(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, nn.Linear(3, 1), Toy())
    trainer.train()
    logged = [entry["asked"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged == [0.5, 2.5]
    assert not trainer.readings


def test_groups_by_prefix_and_shape(tmp_path: Path) -> None:
    model = nn.ModuleDict({"fast": nn.Linear(3, 4), "slow": nn.Linear(3, 4), "still": nn.Linear(3, 4)})
    model["still"].requires_grad_(False)
    optimiser = trainer_for(tmp_path, model, Toy(), lr_multipliers={"slow": 0.25}).create_optimizer()
    assert isinstance(optimiser, torch.optim.AdamW)
    found = {id(p): (g["lr"], g["weight_decay"]) for g in optimiser.param_groups for p in g["params"]}
    assert found == {
        id(model["fast"].weight): (0.1, 0.5),
        id(model["fast"].bias): (0.1, 0.0),
        id(model["slow"].weight): (0.025, 0.5),
        id(model["slow"].bias): (0.025, 0.0),
    }


def test_exactly_the_named_parts_train(tiny: Callable[..., Any]) -> None:
    model, _ = tiny()
    names = set_trainable(model, ("fusion", "sam.mask_decoder"))
    assert names == [n for n, _ in model.named_parameters() if n.startswith(("fusion.", "sam.mask_decoder."))]
    assert {n for n, p in model.named_parameters() if p.requires_grad} == set(names)
    again = set_trainable(model, ("image_projection",))
    assert again == ["image_projection.weight", "image_projection.bias"]
    assert sum(p.requires_grad for p in model.parameters()) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_not_batched_again(tmp_path: Path, workers: int) -> None:
    trainer = trainer_for(tmp_path, nn.Linear(3, 1), Toy())
    trainer.args.dataloader_num_workers = workers
    shapes = [tuple(b["x"].shape) for b in trainer.get_train_dataloader()]
    assert shapes == [(2, 3)] * 4


class Sums:
    """Squares over the examples of a batch, divided by the count of the whole step: shares add up."""

    trainable = ("",)
    batch_size = 4
    loss_terms = frozenset({"squares"})

    def batch(self, step: int) -> dict[str, Any]:
        return self.share(step, WHOLE)

    def share(self, step: int, share: Share) -> dict[str, Any]:
        rows = share.of(range(self.batch_size))
        return {"x": torch.tensor([[float(step + 1), float(row), 1.0] for row in rows])}

    def counts(self, batch: dict[str, Any]) -> dict[str, float]:
        return {"rows": float(len(batch["x"]))}

    def loss(
        self, model: nn.Module, batch: dict[str, Any], totals: dict[str, float] | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        summed = (model(batch["x"]) - 1).pow(2).sum() / (totals or self.counts(batch))["rows"]
        return summed, {"squares": float(summed.detach())}


def descend(out: Path, accumulation_steps: int) -> None:
    """Three steps of plain gradient descent without clipping: the weights are the sums of the gradients."""
    processes = join_processes(EngineRecipe())
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    arguments = TrainingArguments(
        str(out), max_steps=3, max_grad_norm=0, lr_scheduler_type="constant", save_strategy="no",
        per_device_train_batch_size=1, gradient_accumulation_steps=accumulation_steps, report_to="none",
        use_cpu=True, remove_unused_columns=False, disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    objective = Sums()
    trainer = StageTrainer(
        objective,
        model=model,
        args=arguments,
        train_dataset=Batches(objective, 3, processes, accumulation_steps),
        processes=processes,
        optimizers=(torch.optim.SGD(model.parameters(), lr=0.01), None),
    )
    trainer.train()
    if processes.first:
        weights = {name: value.tolist() for name, value in model.state_dict().items()}
        (out / "weights.json").write_text(json.dumps(weights))


@pytest.mark.parametrize(("count", "accumulation_steps"), [(2, 1), (1, 2), (2, 2)])
def test_gradients_of_processes_are_added(
    started: Any, tmp_path: Path, count: int, accumulation_steps: int
) -> None:
    """Under AdamW a gradient of half the size makes the same step, and under clipping too: hence SGD."""
    found = []
    for name, processes, steps in (("one", 1, 1), ("parts", count, accumulation_steps)):
        (tmp_path / name).mkdir()
        started(descend, tmp_path / name, steps, count=processes)
        found.append(json.loads((tmp_path / name / "weights.json").read_text()))
    assert found[0].keys() == found[1].keys()
    for key, values in found[0].items():
        torch.testing.assert_close(torch.tensor(found[1][key]), torch.tensor(values), rtol=1e-5, atol=1e-6)
