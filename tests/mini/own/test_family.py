"""`segue train --data` with a model that finds: it resumes, says what it leaves out, and can be asked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import segue
import segue.mini.stages
from segue.inference import Region
from segue.mini.own.objective import OwnObjective
from segue.models.mini.embedded import EmbeddedModel
from segue.training.finetune.defaults import DEFAULT_RECIPE
from segue.training.run import train


@pytest.fixture
def run(start: Path, annotations: Path, tmp_path: Path) -> Callable[..., Path]:
    def go(out: str, **changes: Any) -> Path:
        values = {
            "model.start": str(start),
            "data.own": [{"path": str(annotations)}],
            "optimiser.max_steps": 4,
            "save_every": 2,
            "options.batch_size": 2,
            "options.masks": 3,
            "options.conversations": 2,
            "finetune.sheet_every": 0,
        } | {name.replace("__", "."): value for name, value in changes.items()}
        return train(DEFAULT_RECIPE, tmp_path / out, [f"{k}={json.dumps(v)}" for k, v in values.items()])

    return go


def test_a_run_ends_with_a_model_that_can_be_asked(
    run: Callable[..., Path], start: Path, annotations: Path
) -> None:
    sheets = {"finetune__sheet_every": 4, "finetune__sheet_questions": 1, "finetune__sheet_tokens": 8}
    sheets |= {"data__regions": 0.5}
    final = run("run", engine__bf16=True, **sheets)
    bundle = segue.load(final, device="cpu")
    model = bundle.model
    assert isinstance(model, EmbeddedModel)
    old = segue.load(start, device="cpu").model.state_dict()
    new = model.state_dict()
    # What it knew is as it was, all but what more names make larger and the language that learned them.
    for name, value in old.items():
        if name.startswith(("seeing.eyes.readout", "seeing.eyes.decoder")):
            assert torch.equal(value, new[name]), name
    taught = {"zorble", "zorble left stripe", "zorble right stripe"}
    assert set(model.seeing.eyes.table.taught(0)) == taught
    answer = bundle.session([annotations.parent / "1.png"]).ask("Where is the zorble?", max_new_tokens=12)
    assert answer.image_hws[0] == (40, 60)
    mark = Region(image_index=0, box=(4, 4, 30, 30))
    marked = bundle.session([annotations.parent / "1.png"]).ask("[this]?", regions=[mark], max_new_tokens=4)
    assert len(marked.regions) == 1
    left_out = json.loads((final.parent / "left_out.json").read_text())
    assert left_out["known_before"] == ["dog"]
    assert list((final.parent / "sheets").glob("*.png"))


def test_a_dry_run_counts_what_will_train(
    start: Path,
    annotations: Path,
    run: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run("run", optimiser__max_steps=1)
    trained = json.loads((tmp_path / "run" / "run.json").read_text())
    capsys.readouterr()
    changes = {"model.start": str(start), "data.own": [{"path": str(annotations)}]}
    overrides = [f"{name}={json.dumps(value)}" for name, value in changes.items()]
    train(DEFAULT_RECIPE, tmp_path / "dry", overrides, dry_run=True)
    said = re.search(r"trains ([0-9.]+)", capsys.readouterr().err)
    assert said
    # A few rows of the vocabulary more: the names of the data are words too.
    assert float(said[1]) == pytest.approx(trained["trainable"] / 1e6, rel=0.02)


class Killed(Exception):
    """The end of the process."""


def test_a_resumed_run_ends_with_the_same_weights(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run("whole")
    original = OwnObjective.batch

    def batch(self: OwnObjective, step: int) -> dict[str, Any]:
        if step == 3:
            raise Killed
        return original(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(OwnObjective, "batch", batch)
        with pytest.raises(Killed):
            run("parts")
    first, second = (segue.load(folder, device="cpu").model.state_dict() for folder in (whole, run("parts")))
    assert all(torch.equal(first[name], second[name]) for name in first)
