"""`segue ask` through its front door: good answers, every kind of bad input, exit codes, no traceback."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segue.cli import main
from segue.inference.answer_file import AnswerFile
from segue.protocol import WORDINGS
from tiny_model import ANSWER, FAMILIES, TEXT, picture


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    picture(30, 50).save(tmp_path / "a.png")
    picture(60, 40, 200).save(tmp_path / "b.jpg")
    return [str(tmp_path / "a.png"), str(tmp_path / "b.jpg")]


def ask(model: Path, images: list[str], question: str = "Which is larger?", *more: str) -> int:
    return main(["ask", *images, "-q", question, "--model", str(model), "--device", "cpu", *more])


def huge_png(side: int = 20_000) -> bytes:
    """A PNG whose header claims side x side pixels; a few hundred bytes, since nothing may decode it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 3000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("family", FAMILIES)
def test_answer_files_and_coloured_text(
    tiny_model_folders: Callable[[str], Path],
    photos: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    family: str,
) -> None:
    folder = tiny_model_folders(family)
    assert ask(folder, photos, "Which is larger?", "--out", str(tmp_path / "out")) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("The red mug (image 1, 0.")
    assert "is larger than the lamp (image 2, 0." in printed.out
    for name in ("answer.json", "answer.html", "image_1.png", "image_2.png"):
        assert str(tmp_path / "out" / name) in printed.err
        assert (tmp_path / "out" / name).stat().st_size > 0
    content = json.loads((tmp_path / "out" / "answer.json").read_text())
    assert (content["text"], content["markup"]) == (TEXT, ANSWER)
    assert [image["path"] for image in content["images"]] == photos
    assert [g["segmentation"]["size"] for g in content["groundings"]] == [[30, 50], [60, 40]]


