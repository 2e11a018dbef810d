"""A run that is killed at any moment goes on as if nothing had happened, to the last bit of its losses."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from segue.errors import InputError, ModelError
from segue.models.presets import preset
from segue.training.engine import checkpoints
from segue.training.engine.accumulation import Share
from segue.training.engine.loss_log import LossLog, read_losses, spent_seconds
from segue.training.engine.resume import (
    changed_fields,
    check_same_processes,
    check_same_recipe,
    without_gone_fields,
)
from segue.training.finetune.objective import RecordsObjective
from segue.training.recipe import load_recipe
from segue.training.run import train

RecipeOf = Callable[..., Path]
Curve = Callable[[Path], list[dict[str, float]]]


def with_dropout(recipe_of: RecipeOf) -> Path:
    """A recipe in which everything has a state: dropout, Muon, AdamW, a schedule."""
    text = preset("tiny-prima").config().text_config.to_dict() | {"attention_dropout": 0.3}
    return recipe_of(
        {"text_config": text},
        optimiser={
            "max_steps": 6,
            "warmup_steps": 2,
            "learning_rate": 0.01,
            "muon_rate": 0.02,
            "muon_parts": ["language_model"],
        },
        save_every=2,
    )


def stop_here(flag: Path) -> None:
    """Tell the test that the moment has come, and wait for the kill."""
    flag.touch()
    time.sleep(600)


def train_until(moment: str, flag: Path, recipe: Path, out: Path) -> None:
    """Train, and stop for ever at a moment."""
    if moment == "in a step":
        share = RecordsObjective.share
        RecordsObjective.share = (  # type: ignore[method-assign]
            lambda self, step, part: stop_here(flag) if step == 3 else share(self, step, part)  # type: ignore
        )
    elif moment == "while a checkpoint is written":
        save = torch.save

        def half(value: Any, file: Any, *rest: Any, **named: Any) -> None:
            if "checkpoint-4" in str(file) and "optimizer" in str(file):
                Path(file).write_bytes(b"half of an optimiser")
                stop_here(flag)
            save(value, file, *rest, **named)

        torch.save = half
    elif moment == "before a checkpoint has its name":
        replace = os.replace
        os.replace = lambda a, b: stop_here(flag) if str(b).endswith("checkpoint-4") else replace(a, b)  # type: ignore
    elif moment == "before the old one is deleted":
        rotate = checkpoints.rotate
        checkpoints.rotate = lambda out, keep: (
            stop_here(flag) if (out / "checkpoint-6").exists() else rotate(out, keep)
        )
    train(recipe, out)


def kill_at(moment: str, start: Callable[..., Any], recipe: Path, out: Path, flag: Path) -> None:
    process = start(train_until, moment, flag, recipe, out)
    deadline = time.monotonic() + 120
    while not flag.exists():
        assert process.is_alive(), process.log.read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_run_survives_any_kill(
    recipe_of: RecipeOf, start: Any, started: Any, curve: Curve, tmp_path: Path
) -> None:
    recipe = with_dropout(recipe_of)
    started(train, recipe, tmp_path / "a" / "straight")
    straight = curve(tmp_path / "a" / "straight")
    assert [line["step"] for line in straight] == [1, 2, 3, 4, 5, 6]
    assert len({line["loss"] for line in straight}) == 6
    out = tmp_path / "b" / "killed"
    moments = (
        ("in a step", 2, 3),
        ("while a checkpoint is written", 2, 4),
        ("before a checkpoint has its name", 2, 4),
        ("before the old one is deleted", 6, 6),
    )
    spent = 0.0
    for moment, saved, logged in moments:
        kill_at(moment, start, recipe, out, tmp_path / moment)
        assert checkpoints.last_checkpoint(out) == out / f"checkpoint-{saved}", moment
        assert curve(out) == straight[:logged], moment
        assert spent_seconds(out) > spent, "the time of killed processes counts"
        spent = spent_seconds(out)
    started(train, recipe, out)
    assert curve(out) == straight
    first, second = (load_file(f / "final" / "model.safetensors") for f in (tmp_path / "a" / "straight", out))
    assert set(first) == set(second)
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert not list(out.glob(".checkpoint-*"))
    assert json.loads((out / "run.json").read_text())["seconds"] >= round(spent)


def test_a_damaged_checkpoint_costs_steps_but_not_the_curve(
    recipe_of: RecipeOf, curve: Curve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe, out = with_dropout(recipe_of), tmp_path / "run"
    train(recipe, out)
    before, weights = curve(out), load_file(out / "final" / "model.safetensors")
    optimiser = out / "checkpoint-6" / "optimizer.pt"
    content = bytearray(optimiser.read_bytes())
    content[len(content) // 2] ^= 1
    optimiser.write_bytes(content)
    train(recipe, out)
    assert "optimizer.pt was changed after it was written" in caplog.text
    assert curve(out) == before
    after = load_file(out / "final" / "model.safetensors")
    assert all(torch.equal(weights[n], after[n]) for n in weights)
    assert checkpoints.problem_with(out / "checkpoint-6") is None


def test_a_full_disk_ends_the_run_and_keeps_the_last_checkpoint(
    recipe_of: RecipeOf, curve: Curve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = with_dropout(recipe_of), tmp_path / "run"
    save = torch.save

    def full(value: Any, file: Any, *rest: Any, **named: Any) -> None:
        if "checkpoint-4" in str(file):
            raise OSError(28, "No space left on device")
        save(value, file, *rest, **named)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(ModelError) as caught:
            train(recipe, out)
    assert "No space left on device" in str(caught.value)
    assert "goes on from checkpoint-2" in str(caught.value)
    assert checkpoints.last_checkpoint(out) == out / "checkpoint-2"
    assert not list(out.glob(".checkpoint-*"))
    train(recipe, out)
    assert [line["step"] for line in curve(out)] == [1, 2, 3, 4, 5, 6]


def test_an_edited_recipe_is_refused_and_named(recipe_of: RecipeOf, tmp_path: Path) -> None:
    recipe = recipe_of(optimiser={"max_steps": 6, "warmup_steps": 0, "learning_rate": 0.01})
    out, few = tmp_path / "run", ["optimiser.max_steps=3"]
    train(recipe, out, few)
    written = (out / "recipe.yaml").read_text()
    edits = [
        "optimiser.learning_rate=0.02",
        "data.seed=7",
        "options.batch_size=3",
        "finetune.lora_rank=4",
    ]
    with pytest.raises(InputError) as caught:
        train(recipe, out, [*few, *edits])
    message = str(caught.value)
    for words in ("optimiser.learning_rate: 0.01", "0.02", "data.seed: 0", "options.batch_size",
                  "finetune.lora_rank", "checkpoint-3", "may_change=["):  # fmt: skip
        assert words in message
    assert (out / "recipe.yaml").read_text() == written
    free = ["optimiser.max_steps=4", "save_every=1", "log_every=1", "keep=1", "data.workers=0"]
    train(recipe, out, free)
    assert [line["step"] for line in read_losses(out)] == [1, 2, 3, 4]
    allowed = ["may_change=[optimiser.learning_rate, options, data, finetune]"]
    train(recipe, out, [*free, *edits, *allowed, "optimiser.max_steps=5"])
    assert [line["step"] for line in read_losses(out)] == [1, 2, 3, 4, 5]


def test_changes_are_found_at_every_depth() -> None:
    before = {"a": 1, "b": {"c": [1, 2], "d": None}, "e": {"f": 1}}
    now = {"a": 1, "b": {"c": [1, 3], "d": None}, "e": None, "g": 0}
    assert changed_fields(before, now) == {"b.c": ([1, 2], [1, 3]), "e": ({"f": 1}, None), "g": (None, 0)}


def test_fields_newer_than_the_checkpoint_have_their_defaults(recipe_of: RecipeOf, tmp_path: Path) -> None:
    recipe = load_recipe(recipe_of())
    written = recipe.model_dump(mode="json")
    del written["engine"]
    folder = checkpoints.partial_folder(tmp_path, 1)
    folder.mkdir()
    checkpoint = checkpoints.finish_checkpoint(tmp_path, 1, {"recipe": written, "processes": 2})
    check_same_recipe(checkpoint, recipe)
    other = recipe.model_copy(update={"stage": "look"})
    with pytest.raises(InputError, match="stage: 'finetune'"):
        check_same_recipe(checkpoint, other)
    check_same_processes(checkpoint, "ddp", 4)
    with pytest.raises(InputError, match="2 processes"):
        check_same_processes(checkpoint, "deepspeed", 4)


def test_fields_that_are_gone_hinder_no_run(recipe_of: RecipeOf) -> None:
    recipe = load_recipe(recipe_of())
    written = recipe.model_dump(mode="json")
    written |= {"palette": 3, "data": written["data"] | {"photo_share": 0.4}}
    assert without_gone_fields(written, recipe) == recipe.model_dump(mode="json")
    written["options"] = {"prompts": 2}
    assert without_gone_fields(written, recipe)["options"] == {"prompts": 2}, "options are the stage's own"


def test_the_log_drops_what_was_lost_and_keeps_its_time(tmp_path: Path) -> None:
    log = LossLog(tmp_path)
    for step in (1, 2, 3):
        log.write(step, {"loss": 1 / step})
    lines = (tmp_path / "losses.jsonl").read_text().splitlines()
    (tmp_path / "losses.jsonl").write_text(
        "\n".join([*lines[:2], lines[2].replace('"seconds": 0', '"seconds": 50'), '{"step": 4, "lo'])
    )
    assert spent_seconds(tmp_path) >= 50
    again = LossLog(tmp_path, after=1)
    assert [(line["step"], line["loss"]) for line in read_losses(tmp_path)] == [(1, 1.0)]
    assert again.seconds >= 50
    again.write(2, {"loss": 1 / 3})
    assert read_losses(tmp_path)[-1]["loss"] == 1 / 3
    assert read_losses(tmp_path)[-1]["seconds"] >= 50
    LossLog(tmp_path, after=0)  # killed again before its first step
    assert spent_seconds(tmp_path) >= 50


def test_a_lora_run_keeps_what_trains_and_goes_on(
    recipe_of: RecipeOf, curve: Curve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(
        finetune={"family": "prima", "sheet_every": 0},
        optimiser={"max_steps": 4, "warmup_steps": 1, "learning_rate": 0.01},
        save_every=2,
    )
    straight = train(recipe, tmp_path / "a" / "straight")
    out = tmp_path / "b" / "stopped"
    with monkeypatch.context() as patched:
        share = RecordsObjective.share

        def stop(self: Any, step: int, part: Share) -> dict[str, Any]:
            if step == 3:
                raise KeyboardInterrupt
            return share(self, step, part)

        patched.setattr(RecordsObjective, "share", stop)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, out)
    kept = load_file(out / "checkpoint-2" / "model.safetensors")
    assert any("lora_A" in name for name in kept)
    assert not any(name.startswith(("vision_model", "sam.vision_encoder", "reader.qformer")) for name in kept)
    final = train(recipe, out)
    assert curve(out) == curve(tmp_path / "a" / "straight")
    first, second = (load_file(f / "model.safetensors") for f in (straight, final))
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert not any("lora" in name or "base_layer" in name for name in first)
    again, report = AutoModel.from_pretrained(final, output_loading_info=True)
    assert {name: found for name, found in report.items() if found} == {}
    assert again.config.model_type == "prima"
    manifest = out / "checkpoint-4" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"frozen": "other"}))
    with pytest.raises(ModelError, match="other frozen weights"):
        train(recipe, out)
