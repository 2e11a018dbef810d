"""What a user gets wrong with `segue data`: each mistake ends with a message that names it."""

import json
from pathlib import Path

import pytest

from segue.cli import main
from segue.scenes.build import build

DEEP = "[" * 100_000


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    build(folder, seed=1, count=1, split="test", size=64, progress=False)
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 2) -> str:
    """What a command says; on one line, since messages are wrapped to the terminal."""
    assert main(["data", *map(str, arguments)]) == code
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return " ".join((told.err + told.out).split())


@pytest.mark.parametrize("command", [["check", "coco"], ["m4seg", "--until", "images", "--annotated"]])
def test_annotations_that_are_not_there(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", tmp_path / "out"] if command[0] == "m4seg" else []
    message = said(capsys, *command, tmp_path / "missing.json", *out)
    assert "There are no such annotations." in message
    assert "found: nothing" in message


@pytest.mark.parametrize(
    ("content", "found"),
    [("", "the end of the file"), ('{"images": [', "Expecting value"), ("[1]", "not '['")],
)
def test_check_of_a_broken_file(
    content: str, found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.json"
    file.write_text(content)
    message = said(capsys, "check", "coco", file)
    assert "Annotation file is not JSON" in message
    assert found in message
    assert "'{' or '{'" not in message


@pytest.mark.parametrize(
    ("content", "summary"),
    [(None, "not found"), ("", "is not JSON"), ('{"images": [', "is not JSON"), (DEEP, "is not JSON")],
)
def test_photographs_of_a_broken_file(
    content: str | None, summary: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.json"
    if content is not None:
        file.write_text(content)
    message = said(capsys, "photos", "--coco", file, "--out", tmp_path / "out")
    assert f"Annotation file {summary}" in message
    assert "do this:" in message


def test_a_folder_in_place_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = said(capsys, "photos", "--coco", tmp_path, "--out", tmp_path / "out")
    assert "found: a folder" in message
    message = said(capsys, "prist", "load", tmp_path, "--out", tmp_path / "a.jsonl")
    assert "Is a directory" in message
    message = said(capsys, "prist", "load", tmp_path / "missing.json", "--out", tmp_path / "a.jsonl")
    assert "No such file" in message
    assert "check the path" in message


@pytest.mark.parametrize(
    "command",
    [["own", "{scenes}", "--split", "test"], ["m4seg-export", "{scenes}/conversations.jsonl"],
     ["prist", "stats", "{scenes}"], ["prist", "load", "{scenes}/build.json"],
     ["m4seg-import", "{scenes}/build.json"], ["check", "scenes", "{scenes}", "--split", "test"]],
)  # fmt: skip
def test_an_output_that_cannot_be_written(
    command: list[str], scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    option = "--report" if command[0] == "check" else "--out"
    arguments = [part.format(scenes=scenes) for part in command]
    message = said(capsys, *arguments, option, tmp_path)
    assert "The output cannot be written." in message
    assert "found: a folder of that name" in message
    (tmp_path / "file").write_text("")
    message = said(capsys, *arguments, option, tmp_path / "file" / "a.jsonl")
    assert "The output folder cannot be written." in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.parametrize("content", ['{"seed"', "", DEEP])
def test_scenes_over_broken_settings(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "build.json").write_text(content)
    message = said(capsys, "scenes", "--count", "1", "--size", "64", "--out", tmp_path)
    assert "The settings of the build in this folder cannot be read." in message
    (tmp_path / "build.json").unlink()
    said(capsys, "scenes", "--count", "1", "--size", "64", "--out", tmp_path, code=0)
    assert json.loads((tmp_path / "build.json").read_text())["size"] == 64


def test_check_of_a_split_that_no_scene_is_of(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = said(capsys, "check", "scenes", scenes, code=0)
    assert "no scene is of the split 'train'; splits in the file: test" in message
    assert "no scene" not in said(capsys, "check", "scenes", scenes, "--split", "test", code=0)


def test_statistics_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "conversations.jsonl").write_text("")
    assert "There is nothing to count." in said(capsys, "prist", "stats", tmp_path)
    assert not (tmp_path / "stats.html").exists()


@pytest.mark.parametrize(
    "command",
    [["photos", "--coco", "{scenes}/build.json"], ["prist", "stats", "{scenes}"],
     ["prist", "load", "{scenes}/build.json"], ["m4seg", "--annotated", "{scenes}/build.json"]],
)  # fmt: skip
@pytest.mark.parametrize(("images", "found"), [("missing", "nothing"), ("build.json", "a file")])
def test_images_that_are_no_folder(
    command: list[str],
    images: str,
    found: str,
    scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [part.format(scenes=scenes) for part in command]
    message = said(capsys, *arguments, "--images", scenes / images, "--out", tmp_path / "out")
    assert "The folder of the images is not there." in message
    assert f"found: {found}" in message


def test_images_of_no_annotations(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = said(capsys, "m4seg", "--scenes", scenes, "--images", scenes, "--out", tmp_path / "out")
    assert "--images does not fit --annotated." in message
    assert "expected: none, without --annotated" in message


@pytest.mark.parametrize("rate", ["0", "-1", "nan"])
def test_a_rate_that_cannot_be_kept(
    rate: str, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = ["--url", "http://127.0.0.1:9/v1", "--model", "m", "--rate", rate, "--dry-run"]
    message = said(capsys, "prist", "build", scenes / "images", *server, "--out", tmp_path / "out")
    assert "The rate of requests cannot be kept." in message
