"""Whole runs of every stage of the embedded model: files, resuming, starting from another stage."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor

from segue.errors import InputError
from segue.mini.conversation_objective import ConversationObjective
from segue.mini.stages import open_data, open_tokenizer
from segue.mini.vision_objective import VisionObjective
from segue.training.recipe import load_recipe
from segue.training.run import train

RecipeOf = Callable[..., Path]
OBJECTIVES = {"conversation": ConversationObjective, "vision": VisionObjective}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return found


def identical(first: Path, second: Path) -> bool:
    a, b = weights(first), weights(second)
    return set(a) == set(b) and all(torch.equal(a[n], b[n]) for n in a)


class Killed(BaseException):
    """Ends a run as a signal would."""


def break_at(step: int, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the run stop when it asks for the batch of a step."""
    objective: Any = OBJECTIVES[stage]
    original = objective.batch

    def batch(self: Any, wanted: int) -> dict[str, Any]:
        if wanted == step:
            raise Killed
        found: dict[str, Any] = original(self, wanted)
        return found

    monkeypatch.setattr(objective, "batch", batch)


@pytest.mark.parametrize(
    ("stage", "fields"),
    [
        ("conversation", {}),
        # The towers train here, and Muon keeps a state of its own.
        (
            "vision",
            {"optimiser": {"max_steps": 6, "warmup_steps": 2, "learning_rate": 0.01, "muon_rate": 0.02}},
        ),
    ],
)
def test_a_resumed_run_ends_with_the_same_weights(
    recipe_of: RecipeOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, fields: Any
) -> None:
    recipe = recipe_of(stage, **fields)
    straight = train(recipe, tmp_path / "a" / "straight")
    with monkeypatch.context() as patched:
        break_at(5, stage, patched)
        with pytest.raises(Killed):
            train(recipe, tmp_path / "b" / "resumed")
    out = tmp_path / "b" / "resumed"
    assert [p.name for p in out.glob("checkpoint-*")] == ["checkpoint-3"]
    assert not identical(straight, out / "checkpoint-3")
    # As if it had been killed while it wrote the next checkpoint.
    (out / "checkpoint-5").mkdir()
    (out / "checkpoint-5" / "model.safetensors").write_bytes(b"half")
    resumed = train(recipe, out)
    assert identical(straight, resumed)
    history = json.loads((out / "checkpoint-6" / "trainer_state.json").read_text())["log_history"]
    assert [h["step"] for h in history if "loss" in h] == [2, 4, 6]


def test_a_finished_run_stays_finished(recipe_of: RecipeOf, tmp_path: Path) -> None:
    recipe, few = recipe_of("masks"), ["optimiser.max_steps=2"]
    final = train(recipe, tmp_path / "run", few)
    before = weights(final)
    assert train(recipe, tmp_path / "run", few) == final
    after = weights(final)
    assert all(torch.equal(before[n], after[n]) for n in before)


def test_without_resume_a_run_begins_anew(recipe_of: RecipeOf, tmp_path: Path) -> None:
    recipe = recipe_of("masks")
    few = ["optimiser.max_steps=2"]
    first = weights(train(recipe, tmp_path / "run", few))
    again = weights(train(recipe, tmp_path / "run", [*few, "optimiser.learning_rate=0.02"], resume=False))
    assert any(not torch.equal(first[n], again[n]) for n in first)


@pytest.mark.parametrize("stage", ["masks", "vision"])
def test_a_run_leaves_what_the_next_one_needs(recipe_of: RecipeOf, tmp_path: Path, stage: str) -> None:
    out = tmp_path / "run"
    final = train(recipe_of(stage), out, ["optimiser.max_steps=2"])
    resolved = yaml.safe_load((out / "recipe.yaml").read_text())
    assert resolved["optimiser"]["max_steps"] == 2
    assert load_recipe(out / "recipe.yaml").stage == stage
    facts = json.loads((out / "run.json").read_text())
    assert facts["stage"] == stage
    assert facts["torch"] == torch.__version__
    assert 0 < facts["trainable"] < facts["parameters"]
    assert facts["seconds"] >= 0
    names = set(weights(final))
    assert not any(n.startswith("training_heads") for n in names)
    model, report = AutoModel.from_pretrained(final, output_loading_info=True)
    assert {name: found for name, found in report.items() if found} == {}
    assert not model.training
    assert AutoProcessor.from_pretrained(final).num_query_tokens == model.config.num_query_tokens


