"""Small models and records to train on, and what a run needs: recipes, processes, the curve of its losses."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import segue.mini.stages  # noqa: F401  lets recipes name the embedded model's stages
from segue.mini.tokenizer import train_tokenizer
from segue.models.build import build_prima
from segue.models.presets import preset
from segue.records import Conversation, read_jsonl
from segue.scenes.build import build


@pytest.fixture(scope="session")
def small_tokenizer(records: RecordsOfAFile) -> Any:
    """At most 700 subwords, learned from the scene records."""
    turns = [turn for record in records.records for turn in record.turns]
    return train_tokenizer([f" {turn.role.upper()}: {turn.text}" for turn in turns], 700)


@pytest.fixture
def tiny(small_tokenizer: Any) -> Callable[..., tuple[Any, Any]]:
    """A new PRIMA of random weights and the smallest size, and its processor."""
    return lambda **overrides: build_prima(small_tokenizer, **overrides)


@pytest.fixture
def tiny_lisa(small_tokenizer: Any) -> Callable[[], tuple[Any, Any]]:
    """A new LISA of random weights, small enough for tests, and its processor."""
    from segue.models.configuration_lisa import LisaConfig
    from segue.models.image_streams import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD
    from segue.models.modeling_lisa import LisaModel
    from segue.models.processing_grounded import SHORT_TEMPLATE, LisaProcessor

    def make() -> tuple[Any, Any]:
        like = preset("tiny-prima").config()
        text = like.text_config.to_dict() | {"vocab_size": len(small_tokenizer)}
        vision = {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
        }
        config = LisaConfig(
            text_config=text,
            sam_config=like.sam_config.to_dict(),
            vision_config=vision | {"image_size": 28, "patch_size": 14},
            image_token_id=3,
            seg_token_id=4,
        )
        torch.manual_seed(0)
        streams = {
            "pixel_values": {"size": 28, "fit": "stretch", "mean": CLIP_MEAN, "std": CLIP_STD},
            "pixel_values_sam": {"size": 48, "fit": "pad", "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
        }
        processor = LisaProcessor(small_tokenizer, streams, config.tokens_per_image, dict(SHORT_TEMPLATE))
        return LisaModel(config).eval(), processor

    return make


@pytest.fixture
def recipe_of(tiny: Callable[..., Any], scene_records: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a recipe that trains a tiny model whole on the scene records.

    Keywords replace top-level fields; `overrides` are those of the model's configuration.
    """

    def write(overrides: dict[str, Any] | None = None, **fields: Any) -> Path:
        from segue.training.engine.loop import save_final

        start = save_final(tmp_path / "start", *tiny(**(overrides or {})))
        recipe = {
            "stage": "finetune",
            "model": {"start": str(start)},
            "data": {"own": [{"path": str(scene_records)}]},
            "finetune": {"family": "prima-encoders-frozen", "sheet_every": 0},
            "options": {"batch_size": 2},
            "optimiser": {"max_steps": 6, "warmup_steps": 2, "learning_rate": 0.01},
            "log_every": 2,
            "save_every": 3,
        } | fields
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe))
        return path

    return write


