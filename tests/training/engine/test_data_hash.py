"""The data hash changes with the data and with nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from segue.training.engine.data_hash import hash_data


def data(folder: Path) -> list[Path]:
    (folder / "images").mkdir(parents=True)
    (folder / "a.json").write_text("{}")
    (folder / "images" / "1.png").write_bytes(b"one")
    (folder / "images" / "2.png").write_bytes(b"two")
    return [folder / "a.json", folder / "images"]


def test_contents_count_and_times_do_not(tmp_path: Path) -> None:
    paths = data(tmp_path / "x")
    first = hash_data(paths)
    assert (first.files, first.bytes, first.covers) == (3, 8, "names, sizes and contents")
    os.utime(tmp_path / "x" / "a.json", (1, 1))
    assert hash_data(paths) == first
    assert hash_data([*paths, *paths, tmp_path / "x" / "images" / "1.png"]) == first, "named twice"
    (tmp_path / "x" / "images" / "1.png").write_bytes(b"uno")
    assert hash_data(paths).sha256 != first.sha256


def test_names_count(tmp_path: Path) -> None:
    paths = data(tmp_path / "x")
    first = hash_data(paths)
    (tmp_path / "x" / "images" / "2.png").rename(tmp_path / "x" / "images" / "3.png")
    assert hash_data(paths).sha256 != first.sha256


def test_a_moved_data_set_keeps_its_hash(tmp_path: Path) -> None:
    first = hash_data(data(tmp_path / "x"))
    shutil.move(tmp_path / "x", tmp_path / "y")
    assert hash_data([tmp_path / "y" / "a.json", tmp_path / "y" / "images"]) == first


def test_of_much_data_the_times_count_and_that_is_said(tmp_path: Path) -> None:
    paths = data(tmp_path / "x")
    first = hash_data(paths, contents_up_to=7)
    assert first.covers == "names, sizes and modification times"
    assert "modification times of 3 files" in first.line()
    (tmp_path / "x" / "images" / "1.png").write_bytes(b"uno")
    os.utime(tmp_path / "x" / "images" / "1.png", (1, 1))
    assert hash_data(paths, contents_up_to=7).sha256 != first.sha256


def test_the_run_folder_is_no_data(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    data(folder)
    first = hash_data([folder], without=folder / "run")
    (folder / "run").mkdir()
    (folder / "run" / "recipe.yaml").write_text("stage: finetune")
    assert hash_data([folder], without=folder / "run") == first
    assert hash_data([folder]).files == 4
