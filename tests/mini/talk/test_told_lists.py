"""Lists of photographs: what a file must hold, how images of a conversation are chosen, how they are seen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from segue.errors import InputError
from segue.mini.talk.kinds import known_kinds
from segue.mini.talk.told_lists import ToldLists

PICTURES = [
    [["cat", 0.98, 0.5, 0.2, 0.3], ["sofa", 0.7, 0.6, 0.5, 0.4]],
    [["cat", 0.9, 0.4, 0.6, 0.2], ["quagga of no table", 0.9, 0.5, 0.5, 0.1]],
    [["zebra", 0.95, 0.5, 0.5, 0.2]],
    [],
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "told.jsonl"
    lines = [json.dumps({"picture": f"{k}.jpg", "findings": found}) for k, found in enumerate(PICTURES)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_photographs_come_as_they_were_told_but_for_doubt_and_side(file: Path) -> None:
    lists = ToldLists(file, known_kinds())
    rng = np.random.default_rng(0)
    drawn = [image for _ in range(60) for image in lists(rng)]
    assert {tuple(sorted(f.name for f in image)) for image in drawn} == {
        ("cat", "sofa"),
        ("cat",),
        ("zebra",),
        (),
    }
    sides = {round(f.centre_yx[1], 4) for image in drawn for f in image if f.name == "sofa"}
    assert sides == {0.5}
    assert {round(f.centre_yx[1], 1) for image in drawn for f in image if f.name == "cat"} == {
        0.2,
        0.8,
        0.6,
        0.4,
    }
    assert all(0 < f.presence < 1 for image in drawn for f in image)


def test_further_images_often_share_a_name(file: Path) -> None:
    lists, rng = ToldLists(file, known_kinds()), np.random.default_rng(1)
    pairs = [images for _ in range(300) if len(images := lists(rng)) == 2]
    both = [all(any(f.name == "cat" for f in image) for image in images) for images in pairs]
    assert np.mean(both) > 0.3
    assert max(len(lists(rng, most=2)) for _ in range(50)) == 2


def test_the_same_seed_draws_the_same(file: Path) -> None:
    lists = ToldLists(file, known_kinds())
    assert lists(np.random.default_rng(5)) == lists(np.random.default_rng(5))


@pytest.mark.parametrize("line", ['{"picture": "x"}', "not JSON", '{"findings": [["cat", 2.0, 0, 0, 0]]}'])
def test_other_lines_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "told.jsonl"
    path.write_text('{"findings": [["cat", 0.9, 0.5, 0.5, 0.1]]}\n' + line + "\n")
    with pytest.raises(InputError, match="line 2"):
        ToldLists(path, known_kinds())


def test_nothing_found_is_nothing_to_talk_about(tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    path.write_text('{"findings": []}\n')
    with pytest.raises(InputError, match="1 without any"):
        ToldLists(path, known_kinds())
