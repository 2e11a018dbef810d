"""Own data in one command: what a run writes, that it learns, resumes, and refuses what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import segue
from segue.data.formats.coco import read_coco
from segue.data.own import write_labelme
from segue.errors import InputError
from segue.training.adapters import FAMILIES
from segue.training.engine.loop import save_final
from segue.training.finetune.defaults import DEFAULT_RECIPE
from segue.training.recipe import load_recipe
from segue.training.run import train


@pytest.fixture
def start(tiny: Callable[..., Any], tmp_path: Path) -> Path:
    """A folder with a tiny model."""
    folder = tmp_path / "start"
    save_final(folder, *tiny())
    return folder


@pytest.fixture(autouse=True)
def data(scene_records: Path, records_of: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lets the scene records be read as own data."""

    def read(path: Path, *, format: str | None = None, **_: Any) -> Any:
        report = SimpleNamespace(lines=lambda: [f"{path}: read"], to_json=lambda: {"images": 12})
        return SimpleNamespace(format=format or "gconv", source=records_of(path), report=report, files=[path])

    monkeypatch.setattr("segue.data.own.read_own_data", read, raising=False)
    return scene_records


@pytest.fixture
def run(start: Path, data: Path, tmp_path: Path) -> Callable[..., Path]:
    """`train` with the default recipe over the scene records, small; dotted keywords as a mapping."""

    def go(out: str = "run", resume: bool = True, dry_run: bool = False, **changes: Any) -> Path:
        values = {
            "model.start": str(start),
            "data.own": [{"path": str(data)}],
            "optimiser.max_steps": 4,
            "save_every": 2,
            "options.batch_size": 2,
            "finetune.sheet_every": 0,
        } | {name.replace("__", "."): value for name, value in changes.items()}
        overrides = [f"{name}={json.dumps(value)}" for name, value in values.items() if value != "default"]
        return train(DEFAULT_RECIPE, tmp_path / out, overrides, dry_run=dry_run, resume=resume)

    return go


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(segue.load(folder, device="cpu").model.state_dict())


