"""Rendered scenes: deterministic, exact maps, visible objects, and the held-out rule."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from segue.errors import InputError
from segue.scenes import render
from segue.scenes.kinds import COLOURS, HELD_OUT, KINDS, Scene, visible_part_pixels
from segue.scenes.render import LEAST_VISIBLE, contact_sheet, render_scene, render_set


def _scenes(count: int, seed: int, size: int = 96, split: str = "train") -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [render_scene(rng, size=size, split=split) for _ in range(count)]


def _pairs(scene: Scene) -> list[tuple[str, str]]:
    return [(thing.colour, thing.kind) for thing in scene.objects]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first, second, other = (_scenes(3, seed) for seed in (4, 4, 5))
    for a, b in zip(first, second, strict=True):
        assert a.image.tobytes() == b.image.tobytes()
        assert a.object_map.tobytes() == b.object_map.tobytes()
        assert a.part_map.tobytes() == b.part_map.tobytes()
        assert a.objects == b.objects
    assert first[0].image.tobytes() != other[0].image.tobytes()


def test_a_scene_does_not_depend_on_what_was_rendered_before() -> None:
    _scenes(2, 1, size=64)
    alone = render_scene(np.random.default_rng(9), size=96)
    _scenes(5, 2, size=128)
    assert render_scene(np.random.default_rng(9), size=96).image.tobytes() == alone.image.tobytes()


@pytest.mark.parametrize("size", [64, 127, 224, 512])
def test_maps_agree_with_objects_at_every_size(size: int) -> None:
    for scene in _scenes(4, size, size=size):
        assert scene.image.shape == (size, size, 3)
        assert scene.image.dtype == scene.object_map.dtype == scene.part_map.dtype == np.uint8
        assert scene.image.flags["C_CONTIGUOUS"]
        assert ((scene.object_map > 0) == (scene.part_map > 0)).all()
        assert scene.object_map.max() == len(scene.objects)
        for index, thing in enumerate(scene.objects):
            whole = scene.mask(index)
            parts = {part: scene.mask(index, part) for part in KINDS[thing.kind].parts}
            # Parts are disjoint and their union is the object.
            assert (np.sum(list(parts.values()), axis=0) == whole).all()
            assert thing.area == pytest.approx(whole.mean())
            shown = tuple(part for part in parts if parts[part].sum() >= visible_part_pixels(size))
            assert thing.parts == shown == tuple(thing.part_areas)
            for part in shown:
                assert thing.part_areas[part] == pytest.approx(parts[part].mean())
            rows, columns = np.nonzero(whole)
            box = np.array(thing.box) * size
            edges = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
            assert box == pytest.approx(edges)
            assert thing.center == pytest.approx(((box[0] + box[2] / 2) / size, (box[1] + box[3] / 2) / size))


def test_counts_order_and_no_pair_twice() -> None:
    counts: Counter[int] = Counter()
    for scene in _scenes(80, 11, size=64):
        counts[len(scene.objects)] += 1
        assert len(set(_pairs(scene))) == len(scene.objects)
        assert max(Counter(thing.kind for thing in scene.objects).values()) <= 2
        centres = [thing.center[0] for thing in scene.objects]
        assert centres == sorted(centres)
    assert set(counts) == {2, 3, 4, 5}


def test_all_kinds_and_colours_appear() -> None:
    things = [thing for scene in _scenes(120, 12, size=64) for thing in scene.objects]
    assert {thing.kind for thing in things} == set(KINDS)
    assert {thing.colour for thing in things} == set(COLOURS)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_held_out_pairs_stay_out_of_the_other_splits(split: str) -> None:
    for scene in _scenes(60, 13, size=64, split=split):
        assert not set(_pairs(scene)) & HELD_OUT


def test_every_heldout_image_has_a_held_out_pair() -> None:
    seen: set[tuple[str, str]] = set()
    for scene in _scenes(100, 14, size=64, split="heldout"):
        odd = set(_pairs(scene)) & HELD_OUT
        assert odd
        seen |= odd
    assert len(seen) >= 16


@pytest.mark.parametrize("attempt", [0, 3])
def test_every_object_keeps_most_of_its_pixels(attempt: int) -> None:
    arranged = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = render._arrange(render._choose(rng, "train", ()), rng, 96, attempt)
        if found is None:
            continue
        arranged += 1
        placed, owner = found
        for number, item in enumerate(placed, start=1):
            visible = np.count_nonzero(owner == number) / np.count_nonzero(item.raster.parts)
            assert LEAST_VISIBLE <= visible <= 1
    # The last attempt always fits, so rendering always ends.
    assert arranged == 40 if attempt == 3 else arranged > 20


def test_rendering_falls_back_to_a_calmer_arrangement(monkeypatch: pytest.MonkeyPatch) -> None:
    arrange, attempts = render._arrange, []

    def only_the_last(*args):  # type: ignore[no-untyped-def]
        attempts.append(args[-1])
        return arrange(*args) if args[-1] == 3 else None

    monkeypatch.setattr(render, "_arrange", only_the_last)
    assert 2 <= len(render_scene(np.random.default_rng(0), size=64).objects) <= 5
    assert attempts == [0, 1, 2, 3]


def test_parts_are_rarely_hidden() -> None:
    shown = [len(o.parts) / len(KINDS[o.kind].parts) for s in _scenes(60, 15, size=128) for o in s.objects]
    assert np.mean(shown) > 0.97


@pytest.mark.parametrize("wanted", [("lamp",), ("mug", "mug"), ("car", "boat", "fish", "bird", "clock")])
@pytest.mark.parametrize("split", ["train", "heldout"])
def test_included_kinds_appear(wanted: tuple[str, ...], split: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        kinds = Counter(o.kind for o in render_scene(rng, size=64, split=split, include_kinds=wanted).objects)
        assert not Counter(wanted) - kinds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "no such split"),
        ({"include_kinds": ("dragon",)}, "no such kind"),
        ({"include_kinds": ("mug",) * 3}, "cannot hold"),
        ({"include_kinds": tuple(KINDS)[:6]}, "cannot hold"),
        ({"size": 16}, "too small"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        render_scene(np.random.default_rng(0), **arguments)  # type: ignore[arg-type]


def test_the_picture_shows_what_the_map_says() -> None:
    """Inside the mask of an orange body the picture is orange."""
    seen = 0
    for scene in _scenes(60, 16, size=96):
        for index, thing in enumerate(scene.objects):
            if thing.colour == "orange" and thing.kind in (
                "car",
                "bucket",
                "table",
                "house",
                "bottle",
                "fish",
            ):
                seen += 1
                body = scene.mask(index, KINDS[thing.kind].parts[0])
                red, green, blue = np.median(scene.image[body], axis=0)
                assert red > green > blue
                assert red - blue > 100
    assert seen >= 3


def test_sets_have_one_to_three_images_and_half_share_a_kind() -> None:
    rng = np.random.default_rng(17)
    counts: Counter[int] = Counter()
    shared = same = several = 0
    for _ in range(60):
        scenes = render_set(rng, size=64)
        counts[len(scenes)] += 1
        if len(scenes) > 1:
            several += 1
            shared += bool(set.intersection(*({o.kind for o in scene.objects} for scene in scenes)))
            same += bool(set.intersection(*(set(_pairs(scene)) for scene in scenes)))
    assert set(counts) == {1, 2, 3}
    assert shared >= 0.45 * several
    assert same >= 0.15 * several
    assert len(render_set(rng, size=64, num_images=3)) == 3
    for scene in render_set(rng, size=64, split="heldout", num_images=2):
        assert set(_pairs(scene)) & HELD_OUT


def test_contact_sheet_holds_all_scenes() -> None:
    assert contact_sheet(0, 5, size=64).size == (3 * 68, 2 * 68)
