"""How much faster training is with kept features, measured in one run.

    python -m segue.training.measure_cache --data my_coco.json --images photos

Steps with and without kept features alternate, over the same batches and from the same weights, so that
whatever else the machine does slows both. Whole steps are timed: opening images, forward, backward, AdamW.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from segue.training.engine.estimate import moved
from segue.training.finetune.defaults import own_recipe
from segue.training.finetune.feature_store import ModelFeatures
from segue.training.finetune.mixture import Mixture, Source
from segue.training.finetune.objective import RecordsObjective
from segue.training.finetune.run import choose_trainable, open_model


@dataclass(frozen=True)
class CacheMeasurement:
    """Medians over the steps.

    Attributes:
        seconds_without, seconds_with: A step without and with kept features.
        cpu_without, cpu_with: The same in seconds of the processor, over all threads of this process.
        ratio: How many steps with kept features take the time of one without.
        cpu_ratio: The same by the processor's time, which other programs on the machine do not stretch.
        seconds_to_compute: Features of one image, once.
        loss_difference: The largest difference between the two losses of a batch.
        steps, batch_size, images: What was measured; different images.
        device, threads: Where.
    """

    seconds_without: float
    seconds_with: float
    cpu_without: float
    cpu_with: float
    ratio: float
    cpu_ratio: float
    seconds_to_compute: float
    loss_difference: float
    steps: int
    batch_size: int
    images: int
    device: str
    threads: int

    def line(self) -> str:
        """For people."""
        return (
            f"{self.ratio:.2f} times as fast with kept features ({self.cpu_ratio:.2f} by processor time): "
            f"{self.seconds_with:.2f} s a step instead of {self.seconds_without:.2f} s "
            f"({self.steps} steps of {self.batch_size}, {self.device}, {self.threads} threads); "
            f"{self.seconds_to_compute:.3f} s an image, once"
        )


def measure(
    model: Any,
    processor: Any,
    source: Source,
    folder: Path,
    *,
    steps: int = 8,
    batch_size: int = 8,
    seed: int = 0,
    tick: Callable[[], float] = time.perf_counter,
) -> CacheMeasurement:
    """Time the same steps with and without kept features.

    Args:
        model: What trains is set already. Its weights stay: the learning rate is 0.
        folder: Gets the features.
        steps: Timed ones of each kind; one more of each warms up.
        tick: The clock.
    """
    objectives = [
        RecordsObjective(
            processor,
            Mixture([source], seed=seed),
            max_tokens=int(model.config.text_config.max_position_embeddings),
            batch_size=batch_size,
            features=features,
        )
        for features in (None, ModelFeatures(model, processor, folder))
    ]
    model.train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.0)
    computing, images = compute_features(objectives[1], model, steps + 1, tick)
    times: list[list[tuple[float, float]]] = [[], []]
    difference = 0.0
    for step in range(steps + 1):
        losses = []
        # The second one of a pair finds warm caches of the processor, so they take turns.
        for kind in (0, 1) if step % 2 else (1, 0):
            began, cpu_began = tick(), time.process_time()
            losses.append(train_step(objectives[kind], model, optimiser, step))
            times[kind].append((tick() - began, time.process_time() - cpu_began))
        difference = max(difference, abs(losses[0] - losses[1]))
    medians = [[statistics.median(column) for column in zip(*kind[1:], strict=True)] for kind in times]
    return CacheMeasurement(
        seconds_without=medians[0][0],
        seconds_with=medians[1][0],
        cpu_without=medians[0][1],
        cpu_with=medians[1][1],
        ratio=medians[0][0] / medians[1][0],
        cpu_ratio=medians[0][1] / medians[1][1],
        seconds_to_compute=computing / images,
        loss_difference=difference,
        steps=steps,
        batch_size=batch_size,
        images=images,
        device=model.device.type,
        threads=torch.get_num_threads(),
    )


def compute_features(
    objective: RecordsObjective, model: Any, steps: int, tick: Callable[[], float]
) -> tuple[float, int]:
    """Compute the features of all batches; returns the seconds and the number of different images."""
    assert objective.features is not None
    seen: set[str] = set()
    seconds = 0.0
    for step in range(steps):
        batch = moved(objective.batch(step), model.device)
        seen |= {picture["key"] for picture in batch["pictures"]}
        began = tick()
        objective.features.assemble(batch["pictures"])
        seconds += tick() - began
    return seconds, len(seen)


def train_step(objective: RecordsObjective, model: Any, optimiser: torch.optim.Optimizer, step: int) -> float:
    """One step of training; returns its loss."""
    batch = moved(objective.batch(step), model.device)
    loss, _ = objective.loss(model, batch)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return float(loss.detach())


def main(
    data: Annotated[Path, typer.Option(help="Annotations that `segue train` reads.")],
    images: Annotated[Path | None, typer.Option(help="Folder of the images.")] = None,
    model: Annotated[str, typer.Option(help="A folder or a preset with weights.")] = "segue-mini",
    steps: Annotated[int, typer.Option(min=1)] = 8,
    batch_size: Annotated[int, typer.Option(min=1)] = 8,
) -> None:
    """Measure how much faster training is with kept features; JSON on stdout."""
    from segue.data.own import read_own_data

    recipe = own_recipe([f"model.start={json.dumps(model)}", "finetune.cache_features=true"])
    bundle = open_model(recipe)
    choose_trainable(bundle.model, recipe, bundle.processor.tokenizer)
    source = read_own_data(data, images=images).source
    with tempfile.TemporaryDirectory() as folder:
        found = measure(
            bundle.model, bundle.processor, source, Path(folder), steps=steps, batch_size=batch_size
        )
    typer.echo(found.line(), err=True)
    typer.echo(json.dumps(asdict(found), indent=1))


if __name__ == "__main__":
    typer.run(main)