def test_json_is_all_there_is_on_stdout(
    tiny_model_folder: Path, photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tiny_model_folder, photos, "Which is larger?", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    AnswerFile.model_validate(content, strict=True)
    assert content["question"] == "Which is larger?"


def bad_images(folder: Path) -> dict[str, str]:
    """File name -> what the message must say."""
    (folder / "text.jpg").write_text("these are words, not pixels")
    (folder / "empty.png").write_bytes(b"")
    (folder / "huge.png").write_bytes(huge_png())
    buffer = io.BytesIO()
    picture(200, 200).save(buffer, "JPEG")
    (folder / "cut.jpg").write_bytes(buffer.getvalue()[:600])
    (folder / "folder.png").mkdir()
    return {
        "missing.png": "no such image",
        "text.jpg": "not an image",
        "empty.png": "0 bytes",
        "huge.png": "too large",
        "cut.jpg": "cut.jpg",
        "folder.png": "directory",
        "x" * 4000: "cannot be read",
    }


@pytest.mark.parametrize("number", range(7))
def test_images_that_cannot_be_used(
    number: int,
    tiny_model_folder: Path,
    photos: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, said = list(bad_images(tmp_path).items())[number]
    out = tmp_path / "out"
    assert ask(tiny_model_folder, [photos[0], str(tmp_path / name)], "Which?", "--out", str(out)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert "error: " in printed.err
    assert "Traceback" not in printed.err
    assert not out.exists()


def good_images(folder: Path) -> dict[str, tuple[int, int]]:
    """Unusual but sound files -> (height, width) as a person sees them."""
    colour, grey = picture(24, 36), np.arange(24 * 36, dtype=np.uint16).reshape(24, 36) * 70
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(grey).save(folder / "deep.png")
    colour.convert("P").save(folder / "palette.gif")
    colour.save(folder / "moving.gif", save_all=True, append_images=[picture(24, 36, 10)])
    colour.convert("LA").save(folder / "alpha.png")
    colour.convert("1").save(folder / "bits.png")
    colour.convert("F").save(folder / "floats.tif")
    colour.save(folder / "photo.webp")
    exif = Image.Exif()
    exif[0x0112] = 6
    colour.save(folder / "turned.jpg", exif=exif)
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    Image.new("RGB", (900, 2)).save(folder / "strip.png")
    sizes = dict.fromkeys(
        (
            "cmyk.jpg",
            "deep.png",
            "palette.gif",
            "moving.gif",
            "alpha.png",
            "bits.png",
            "floats.tif",
            "photo.webp",
        ),
        (24, 36),
    )
    return sizes | {"turned.jpg": (36, 24), "dot.png": (1, 1), "strip.png": (2, 900)}


@pytest.mark.parametrize("number", range(11))
def test_unusual_images_are_answered_at_their_size(
    number: int, tiny_model_folder: Path, photos: list[str], tmp_path: Path
) -> None:
    name, hw = list(good_images(tmp_path).items())[number]
    out = tmp_path / "out"
    assert (
        ask(tiny_model_folder, [photos[0], str(tmp_path / name)], "Which is larger?", "--out", str(out)) == 0
    )
    content = json.loads((out / "answer.json").read_text())
    assert (content["images"][1]["height"], content["images"][1]["width"]) == hw
    assert [g["segmentation"]["size"] for g in content["groundings"] if g["image_index"] == 1] == [list(hw)]
    with Image.open(out / "image_2.png") as overlay:
        assert (overlay.height, overlay.width) == hw


def test_nine_images_are_answered_and_ten_refused(
    tiny_model_folder: Path, photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tiny_model_folder, (photos * 5)[:9]) == 0
    capsys.readouterr()
    assert ask(tiny_model_folder, photos * 5) == 2
    assert "found:    10" in capsys.readouterr().err


@pytest.mark.parametrize("question", ["", "   ", "\n"])
def test_an_empty_question(
    question: str, tiny_model_folder: Path, photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tiny_model_folder, photos, question) == 2
    assert "The question is empty." in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask"],
        ["ask", "a.png"],
        ["ask", "-q", "hm?"],
        ["ask", "a.png", "-q", "hm?", "--nonsense"],
        ["ask", "a.png", "-q", "hm?", "--max-new-tokens", "many"],
        ["nonsense"],
        [],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_wrong_options(
    tiny_model_folder: Path, photos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tiny_model_folder, photos, "Which?", "--max-new-tokens", "0") == 2
    assert "max_new_tokens >= 1" in capsys.readouterr().err
    assert ask(tmp_path / "nowhere", photos) == 2
    assert "There is no such model." in capsys.readouterr().err
    assert ask(tiny_model_folder, photos, "Which?", "--out", photos[0]) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert ask(tiny_model_folder, photos, "mug " * 3000) == 2
    assert "longer than the model can read" in capsys.readouterr().err


def test_messages_carry_no_control_characters(
    tiny_model_folder: Path, photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tiny_model_folder, ["\x1b[2Jmissing[bold].png"]) == 2
    printed = capsys.readouterr().err
    assert "\x1b[2J" not in printed
    assert "missing[bold].png" in printed


def test_debug_shows_the_traceback(photos: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_DEBUG", "1")
    with pytest.raises(ValueError, match="question is empty"):
        main(["ask", photos[0], "-q", ""])


def test_interrupting_is_quiet(monkeypatch: pytest.MonkeyPatch, photos: list[str]) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("segue.inference.inputs.load_images", interrupt)
    assert main(["ask", photos[0], "-q", "x"]) == 130


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    import segue

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"segue {segue.__version__}\n"
    for verb in (
        [],
        ["ask"],
        ["chat"],
        ["eval"],
        ["info"],
        ["models"],
        ["data", "scenes"],
        ["data", "photos"],
        ["train"],
    ):
        assert main([*verb, "--help"]) == 0
        assert "Usage" in capsys.readouterr().out


def test_mistakes_and_help_load_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from segue.cli import main\n"
        "assert main(['ask', 'missing.png', '-q', 'x']) == 2\n"
        "assert main(['ask', 'missing.png', '-q', '']) == 2\n"
        "assert main(['ask', '--help']) == 0\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60,
        env=os.environ | {"SEGUE_DEBUG": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_precision_from_the_command_line(
    tiny_model_folder: Path, photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tiny_model_folder, photos, "Which is larger?", "--dtype", "float64") == 0
    assert capsys.readouterr().out.startswith("The red mug (image 1")
    assert ask(tiny_model_folder, photos, "Which is larger?", "--dtype", "int8") == 2
    assert "Unknown dtype" in capsys.readouterr().err
    assert ask(tiny_model_folder, photos, "Which is larger?", "--quantize", "3bit") == 2
    assert "4bit" in capsys.readouterr().err


def test_a_smaller_language_model_from_the_command_line(
    tiny_model_folder: Path, photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("bitsandbytes", reason="8 and 4 bits need bitsandbytes, which is optional")
    assert ask(tiny_model_folder, photos, "Which is larger?", "--quantize", "8bit") == 0
    assert capsys.readouterr().out.startswith("The ")
    assert ask(tiny_model_folder, photos, "Which is larger?", "--quantize", "4bit") == 2
    assert "of width" in capsys.readouterr().err


def test_a_family_is_asked_as_it_was_trained(
    tiny_model_folder: Path,
    photos: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The tiny model writes as PRIMA, which has no question of its own.
    assert ask(tiny_model_folder, photos, "the mug", "--wording", "refer") == 2
    assert "ask in your own words" in capsys.readouterr().err
    monkeypatch.setitem(WORDINGS, "prima", {"refer": "Which is {x}?", "describe": "Which is larger?"})
    assert ask(tiny_model_folder, photos, "larger", "--wording", "refer", "--json") == 0
    assert '"question": "Which is larger?"' in capsys.readouterr().out
    assert main(["ask", *photos, "--model", str(tiny_model_folder), "--wording", "describe", "--json"]) == 0
    assert '"question": "Which is larger?"' in capsys.readouterr().out
