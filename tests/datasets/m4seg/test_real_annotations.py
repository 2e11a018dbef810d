"""The three sources' real annotations in `../shared` through the whole build, against the files themselves.

The files are read here by scipy, PIL and pycocotools; nothing of the sources' code is used.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from m4seg_images import Thumbnails
from segue.datasets.m4seg.build import Build, BuildConfig
from segue.datasets.m4seg.conversations import filter_pairs
from segue.datasets.m4seg.embedders import MINI
from segue.datasets.m4seg.images import SourceSpec, vocabulary_of
from segue.datasets.m4seg.sampling import SamplingConfig
from segue.datasets.stages.stages import ShardWriter, StageOutput, read_stage, run_stage

SOURCES = {"ade20k_part": "ADE20KPart234", "pascal_part": "pascal_part", "paco_lvis": "paco_lvis"}
SPLITS = {"ade20k_part": ("train", "val"), "pascal_part": ("train", "val")}
CODE = re.compile(r"\b[1-3]\d\d(?:\d\d)?\b")
Mask = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def fixtures(shared: Path) -> Path:
    return shared / "data" / "fixtures"


@pytest.fixture(scope="module")
def specs(fixtures: Path) -> list[SourceSpec]:
    return [
        SourceSpec(name, str(fixtures / folder), split)
        for name, folder in SOURCES.items()
        for split in SPLITS.get(name, ("train", "val", "test"))
    ]


@pytest.fixture(
    scope="module",
    params=["few sets", pytest.param("all sets, features of segue-scenes", marks=pytest.mark.slow)],
)
def out(
    request: pytest.FixtureRequest, specs: list[SourceSpec], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A build of the three sources together, by rule."""
    folder = tmp_path_factory.mktemp("real")
    if request.param == "few sets":
        config = BuildConfig(specs, Thumbnails(), SamplingConfig(per_class=1))
    else:
        config = BuildConfig(specs, MINI)
    Build(folder, config, progress=False).run()
    return folder


@pytest.fixture(scope="module")
def records(out: Path) -> list[dict[str, Any]]:
    lines = [line for name in ("train", "test") for line in (out / f"{name}.jsonl").read_text().splitlines()]
    return [json.loads(line) for line in lines]


# ---- the files, read independently -----------------------------------------------------------------------


@cache
def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def regions_of(fixtures: Path, image_id: str) -> Iterator[tuple[str, str | None, Mask]]:
    """(object, part or None, mask) of everything that the files say of an image; parts of one name united."""
    source, key = image_id.split(":", 1)
    reader = {"ade20k_part": of_ade, "pascal_part": of_pascal, "paco_lvis": of_paco}[source]
    yield from reader(fixtures / SOURCES[source], fixtures.parent / "classes", key)


def of_ade(root: Path, classes: Path, key: str) -> Iterator[tuple[str, str | None, Mask]]:
    published = load(classes / "ade20k_part_234.json")
    split, folder = ("train", "training") if "_train_" in key else ("val", "validation")
    content = load(root / f"ade20k_instance_{split}.json")
    number = next(e["id"] for e in content["images"] if Path(e["file_name"]).stem == key)
    parts = np.array(Image.open(root / "annotations_detectron2_part" / folder / f"{key}.png"))
    for a in (a for a in content["annotations"] if a["image_id"] == number):
        name = published["objects"][a["category_id"]]["name"]
        inside = coco_mask.decode(a["segmentation"]).astype(bool)
        yield name, None, inside
        for part in a["part_category_id"]:
            yield name, published["parts"][part]["part"], inside & (parts == part)


