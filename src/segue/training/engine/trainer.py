"""The project's trainer: Hugging Face `Trainer` over objectives whose batch i depends on (seed, i) alone."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedModel, Trainer, set_seed

from segue.training.engine import checkpoints
from segue.training.engine.accumulation import Share, merge_readings, total_counts
from segue.training.engine.engines import Processes
from segue.training.engine.loss_log import LossLog
from segue.training.engine.optimisers import MuonAdamW, parameter_groups


class Objective(Protocol):
    """Batches and loss of a stage. For several processes see `Divisible` in `accumulation`."""

    @property
    def trainable(self) -> tuple[str, ...]:
        """Prefixes of the parameters that train."""
        ...

    def batch(self, step: int) -> dict[str, Any]:
        """The batch of a step; the same for the same step, whoever asks and whenever."""

    def loss(self, model: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """Loss and readings to be logged."""


class Batches(Dataset):
    """The batches of an objective from `start` to `steps`; a resumed run starts where it stopped.

    Args:
        processes: this process takes its share of every batch,
        rounds: in so many pieces, one after the other.
    """

    def __init__(
        self, objective: Objective, steps: int, processes: Processes | None = None, rounds: int = 1
    ) -> None:
        self.objective, self.steps, self.start = objective, steps, 0
        self.processes, self.rounds = processes or Processes(), rounds

    def __len__(self) -> int:
        return (self.steps - self.start) * self.rounds

    def share(self, round_: int) -> Share:
        """The share of a step that this process takes in one round.

        With two processes, (process, round) to share: (0, 0) 0, (1, 0) 1, (0, 1) 2, (1, 1) 3, ...
        """
        count = self.processes.count
        return Share(round_ * count + self.processes.rank, count * self.rounds)

    def __getitem__(self, index: int) -> dict[str, Any]:
        step, round_ = divmod(index, self.rounds)
        share = self.share(round_)
        if share.parts == 1:
            return self.objective.batch(self.start + step)
        divisible: Any = self.objective
        batch: dict[str, Any] = divisible.share(self.start + step, share)
        return batch


class StageModule(nn.Module):
    """A model and its objective as one module whose forward is the loss.

    DDP, ZeRO and FSDP2 reduce gradients of what was computed inside the forward of the module that they wrap;
    objectives call several parts of the model (slot heads, encoders) besides its own forward.
    """

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    @property
    def config(self) -> Any:
        """The model's; DeepSpeed asks for it."""
        return getattr(self.model, "config", None)

    def forward(
        self, batch: dict[str, Any], totals: dict[str, float] | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        if totals is None:
            return self.objective.loss(self.model, batch)
        divisible: Any = self.objective
        found: tuple[Tensor, dict[str, float]] = divisible.loss(self.model, batch, totals)
        return found


class StageTrainer(Trainer):
    """Trains one stage; readings of the objective are averaged between logs.

    Args:
        lr_multipliers: parameter prefix to the factor on its learning rate.
        muon_rate, muon_parts: see `OptimiserRecipe`.
        processes: of the run.
        facts: what the manifests of checkpoints say (the recipe).
        adapters: keep only what trains in checkpoints; the frozen weights are those of the start.
    """

    optimizer: torch.optim.Optimizer | None
    # Losses are summands of a step's loss: nothing is left to divide by the number of rounds.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        objective: Objective,
        lr_multipliers: dict[str, float] | None = None,
        muon_rate: float = 0.0,
        muon_parts: tuple[str, ...] = (),
        *,
        model: nn.Module,
        processes: Processes | None = None,
        facts: dict[str, Any] | None = None,
        adapters: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(model=StageModule(model, objective), **kwargs)
        self.loss_is_scaled_for_ga = True
        self.stage_model: Any = model
        self.muon_rate, self.muon_parts = muon_rate, muon_parts or ("",)
        self.objective, self.lr_multipliers = objective, lr_multipliers or {}
        self.readings: dict[str, list[float]] = defaultdict(list)
        self.processes, self.facts, self.adapters = processes or Processes(), facts or {}, adapters
        self.losses: LossLog | None = None
        self.shares: list[dict[str, float]] = []
        self.totals: dict[str, float] | None = None
        self._fingerprint: str | None = None

    @property
    def parts(self) -> int:
        """Shares that a step's batch is divided into."""
        return self.processes.count * int(self.args.gradient_accumulation_steps)

    def get_train_dataloader(self) -> DataLoader:
        return DataLoader(
            self.train_dataset,
            # Items are batches already.
            batch_size=None,
            shuffle=False,
            num_workers=self.args.dataloader_num_workers,
            persistent_workers=False,
        )

    # ---- one step ---------------------------------------------------------------------------------------

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], None]:
        """The shares that this process takes of a step, and what the whole step divides by."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.shares = []
        if self.parts > 1 and batches:
            divisible: Any = self.objective
            # Before the first share is computed: its loss divides by the counts of the whole step.
            self.totals = total_counts([divisible.counts(batch) for batch in batches], device)
        return batches, None

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        # Dropout of a share depends on (seed, step, share) alone: no state of a generator has to survive.
        round_ = len(self.shares)
        share = round_ * self.processes.count + self.processes.rank
        key = f"{self.args.seed} {self.state.global_step} {share}".encode()
        set_seed(int.from_bytes(hashlib.sha256(key).digest()[:4], "little"))
        return super().training_step(*args, **kwargs)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        loss, readings = model(inputs, self.totals) if self.totals else model(inputs)
        self.shares.append({"loss": float(loss.detach())} | readings)
        # The engines average gradients over processes where the losses of shares must be added: shares of 2.0
        # and 1.0 make a step's loss of 3.0, and the mean of 4.0 and 2.0 is that.
        return loss * self.processes.count

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        if self.shares:
            terms: frozenset[str] = getattr(self.objective, "loss_terms", frozenset())
            step = merge_readings(self.shares, terms | {"loss"})
            self.shares = []
            for name, value in step.items():
                if name != "loss":
                    self.readings[name].append(value)
            if self.losses is not None and self.processes.first:
                self.losses.write(self.state.global_step, step)
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        for name, values in self.readings.items():
            # For people; losses.jsonl has them exact.
            logs[name] = round(sum(values) / len(values), 4)
        self.readings.clear()
        super().log(logs, *args, **kwargs)

    # ---- checkpoints ------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        # In place of the inherited one, which writes into the final folder file by file.
        out, step = Path(str(self.args.output_dir)), int(self.state.global_step)
        folder = checkpoints.partial_folder(out, step)
        with checkpoints.told_when_full(out, step):
            if self.processes.first:
                checkpoints.sweep(out)
                folder.mkdir(parents=True)
            self.processes.wait()
            # From here on every process finds the folder.
            self.store_flos()
            self._write_weights(folder)
            self._save_optimizer_and_scheduler(str(folder))
            self._save_scaler(str(folder))
            self.processes.wait()
            if self.processes.first:
                # From here on all pieces are there: they can be hashed.
                self.state.save_to_json(str(folder / checkpoints.STATE_FILE))
                checkpoints.finish_checkpoint(out, step, self._manifest())
                checkpoints.rotate(out, self.args.save_total_limit or 1)
        self.processes.wait()

    def _manifest(self) -> dict[str, Any]:
        facts = self.facts | {"processes": self.processes.count}
        if self.adapters:
            facts["frozen"] = self.fingerprint()
        return facts

    def fingerprint(self) -> str:
        """Fingerprint of the frozen weights, computed once."""
        if self._fingerprint is None:
            self._fingerprint = checkpoints.frozen_fingerprint(self.stage_model)
        return self._fingerprint

    def _write_weights(self, folder: Path) -> None:
        """The weights of a checkpoint; DeepSpeed and FSDP2 write theirs with the optimiser's state."""
        if not self.processes.first or self.is_deepspeed_enabled or self.is_fsdp_enabled:
            return
        model = self.stage_model
        if self.adapters or not isinstance(model, PreTrainedModel):
            # safetensors refuses what is not contiguous.
            state = {n: v.contiguous() for n, v in checkpoints.trained_state(model).items()}
            save_file(state, folder / checkpoints.WEIGHTS_FILE, metadata={"format": "pt"})
        else:
            model.save_pretrained(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        # The inherited one compares the file's names with those in memory, where parts that transformers
        # renames on saving (DINOv2's attention) have others, and goes on with fresh weights for them.
        folder = Path(resume_from_checkpoint)
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        elif self.adapters:
            frozen = checkpoints.manifest_of(folder).get("frozen")
            checkpoints.restore_trained(self.stage_model, folder, frozen, self.fingerprint())
        else:
            checkpoints.restore(self.stage_model, folder)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Nothing: every step seeds its own generators, see `training_step`."""

    def whole_state(self) -> dict[str, Tensor]:
        """All weights under the model's names, gathered from the engine; call it on every process."""
        if not (self.is_deepspeed_enabled or self.is_fsdp_enabled):
            return self.stage_model.state_dict()
        # Empty in all processes but the first.
        gathered = self.accelerator.get_state_dict(self.model_wrapped) or {}
        # `StageModule` puts "model." before every name.
        state = {name.removeprefix("model."): value for name, value in gathered.items()}
        # The gathered copies of tied weights are one tensor again: they are written once.
        first: dict[int, str] = {}
        for name, value in self.stage_model.state_dict(keep_vars=True).items():
            original = first.setdefault(id(value), name)
            if original in state:
                state[name] = state[original]
        return state

    # ---- optimiser --------------------------------------------------------------------------------------

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW, with Muon for the matrices where the recipe gives it a learning rate."""
        if self.optimizer is None:
            rate, decay = self.args.learning_rate, self.args.weight_decay
            betas = (self.args.adam_beta1, self.args.adam_beta2)
            groups = {
                matrices: parameter_groups(
                    self.stage_model,
                    self.lr_multipliers,
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
