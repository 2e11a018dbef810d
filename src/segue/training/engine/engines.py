"""Engines of several processes: one alone, DDP, DeepSpeed ZeRO or FSDP2, and what each of them refuses.

The loss curve does not depend on the engine or on the number of processes
(`segue.training.engine.accumulation`); memory and speed do.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
import yaml
from torch import nn

from segue.errors import InputError, ModelError

if TYPE_CHECKING:
    from segue.training.recipe import EngineRecipe, Recipe

TIMEOUT = timedelta(hours=12)
"""Longest wait for the first process, which renders scenes and computes features for all."""

EXPECTED = {
    "ddp": ("MULTI_GPU", "MULTI_CPU"),
    "deepspeed": ("DEEPSPEED",),
    "fsdp2": ("FSDP",),
}
"""Engine to what accelerate calls it, when there are several processes."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run, as the launcher's environment tells them.

    Attributes:
        rank: of this one, 0-based; 0 writes files.
        count: of all.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def launched(cls) -> Processes:
        """The place that `torchrun` or `accelerate launch` tells in the environment; one process else."""
        return cls(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))

    @property
    def first(self) -> bool:
        """True for the process that writes the run's files."""
        return self.rank == 0

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process runs the block, then the others: what it made, they find."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            dist.barrier()

    def same(self, value: Any) -> Any:
        """The first process's value, on every process."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def join_processes(engine: EngineRecipe) -> Processes:
    """Meet the other processes that `torchrun` or `accelerate launch` started.

    Raises:
        InputError: the engine cannot be had here, or the launcher started another number of processes.
    """
    found = Processes.launched()
    check_engine(engine, found.count)
    if found.count > 1 and not dist.is_initialized():
        if torch.cuda.is_available():
            # Before NCCL starts, or every process would take GPU 0.
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=TIMEOUT)
    return found


def check_engine(engine: EngineRecipe, count: int) -> None:
    """Refuse, before anything is built, what would run as something else or not at all.

    Raises:
        InputError: see the messages.
    """
    if engine.processes is not None and engine.processes != count:
        raise InputError(
            "Another number of processes was started than the recipe asks for.",
            expected=f"{engine.processes} processes",
            found=f"{count} (`accelerate launch --cpu` starts one, whatever it is told)",
            where="engine.processes",
            fix=f"torchrun --nproc_per_node={engine.processes} -m segue.cli train ..., or --set "
            f"engine.processes={count} with engine.accumulation_steps set so that a share fits the memory",
        )
    if engine.kind == "none" and count > 1:
        raise InputError(
            "Several processes without an engine would each train a model of its own.",
            expected="engine.kind ddp, deepspeed or fsdp2",
            found=f"none, with {count} processes",
            where="engine.kind",
            fix="--set engine.kind=ddp",
        )
    if engine.kind == "fsdp2" and not torch.cuda.is_available():
        raise InputError(
            "FSDP2 needs GPUs.",
            expected="an accelerator",
            found="a CPU, on which the Trainer would run DDP in its place without a word",
            where="engine.kind",
            fix="--set engine.kind=ddp; on a CPU it gives the same losses",
        )
    if engine.kind == "deepspeed" and importlib.util.find_spec("deepspeed") is None:
        raise InputError(
            "DeepSpeed is not installed.",
            expected="the package deepspeed",
            found="no such package",
            where="engine.kind",
            fix="pip install -c constraints.txt 'segue[deepspeed]', or --set engine.kind=ddp",
        )
    if engine.kind in ("deepspeed", "fsdp2"):
        read_config(engine)


def check_optimiser(recipe: Recipe) -> None:
    """Refuse optimisers that an engine would compute wrongly.

    Raises:
        InputError: Muon orthogonalises whole matrices; ZeRO and FSDP2 would give it pieces of them.
    """
    if recipe.optimiser.muon_rate and recipe.engine.kind in ("deepspeed", "fsdp2"):
        raise InputError(
            "Muon needs whole matrices.",
            expected="optimiser.muon_rate 0, or engine.kind ddp",
            found=f"muon_rate {recipe.optimiser.muon_rate} with {recipe.engine.kind}",
            where="optimiser.muon_rate",
            fix="--set optimiser.muon_rate=0",
        )


def read_config(engine: EngineRecipe) -> dict[str, Any]:
    """The engine's configuration file (JSON or YAML), as in `recipes/engines/`.

    Raises:
        InputError: none is named, or it is not a mapping.
    """
    path = Path(engine.config or "")
    example = "zero2.json" if engine.kind == "deepspeed" else "fsdp2.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            "The engine's configuration cannot be read.",
            expected=f"a file such as recipes/engines/{example}",
            found=f"{engine.config!r}: {error}" if engine.config else "none is named",
            where="engine.config",
            fix="give its path, relative to the folder that the command is run in",
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            "The engine's configuration is not a mapping.",
            expected="keys such as zero_optimization",
            found=type(content).__name__,
            where=str(path),
            fix="see recipes/engines/",
        )
    return content


def engine_arguments(engine: EngineRecipe) -> dict[str, Any]:
    """The engine's part of the `TrainingArguments`."""
    arguments: dict[str, Any] = {
        # Without it, torchrun with DeepSpeed on a CPU lets every process train alone.
        "use_cpu": not torch.cuda.is_available(),
        "gradient_accumulation_steps": engine.accumulation_steps,
        "bf16": engine.bf16,
        # SAM's IoU head and heads of other prompts get no gradient; a share without masks leaves out more.
        "ddp_find_unused_parameters": True,
    }
    if engine.kind == "deepspeed":
        arguments["deepspeed"] = read_config(engine)
    if engine.kind == "fsdp2":
        arguments |= {"fsdp": True, "fsdp_config": read_config(engine)}
    return arguments


def check_engaged(accelerator: Any, engine: EngineRecipe, processes: Processes) -> None:
    """Compare what accelerate set up with what the recipe asked for; it falls back without a word.

    Raises:
        ModelError: they differ.
    """
    # A single process of DeepSpeed is called DEEPSPEED as well, one of everything else NO.
    kind, count = accelerator.distributed_type.name, accelerator.num_processes
    expected = EXPECTED[engine.kind] if processes.count > 1 and engine.kind != "none" else ("NO", "DEEPSPEED")
    if count != processes.count or kind not in expected:
        raise ModelError(
            "The processes do not work together as the recipe asks.",
            expected=f"{processes.count} processes as {' or '.join(expected)}",
            found=f"{count} as {kind}",
            where="engine",
            fix="start them with torchrun, and unset ACCELERATE_* variables of other runs",
        )


def lighten(model: nn.Module, engine: EngineRecipe) -> None:
    """Apply what saves memory: frozen matrices in bfloat16, activations of the language model recomputed.

    What trains is in float32, and so are biases and norms; autocast brings them together. (Large models are
    loaded in half precision, in which small updates would be lost. DeepSpeed keeps its own float32 copies.)
    """
    if engine.kind != "deepspeed":
        for parameter in model.parameters():
            half = engine.bf16 and not parameter.requires_grad and parameter.ndim > 1
            # The data change, the parameter stays the same object: tied tables stay tied.
            parameter.data = parameter.data.to(torch.bfloat16 if half else torch.float32)
    if engine.gradient_checkpointing:
        language_model: Any = model.get_submodule("language_model")
        # Reentrant checkpoints pass no gradient on where no input needs one, as with frozen embeddings.
        language_model.gradient_checkpointing_enable({"use_reentrant": False})
