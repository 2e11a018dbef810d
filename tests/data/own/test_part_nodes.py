"""JSONL of wholes and parts: nodes by parent, in several spellings, and what is wrong is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.data.own import detect_format, read_own_data
from segue.errors import InputError
from segue.evaluation.evaluation_data import read_evaluation_data


def lines(rle: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    dog, head, ear = rle(0, 0, 20, 20), rle(0, 0, 10, 10), rle(0, 0, 4, 4)
    return [
        {"file_name": "1.jpg", "height": 30, "width": 40, "nodes": [
            {"id": 1, "name": "dog", "parent_id": None, "segmentation": dog},
            {"id": 2, "name": "dog head", "parent_id": 1, "segmentation": head},
            {"id": 3, "name": "ear", "parent_id": 2, "segmentation": ear}]},
        {"image": "2.jpg", "height": 30, "width": 40, "annotations": [
            {"id": "a", "label": "Car", "parent_id": -1, "rle": rle(5, 5, 25, 35)["counts"]},
            {"id": "b", "label": "car_wheel", "parent_id": "a", "rle": rle(20, 6, 25, 12)["counts"]}]},
    ]  # fmt: skip


@pytest.fixture
def write(tmp_path: Path, picture: Callable[..., Path]) -> Callable[[list[Any]], Path]:
    def write(content: list[Any], name: str = "parts.jsonl") -> Path:
        for k in (1, 2):
            picture(tmp_path / f"{k}.jpg")
        file = tmp_path / name
        file.write_text("\n".join(c if isinstance(c, str) else json.dumps(c) for c in content) + "\n")
        return file

    return write


def test_wholes_and_parts_are_read(write: Any, rle: Any) -> None:
    file = write(lines(rle))
    assert detect_format(file) == "partnodes"
    assert detect_format(file.parent) == "partnodes"
    data = read_own_data(file)
    found = {(region.kind, region.name): region for image in data.source.images for region in image.regions}  # type: ignore[attr-defined]
    assert set(found) == {
        ("object", "dog"),
        ("part", "head"),
        ("part", "ear"),
        ("object", "car"),
        ("part", "wheel"),
    }
    dog = found["object", "dog"]
    # A part of a part belongs to the whole.
    assert found["part", "head"].parent == found["part", "ear"].parent == dog.rid
    assert dog.area == 400
    assert data.source.draw(np.random.default_rng(0)).regions


def test_one_node_a_line_and_a_split(write: Any, rle: Any) -> None:
    dog = {"image_path": "1.jpg", "id": 1, "name": "dog", "parent_id": None, "mask": rle(0, 0, 20, 20)}
    head = {"image_path": "1.jpg", "id": 2, "name": "head", "parent_id": 1, "mask": rle(0, 0, 9, 9)}
    data = read_own_data(write([dog | {"split": "train"}, head | {"split": "train"}, dog | {"split": "val"}]))
    assert [len(image.regions) for image in data.source.images] == [2]  # type: ignore[attr-defined]
    assert any("val 1" in note for note in data.report.notes)


def test_what_is_wrong_is_named(write: Any, rle: Any) -> None:
    good = lines(rle)[0]
    orphan = {"id": 9, "name": "tail", "parent_id": 77, "segmentation": rle(0, 0, 3, 3)}
    nameless = {"id": 10, "parent_id": None, "segmentation": rle(0, 0, 3, 3)}
    ring = [{"id": n, "name": "x", "parent_id": 23 - n, "segmentation": rle(0, 0, 3, 3)} for n in (11, 12)]
    broken = good | {"nodes": [*good["nodes"], orphan, nameless, *ring, 7]}
    data = read_own_data(write([broken, "not json", "[1]", {"parent_id": 3}, {"file_name": "2.jpg"}]))
    assert data.report.dropped["node without name or parent"] == 4
    assert data.report.dropped["line is not JSON"] == 2
    assert data.report.dropped["line without image or nodes"] == 2
    shown = "\n".join(data.report.lines())
    assert "parent_id" in shown
    with pytest.raises(InputError, match="nodes in nodes, annotations"):
        read_own_data(write([{"parent_id": 3}]))


def test_it_is_evaluated_on_too(write: Any, rle: Any) -> None:
    data = read_evaluation_data(write(lines(rle)), count=4, split="val")
    assert len(data.conversations) == 4
