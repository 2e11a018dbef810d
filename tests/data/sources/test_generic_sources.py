"""Own annotations through `open_source`; taxonomies; merging."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.formats.coco import read_coco
from segue.data.sources import SOURCES, open_source, source_class
from segue.data.sources.merging import merge_parts
from segue.data.sources.taxonomy import NumberedClasses, paco_vocabulary, pascal_classes
from segue.errors import InputError
from segue.masks import union_rle
from source_layouts import H, W, annotation, block, dump, photo


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """One picture of two bicycles, the first with two wheels, in `train.json`; a broken one beside them."""
    for name in ("a.jpg", "b.jpg"):
        photo(tmp_path / name)
    bicycles = [annotation(k, 1, 1, block(2, 16 * k - 16, 20, 16 * k)) for k in (1, 2)]
    wheels = [annotation(10 + k, 1, 2, block(14, 2 + 5 * k, 18, 6 + 5 * k), obj_ann_id=1) for k in (0, 1)]
    images = [
        {"id": k, "file_name": f"{name}.jpg", "height": H, "width": W} for k, name in ((1, "a"), (2, "b"))
    ]
    categories = [{"id": 1, "name": "bicycle"}, {"id": 2, "name": "bicycle:wheel"}]
    broken = {**annotation(20, 2, 1, block(0, 0, 2, 2)), "segmentation": None}
    content = {"images": images, "annotations": [*bicycles, *wheels, broken], "categories": categories}
    dump(tmp_path / "train.json", content)
    return tmp_path


def test_coco_is_what_read_coco_reads(coco: Path) -> None:
    source = open_source("coco", coco, split="train")
    assert list(source) == list(read_coco(coco / "train.json").images)
    assert source.vocabulary() == {"bicycle": ("wheel",)}
    assert source.report.dropped == {"no segmentation": 1, "image without usable annotation": 1}
    assert (source.report.listed, source.report.images, source.report.objects, source.report.parts) == (
        2,
        1,
        2,
        2,
    )
    assert open_source("coco", coco / "train.json", images=coco).fingerprint() == source.fingerprint()


def test_same_named_parts_of_one_object_are_merged_on_request(coco: Path) -> None:
    source = open_source("coco", coco, merge_same_parts=True)
    (image,) = source
    (wheels,) = image.parts_of("1")
    np.testing.assert_array_equal(wheels.mask, block(14, 2, 18, 6) | block(14, 7, 18, 11))
    assert source.report.noticed == {"same-named parts of one object, merged": 1}


def test_labelme_folders(tmp_path: Path) -> None:
    photo(tmp_path / "deep" / "a.jpg")
    square = [[2, 2], [20, 2], [20, 14], [2, 14]]
    small = [[4, 4], [8, 4], [8, 8], [4, 8]]
    shapes = [
        {"label": "car", "points": square},
        {"label": "car:wheel", "points": small},
        {"label": "", "points": small},
    ]
    dump(
        tmp_path / "deep/a.json", {"shapes": shapes, "imagePath": "a.jpg", "imageHeight": H, "imageWidth": W}
    )
    dump(tmp_path / "b.json", {"shapes": shapes, "imagePath": "b.jpg"})
    dump(tmp_path / "c.json", [1, 2])
    source = open_source("labelme", tmp_path)
    (image,) = source
    assert image.image_id == "deep/a"
    assert [(r.kind, r.name) for r in image.regions] == [("object", "car"), ("part", "wheel")]
    assert source.report.dropped == {
        "shape without label": 1,
        "image file not found": 1,
        "not a LabelMe file": 1,
    }
    assert len(source) == 3
    with pytest.raises(InputError, match="no LabelMe file"):
        open_source("labelme", tmp_path / "nowhere")


def test_every_source_can_be_asked_for_its_splits() -> None:
    splits = {name: source_class(name).splits for name in SOURCES}
    assert splits["paco_lvis"] == ("train", "val", "test")
    assert splits["coco"] == ()


# ---- taxonomies ------------------------------------------------------------------------------------------


def test_sizes_of_the_shipped_lists() -> None:
    ade, pascal = NumberedClasses.named("ade20k_part_234"), NumberedClasses.named("pascal_part_116")
    assert (len(ade.objects), len(ade.parts), ade.no_part) == (44, 234, 65535)
    assert sorted(ade.parts) == list(range(234))
    assert ade.parts[0] == ("person", "arm")
    assert (len(pascal.objects), len(pascal.parts), pascal.no_part) == (20, 116, 255)
    paco = paco_vocabulary()
    assert (len(paco), sum(map(len, paco.values()))) == (75, 456)
    assert {name for name, parts in paco.items() if not parts} == {"ball", "napkin"}


@pytest.mark.parametrize(
    ("vocabulary", "objects", "parts"), [("93", 14, 93), ("116", 16, 116), ("raw", 16, 193)]
)
def test_sizes_of_pascals_vocabularies(vocabulary: str, objects: int, parts: int) -> None:
    classes = {kind.name: kind for kind in pascal_classes(vocabulary).values()}  # type: ignore[arg-type]
    assert len(classes) == 20
    assert sum(bool(kind.parts) for kind in classes.values()) == objects
    assert sum(len(set(kind.parts.values())) for kind in classes.values()) == parts
    assert pascal_classes("93")["table"].name == pascal_classes("93")["diningtable"].name == "dining table"


def test_the_116_of_the_mat_files_are_the_116_of_the_maps() -> None:
    maps = NumberedClasses.named("pascal_part_116").vocabulary()
    mats = {kind.name: set(kind.parts.values()) for kind in pascal_classes("116").values()}
    assert {name: set(parts) for name, parts in maps.items()} == mats


def test_sides_are_of_the_animal_and_rear_is_an_ear() -> None:
    dog = pascal_classes("116", split_lr=True)["dog"].parts
    assert dog["rear"] == "right ear"
    assert dog["lbleg"] == "left leg"
    assert dog["head"] == "head"
    car = pascal_classes("116", split_lr=True)["car"].parts
    assert (car["leftmirror"], car["roofside"], car["bliplate"]) == ("left mirror", "roof", "license plate")


def test_the_union_of_the_sources_has_the_papers_order_of_size() -> None:
    """M4SEG's Table 2 counts 115 objects and 251 parts; only the 93 names of Pascal-Part come near."""

    def union(vocabulary: str) -> tuple[int, int]:
        pascal = {
            kind.name: set(kind.parts.values())
            for kind in pascal_classes(vocabulary).values()  # type: ignore[arg-type]
        }
        sources = [NumberedClasses.named("ade20k_part_234").vocabulary(), paco_vocabulary(), pascal]
        objects = {name for source in sources for name, parts in source.items() if parts}
        return len(objects), len({part for source in sources for parts in source.values() for part in parts})

    assert {name: union(name) for name in ("93", "116", "raw")} == {
        "93": (116, 254),
        "116": (118, 262),
        "raw": (118, 321),
    }


