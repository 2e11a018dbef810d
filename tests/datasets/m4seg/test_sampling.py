"""Features, neighbours and image sets."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from m4seg_images import Thumbnails
from segue.datasets.m4seg import neighbours
from segue.datasets.m4seg.build import Build, BuildConfig
from segue.datasets.m4seg.features import Features, normalised
from segue.datasets.m4seg.images import ImageStore, ImageTable
from segue.datasets.m4seg.relevance import Relevance
from segue.datasets.m4seg.sampling import ImageSet, SamplingConfig
from segue.datasets.stages.stages import ShardWriter, ranges, read_stage, run_stage
from segue.errors import InputError


def vectors(folder: Path, rows: NDArray[np.float32]) -> Features:
    def write(chunk: range, shard: ShardWriter) -> None:
        shard.array("vectors", rows[list(chunk)].astype(np.float16))

    return Features(run_stage(folder, ranges(len(rows), 100), write, config={}, inputs={}, progress=False))


@pytest.fixture
def random_vectors(tmp_path: Path) -> tuple[Features, NDArray[np.float64]]:
    rows = normalised(np.random.default_rng(0).normal(size=(350, 24)).astype(np.float32))
    return vectors(tmp_path / "vectors", rows), rows.astype(np.float16).astype(np.float64)


@pytest.mark.parametrize("with_faiss", [True, False])
def test_neighbours_are_those_of_equation_1(
    random_vectors: tuple[Features, NDArray[np.float64]], with_faiss: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, rows = random_vectors
    monkeypatch.setattr(neighbours, "has_faiss", lambda: with_faiss)
    monkeypatch.setattr(neighbours, "BASE", 64)
    monkeypatch.setattr(neighbours, "QUERIES", 50)
    queries, base = np.arange(0, 350, 3), np.arange(1, 350, 2)
    found, distances = neighbours.nearest(features, queries, base, 9)
    all_distances = 1 - rows[queries] @ rows[base].T
    expected = np.sort(all_distances, axis=1)[:, :9]
    assert np.allclose(distances, expected, atol=1e-5)
    assert (base[np.argmin(all_distances, axis=1)] == found[:, 0]).all()


def test_an_approximate_search_finds_nearly_the_same(
    random_vectors: tuple[Features, NDArray[np.float64]],
) -> None:
    features, _ = random_vectors
    rows = np.arange(350)
    exact = neighbours.nearest(features, rows, rows, 5, "exact")[0]
    near = neighbours.nearest(features, rows, rows, 5, "approximate")[0]
    shared = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(exact, near, strict=True)])
    assert shared > 0.9
    assert (near[:, 0] == rows).all()


def sets_of(out: Path) -> list[ImageSet]:
    output = read_stage(out / "stages" / "sets" / "kept")
    assert output is not None
    return [ImageSet.from_json(line) for line in output.lines("sets")]


def sampled(out: Path, config: BuildConfig, **changes: Any) -> list[ImageSet]:
    changed = replace(config, sampling=replace(config.sampling, **changes))
    # The stages before are those of the finished build: they do not depend on the sampling.
    Build(out, changed, progress=False).run("sets")
    return sets_of(out)


def test_sets_are_what_the_paper_says(built: Path) -> None:
    sets = sets_of(built)
    images = read_stage(built / "stages" / "images")
    assert images is not None
    table, store = ImageTable.read(images), ImageStore(images)
    assert {s.criterion for s in sets} == {"nn", "category"}
    assert {len(s.rows) for s in sets} == {2, 3}
    assert len({frozenset(s.rows) for s in sets}) == len(sets), "no set twice, in whatever order"
    assert len({s.id for s in sets}) == len(sets)
    relevance = Relevance.read()
    for s in sets:
        assert len(set(s.rows)) == len(s.rows)
        assert len({int(table.copies[row]) for row in s.rows}) == len(s.rows), "no copies"
        assert all((table.chance[row] < 0.3) == (s.split == "test") for row in s.rows), "disjoint by image"
        assert s.distances[s.anchor] == 0
        assert all(d >= Thumbnails.near_duplicate for n, d in enumerate(s.distances) if n != s.anchor)
        for name in s.classes:
            assert name in store[s.rows[s.anchor]].classes
            assert all(relevance.of(name) & set(store[row].classes) for row in s.rows)


def test_the_anchor_stands_anywhere(built: Path) -> None:
    places = [s.anchor for s in sets_of(built) if len(s.rows) == 3]
    assert set(places) == {0, 1, 2}


@pytest.fixture
def other(built: Path, tmp_path: Path) -> Path:
    """A folder with the first two stages of the finished build."""
    for stage in ("images", "features"):
        shutil.copytree(built / "stages" / stage, tmp_path / "stages" / stage)
    return tmp_path


def test_the_same_seed_gives_the_same_sets(built: Path, config: BuildConfig, other: Path) -> None:
    assert sampled(other, config) == sets_of(built)
    assert sampled(other, config, seed=1) != sets_of(built)


def test_fewer_sets_are_some_of_them(built: Path, config: BuildConfig, other: Path) -> None:
    some = sampled(other, config, max_sets=5)
    assert len(some) == 5
    assert {s.id for s in some} <= {s.id for s in sets_of(built)}


def test_random_qa_draws_sets_from_all_images(config: BuildConfig, other: Path) -> None:
    sets = sampled(other, config, split_by="random_qa")
    assert {s.split for s in sets} == {"train"}


@pytest.mark.parametrize(
    "wrong", [{"k": 0}, {"neighbours": (3,)}, {"sizes": ()}, {"test_share": 1.0}, {"max_sets": 0}]
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="cannot be drawn"):
        SamplingConfig(**wrong)


def test_the_relevance_table_can_be_edited(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"groups": {"seats": ["chair", "sofa"]}, "pairs": [["cat", "sofa"]]}))
    table = Relevance.read(path)
    assert table.of("sofa") == {"chair", "sofa", "cat"}
    assert table.of("lamp") == {"lamp"}
    for wrong in ("{", "[]", '{"groups": {"a": "chair"}}', '{"groups": {}, "pairs": [["a"]]}'):
        path.write_text(wrong)
        with pytest.raises(InputError, match="relevant classes"):
            Relevance.read(path)
