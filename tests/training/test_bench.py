"""Training steps measured with kept features and without."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segue.cli import main
from segue.errors import InputError
from segue.training.bench import bench_training
from segue.training.engine.loop import save_final
from segue.training.finetune.defaults import DEFAULT_RECIPE


@pytest.fixture
def overrides(
    tiny: Callable[..., Any],
    tmp_path: Path,
    scene_records: Path,
    records_of: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """A tiny model over scene records."""
    save_final(tmp_path / "start", *tiny())

    def read(path: Path, *, format: str | None = None, **_: Any) -> Any:
        report = SimpleNamespace(lines=lambda: [f"{path}: read"], to_json=lambda: {"images": 12})
        return SimpleNamespace(format=format or "gconv", source=records_of(path), report=report, files=[path])

    monkeypatch.setattr("segue.data.own.read_own_data", read, raising=False)
    values = {"model.start": str(tmp_path / "start"), "data.own": [{"path": str(scene_records)}]}
    return [f"{name}={json.dumps(value)}" for name, value in (values | {"options.batch_size": 2}).items()]


def test_both_ways_are_measured_and_nothing_is_left(
    overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "train.json"
    sets = [word for override in overrides for word in ("--set", override)]
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["bench", "--train", str(DEFAULT_RECIPE), *sets, "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    for name in ("without", "with_kept_features"):
        row = found[name]
        assert row["samples_a_second"] == pytest.approx(2 / row["seconds_a_step"])
        assert row["memory_bytes"] > row["activation_bytes"] > 0
        assert 0 < row["trained_parameters"] < row["parameters"]
    assert found["with_kept_features"]["activation_bytes"] <= found["without"]["activation_bytes"]
    assert "samples a second" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "train.json"])


def test_encoders_that_train_have_nothing_to_keep(overrides: list[str]) -> None:
    found = bench_training(DEFAULT_RECIPE, [*overrides, 'trainable=["sam.vision_encoder"]'])
    assert found["with_kept_features"] is None
    assert "encoders train" in found["reason"]
    assert found["without"]["samples_a_second"] > 0


def test_other_stages_are_refused(repository: Path) -> None:
    with pytest.raises(InputError, match="stage finetune"):
        bench_training(repository / "recipes" / "mini_talk.yaml")
