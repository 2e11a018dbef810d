"""Image files by the names that exports use for them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from segue.data.formats.image_folder import ImageFolder

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(*names: str) -> Path:
        for number, name in enumerate(names):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (10 * number, 0, 0)).save(path)
        return tmp_path

    return _write


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.jpg", "a.jpg"),
        ("deep/er/a.jpg", "a.jpg"),
        ("x/a.jpg", "x\\a.jpg"),
        ("x/a.jpg", "C:\\Users\\me\\x\\a.jpg"),
        ("x/a.jpg", "/data/of/others/x/a.jpg"),
        ("a.jpg", "http://example.org/val2017/a.jpg"),
        ("a b.jpg", "upload/a%20b.jpg"),
        ("shots/a.jpg", "/data/local-files/?d=shots/a.jpg"),
        ("a.jpg", "images/0a1b2c3d-a.jpg"),
        ("IMG_1.JPG", "img_1.jpg"),
        ("caf\u00e9.jpg", "cafe\u0301.jpg"),  # one letter, or a letter and an accent, as macOS writes it
        ("a.png", "a"),
    ],
)
def test_a_name_is_found_as_tools_write_it(write: Write, file: str, name: str) -> None:
    folder = write(file, "other.jpg")
    assert ImageFolder(folder).find(name) == folder / file


def test_the_exact_name_wins_over_looser_ones(write: Write) -> None:
    folder = write("x/A.jpg", "x/a.jpg", "0a1b2c3d-b.jpg", "b.jpg")
    assert ImageFolder(folder).find("a.jpg") == folder / "x/a.jpg"
    assert ImageFolder(folder).find("0a1b2c3d-b.jpg") == folder / "0a1b2c3d-b.jpg"


def test_several_files_that_fit_are_listed_and_none_is_taken(write: Write) -> None:
    folder = write("x/a.jpg", "y/a.jpg")
    found = ImageFolder(folder).look("a.jpg")
    assert found.path is None
    assert found.reason == "several image files of this name"
    assert "x/a.jpg" in found.found("a.jpg", folder)
    assert "y/a.jpg" in found.found("a.jpg", folder)
    # More of the path, or a folder that is called like the file of annotations, tells them apart.
    assert ImageFolder(folder).find("old/y/a.jpg") == folder / "y/a.jpg"
    assert ImageFolder(folder, hints=["x"]).find("a.jpg") == folder / "x/a.jpg"
    # Copies of one file are one picture.
    (folder / "y/a.jpg").write_bytes((folder / "x/a.jpg").read_bytes())
    assert ImageFolder(folder).find("a.jpg") == folder / "x/a.jpg"


def test_exports_that_keep_images_elsewhere(write: Write) -> None:
    folder = write("annotations/readme.png", "images/Train/a.jpg", "images/Validation/a.jpg", "data/b.jpg")
    for name, found in (("instances_Train.json", "Train"), ("instances_Validation.json", "Validation")):
        look_up = ImageFolder.beside(folder / "annotations" / name)
        assert look_up.find("a.jpg") == folder / "images" / found / "a.jpg"
    assert ImageFolder.beside(folder / "labels.json").find("b.jpg") == folder / "data/b.jpg"


@pytest.mark.parametrize("name", ["", " ", "\0", "..", "x" * 5000, "gone.jpg", "%zz", "http://[", "?d="])
def test_names_of_nothing(write: Write, name: str) -> None:
    assert ImageFolder(write("a.jpg")).find(name) is None