def test_stages_build_on_each_other(recipe_of: RecipeOf, tmp_path: Path) -> None:
    few = ["optimiser.max_steps=2"]
    vision = train(recipe_of("vision"), tmp_path / "vision", few)
    masks = train(recipe_of("masks"), tmp_path / "masks", few)
    parts = ["vision_model", "aux_vision_model", "fusion", "reader", "slot_heads"]
    init = [{"folder": str(vision), "parts": parts}, {"folder": str(masks), "parts": ["sam"]}]
    path = recipe_of("conversation", options={"batch_size": 2, "masks": True})
    recipe = yaml.safe_load(path.read_text())
    recipe["model"]["init"] = init
    path.write_text(yaml.safe_dump(recipe))
    joint = weights(train(path, tmp_path / "joint", few))
    first, second = weights(vision), weights(masks)
    for name, value in joint.items():
        if name.startswith(("vision_model", "aux_vision_model")):
            assert torch.equal(value, first[name]), name
        if name.startswith("sam.vision_encoder"):
            assert torch.equal(value, second[name]), name
    assert any(not torch.equal(v, first[n]) for n, v in joint.items() if n.startswith("reader."))
    assert any(not torch.equal(v, second[n]) for n, v in joint.items() if n.startswith("sam.mask_decoder"))


def test_prefixes_that_match_nothing_are_refused(recipe_of: RecipeOf, tmp_path: Path) -> None:
    for override in (
        "trainable=[sam.decoder]",
        "optimiser.lr_multipliers={sam.decoder: 0.5}",
        "optimiser.muon_parts=[sam.decoder]",
    ):
        with pytest.raises(InputError, match=r"sam\.decoder"):
            train(recipe_of("masks"), tmp_path / "run", [override])


def test_a_recipe_may_train_less(recipe_of: RecipeOf, tmp_path: Path) -> None:
    final = train(
        recipe_of("masks"), tmp_path / "run", ["trainable=[sam.mask_decoder]", "optimiser.max_steps=1"]
    )
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    model = AutoModel.from_pretrained(final)
    assert facts["trainable"] == sum(p.numel() for p in model.sam.mask_decoder.parameters())


def test_missing_photographs_are_told(recipe_of: RecipeOf) -> None:
    recipe = load_recipe(recipe_of("masks"), ["data.photos.coco=nowhere.json"])
    with pytest.raises(InputError, match=r"nowhere\.json"):
        open_data(recipe)
    without = load_recipe(recipe_of("masks"), ["data.photos.coco=nowhere.json", "data.photo_share=0"])
    scenes, photos = open_data(without)
    assert len(scenes) == 10
    assert photos is None


def test_the_tokenizer_is_learned_once(recipe_of: RecipeOf, ground: SimpleNamespace, tmp_path: Path) -> None:
    fields = [
        f"model.tokenizer.folder={tmp_path / 'new'}",
        "model.tokenizer.vocab_size=400",
        "model.tokenizer.dialogues=20",
    ]
    recipe = load_recipe(recipe_of("masks"), fields)
    first = open_tokenizer(recipe, ground.scenes, ground.photos)
    assert len(first) == 400
    again = open_tokenizer(load_recipe(recipe_of("masks"), fields[:1]), ground.scenes, None)
    assert again.get_vocab() == first.get_vocab()


@pytest.mark.slow
def test_a_run_survives_kill_9(recipe_of: RecipeOf, tmp_path: Path) -> None:
    recipe = recipe_of("vision")
    straight = train(recipe, tmp_path / "straight")
    out = tmp_path / "killed"
    # The real thing: another process, no chance to clean up, in the middle of step 5.
    script = (
        "import sys, time\n"
        "import segue.mini.stages\nfrom segue.training.run import train\n"
        "from segue.mini.vision_objective import VisionObjective as V\n"
        "batch = V.batch\n"
        "V.batch = lambda self, step: batch(self, step) if step != 5 else time.sleep(600)\n"
        f"train({str(recipe)!r}, {str(out)!r})\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 300
        while not (out / "checkpoint-3" / "trainer_state.json").exists():
            assert process.poll() is None, "the run ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(1)
    finally:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (out / "final").exists()
    again = (
        "import segue.mini.stages\nfrom segue.training.run import train\n"
        f"train({str(recipe)!r}, {str(out)!r})"
    )
    resumed = subprocess.run(
        [sys.executable, "-c", again], capture_output=True, text=True, timeout=300, check=False
    )
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert identical(straight, out / "final")
    shutil.rmtree(out)
