"""Formats are recognised by content, or the error lists what was looked for."""

import json
from pathlib import Path
from typing import Any

import pytest

from segue.data.own import FORMATS, detect_format, read_own_data
from segue.errors import InputError


def test_every_format_is_recognised(
    coco_file: Path, reasonseg_folder: Path, grand_file: Path, tmp_path: Path
) -> None:
    assert detect_format(coco_file) == "coco"
    assert detect_format(reasonseg_folder) == "reasonseg"
    assert detect_format(reasonseg_folder / "train" / "a.json") == "reasonseg"
    assert detect_format(grand_file) == "grand"
    (tmp_path / "r.jsonl").write_text('{"schema": "gconv/1", "id": "x"}\n')
    assert detect_format(tmp_path / "r.jsonl") == "gconv"
    (tmp_path / "l.json").write_text('{"imageData": "' + "A" * (1 << 20) + '", "shapes": []}')
    assert detect_format(tmp_path / "l.json") == "labelme"


def test_references_are_recognised_beside_their_instances(refcoco_folder: Path) -> None:
    assert detect_format(refcoco_folder) == "refcoco"
    assert detect_format(refcoco_folder / "refs(unc).p") == "refcoco"


def test_a_long_list_of_annotations_may_come_first(tmp_path: Path) -> None:
    entry = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0.0] * 200]}
    path = tmp_path / "big.json"
    path.write_text(json.dumps({"annotations": [entry] * 1500, "images": [], "categories": []}))
    assert path.stat().st_size > 1 << 20
    assert detect_format(path) == "coco"


@pytest.mark.parametrize("content", [b"", b"hello", b"[1, 2]", b"{}", b"\xff\xfe", b'{"caption": 1}'])
def test_what_is_not_recognised_is_told_what_was_looked_for(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    for path in (tmp_path / "x.json", tmp_path):
        with pytest.raises(InputError, match="not recognised") as caught:
            detect_format(path)
        assert all(name in caught.value.expected for name in FORMATS)
        assert "--format" in caught.value.fix


def test_mixed_folders_are_refused(reasonseg_folder: Path, coco_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="several formats"):
        detect_format(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        {"path": "nowhere"},
        {"path": "nowhere", "format": "coco"},
        {"path": ".", "format": "voc"},
        {"path": ".", "split": "training"},
        {"path": ".", "images": "nowhere"},
    ],
)
def test_wrong_arguments_are_input_errors(
    arguments: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        read_own_data(**arguments)


@pytest.mark.parametrize("name", FORMATS)
def test_every_reader_refuses_an_empty_folder_and_an_empty_file(tmp_path: Path, name: str) -> None:
    from segue.errors import SegueError

    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "empty", tmp_path / "file"):
        with pytest.raises(SegueError):
            read_own_data(path, format=name)
