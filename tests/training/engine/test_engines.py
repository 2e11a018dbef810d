"""Processes and rounds give the curve of one process; engines that would be something else are refused."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from segue.errors import InputError, ModelError
from segue.training.engine.checkpoints import last_checkpoint
from segue.training.engine.engines import (
    Processes,
    check_engaged,
    check_engine,
    check_optimiser,
    engine_arguments,
    lighten,
    read_config,
)
from segue.training.engine.trainer import set_trainable
from segue.training.recipe import EngineRecipe, Recipe, load_recipe
from segue.training.run import train

RecipeOf = Callable[..., Path]
Curve = Callable[[Path], list[dict[str, float]]]
ENGINES = Path(__file__).resolve().parents[3] / "recipes" / "engines"
TERMS = ("loss", "text", "dice", "pixel")

with_deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="the package deepspeed is not installed"
)


def small(recipe_of: RecipeOf, steps: int = 4) -> Path:
    """Every term of the loss, four conversations a step."""
    return recipe_of(
        options={"batch_size": 4},
        optimiser={"max_steps": steps, "warmup_steps": 0, "learning_rate": 0.003},
        save_every=2,
    )


def assert_same_curve(found: list[dict[str, float]], expected: list[dict[str, float]], rel: float) -> None:
    assert [line["step"] for line in found] == [line["step"] for line in expected]
    for line, right in zip(found, expected, strict=True):
        for name in TERMS:
            assert line[name] == pytest.approx(right[name], rel=rel), (line["step"], name)


def test_two_processes_are_one_with_twice_the_batch(
    recipe_of: RecipeOf, started: Any, curve: Curve, tmp_path: Path
) -> None:
    recipe = small(recipe_of)
    one, two = tmp_path / "one", tmp_path / "two"
    started(train, recipe, one)
    started(train, recipe, two, count=2)
    # The same sums of float32 in another order: 1e-7 of a term a step. AdamW's first steps have the size of
    # the learning rate whatever the gradient, so elements whose gradient is rounding noise may go the other
    # way. A loss that was doubled, or a mean of means, is off by 1e-2 or more.
    assert_same_curve(curve(two), curve(one), rel=1e-4)
    assert_same_curve(curve(two)[:1], curve(one)[:1], rel=2e-6)
    assert last_checkpoint(two) == two / "checkpoint-4"
    # Another number of processes goes on with the run.
    started(train, recipe, two, ["optimiser.max_steps=5"])
    assert [line["step"] for line in curve(two)] == [1, 2, 3, 4, 5]


def test_rounds_of_one_process_are_its_batch(
    recipe_of: RecipeOf, started: Any, curve: Curve, tmp_path: Path
) -> None:
    recipe = small(recipe_of, steps=3)
    started(train, recipe, tmp_path / "one")
    started(train, recipe, tmp_path / "rounds", ["engine.accumulation_steps=4"])
    assert_same_curve(curve(tmp_path / "rounds"), curve(tmp_path / "one"), rel=1e-4)


def train_with_zero(*arguments: Any) -> None:
    """Train without DeepSpeed's shared-memory operation, for which it would run a compiler first."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    train(*arguments)


@pytest.mark.slow
@with_deepspeed
@pytest.mark.parametrize("stage", [2, 3])
def test_zero_gives_the_curve_of_one_process(
    recipe_of: RecipeOf, started: Any, curve: Curve, tmp_path: Path, stage: int
) -> None:
    recipe = small(recipe_of)
    zero = ["engine.kind=deepspeed", f"engine.config={ENGINES / f'zero{stage}.json'}"]
    one, two = tmp_path / "one", tmp_path / "two"
    started(train, recipe, one)
    started(train_with_zero, recipe, two, [*zero, "engine.processes=2"], count=2)
    assert_same_curve(curve(two), curve(one), rel=1e-4)
    shutil.rmtree(two / "checkpoint-4")
    started(train_with_zero, recipe, two, [*zero, "engine.processes=2"], count=2)  # goes on from step 2
    assert_same_curve(curve(two), curve(one), rel=1e-4)
    first, second = (load_file(out / "final" / "model.safetensors") for out in (one, two))
    assert set(first) == set(second)
    assert {n: t.shape for n, t in first.items()} == {n: t.shape for n, t in second.items()}


def test_memory_savers_change_little(recipe_of: RecipeOf, curve: Curve, tmp_path: Path) -> None:
    recipe = small(recipe_of, steps=2)
    train(recipe, tmp_path / "plain")
    train(recipe, tmp_path / "again", ["engine.gradient_checkpointing=true"])
    train(recipe, tmp_path / "light", ["engine.gradient_checkpointing=true", "engine.bf16=true"])
    assert_same_curve(curve(tmp_path / "again"), curve(tmp_path / "plain"), rel=1e-6)
    # bfloat16 has 8 bits of precision: 2^-8 = 4e-3 a product, some of which add up.
    assert_same_curve(curve(tmp_path / "light")[:1], curve(tmp_path / "plain")[:1], rel=3e-2)
    assert curve(tmp_path / "light")[0]["text"] != curve(tmp_path / "plain")[0]["text"]


def test_frozen_matrices_are_halved_and_nothing_that_trains(tiny: Callable[..., Any]) -> None:
    model, _ = tiny()
    trains = set(set_trainable(model, ("language_model", "fusion")))
    model.language_model.to(torch.bfloat16)  # as large models are loaded
    lighten(model, EngineRecipe(bf16=True, gradient_checkpointing=True))
    for name, parameter in model.named_parameters():
        half = name not in trains and parameter.ndim > 1
        assert parameter.dtype == (torch.bfloat16 if half else torch.float32), name
    assert model.language_model.is_gradient_checkpointing
    assert not model.vision_model.is_gradient_checkpointing


