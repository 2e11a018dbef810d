"""Pools hold what was rendered, go on where they stopped, and refuse other settings."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from segue.errors import InputError
from segue.mini import pools
from segue.mini.pools import PhotoPool, ScenePool, photo_pool, render_chunk, scene_pool
from segue.scenes.render import render_scene


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "CHUNK", 4)


def test_a_pool_holds_the_scenes_of_its_seed(scenes: ScenePool) -> None:
    assert len(scenes) == 10
    for i in (0, 7):
        scene = render_scene(np.random.default_rng([3, i]), size=64, split="train")
        np.testing.assert_array_equal(scenes.images[i], scene.image)
        np.testing.assert_array_equal(scenes.object_maps[i], scene.object_map)
        assert scenes.objects[i] == tuple(scene.objects)
        for k, thing in enumerate(scene.objects):
            np.testing.assert_array_equal(scenes.mask(i, k, None), scene.mask(k))
            for part in thing.parts:
                np.testing.assert_array_equal(scenes.mask(i, k, part), scene.mask(k, part))


@pytest.mark.usefixtures("chunked")
def test_a_killed_rendering_goes_on_with_the_same_bytes(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    scene_pool(whole, seed=5, count=10, size=64, progress=False)
    expected = contents(whole)
    assert {n for n in expected if n.startswith("facts")} == {f"facts_0000{c}.json" for c in range(3)}
    # The middle chunk was never finished: no facts, and its pixels are anything.
    (whole / "facts_00001.json").unlink()
    images = np.load(whole / "images.npy", mmap_mode="r+")
    images[4:8] = 77
    images.flush()
    del images
    assert contents(whole) != expected
    scene_pool(whole, seed=5, count=10, size=64, progress=False)
    assert contents(whole) == expected


@pytest.mark.usefixtures("chunked")
def test_chunks_do_not_depend_on_their_order(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, order in ((first, (0, 1, 2)), (second, (2, 0, 1))):
        folder.mkdir()
        for chunk in order:
            assert render_chunk(str(folder), 5, 10, 64, "train", chunk) == chunk
    assert contents(first) == contents(second)


def test_an_open_pool_renders_nothing(ground: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr(pools, "_render_missing", fail)
    again = scene_pool(ground.folder / "scenes", seed=3, count=10, size=64)
    assert again.objects == ground.scenes.objects


@pytest.mark.parametrize("change", [{"seed": 4}, {"count": 12}, {"size": 80}, {"split": "val"}])
def test_a_folder_of_other_scenes_is_refused(
    ground: SimpleNamespace, tmp_path: Path, change: dict[str, int]
) -> None:
    folder = tmp_path / "pool"
    shutil.copytree(ground.folder / "scenes", folder)
    before = contents(folder)
    with pytest.raises(InputError, match="the folder holds other scenes"):
        scene_pool(
            folder, **({"seed": 3, "count": 10, "size": 64, "split": "train"} | change), progress=False
        )
    assert contents(folder) == before


def test_pools_without_remembered_settings_are_known_by_their_size(
    ground: SimpleNamespace, tmp_path: Path
) -> None:
    folder = tmp_path / "pool"
    shutil.copytree(ground.folder / "scenes", folder)
    (folder / "pool.json").unlink()
    with pytest.raises(InputError, match="other scenes"):
        scene_pool(folder, seed=3, count=11, size=64, progress=False)
    assert len(scene_pool(folder, seed=3, count=10, size=64, progress=False)) == 10
    assert contents(folder) == contents(ground.folder / "scenes")


def test_the_index_finds_what_scenes_show(scenes: ScenePool) -> None:
    for key, found in scenes.by_kind.items():
        shown = [any(key in (t.kind, t.phrase) for t in things) for things in scenes.objects]
        assert found.tolist() == np.flatnonzero(shown).tolist()


def test_a_subset_is_the_beginning(scenes: ScenePool) -> None:
    few = scenes.subset(4)
    assert len(few) == 4
    assert few.objects == scenes.objects[:4]
    assert max(int(i.max()) for i in few.by_kind.values()) < 4


def test_sets_are_drawn_from_the_pool_and_often_share_a_kind(scenes: ScenePool) -> None:
    rng = np.random.default_rng(1)
    shared = 0
    for _ in range(200):
        chosen = scenes.sample_set(rng, 2)
        assert len(chosen) == 2
        kinds = [{t.kind for t in scenes.objects[i]} for i in chosen]
        shared += bool(kinds[0] & kinds[1])
    assert shared > 100
    assert len(scenes.sample_set(rng, 1)) == 1
    assert scenes.sample_set(np.random.default_rng(5), 3) == scenes.sample_set(np.random.default_rng(5), 3)


def test_photographs_keep_their_labels(
    photos: PhotoPool, label_inks: dict[str, tuple[int, int, int]]
) -> None:
    assert len(photos) == 4
    for record, image, labels in zip(photos.records, photos.images, photos.label_maps, strict=True):
        assert image.shape[:2] == labels.shape == record.hw
        for label in record.rles:
            mask = photos.mask(labels, label)
            np.testing.assert_array_equal(mask, record.mask(label))
            if label != "person":
                assert (image[mask] == label_inks[label]).all()
        assert not photos.mask(labels, "bag").any()


def test_photographs_are_reduced_held_back_or_chosen(ground: SimpleNamespace) -> None:
    small = photo_pool(ground.coco, ground.coco.parent, size=48, skip=(1,))
    assert [r.image_id for r in small.records] == ["1", "3", "4"]
    assert [i.shape[:2] for i in small.images] == [(48, 30), (48, 30), (35, 48)]
    only = photo_pool(ground.coco, ground.coco.parent, keep=(2, 0))
    assert [r.image_id for r in only.records] == ["1", "3"]