def of_pascal(root: Path, classes: Path, key: str) -> Iterator[tuple[str, str | None, Mask]]:
    loadmat = pytest.importorskip("scipy.io").loadmat
    merged = load(classes / "pascal_part_mat_to_116.json")["mapping"]
    renamed = {"lower arm": "arm", "upper arm": "arm", "chainwheel": "wheel"}
    spelled = {"pottedplant": "potted plant", "table": "dining table"}
    objects = loadmat(str(root / "Annotations_Part" / f"{key}.mat"))["anno"][0, 0]["objects"]
    for thing in objects[0]:
        label = str(thing["class"][0])
        name = spelled.get(label, label)
        yield name, None, thing["mask"].astype(bool)
        united: dict[str, Mask] = {}
        for cell in thing["parts"].ravel():
            raw = str(cell["part_name"][0])
            table = merged[{"table": "diningtable"}.get(label, label)]
            part = table[raw] if raw in table else table[re.sub(r"_\d+$", "_N", raw)]
            part = renamed.get(part, part)
            united[part] = united.get(part, False) | cell["mask"].astype(bool)
        for part, mask in united.items():
            yield name, part, mask


def of_paco(root: Path, classes: Path, key: str) -> Iterator[tuple[str, str | None, Mask]]:
    for split in ("train", "val", "test"):
        content = load(root / "annotations" / f"paco_lvis_v1_{split}.json")
        names = {category["id"]: category["name"] for category in content["categories"]}
        for entry in (e for e in content["images"] if e["id"] == int(key)):
            hw = entry["height"], entry["width"]
            for a in (a for a in content["annotations"] if a["image_id"] == entry["id"]):
                rle = a["segmentation"]
                if isinstance(rle, list):
                    rle = coco_mask.merge(coco_mask.frPyObjects(rle, *hw))
                elif isinstance(rle["counts"], list):
                    rle = coco_mask.frPyObjects(rle, *hw)
                owner, _, part = names[a["category_id"]].partition(":")
                plain = re.sub(r"_\(.*\)", "", owner).replace("_", " ")
                yield plain, part.replace("_", " ") or None, coco_mask.decode(rle).astype(bool)


def mentions(answer: str) -> list[tuple[str, str, int]]:
    """(the word before it, identifier, where it ends) of an answer; "dogs 101 and 102" are both dogs."""
    found = []
    for match in CODE.finditer(answer):
        words = [word for word in re.findall(r"[A-Za-z]+", answer[: match.start()]) if word != "and"]
        found.append((words[-1].lower(), match.group(), match.end()))
    return found


# ---- the build against them ------------------------------------------------------------------------------


def test_all_sources_and_shapes_are_there(out: Path, records: list[dict[str, Any]]) -> None:
    report = json.loads((out / "report.json").read_text())
    # 3 of ADE20K, 18 of Pascal and 12 of PACO are listed; two of Pascal show no object that has parts.
    assert report["stages"]["images"]["images listed"] == 33
    assert report["stages"]["images"]["images"] == 31
    sources = {image["image_id"].split(":")[0] for record in records for image in record["images"]}
    assert sources == set(SOURCES)
    assert {len(record["images"]) for record in records} == {2, 3}
    assert {record["meta"]["kind"] for record in records} == {
        *("functional", "spatial", "numerical", "open_ended")
    }


def test_every_mask_is_that_of_the_annotated_region(fixtures: Path, records: list[dict[str, Any]]) -> None:
    """Same image, same object, same part, same pixels."""
    annotated: dict[str, dict[bytes, set[tuple[str, str | None]]]] = {}
    checked = 0
    for record in records:
        owners = {region["rid"]: region["name"] for region in record["regions"]}
        for region in record["regions"]:
            image_id = record["images"][region["image"] - 1]["image_id"]
            if image_id not in annotated:
                found: dict[bytes, set[tuple[str, str | None]]] = {}
                for owner, part, mask in regions_of(fixtures, image_id):
                    found.setdefault(np.packbits(mask).tobytes(), set()).add((owner, part))
                annotated[image_id] = found
            mask = coco_mask.decode(region["mask"]).astype(bool)
            named = annotated[image_id].get(np.packbits(mask).tobytes())
            assert named is not None, f"{record['id']}: {region['name']} has a mask that no file holds"
            parent = owners.get(region.get("parent"))
            own = (region["name"], None) if parent is None else (parent, region["name"].split("'s ")[-1])
            assert own in named, f"{record['id']}: {region['name']} has the mask of {named}"
            checked += 1
    assert checked > 300