def test_published_lists_say_the_same(shared: Path) -> None:
    folder = shared / "data" / "classes"

    def load(name: str) -> dict:  # type: ignore[type-arg]
        return dict(json.loads((folder / name).read_text()))

    ade = NumberedClasses.named("ade20k_part_234")
    published = load("ade20k_part_234.json")
    assert [ade.objects[entry["id"]] for entry in published["objects"]] == [
        e["name"] for e in published["objects"]
    ]
    assert {entry["id"]: (entry["object"], entry["part"]) for entry in published["parts"]} == ade.parts
    vlpart = {entry["name"] for entry in load("pascal_part_vlpart_93.json")["categories"]}
    ours = pascal_classes("93")
    assert {f"{kind.name}:{part}" for kind in ours.values() for part in kind.parts.values()} == vlpart
    paco = {entry["name"] for entry in load("paco_lvis_v1_categories.json")["categories"]}
    assert sum(":" in name for name in paco) == sum(map(len, paco_vocabulary().values()))


# ---- merging ---------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5), st.integers(1, 9), st.integers(1, 9))
def test_the_union_of_compressed_masks(seeds: list[int], height: int, width: int) -> None:
    arrays = [np.random.default_rng(seed).random((height, width)) < 0.4 for seed in seeds]
    merged = union_rle([masks.encode(array) for array in arrays])
    assert merged == masks.encode(masks.union(arrays))


def test_merging_unites_parts_of_one_object_only() -> None:
    def region(rid: str, name: str, parent: str | None, column: int) -> AnnotatedRegion:
        rle = masks.encode(block(0, column, 4, column + 2))
        return AnnotatedRegion(rid, "object" if parent is None else "part", name, parent, rle, name)

    regions = (
        region("a", "car", None, 0), region("b", "car", None, 4), region("1", "wheel", "a", 0),
        region("2", "wheel", "b", 4), region("3", "wheel", "a", 2), region("4", "door", "a", 6),
    )  # fmt: skip
    image, merged = merge_parts(AnnotatedImage("x", Path("x.jpg"), H, W, regions))
    assert merged == 1
    assert [r.rid for r in image.regions] == ["a", "b", "1", "2", "4"]
    np.testing.assert_array_equal(image.regions[2].mask, block(0, 0, 4, 4))


def test_the_layout_writer_writes_empty_structs(pascal: Callable[..., Path]) -> None:
    """The layout writer gives what the real archive gives for an object without parts."""
    loadmat = pytest.importorskip("scipy.io").loadmat
    root = pascal({"a": [("sofa", block(0, 0, 2, 2), [])]})
    parts = loadmat(root / "Annotations_Part/a.mat")["anno"][0, 0]["objects"][0, 0]["parts"]
    assert parts.shape == (0, 0)
