"""Stage "labels": label maps belong to their pictures, scenes show nothing, only the reader moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segue.errors import InputError
from segue.mini.label_objective import RAREST, LabelObjective, pixel_weights
from segue.mini.photos.facts import PhotoFacts
from segue.mini.pools import PhotoPool, ScenePool
from segue.mini.vocabulary import COLOUR_INDEX, IGNORED, PHOTO_LABELS
from segue.models.mini.modeling_mini import MiniModel
from segue.training.augmentation import resize_pair
from segue.training.run import train

Reading = Callable[..., Any]


@pytest.fixture
def make(reading: Reading, scenes: ScenePool, photos: PhotoPool) -> Callable[..., Any]:
    def build(**options: Any) -> tuple[Any, LabelObjective]:
        model, _ = reading()
        return model, LabelObjective(model, scenes, photos, **({"batch_size": 6} | options))

    return build


def test_a_batch_depends_on_seed_and_step_alone(make: Any, same: Any) -> None:
    first, second = (make()[1] for _ in range(2))
    wanted = first.batch(3)
    assert not same(second.batch(4), wanted)
    assert same(second.batch(3), wanted)
    assert not same(make(seed=1)[1].batch(3), wanted)


def test_labels_colours_and_maps_belong_to_the_photograph(
    make: Any, photos: PhotoPool, label_inks: dict[str, tuple[int, int, int]]
) -> None:
    _, stage = make()
    rng, seen = np.random.default_rng(0), set()
    for _ in range(12):
        picture, labels, presence, colours = stage.photo(rng)
        assert picture.shape == (64, 64, 3)
        assert labels.shape == (64, 64)
        for name, ink in label_inks.items():
            k = PHOTO_LABELS.index(name)
            mask = labels == k + 1
            if mask.sum() < 40:
                continue
            seen.add(name)
            assert presence[k] == 1
            assert np.abs(np.median(picture[mask], axis=0) - ink).max() < 30, name
            known = next(r.facts.labels[name] for r in photos.records if name in r.facts.labels)
            assert colours[k] == COLOUR_INDEX.get(known.colour, IGNORED)
        worn = {PHOTO_LABELS[k] for k in range(len(PHOTO_LABELS)) if presence[k] == 1}
        assert not {"trousers", "dress"} <= worn, "nobody in these pictures wears both"
    assert len(seen) >= 4


def test_what_is_doubted_teaches_nothing(reading: Reading, scenes: ScenePool, photos: PhotoPool) -> None:
    model, _ = reading()
    doubted = [
        replace(r, facts=PhotoFacts(r.facts.labels, frozenset({"dress", "skirt"}))) for r in photos.records
    ]
    sure = LabelObjective(model, scenes, photos)
    unsure = LabelObjective(model, scenes, replace(photos, records=doubted))
    dress, skirt = (PHOTO_LABELS.index(name) for name in ("dress", "skirt"))
    seen = 0
    for seed in range(12):
        picture, labels, presence, _ = sure.photo(np.random.default_rng(seed))
        same, left, unknown, colours = unsure.photo(np.random.default_rng(seed))
        assert np.array_equal(picture, same)
        seen += int((labels == dress + 1).any())
        assert np.array_equal(left, np.where(labels == dress + 1, IGNORED, labels))
        assert (unknown[[dress, skirt]] == -1).all(), "neither there nor absent"
        assert colours[dress] == IGNORED
        others = np.delete(np.arange(len(PHOTO_LABELS)), [dress, skirt])
        assert np.array_equal(presence[others], unknown[others])
    assert seen


def test_whole_photographs_are_seen_as_they_are_or_mirrored(make: Any, photos: PhotoPool) -> None:
    _, stage = make(whole=1.0)
    plain = [resize_pair(i, m, (64, 64)) for i, m in zip(photos.images, photos.label_maps, strict=True)]
    rng, ways = np.random.default_rng(0), set()
    for _ in range(12):
        picture, labels, _, _ = stage.photo(rng)
        (way,) = {
            way
            for image, wanted in plain
            for way in (1, -1)
            if np.array_equal(picture, image[:, ::way]) and np.array_equal(labels, wanted[:, ::way])
        } or {None}
        ways.add(way)
    assert ways == {1, -1}


def test_tinted_labels_keep_their_shape_and_tell_no_colour(make: Any) -> None:
    plain, tinted = (make(whole=1.0, recolour=share)[1] for share in (0.0, 1.0))
    before, labels, presence, colours = plain.photo(np.random.default_rng(3))
    after, same_labels, same_presence, no_colours = tinted.photo(np.random.default_rng(3))
    assert np.array_equal(labels, same_labels)
    assert np.array_equal(presence, same_presence)
    assert (colours != IGNORED).any()
    assert (no_colours == IGNORED).all()
    assert np.array_equal(before[labels == 0], after[labels == 0]), "what has no label keeps its colour"
    changed = np.abs(before.astype(int) - after).max(-1)[labels > 0]
    assert (changed > 5).mean() > 0.8


def test_scenes_show_no_label(make: Any) -> None:
    _, stage = make()
    picture, labels, presence, colours = stage.scene(np.random.default_rng(0))
    assert picture.shape == (64, 64, 3)
    assert not labels.any()
    assert (presence == 0).all()
    assert (colours == IGNORED).all()


def test_a_share_of_the_images_are_scenes(make: Any) -> None:
    _, stage = make(photo_share=0.5, batch_size=40)
    nothing = (stage.batch(0)["maps"] == 0).flatten(1).all(1).float().mean()
    assert 0.25 < float(nothing) < 0.75


def test_pictures_may_be_smaller_than_the_reader_s(make: Any) -> None:
    batch = make(size=32, batch_size=2)[1].batch(0)
    assert batch["pixels"].shape == (2, 3, 32, 32)
    assert batch["maps"].shape == (2, 32, 32)
    assert make()[1].batch(0)["pixels"].shape[-1] == 64


def test_one_step_lowers_the_loss_and_moves_the_reader_alone(make: Any, one_step: Any) -> None:
    model, stage = make()
    model.label_reader.requires_grad_(True).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = one_step(model, stage)
    assert second < first
    moved = {n.split(".")[0] for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert moved == {"label_reader"}


def test_readings_are_told(make: Any) -> None:
    model, stage = make()
    _, readings = stage.loss(model, stage.batch(0))
    assert set(readings) == {"cells", "presence_loss", "colours", "presence"}
    assert 0 <= readings["presence"] <= 1


def test_it_learns_what_is_worn(make: Any) -> None:
    model, stage = make(batch_size=8, photo_share=1.0)
    model.label_reader.requires_grad_(True).train()
    optimiser = torch.optim.Adam(model.label_reader.parameters(), lr=1e-2)
    right = []
    for step in range(60):
        loss, readings = stage.loss(model, stage.batch(step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        right.append(readings["presence"])
    assert np.mean(right[-10:]) > max(0.93, np.mean(right[:3]) + 0.05)


def test_rare_labels_count_more(photos: PhotoPool) -> None:
    weights = pixel_weights(photos)
    assert weights.shape == (len(PHOTO_LABELS) + 1,)
    assert weights[0] == 1
    hair, dress = (weights[PHOTO_LABELS.index(n) + 1] for n in ("hair", "dress"))
    assert 1 < dress < hair <= RAREST
    assert weights[PHOTO_LABELS.index("hat") + 1] == RAREST, "what never occurs has the most"


@pytest.mark.parametrize("missing", ["reader", "photos", "share"])
def test_what_cannot_be_learned_is_refused(
    missing: str, tiny: Any, reading: Reading, scenes: ScenePool, photos: PhotoPool
) -> None:
    model, _ = tiny() if missing == "reader" else reading()
    share = 0.0 if missing == "share" else 0.5
    with pytest.raises(InputError, match="nothing to learn labels with"):
        LabelObjective(model, scenes, None if missing == "photos" else photos, photo_share=share)


def test_the_stage_runs_from_a_recipe_and_its_reader_is_kept(recipe_of: Any, tmp_path: Path) -> None:
    overrides = {"num_query_tokens": len(PHOTO_LABELS) + 1, "label_reader_size": 64}
    recipe = recipe_of("labels")
    final = train(recipe, tmp_path / "run", [f"model.overrides={overrides}"])
    model = MiniModel.from_pretrained(final)
    assert list(model.config.label_reader_names) == list(PHOTO_LABELS)
    assert int(model.label_reader.backbone.embedder.embedder.normalization.num_batches_tracked) == 6
