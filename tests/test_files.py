"""Files appear complete or not at all."""

import os
from pathlib import Path

import pytest

from segue.errors import InputError
from segue.files import (
    atomic_path,
    atomic_writer,
    make_folder,
    relative_path,
    remove_unfinished,
    write_atomic,
)


def test_text_and_bytes_are_written_as_given(tmp_path: Path) -> None:
    assert write_atomic(tmp_path / "a.txt", "naïve\r\n\n").read_bytes() == "naïve\r\n\n".encode()
    assert write_atomic(tmp_path / "b.bin", b"\x00\xff").read_bytes() == b"\x00\xff"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = write_atomic(tmp_path / "a.json", "old")

    def write_half() -> None:
        with atomic_writer(path) as file:
            file.write("half of the n")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_the_unfinished_name_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "plot.png") as unfinished:
        assert unfinished.suffix == ".png"
        assert unfinished.parent == tmp_path
        unfinished.write_bytes(b"x")
        assert not (tmp_path / "plot.png").exists()
    assert (tmp_path / "plot.png").read_bytes() == b"x"


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.json", "whole")
    with atomic_path(tmp_path / "b.png") as unfinished:
        unfinished.write_bytes(b"half")
        remove_unfinished(tmp_path)
        assert os.listdir(tmp_path) == ["a.json"]
        unfinished.write_bytes(b"whole")


def test_a_folder_that_is_a_file_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="The output folder cannot be written"):
        make_folder(tmp_path / "out")


def test_paths_are_written_relative_to_the_folder_of_a_file(tmp_path: Path) -> None:
    assert relative_path(tmp_path / "images" / "a.png", tmp_path) == "images/a.png"
    assert relative_path(tmp_path / "a.png", tmp_path / "out" / "deep") == "../../a.png"