def test_every_identifier_resolves_and_every_image_is_answered(records: list[dict[str, Any]]) -> None:
    count = 0
    for record in records:
        regions = {region["code"]: region for region in record["regions"]}
        answer = record["turns"][1]
        named = {rid for span in answer["spans"] for rid in span["rids"]}
        by_rid = {region["rid"]: region for region in record["regions"]}
        assert {by_rid[rid]["image"] for rid in named} == set(range(1, len(record["images"]) + 1))
        written = mentions(record["meta"]["raw_answer"])
        assert {code for _, code, _ in written} == {by_rid[rid]["code"] for rid in named}
        for word, code, _ in written:
            region = regions[code]
            assert region["image"] == int(code[0])
            # "leg 10101" after its owner, "chair's leg 10101", "legs 10101": the stem of the last word.
            singular = {"people": "person", "feet": "foot"}.get(word, word)
            assert singular.startswith(region["name"].split()[-1][:3].lower())
            count += 1
        assert not CODE.search(answer["text"])
    assert count > 2 * len(records)


def test_the_counts_add_up(out: Path, records: list[dict[str, Any]]) -> None:
    report = json.loads((out / "report.json").read_text())
    counts, written = report["stages"]["records"], report["pairs"]
    assert written["train"] + written["test"] == len(records)
    assert counts["pairs"] == report["stages"]["pairs"]["pairs"] == sum(written.values())
    assert len((out / "rejected.jsonl").read_text().splitlines()) == written["dropped"]
    assert sum(n for name, n in counts.items() if name in ("kept, train", "kept, test")) == len(records)


# ---- rejects ---------------------------------------------------------------------------------------------


def spoiled(question: str, answer: str) -> Iterator[tuple[str, str, str]]:
    """(filter, question, answer) of ways to break a pair, one for each filter."""
    named = mentions(answer)
    word, code, _ = named[-1]
    yield "a", question, "There is nothing to be seen that could be pointed at in any of these pictures."
    yield "b", question, f"{answer} Its box is [10, 20, 110, 220]."
    yield "c", question, f"{answer} In Image 4, the same holds."
    # With words enough that it does not pass for a mere list.
    yield "d", question, answer[: named[0][2]] + " is what matters most here to everybody who looks closely."
    yield "e", question, f"{answer} Beside it is the {word} {code[0]}99."
    yield "f", question, " ".join([answer] * (16 // len(named) + 1))


def test_spoiled_pairs_are_rejected_and_counted(out: Path, specs: list[SourceSpec], tmp_path: Path) -> None:
    """Each real pair, and beside it its spoiled versions: those go, with their filter; the real ones stay."""

    def stage(*names: str) -> StageOutput:
        output = read_stage(out.joinpath("stages", *names))
        assert output is not None
        return output

    images, sets, pairs = stage("images"), stage("sets", "kept"), stage("pairs")
    expected = Counter[str]()

    def spoil(chunk: list[dict[str, Any]], shard: ShardWriter) -> None:
        for line in chunk:
            qa = []
            for pair in line["qa"]:
                expected["kept"] += 1
                qa.append(pair)
                for letter, question, answer in spoiled(pair["question"], pair["answer"]):
                    expected[letter] += 1
                    qa.append({**pair, "question": question, "answer": answer})
            shard.count("pairs", len(qa))
            shard.line("pairs", {**line, "qa": qa})

    many = run_stage(
        tmp_path / "pairs", [list(pairs.lines("pairs"))], spoil, config={}, inputs={}, progress=False
    )
    vocabulary = vocabulary_of(images, specs)
    done = filter_pairs(
        tmp_path / "records", images, sets, many, vocabulary, out=tmp_path, masks="store", progress=False
    )
    rejected = [
        json.loads(line) for path, _ in done.files("dropped") for line in path.read_text().splitlines()
    ]
    kept = done.total("train") + done.total("test")
    assert Counter(r["filter"] for r in rejected) + Counter(kept=kept) == expected
    assert done.counts()["pairs"] == expected.total()
