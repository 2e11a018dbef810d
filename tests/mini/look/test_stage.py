"""The recipe of stage "look": a whole small run, resumed; what it refuses; its figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from segue.errors import InputError, ModelError
from segue.mini.look.measure import main
from segue.mini.look.objective import LookObjective
from segue.models.mini.seeing import SeeingConfig, SeeingModel
from segue.models.segmenter import MaskPrompts
from segue.training.run import train

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def recipe(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped recipe on a few pictures."""
    home = tmp_path_factory.mktemp("look")
    content: dict[str, Any] = yaml.safe_load((REPOSITORY / "recipes" / "mini_look.yaml").read_text())
    for own in content["data"]["own"]:
        own["path"] = own["path"].replace("../shared/data", str(photographs))
    content["options"] |= {"pictures": 2, "masks": 3, "held_back": 2, "features": str(home / "features")}
    content["optimiser"] |= {"max_steps": 4, "warmup_steps": 1}
    content |= {"save_every": 2, "log_every": 2}
    path = home / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def trained(recipe: Path) -> Path:
    import segue.mini.stages  # noqa: F401  registers the stage

    return train(recipe, recipe.parent / "straight")


class Killed(BaseException):
    """Ends a run as a signal would."""


def test_a_resumed_run_ends_with_the_same_weights(
    recipe: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = LookObjective.batch

    def batch(self: LookObjective, step: int) -> dict[str, Any]:
        if step == 3:
            raise Killed
        return original(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(LookObjective, "batch", batch)
        with pytest.raises(Killed):
            train(recipe, recipe.parent / "resumed")
    resumed = train(recipe, recipe.parent / "resumed")
    first, second = (SeeingModel.from_pretrained(folder).state_dict() for folder in (trained, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any("blocks" in name for name in first), "the trunk is installed, not saved"


def test_what_was_trained_sees_finds_and_draws(trained: Path) -> None:
    model = SeeingModel.from_pretrained(trained).eval()
    features, findings = model.look([Image.new("RGB", (90, 60), "red"), Image.new("RGB", (60, 60), "blue")])
    assert len(findings) == 2
    rows = torch.tensor([1, 0, 1])
    dense = model.seeing.heat_prompts(features, ["dog", "accordion", "shoes"], rows)
    prompts = MaskPrompts(torch.randn(3, model.seeing.prompt_width), rows, dense)
    with torch.no_grad():
        logits = model.seeing.decode(features, prompts)
    assert logits.shape == (3, 208, 208)
    assert logits[1, 150:].max() < -1e3, "beside the picture there is no mask"
    assert torch.isfinite(logits[[0, 2]]).all()
    assert len(model.seeing.decode(features, MaskPrompts(prompts.sparse[:0], rows[:0], dense[:0]))) == 0
    with pytest.raises(InputError, match="heat of a name"):
        model.seeing.decode(features, MaskPrompts(prompts.sparse, rows))
    with pytest.raises(InputError, match="without heat"):
        model.seeing.heat_prompts(features, ["justice"], rows[:1])


def test_its_figures_are_written(trained: Path, recipe: Path, photographs: Path) -> None:
    out = recipe.parent / "figures.json"
    main(
        [
            str(trained),
            "--data",
            str(photographs),
            "--features",
            str(recipe.parent / "features"),
            "--out",
            str(out),
        ]
    )
    figures = json.loads(out.read_text())
    assert 0 <= figures["masks"]["mean_iou"] <= 1
    assert figures["by_name"]["dog"]["targets"] == 1
    assert "mean_auc" in figures["presence"]
    assert 0 <= figures["findings"]["wrongly_found"] <= 1


@pytest.mark.parametrize(
    ("override", "message"),
    [("options.pictues=3", "unknown name"), ("data.own=[]", "no photographs")],
)
def test_what_nothing_would_read_is_refused(
    recipe: Path, tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(recipe, tmp_path / "run", [override])


def test_a_users_own_data_are_another_stage(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gaps are not known"):
        train(recipe, tmp_path / "run", ["data.own=[{path: mine/train.json}]"])


def test_a_dry_run_counts_the_parameters(recipe: Path, tmp_path: Path) -> None:
    train(recipe, tmp_path / "run", dry_run=True)
    assert not (tmp_path / "run" / "final").exists()


def test_weights_of_another_table_are_refused() -> None:
    with pytest.raises(ModelError, match="other names"):
        SeeingModel(SeeingConfig(names=["dog"]))
