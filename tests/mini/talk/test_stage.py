"""The recipe of stage "talk": a whole small run, resumed, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from segue.errors import InputError
from segue.mini.talk.evaluate import main
from segue.mini.talk.objective import TalkObjective
from segue.models.mini.talking import TalkingModel
from segue.training.run import train

REPOSITORY = Path(__file__).resolve().parents[3]
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The shipped recipe at a small size."""
    content: dict[str, Any] = yaml.safe_load((REPOSITORY / "recipes" / "mini_talk.yaml").read_text())
    content["model"] |= {
        "tokenizer": {"folder": str(tmp_path / "tokenizer"), "dialogues": 60},
        "overrides": SMALL,
    }
    content["options"] |= {"batch_size": 4, "pointing_heads": [[0, 0]]}
    content["optimiser"] |= {"max_steps": 6, "warmup_steps": 2}
    content |= {"save_every": 2, "log_every": 2}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


class Killed(BaseException):
    """Ends a run as a signal would."""


def test_a_resumed_run_ends_with_the_same_weights(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    straight = train(recipe, tmp_path / "straight")
    original = TalkObjective.batch

    def batch(self: TalkObjective, step: int) -> dict[str, Any]:
        if step == 5:
            raise Killed
        return original(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(TalkObjective, "batch", batch)
        with pytest.raises(Killed):
            train(recipe, tmp_path / "resumed")
    resumed = train(recipe, tmp_path / "resumed")
    first, second = (TalkingModel.from_pretrained(folder).state_dict() for folder in (straight, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    # What it saved can be judged.
    main([str(straight), "--conversations", "1", "--out", str(tmp_path / "figures.json")])
    assert "unseen wordings" in (tmp_path / "figures.json").read_text()
    assert '"f1"' in capsys.readouterr().out


@pytest.mark.parametrize("override", ["options.batch_sise=3", "model.overrides.hidden=3"])
def test_unknown_names_are_refused(recipe: Path, tmp_path: Path, override: str) -> None:
    with pytest.raises(InputError, match="unknown name"):
        train(recipe, tmp_path / "run", [override])


def test_a_dry_run_counts_the_parameters(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(recipe, tmp_path / "run", dry_run=True)
    assert not (tmp_path / "tokenizer").exists()
