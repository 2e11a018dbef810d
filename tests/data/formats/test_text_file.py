"""Text of any encoding, and files that are no text."""

from pathlib import Path

import pytest

from segue.data.formats.text_file import decode, is_utf8, load_json, parse_json
from segue.errors import InputError

CHINESE = '{"label": "红色的杯子", "other": "书"}'
GERMAN = '{"label": "grüne Tür", "other": "Schlüssel"}'
FRENCH = '{"label": "clé créée", "other": "été"}'


@pytest.mark.parametrize(
    ("text", "encoding", "guessed"),
    [
        (CHINESE, "utf-8", False),
        (CHINESE, "utf-8-sig", False),
        (CHINESE, "utf-16", False),
        (GERMAN, "utf-16-le", False),
        (GERMAN, "utf-16-be", False),
        (CHINESE, "utf-32", False),
        (CHINESE, "gb18030", True),
        (GERMAN, "cp1252", True),
        (FRENCH, "cp1252", True),
        ('{"encoding": "koi8-r", "label": "чашка"}', "koi8-r", False),
        ("{}", "ascii", False),
    ],
)
def test_every_encoding_gives_the_same_text(text: str, encoding: str, guessed: bool) -> None:
    decoded = decode(text.encode(encoding))
    assert (decoded.text, decoded.is_guess) == (text, guessed)


def test_a_guess_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(GERMAN.encode("cp1252"))
    value, decoded = parse_json(path)
    assert value["label"] == "grüne Tür"
    assert "cp1252" in decoded.wording
    assert not is_utf8(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://example.org/v1\noid sha256:ab\nsize 3\n", "git lfs pull"),
        (b"PK\x03\x04....", "unpack"),
        (b"\x1f\x8b....", "gunzip"),
        (b"<!DOCTYPE html><html>", "download the file again"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        load_json(path)