def test_a_dry_run_says_what_would_happen(
    run: Callable[..., Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(dry_run=True, data__own=[{"path": str(data), "weight": 1}, {"path": str(data), "weight": 3}])
    assert [p.name for p in out.iterdir()] == ["recipe.yaml"]
    resolved = load_recipe(out / "recipe.yaml")
    assert (resolved.stage, resolved.optimiser.max_steps) == ("finetune", 4)
    assert resolved.optimiser.warmup_steps == 0, "a fifth of four steps"
    said = capsys.readouterr().err
    for words in (": read", "mixture: 25.0% ", "memory about ", "trains 0."):
        assert words in said, words
    assert "missing" not in said


def test_a_run_writes_down_what_it_is(
    run: Callable[..., Path], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weighted = [{"path": str(data), "weight": 1}, {"path": str(data), "weight": 3}]
    out = run(data__own=weighted, optimiser__max_steps=1).parent
    facts = json.loads((out / "run.json").read_text())
    assert facts["segue"] == segue.__version__
    assert facts["commit"]
    assert len(facts["data"]["sha256"]) == 64
    assert facts["data"]["files"] == 1
    assert 0 < facts["trainable"] < facts["parameters"]
    read = json.loads((out / "data.json").read_text())
    assert [(s["share"], s["length"], s["format"]) for s in read["sources"]] == [
        (0.25, 12, "gconv"),
        (0.75, 12, "gconv"),
    ]
    measured = json.loads((out / "estimate.json").read_text())
    assert measured["steps"] == 1
    assert measured["seconds_a_step"] > 0
    said = capsys.readouterr().err
    for words in (": read", "mixture: 25.0% ", "commit ", "memory about ", "time about ", "data "):
        assert words in said, words


def test_a_run_trains_the_table_and_loads(run: Callable[..., Path], start: Path) -> None:
    final = run(finetune__sheet_every=3, finetune__sheet_questions=2, finetune__sheet_tokens=6)
    before, after = weights(start), weights(final)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    row = FAMILIES["prima"]
    parts = [part for part in row.trainable if any(name.startswith(part) for name in before)]
    assert {p for p in parts if any(n.startswith(p) for n in changed)} == set(parts)
    adapted = {name for name in changed if not name.startswith(tuple(parts))}
    assert adapted
    assert all(name.split(".")[-2] in row.lora for name in adapted)
    assert sorted(p.name for p in (final.parent / "sheets").iterdir()) == [
        "step_000003.png",
        "step_000004.png",
    ]
    assert json.loads((final.parent / "run.json").read_text())["seconds"] >= 0
    picture = np.full((50, 70, 3), 120, np.uint8)
    answer = segue.load(final, device="cpu").ask("What is there?", [picture], max_new_tokens=4)
    assert answer.image_hws == [(50, 70)]


def test_kept_features_change_no_weight_by_more_than_rounding(run: Callable[..., Path]) -> None:
    plain = run("plain")
    kept = run("kept", finetune__cache_features=True)
    assert list((kept.parent / "features").glob("*/*.safetensors"))
    first, second = weights(plain), weights(kept)
    for name, value in first.items():
        # Adam divides by the gradient's size, so a rounding error of a gradient near zero can move a weight
        # by up to its learning rate, 1e-3, a step.
        torch.testing.assert_close(second[name], value, atol=4.5e-3, rtol=0)


def test_a_run_goes_on_where_it_was_killed(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segue.training.finetune.objective import RecordsObjective

    straight = run("straight")
    share, live = RecordsObjective.share, {"training": False}

    def killed(self: Any, step: int, part: Any) -> Any:
        if step == 3:
            raise KeyboardInterrupt
        return share(self, step, part)

    with monkeypatch.context() as patched:
        patched.setattr(RecordsObjective, "share", killed)
        with pytest.raises(KeyboardInterrupt):
            run("killed")
    assert [p.name for p in (tmp_path / "killed").glob("checkpoint-*")] == ["checkpoint-2"]
    assert not live["training"]
    resumed = run("killed")
    first, second = weights(straight), weights(resumed)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_finished_run_goes_on_with_more_steps(run: Callable[..., Path], tmp_path: Path) -> None:
    """A fifth of the steps is warm-up at most, so that more steps bring a longer one."""
    run(optimiser__max_steps=2)
    assert load_recipe(tmp_path / "run" / "recipe.yaml").optimiser.warmup_steps == 0
    run(optimiser__max_steps=5)
    assert load_recipe(tmp_path / "run" / "recipe.yaml").optimiser.warmup_steps == 1
    lines = (tmp_path / "run" / "losses.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines][-1] == 5


def test_a_run_does_not_go_on_with_other_data(run: Callable[..., Path], data: Path, tmp_path: Path) -> None:
    run("run")
    other = tmp_path / "other.jsonl"
    lines = data.read_text().replace('"images/', f'"{data.parent}/images/').splitlines()
    other.write_text("\n".join(lines[:6]) + "\n")
    entry = [{"path": str(other)}]
    with pytest.raises(InputError, match="run began with"):
        run("run", data__own=entry)
    run("run", resume=False, data__own=entry, optimiser__max_steps=1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data__own": []}, "no data to train on"),
        ({"model__start": None}, "no model to start from"),
        ({"model__start": "segue-mimi"}, "There is no such model"),
        ({"trainable": ["reeder"]}, "reeder"),
        (
            {"trainable": ["sam.vision_encoder"], "finetune__cache_features": True},
            "sam.vision_encoder trains",
        ),
        ({"finetune__family": "llava"}, "unknown family"),
        ({"options__batch_sise": 3}, "batch_sise"),
        ({"report_to": ["paper"]}, "cannot report there"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_trained(
    run: Callable[..., Path], tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    changes = {"optimiser__lr_multipliers": {}} | changes
    with pytest.raises(segue.errors.SegueError, match=said):
        run(**changes)
    assert not list((tmp_path / "run").glob("checkpoint-*"))


def test_all_data_sets_have_weights_or_none(run: Callable[..., Path], data: Path) -> None:
    with pytest.raises(InputError, match="some have none"):
        run(data__own=[{"path": str(data), "weight": 1}, {"path": str(data)}])


def test_coco_and_labelme_train_alike(
    shared: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same annotations in two formats give the same losses, to the bit."""
    monkeypatch.undo()  # the real reader, not that of the fixture `data`
    folder = shared / "data" / "car_parts"
    write_labelme(read_coco(folder / "val.json").images, tmp_path / "labelme")
    curves = []
    for name, entry in (
        ("coco", {"path": str(folder / "val.json"), "images": str(folder), "split": "val"}),
        ("labelme", {"path": str(tmp_path / "labelme"), "split": "val"}),
    ):
        changes = {
            "model.start": str(start), "data.own": [entry], "optimiser.max_steps": 2, "options.batch_size": 2,
            "finetune.sheet_every": 0,
        }  # fmt: skip
        out = tmp_path / name
        train(DEFAULT_RECIPE, out, [f"{key}={json.dumps(value)}" for key, value in changes.items()])
        lines = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
        curves.append([{k: v for k, v in line.items() if k != "seconds"} for line in lines])
    assert curves[0] == curves[1]
    assert len(curves[0]) == 2