# ---- FSDP2 ----


def shard_and_train(folder: Path, tokenizer: Any) -> None:
    """Two steps of a sharded tiny model over gloo; the first process writes its losses and weights."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    from segue.models.build import build_prima

    count = int(os.environ.get("WORLD_SIZE", 1))
    model, processor = build_prima(tokenizer)
    turns = [("user", "What is it?"), ("assistant", "It is the <p> mug </p> [SEG] (IMAGE1).")]
    batch = processor.collate(
        [dict(processor.encode_turns(turns, 1)) | processor.encode_pixels([image]) | {"num_images": 1}
         for image in pictures()]
    )  # fmt: skip
    batch.pop("pixel_values_sam")
    if count > 1:
        dist.init_process_group("gloo")
        mesh = init_device_mesh("cpu", (count,))
        for layer in model.language_model.model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        assert all(isinstance(p, DTensor) for p in model.parameters())
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        loss = model(**batch).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    weight = model.image_projection.weight
    whole = weight.full_tensor() if count > 1 else weight
    if int(os.environ.get("RANK", 0)) == 0:
        (folder / f"{count}.json").write_text(json.dumps({"losses": losses, "weight": whole.tolist()}))


def pictures() -> list[Any]:
    from PIL import Image

    return [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]


def test_fsdp2_shards_the_model_and_learns_the_same(
    started: Any, small_tokenizer: Any, tmp_path: Path
) -> None:
    for count in (1, 2):
        started(shard_and_train, tmp_path, small_tokenizer, count=count)
    one, two = (json.loads((tmp_path / f"{count}.json").read_text()) for count in (1, 2))
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert one["losses"][0] > one["losses"][-1]
    torch.testing.assert_close(torch.tensor(two["weight"]), torch.tensor(one["weight"]), rtol=1e-3, atol=1e-4)


def test_fsdp2_on_a_cpu_is_refused_not_replaced(recipe_of: RecipeOf, tmp_path: Path) -> None:
    fields = ["engine.kind=fsdp2", f"engine.config={ENGINES / 'fsdp2.yaml'}"]
    with pytest.raises(InputError, match="run DDP in its place"):
        train(recipe_of(), tmp_path / "run", fields)


# ---- refusals ----


def test_engines_that_fell_back_are_told() -> None:
    def accelerator(kind: str, count: int) -> Any:
        return SimpleNamespace(distributed_type=SimpleNamespace(name=kind), num_processes=count)

    check_engaged(accelerator("MULTI_CPU", 2), EngineRecipe(), Processes(0, 2))
    check_engaged(accelerator("NO", 1), EngineRecipe(), Processes())
    check_engaged(accelerator("FSDP", 2), EngineRecipe(kind="fsdp2"), Processes(0, 2))
    for kind, found, count in (("fsdp2", "MULTI_GPU", 2), ("deepspeed", "MULTI_CPU", 2), ("ddp", "NO", 1)):
        with pytest.raises(ModelError, match=found):
            check_engaged(accelerator(found, count), EngineRecipe(kind=kind), Processes(0, 2))  # type: ignore[arg-type]


def test_numbers_of_processes_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="starts one, whatever") as caught:
        check_engine(EngineRecipe(processes=2), 1)
    assert "torchrun --nproc_per_node=2" in str(caught.value)
    with pytest.raises(InputError, match="model of its own"):
        check_engine(EngineRecipe(kind="none"), 2)
    check_engine(EngineRecipe(kind="none"), 1)
    check_engine(EngineRecipe(processes=2), 2)


def test_muon_is_refused_where_matrices_are_cut() -> None:
    recipe = Recipe.model_validate({"stage": "talk", "optimiser": {"muon_rate": 0.02}})
    check_optimiser(recipe)
    cut = recipe.model_copy(update={"engine": EngineRecipe(kind="deepspeed")})
    with pytest.raises(InputError, match="whole matrices"):
        check_optimiser(cut)


def test_batches_smaller_than_their_shares_are_refused(recipe_of: RecipeOf, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too small"):
        train(recipe_of(), tmp_path / "run", ["engine.accumulation_steps=3"])


def test_configurations_are_read_or_told(tmp_path: Path) -> None:
    for path in sorted(ENGINES.iterdir()):
        kind: Any = "fsdp2" if path.stem == "fsdp2" else "deepspeed"
        content = read_config(EngineRecipe(kind=kind, config=str(path)))
        assert content.get("version") == 2 or content["zero_optimization"]["stage"] in (2, 3)
    (tmp_path / "list.json").write_text("[1]")
    for config, words in ((None, "none is named"), (str(tmp_path / "no.json"), "no.json"),
                          (str(tmp_path / "list.json"), "not a mapping")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            read_config(EngineRecipe(kind="deepspeed", config=config))
    assert engine_arguments(EngineRecipe(accumulation_steps=3))["gradient_accumulation_steps"] == 3


def test_an_engine_is_part_of_the_resolved_recipe(recipe_of: RecipeOf) -> None:
    recipe = load_recipe(recipe_of(), ["engine.bf16=true"])
    assert recipe.model_dump(mode="json")["engine"]["bf16"] is True
