"""AUC of a label reader: by hand, over photographs that certainly differ, and through the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segue import masks
from segue.errors import InputError
from segue.mini.evaluation import label_presence as module
from segue.mini.evaluation.label_presence import label_presence, presences, ranked_above
from segue.mini.photos.facts import load_photo_facts

SCORES = st.lists(st.integers(-3, 3), min_size=1, max_size=8)


@given(SCORES, SCORES)
def test_it_is_the_share_of_pairs_in_order(having: list[int], lacking: list[int]) -> None:
    pairs = [(h > n) + 0.5 * (h == n) for h in having for n in lacking]
    found = ranked_above(np.array(having, float), np.array(lacking, float))
    assert found == pytest.approx(np.mean(pairs))
    assert ranked_above(np.array(lacking, float), np.array(having, float)) == pytest.approx(1 - found)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four persons: two wear a coat (one too small to count), all have hair."""
    images, annotations = [], []
    for number, rows in enumerate([(10, 30), None, (10, 11), None], start=1):
        Image.fromarray(np.full((80, 60, 3), 40 * number, np.uint8)).save(tmp_path / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 80, "width": 60})
        worn = {1: (0, 60), 2: (60, 70)} | ({3: rows} if rows else {})
        owner = len(annotations) + 1
        for category, (top, bottom) in worn.items():
            mask = np.zeros((80, 60), bool)
            mask[top:bottom, 10 : 11 if category == 3 and bottom - top == 1 else 50] = True
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    "obj_ann_id": owner,
                    "segmentation": masks.encode(mask),
                }
            )
    names = ("person", "person:hair", "person:coat")
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(names)]
    path = tmp_path / "photos.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


class Brightness(torch.nn.Module):
    """Reads how bright a picture is, for every name alike."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean((1, 2, 3))[:, None, None].expand(-1, 2, 3)


def model_of(reader: Any) -> Any:
    inner = SimpleNamespace(
        label_reader=reader,
        device=torch.device("cpu"),
        config=SimpleNamespace(label_reader_names=["hair", "coat"]),
    )

    def encode_pixels(images: list[Image.Image], names: tuple[str, ...]) -> dict[str, torch.Tensor]:
        return {names[0]: torch.stack([torch.from_numpy(np.asarray(i)).float() for i in images])}

    processor = SimpleNamespace(encode_pixels=encode_pixels)
    return SimpleNamespace(model=inner, processor=processor, name="scripted")


def test_what_all_show_and_what_is_uncertain_is_left_out(photos: Path) -> None:
    records = load_photo_facts(photos)
    assert [r.facts.has("coat") for r in records] == [True, False, False, False]
    assert "coat" in records[2].facts.uncertain
    scores = label_presence(model_of(Brightness()), records)
    # The only coat is in the darkest picture of three that are certain; everybody has hair.
    assert scores == {"coat": {"auc": 0.0, "having": 1, "lacking": 2}}


def test_presences_are_in_the_order_of_the_photographs(photos: Path) -> None:
    found = presences(model_of(Brightness()), load_photo_facts(photos))
    assert found.tolist() == [[40.0 * n] * 2 for n in (1, 2, 3, 4)]


def test_a_model_without_a_reader_is_refused(photos: Path) -> None:
    with pytest.raises(InputError, match="reads no labels"):
        presences(model_of(None), load_photo_facts(photos))


@pytest.mark.parametrize("more", [[], ["--as-annotated"]])
def test_the_command_prints_json(
    photos: Path, more: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "load", lambda name: model_of(Brightness()))
    monkeypatch.setattr(
        sys, "argv", ["label_presence", "--coco", str(photos), "--images", str(photos.parent), *more]
    )
    module.main()
    assert json.loads(capsys.readouterr().out)["coat"]["having"] == 1
