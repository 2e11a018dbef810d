"""What should be drawn and said of a photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segue.mini.look.photographs import read_photographs
from segue.mini.look.targets import (
    CELLS,
    MASK_CELLS,
    cell_targets,
    drawn_regions,
    mask_targets,
    middle_and_area,
)
from segue.models.mini.names import name_table
from segue.models.mini.picture import inside_square

TABLE = name_table()
TRAINED = TABLE.trained()


def test_two_dogs_are_asked_for_apart_and_are_each_others_distractor(photographs: Path) -> None:
    dogs = read_photographs(photographs, "everyday", "train", TABLE)[0]
    inside = inside_square(*dogs.hw)
    drawn = drawn_regions(dogs, inside, TABLE)
    targets = mask_targets(drawn, inside, 9, np.random.default_rng(0), union=0.0)
    left, right = sorted((t for t in targets if t.name == "dog"), key=lambda t: t.centre_yx[1])
    assert left.centre_yx == pytest.approx((45 / 80, 30 / 120), abs=0.01)
    assert left.area == pytest.approx(50 * 40 / (80 * 120), abs=0.01)
    assert not left.whole_name
    assert np.array_equal(left.others > 0.5, right.mask > 0.5)
    head = next(t for t in targets if t.name == "dog head")
    assert head.others.max() == 0, "a dog is no distractor of its head"
    together = mask_targets(drawn, inside, 9, np.random.default_rng(0), union=1.0)
    assert next(t for t in together if t.name == "dog").whole_name


def test_a_flock_is_only_asked_for_as_a_whole(photographs: Path) -> None:
    flock = read_photographs(photographs, "everyday", "train", TABLE)[1]
    inside = inside_square(*flock.hw)
    targets = mask_targets(drawn_regions(flock, inside, TABLE), inside, 3, np.random.default_rng(0))
    assert [(t.name, t.whole_name) for t in targets] == [("sheep", True)]
    assert middle_and_area(targets[0].mask, inside)[1] == pytest.approx(0.5, abs=0.02)


def test_cells_say_what_is_known(photographs: Path) -> None:
    person = read_photographs(photographs, "everyday", "train", TABLE)[2]
    inside = inside_square(*person.hw)
    drawn = drawn_regions(person, inside, TABLE)
    cells = cell_targets(person, drawn, inside, TRAINED, TABLE)
    head, sofa = TRAINED.index("person head"), TRAINED.index("sofa")
    middle = (CELLS * 40 // 120, CELLS * 60 // 120)  # on the person
    assert cells.presence[[sofa, head]].tolist() == [1.0, -1.0]
    assert cells.name_weights[head][middle] == 0, "a head may be there"
    assert cells.name_weights[head][2, 2] == 1, "and not in the corner"
    assert cells.names[TRAINED.index("person")][middle] == 1
    assert cells.name_weights[:, -1].max() == 0, "beside the picture nothing counts"
    peaks = np.argwhere(cells.centres[0] > 0.95)
    assert len(peaks) >= 2
    assert cells.log_areas[0][middle] == pytest.approx(np.log(70 * 40 / (80 * 120)), abs=0.05)


def test_a_label_alone_says_that_and_not_where(photographs: Path) -> None:
    doubtful = read_photographs(photographs, "objects", "train", TABLE)[1]
    inside = inside_square(*doubtful.hw)
    cells = cell_targets(doubtful, [], inside, TRAINED, TABLE)
    wrench = TRAINED.index("wrench")
    assert cells.presence[wrench] == 1
    assert cells.name_weights[wrench].max() == 0
    assert cells.centre_weights[0].max() == 0


def test_the_mask_grid_is_the_decoders() -> None:
    assert MASK_CELLS == 4 * CELLS