def alike(first: Any, second: Any) -> bool:
    """Equal to the last bit, through nested mappings and lists."""
    if isinstance(first, torch.Tensor):
        return (
            first.dtype == second.dtype
            and first.shape == second.shape
            and torch.equal(first.nan_to_num(-7.0), second.nan_to_num(-7.0))
        )
    if isinstance(first, dict):
        return set(first) == set(second) and all(alike(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(alike(a, b) for a, b in zip(first, second, strict=True))
    return bool(first == second)


@pytest.fixture(scope="session")
def same() -> Callable[[Any, Any], bool]:
    return alike


@pytest.fixture(scope="session")
def one_step() -> Callable[[Any, Any], tuple[float, float]]:
    """`(model, objective)` to the loss of one batch before and after a small step on it."""

    def run(model: Any, objective: Any) -> tuple[float, float]:
        from segue.training.engine.trainer import set_trainable

        names = set_trainable(model, objective.trainable)
        assert names
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.Adam(parameters, lr=1e-3)
        losses = []
        for _ in range(2):
            loss, readings = objective.loss(model, dict(objective.batch(0)))
            losses.append(float(loss.detach()))
            assert all(np.isfinite(list(readings.values())))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return losses[0], losses[1]

    return run


class RecordsOfAFile:
    """A source over a gconv/1 file: each draw is one of its records."""

    def __init__(self, path: Path) -> None:
        self.root, self.records = path.parent, list(read_jsonl(path))

    def __len__(self) -> int:
        return len(self.records)

    def draw(self, rng: np.random.Generator) -> Conversation:
        return self.records[int(rng.integers(len(self)))]

    def fixed(self, count: int, seed: int) -> list[Conversation]:
        order = np.random.default_rng(seed).permutation(len(self))[:count]
        return [self.records[int(i)] for i in order]


@pytest.fixture(scope="session")
def scene_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of twelve conversations about scenes; do not change it or its images."""
    return build(tmp_path_factory.mktemp("scene_records"), seed=4, count=12, size=64, progress=False)


@pytest.fixture(scope="session")
def records_of() -> type[RecordsOfAFile]:
    """Opens a file of records as a source."""
    return RecordsOfAFile


@pytest.fixture(scope="session")
def records(scene_records: Path) -> RecordsOfAFile:
    return RecordsOfAFile(scene_records)


@pytest.fixture
def records_objective(tiny: Callable[..., Any], records: RecordsOfAFile) -> Callable[..., Any]:
    """`(model, objective)` over the scene records; keywords go to the objective, `features` is a folder."""

    def make(source: Any = None, features: Path | None = None, seed: int = 3, **options: Any) -> Any:
        from segue.training.adapters import prepare_for_training
        from segue.training.finetune.feature_store import FeatureStore
        from segue.training.finetune.mixture import Mixture
        from segue.training.finetune.objective import RecordsObjective

        model, processor = tiny()
        trains = prepare_for_training(model, "prima-encoders-frozen")
        objective = RecordsObjective(
            processor,
            Mixture([source or records], seed=seed),
            **{
                "max_tokens": model.config.text_config.max_position_embeddings,
                "trainable": tuple(trains),
                "batch_size": 3,
                "features": FeatureStore(model, processor, features) if features else None,
            }
            | options,
        )
        return model, objective

    return make


def child(job: Callable[..., Any], arguments: tuple[Any, ...], environment: dict[str, str], log: str) -> None:
    """What a started process does: one thread, its output in a file, no clean-up at the end."""
    with open(log, "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        os.environ.update(environment)
        torch.set_num_threads(1)
        code = 1
        try:
            job(*arguments)
            code = 0
        except BaseException:
            traceback.print_exc(file=output)
        finally:
            output.flush()
            os._exit(code)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`(job, *arguments, environment={})`: a real process of its own that can be killed, already loaded."""
    context, begun = multiprocessing.get_context("fork"), []

    def begin(job: Callable[..., Any], *arguments: Any, environment: dict[str, str] | None = None) -> Any:
        log = tmp_path / f"process-{len(begun)}.log"
        process = context.Process(target=child, args=(job, arguments, environment or {}, str(log)))
        process.start()
        begun.append(process)
        process.log = log  # type: ignore[attr-defined]
        return process

    yield begin
    for process in begun:
        if process.is_alive():
            process.kill()
        process.join()


@pytest.fixture
def started(start: Callable[..., Any]) -> Callable[..., None]:
    """`(job, *arguments, count=1)`: runs the job in processes that know each other, to its end."""

    def run(job: Callable[..., Any], *arguments: Any, count: int = 1) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        group = [
            start(
                job,
                *arguments,
                environment={
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                    "WORLD_SIZE": str(count),
                    "LOCAL_WORLD_SIZE": str(count),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(port),
                }
                if count > 1
                else {},
            )
            for rank in range(count)
        ]
        deadline = time.monotonic() + 240
        while any(p.is_alive() for p in group) and time.monotonic() < deadline:
            if any(p.exitcode not in (None, 0) for p in group):
                break
            time.sleep(0.05)
        codes = [p.exitcode for p in group]
        assert codes == [0] * count, "\n".join(p.log.read_text()[-3000:] for p in group)

    return run


@pytest.fixture(scope="session")
def curve() -> Callable[[Path], list[dict[str, float]]]:
    """The lines of a run's `losses.jsonl` without their times."""

    def read(out: Path) -> list[dict[str, float]]:
        lines = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
        return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]

    return read
