"""What the sources say, and what they leave open."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segue.mini.look.photographs import coverage, doubts, hidden_names, known_names, read_photographs
from segue.models.mini.names import name_table

TABLE = name_table()
TRAINED = TABLE.trained()


def column(name: str) -> int:
    return TRAINED.index(name)


def test_regions_get_the_names_of_the_table(photographs: Path) -> None:
    everyday = read_photographs(photographs, "everyday", "train", TABLE)
    assert [[r.name for r in p.regions] for p in everyday] == [
        ["dog", "dog", "dog head"],
        ["sheep"],
        ["person", "sofa"],
        [],
    ]
    assert [r.single for p in everyday for r in p.regions] == [True, True, True, False, True, True]
    worn = read_photographs(photographs, "clothing", "train", TABLE)[0]
    assert [r.name for r in worn.regions] == ["person", "trousers"], "jewellery has no name"


def test_a_doubtful_mask_leaves_its_label(photographs: Path) -> None:
    good, doubtful = read_photographs(photographs, "objects", "train", TABLE)
    assert [r.name for r in good.regions] == ["wrench"]
    assert doubtful.regions == ()
    assert doubtful.label == "wrench"
    assert doubtful.shown() == {"wrench"}


def test_what_a_source_never_annotates_counts_less(photographs: Path) -> None:
    street = doubts(read_photographs(photographs, "clothing", "train", TABLE)[0], TRAINED, TABLE)
    room = doubts(read_photographs(photographs, "everyday", "train", TABLE)[0], TRAINED, TABLE)
    assert street[column("car")] == 0.0
    assert street[column("hat")] == 1.0
    assert 0 < room[column("wrench")] < 1
    assert room[column("car")] == 1.0


def test_parts_may_be_there_unannotated(photographs: Path) -> None:
    dogs, sheep, person, empty = read_photographs(photographs, "everyday", "train", TABLE)
    assert column("dog head") not in hidden_names(dogs, TRAINED, TABLE).get("dog", [])
    assert hidden_names(sheep, TRAINED, TABLE) == {"sheep": [column("sheep head")]}
    assert {column("person arm"), column("hat"), column("hair")} <= set(
        hidden_names(person, TRAINED, TABLE)["person"]
    )
    assert hidden_names(empty, TRAINED, TABLE) == {}
    assert "sheep head" not in known_names(sheep, TABLE)
    assert {"sheep head", "person", "bus"} <= known_names(empty, TABLE)
    assert "wrench" not in known_names(empty, TABLE)


def test_coverage_lies_where_the_picture_does(photographs: Path) -> None:
    person = read_photographs(photographs, "clothing", "train", TABLE)[0].regions[0]
    # 150 x 100 fills the square's height, so a third of its width stays empty.
    cells = coverage(person.rle, (416, 277), 208)
    ys, xs = np.nonzero(cells > 0.5)
    assert abs(int(ys.min()) - 208 * 10 // 150) <= 1
    assert abs(int(xs.max()) - 139 * 70 // 100) <= 1
