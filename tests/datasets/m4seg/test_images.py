"""Stage 1: cleaning, and reading back by row."""

from pathlib import Path

import numpy as np
import pytest

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.datasets.m4seg.images import (
    ImageStore,
    ImageTable,
    SourceSpec,
    StoredImage,
    labelled,
    read_images,
    stored_image,
    vocabulary_of,
)
from segue.datasets.stages.stages import read_stage
from segue.errors import InputError


def region(rid: str, name: str, box: tuple[int, int, int, int], parent: str | None = None) -> AnnotatedRegion:
    mask = np.zeros((100, 200), bool)
    x, y, width, height = box
    mask[y : y + height, x : x + width] = True
    kind = "object" if parent is None else "part"
    return AnnotatedRegion(rid, kind, name, parent, masks.encode(mask), name)  # type: ignore[arg-type]


def image(*regions: AnnotatedRegion, unsure: frozenset[str] = frozenset()) -> AnnotatedImage:
    return AnnotatedImage("7", Path("7.jpg"), 100, 200, regions, unsure)


def test_parts_of_one_name_become_one_mask() -> None:
    chair = region("1", "chair", (0, 0, 50, 90))
    legs = (region("2", "leg", (0, 60, 10, 30), "1"), region("3", "leg", (40, 60, 10, 30), "1"))
    stored = stored_image(image(chair, *legs), "made", "train", sha256="0")
    assert stored is not None
    assert [(r.name, r.area, r.bbox) for r in stored.regions] == [
        ("chair", 4500, (0, 0, 50, 90)),
        ("leg", 600, (0, 60, 50, 30)),
    ]
    assert stored.full_name(stored.regions[1]) == "chair's leg"
    assert stored.image_id == "made:7"


def test_what_is_too_small_goes_and_its_name_is_unsure() -> None:
    chair = region("1", "chair", (0, 0, 50, 90))
    crumbs = (region("2", "leg", (0, 60, 7, 9), "1"), region("3", "cup", (90, 0, 7, 9)))
    inside = region("4", "handle", (90, 0, 40, 40), "3")
    stored = stored_image(image(chair, *crumbs, inside), "made", "train", sha256="0")
    assert stored is not None
    assert [r.name for r in stored.regions] == ["chair"]
    assert stored.unsure == {"chair:leg", "cup"}
    assert stored_image(image(crumbs[1]), "made", "train", sha256="0") is None


def test_lines_come_back(built: Path) -> None:
    output = read_stage(built / "stages" / "images")
    assert output is not None
    store = ImageStore(output)
    lines = list(output.lines("images"))
    assert len(store) == len(lines) > 20
    for row in (0, len(store) // 2, len(store) - 1):
        assert store[row] == StoredImage.from_json(lines[row])
        assert store[row].to_json() == lines[row]
    with pytest.raises(IndexError):
        store[len(store)]


def test_the_table_agrees_with_the_images(built: Path) -> None:
    output = read_stage(built / "stages" / "images")
    assert output is not None
    store, table = ImageStore(output), ImageTable.read(output)
    for row in range(len(table)):
        assert table.image_id(row) == store[row].image_id
        assert store[row].classes == [name for name, rows in table.class_rows.items() if row in rows]
    assert ((table.chance >= 0) & (table.chance < 1)).all()


def test_the_vocabulary_is_of_the_sources_and_of_the_images(built: Path, specs: list[SourceSpec]) -> None:
    output = read_stage(built / "stages" / "images")
    assert output is not None
    names = vocabulary_of(output, specs)
    assert {"body", "handle"} <= names["mug"]


def test_sources_of_one_kind_are_told_apart() -> None:
    given = [SourceSpec("coco", "a.json"), SourceSpec("coco", "b.json"), SourceSpec("coco", "a.json", "val")]
    assert [spec.prefix for spec in labelled(given)] == ["coco", "coco_2", "coco"]


def test_nothing_to_read_is_an_error(tmp_path: Path, specs: list[SourceSpec]) -> None:
    with pytest.raises(InputError, match="nothing to build from"):
        read_images(tmp_path / "images", [], progress=False)
    with pytest.raises(InputError, match="given twice"):
        read_images(tmp_path / "images", [*specs, *specs], progress=False)


@pytest.mark.parametrize(
    ("hw", "pixels", "kept"),
    # 64 pixels at least; from 320,000 pixels on, 0.02 % of the image: 200 of a million.
    [((100, 200), 64, True), ((100, 200), 63, False), ((1000, 1000), 200, True), ((1000, 1000), 199, False)],
)
def test_the_smallest_region_that_is_kept(hw: tuple[int, int], pixels: int, kept: bool) -> None:
    mask = np.zeros(hw, bool)
    mask.reshape(-1)[:pixels] = True
    tiny = AnnotatedRegion("1", "object", "chair", None, masks.encode(mask), "chair")
    stored = stored_image(AnnotatedImage("7", Path("7.jpg"), *hw, (tiny,)), "made", "train", sha256="0")
    assert (stored is not None) == kept
