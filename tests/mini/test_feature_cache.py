"""Cached tower features are the towers' outputs, and are never those of other towers or other pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segue.mini.feature_cache import (
    blur_labels,
    cache_features,
    drop_features,
    part_hash,
    picture_hash,
)
from segue.models.image_streams import normalise


def picture(index: int, size: int = 56) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (size, size, 3), dtype=np.uint8)


def other(index: int, size: int = 56) -> np.ndarray:
    return picture(index + 100, size)


@torch.no_grad()
def test_features_are_the_towers_outputs(tiny: Callable[..., Any], tmp_path: Path) -> None:
    model, _ = tiny()
    model.train()
    cache = cache_features(model, tmp_path, "p", 7, picture, batch_size=3)
    assert model.training
    model.eval()
    wanted = [5, 0, 5]
    found = cache(wanted)
    pixels = np.stack([picture(i) for i in wanted])
    streams = {name: normalise(pixels, name) for name in ("pixel_values", "pixel_values_aux")}
    expected = model.encode_features(**streams)
    assert found.keys() == expected.keys() == {"vision_features", "aux_features"}
    for name, right in expected.items():
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], right, atol=5e-3, rtol=5e-3)  # kept in half precision


@torch.no_grad()
def test_a_label_reader_sees_its_own_pictures(
    reading: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = reading()
    model.eval()

    def cached() -> torch.Tensor:
        return cache_features(model, tmp_path, "p", 5, picture)([4, 1])["label_features"]

    pixels = normalise(np.stack([picture(i, size=64) for i in (4, 1)]), "pixel_values_labels")
    first = cached()
    torch.testing.assert_close(first, model.label_reader(pixels), atol=5e-3, rtol=5e-3)
    monkeypatch.setattr(model, "encode_towers", None)
    model.label_reader.backbone.embedder.embedder.normalization.running_mean.add_(1)
    assert not torch.equal(cached(), first), "its statistics decide too; the towers' features are kept"


def test_a_second_opening_computes_nothing(
    tiny: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = tiny()
    first = cache_features(model, tmp_path, "p", 5, picture)
    monkeypatch.setattr(model, "encode_towers", None)
    again = cache_features(model, tmp_path, "p", 5, picture)
    assert len(again) == 5
    assert torch.equal(first([1, 4])["vision_features"], again([1, 4])["vision_features"])


def test_an_interrupted_computation_is_not_taken_for_done(tiny: Callable[..., Any], tmp_path: Path) -> None:
    model, _ = tiny()

    def breaks(index: int) -> np.ndarray:
        if index == 4 and len(list(tmp_path.glob("*.npy"))) == 2:
            raise KeyboardInterrupt
        return picture(index)

    with pytest.raises(KeyboardInterrupt):
        cache_features(model, tmp_path, "p", 6, breaks, batch_size=2)
    cache = cache_features(model, tmp_path, "p", 6, picture, batch_size=2)
    assert cache([4])["vision_features"].abs().max() > 0


def test_other_towers_and_other_pictures_have_their_own_features(
    tiny: Callable[..., Any], tmp_path: Path
) -> None:
    model, _ = tiny()
    first = cache_features(model, tmp_path, "p", 5, picture)([2])["vision_features"]
    # The same name and number of pictures, other crops: what two stages with two seeds ask for.
    second = cache_features(model, tmp_path, "p", 5, other)([2])["vision_features"]
    assert not torch.equal(first, second)
    with torch.no_grad():
        next(iter(model.aux_vision_model.parameters())).add_(0.5)
    aux = cache_features(model, tmp_path, "p", 5, picture)([2])["aux_features"]
    assert not torch.equal(aux, cache_features(model, tmp_path, "p", 5, other)([2])["aux_features"])
    assert len(list(tmp_path.glob("*.json"))) == 4


def test_the_hashes_follow_what_they_name(tiny: Callable[..., Any]) -> None:
    model, _ = tiny()
    before = part_hash(model.vision_model, model.aux_vision_model)
    with torch.no_grad():
        model.image_projection.weight.add_(1)
    assert part_hash(model.vision_model, model.aux_vision_model) == before
    assert part_hash(model.vision_model) != part_hash(model.aux_vision_model)
    with torch.no_grad():
        model.vision_model.post_layernorm.bias[0] += 1e-6
    assert part_hash(model.vision_model, model.aux_vision_model) != before
    assert picture_hash(picture, 5) == picture_hash(picture, 5) != picture_hash(other, 5)
    assert picture_hash(picture, 0) == picture_hash(other, 0)


def test_dropped_features_keep_their_mean_and_follow_the_generator() -> None:
    features = torch.ones(40, 50)
    first, again = (drop_features(features, 0.2, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert set(first.unique().tolist()) == {0.0, 1.25}
    assert abs(float(first.mean()) - 1) < 0.05
    assert drop_features(features, 0.0, np.random.default_rng(3)) is features


def test_blurred_labels_are_less_sure_and_have_the_same_colours() -> None:
    features = torch.zeros(50, 40, 12)
    features[..., 0] = 3.0
    first, again = (blur_labels(features, 1.5, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(first[..., 1:], features[..., 1:])
    assert abs(float(first[..., 0].mean()) - 3) < 0.1
    assert abs(float(first[..., 0].std()) - 1.5) < 0.1
    assert blur_labels(features, 0.0, np.random.default_rng(3)) is features
