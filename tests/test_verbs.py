"""`segue.read_data`, `segue.train` and `segue.evaluate` as Python users call them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import segue
from tiny_model import picture


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Two pictures with a mug each, in a folder `photos` beside the file."""
    (tmp_path / "photos").mkdir()
    for number, shade in enumerate((60, 200), 1):
        picture(shade=shade).save(tmp_path / "photos" / f"{number}.png")
    outline = [[15, 10, 30, 10, 30, 20, 15, 20]]
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 40, "width": 60} for n in (1, 2)],
        "categories": [{"id": 1, "name": "red mug"}],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, "segmentation": outline} for n in (1, 2)],
    }
    path = tmp_path / "mugs.json"
    path.write_text(json.dumps(content))
    return path


def test_read_data_tells_what_is_there(coco: Path, tmp_path: Path) -> None:
    data = segue.read_data(coco, tmp_path / "photos")
    assert data.format == "coco"
    assert "2 images, 2 regions" in "\n".join(data.report.lines())
    with pytest.raises(segue.InputError) as refused:
        segue.read_data(coco, tmp_path / "nowhere")
    assert refused.value.fix == "check the folder `images`"


def test_train_resolves_a_recipe_from_its_arguments(
    coco: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    out = segue.train(
        out=tmp_path / "run",
        model=tiny_model_folder,
        data=[f"{coco}::2"],
        images=tmp_path / "photos",
        val=coco,
        steps=7,
        overrides={"optimiser.max_steps": 5, "data.seed": 3, "finetune.family": "prima-encoders-frozen"},
        dry_run=True,
    )
    recipe = yaml.safe_load((out / "recipe.yaml").read_text())
    photos = str(tmp_path / "photos")
    assert recipe["model"]["start"] == str(tiny_model_folder)
    assert (
        recipe["data"]["own"][0] | {"path": str(coco), "images": photos, "weight": 2.0}
        == (recipe["data"]["own"][0])
    )
    assert recipe["data"]["val"]["images"] == photos
    assert (recipe["optimiser"]["max_steps"], recipe["data"]["seed"]) == (5, 3), "overrides win"


def test_train_refuses_what_makes_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(segue.InputError, match="nothing to train on"):
        segue.train(out=tmp_path / "run")
    with pytest.raises(segue.InputError, match="does not fit"):
        segue.train(out=tmp_path / "run", data=["a", "b", "c"], images=["x", "y"])
    assert not (tmp_path / "run").exists()


def test_evaluate_writes_and_returns_the_metrics(coco: Path, tmp_path: Path, tiny_model: Any) -> None:
    given = {"images": tmp_path / "photos", "count": 3, "max_new_tokens": 30}
    metrics = segue.evaluate(tiny_model, coco, tmp_path / "scores", **given)
    assert metrics["n"] == 3
    assert metrics == json.loads((tmp_path / "scores" / "metrics.json").read_text())
    with pytest.raises(segue.InputError, match="option of the evaluation"):
        segue.evaluate(tiny_model, coco, tmp_path / "other", history="none", **given)


def test_load_returns_the_class_that_is_exported(tiny_model: segue.LoadedModel) -> None:
    assert type(tiny_model) is segue.LoadedModel
