"""The whole build: every identifier resolves, every answer covers every image, and the same bytes always."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue import masks
from segue.datasets.m4seg.build import Build, BuildConfig
from segue.datasets.m4seg.filters import MAX_MASKS
from segue.datasets.m4seg.images import ImageStore, SourceSpec
from segue.datasets.m4seg.parquet import conversations_of, is_ours, read_parquet, write_parquet
from segue.datasets.m4seg.region_store import RegionStore
from segue.datasets.stages.stages import read_stage
from segue.errors import InputError, ModelError, RecordError
from segue.evaluation.predictions import answers_of
from segue.evaluation.protocols import M4SegProtocol
from segue.evaluation.run_conversation import run_conversation
from segue.evaluation.samples import all_samples
from segue.evaluation.scores import pair_up, summarise
from segue.records import Conversation, read_jsonl

FILES = ("train.jsonl", "test.jsonl", "rejected.jsonl", "report.json")


def check_records(out: Path) -> int:
    """What must hold of every record of a build with inline masks; returns how many there are."""
    count = 0
    for name in ("train.jsonl", "test.jsonl"):
        for record in read_jsonl(out / name):
            count += 1
            answer = record.turns[1]
            named = {rid for span in answer.spans for rid in span.rids}
            assert {record.region(rid).image_index for rid in named} == set(range(len(record.images)))
            assert 2 <= len(record.images) <= 3
            assert len(named) <= MAX_MASKS
            assert record.split == name.removesuffix(".jsonl")
            for span in answer.spans:
                last_word = answer.text[span.start : span.end].split()[-1].lower()
                for rid in span.rids:
                    region = record.region(rid)
                    assert region.name.split()[-1][:3] in last_word
                    assert f"{region.image_index + 1}" == region.code[0]  # type: ignore[index]
            for region in record.regions:
                assert region.mask is not None
                assert masks.area(region.mask) == region.area
                assert region.parent is None or region.parent in {r.rid for r in record.regions}
            assert "101" not in answer.text + record.turns[0].text
    return count


def test_every_identifier_resolves_and_every_image_is_covered(built: Path) -> None:
    assert check_records(built) > 100
    report = json.loads((built / "report.json").read_text())
    assert report["generator"] == "template"
    assert report["pairs"]["dropped"] == 0
    assert set(report["stages"]) == {"images", "features", "sets", "pairs", "records"}


def test_images_of_training_and_testing_are_disjoint(built: Path) -> None:
    def images(name: str) -> set[str]:
        return {image.image_id for record in read_jsonl(built / name) for image in record.images}

    assert images("test.jsonl")
    assert not images("train.jsonl") & images("test.jsonl")


def test_masks_and_paths_are_those_of_the_source(built: Path, specs: list[SourceSpec]) -> None:
    source = {f"scenes:{image.image_id}": image for image in specs[0].open()}
    for record in list(read_jsonl(built / "train.jsonl"))[:20]:
        for image in record.images:
            assert (built / image.path).resolve() == source[image.image_id].path.resolve()
        for region in record.regions:
            image_id = record.images[region.image_index].image_id
            assert region.mask in [r.rle for r in source[image_id].regions]


def test_a_second_run_does_nothing(built: Path, config: BuildConfig) -> None:
    before = {path: path.stat().st_mtime_ns for path in (built / "stages").rglob("*") if path.is_file()}

    def refuse(fn: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            raise AssertionError(f"{item} is worked on again")
        return iter(())

    Build(built, config, map_fn=refuse, progress=False).run()
    assert before == {p: p.stat().st_mtime_ns for p in (built / "stages").rglob("*") if p.is_file()}


def test_masks_by_reference_come_back(built: Path, config: BuildConfig) -> None:
    inline = list(read_jsonl(built / "train.jsonl"))
    store = RegionStore(built)
    by_reference = []
    for record in inline:
        regions = []
        for region in record.regions:
            image = record.images[region.image_index].image_id
            code = region.code or ""
            # References of a build with masks="store"; the rid within the source is looked up by its mask.
            rid = next(
                r.rid for r in image_of(built, image).regions if r.rle == region.mask and len(code) in (3, 5)
            )
            fields = {name: getattr(region, name) for name in region.model_fields_set - {"mask"}}
            regions.append(type(region)(**fields, mask_ref=f"{image}#{rid}"))
        by_reference.append(record.model_copy(update={"regions": regions}))
    assert [r.to_json() for r in store.inline(by_reference)] == [r.to_json() for r in inline]
    for wrong in ("scenes:nothing#1", f"{inline[0].images[0].image_id}#zz"):
        with pytest.raises(RecordError, match="not in the region store"):
            store.mask(wrong)


def image_of(out: Path, image_id: str) -> Any:
    output = read_stage(out / "stages" / "images")
    assert output is not None
    store = ImageStore(output)
    return next(store[n] for n in range(len(store)) if store[n].image_id == image_id)


def test_a_build_with_a_region_store(built: Path, config: BuildConfig, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(built / "stages", tmp_path / "stages")
    Build(tmp_path, replace(config, masks="store"), progress=False).run()
    filled = RegionStore(tmp_path).inline(read_jsonl(tmp_path / "train.jsonl"))
    expected = [r.regions for r in read_jsonl(built / "train.jsonl")]
    assert [r.regions for r in filled] == expected
    with pytest.raises(InputError, match="no region store"):
        RegionStore(tmp_path / "stages")


def test_one_stage_alone(config: BuildConfig, built: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be run alone"):
        Build(tmp_path, config, progress=False).run_alone("features")
    again = Build(built, config, progress=False).run_alone("records")
    assert again is not None
    assert again.reused


def test_parquet_and_back(built: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    assert write_parquet(path, read_jsonl(built / "train.jsonl")) > 50
    lines = [Conversation.from_json(line) for line in (built / "train.jsonl").read_text().splitlines()]
    assert is_ours([path])
    assert list(read_parquet([path])) == lines
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    with pytest.raises(RecordError, match="Parquet"):
        is_ours([tmp_path / "bad.parquet"])


@pytest.mark.slow
def test_datasets_reads_the_parquet(built: Path, tmp_path: Path) -> None:
    import datasets

    path = tmp_path / "train.parquet"
    write_parquet(path, read_jsonl(built / "train.jsonl"))
    lines = [Conversation.from_json(line) for line in (built / "train.jsonl").read_text().splitlines()]
    table = datasets.load_dataset(
        "parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert table[0]["question"] == lines[0].turns[0].text
    assert table[0]["num_masks"] == len({r for s in lines[0].turns[1].spans for r in s.rids})
    assert next(conversations_of(table)) == lines[0]


@pytest.mark.slow
def test_ray_gives_the_same_bytes(built: Path, config: BuildConfig, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="--engine ray needs Ray, which is optional: pip install 'segue[scale]'")
    import shutil

    import ray

    from segue.apps.scale import ray_map

    # The stages of the records and pairs: enough to see the order, the error path and what is pickled.
    for stage in ("images", "features", "sets"):
        shutil.copytree(built / "stages" / stage, tmp_path / "stages" / stage)
    try:
        map_fn = ray_map(num_cpus=2)
        Build(tmp_path, config, map_fn=map_fn, progress=False).run()
        assert list(map_fn(abs, [-3, 2, -1])) == [3, 2, 1]
        with pytest.raises(InputError, match="no such source"):
            list(map_fn(fails, [1]))
    finally:
        ray.shutdown()
    plain = read_stage(built / "stages" / "pairs")
    scaled = read_stage(tmp_path / "stages" / "pairs")
    assert plain is not None
    assert scaled is not None
    assert plain.hash == scaled.hash
    for name in ("train.jsonl", "test.jsonl"):
        # Paths are relative to the folder, and the two folders lie elsewhere.
        here, there = ((out / name).read_text() for out in (tmp_path, built))
        assert re.sub(r'"path": "[^"]*"', "", here) == re.sub(r'"path": "[^"]*"', "", there)


def fails(_: int) -> None:
    raise InputError("There is no such source.")


@pytest.mark.slow
def test_real_photographs_give_thousands_of_pairs(shared: Path, tmp_path: Path) -> None:
    from m4seg_images import Thumbnails

    specs = [
        SourceSpec("coco", str(shared / "data" / name / "train.json")) for name in ("clothing", "car_parts")
    ]
    Build(tmp_path, BuildConfig(specs, Thumbnails()), progress=False).run()
    assert check_records(tmp_path) > 2000
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["pairs"]["dropped"] < 0.01 * report["pairs"]["train"]


def test_an_embedder_that_cannot_be_opened_is_refused_before_any_image_is_read(
    config: BuildConfig, tmp_path: Path
) -> None:
    absent = replace(config, embedder=str(tmp_path / "absent"))
    with pytest.raises(ModelError, match="embedder cannot be loaded"):
        Build(tmp_path / "out", absent, progress=False).run()
    assert not (tmp_path / "out" / "stages").exists()
    assert Build(tmp_path / "out", absent, progress=False).run("images") is not None, "images need none"


class Blind:
    """A model that opens no image: every question is scored as a failure, with what its record notes."""

    def session(self, images: object) -> object:
        raise InputError("No image can be opened.")


def test_kinds_of_questions_reach_the_evaluation(built: Path) -> None:
    records = list(read_jsonl(built / "train.jsonl"))
    lines = [run_conversation(Blind(), record, []) for record in records]  # type: ignore[arg-type]
    items = pair_up(all_samples(records), answers_of(lines))
    found = summarise(items, M4SegProtocol(), drawings=0)
    by_kind = {kind: numbers["n_turns"] for kind, numbers in found["by_kind"].items()}
    assert by_kind == Counter(record.meta["kind"] for record in records)
    assert set(by_kind) == {"functional", "spatial", "numerical", "open_ended"}
