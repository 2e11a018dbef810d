"""Files that are not what their name says, told by their first bytes, with what to do about them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HEAD_BYTES", "FileKind", "disguised"]

HEAD_BYTES = 256
"""How much of a file `disguised` wants to see."""

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


@dataclass(frozen=True)
class FileKind:
    """What a file is instead.

    Attributes:
        name: "a Git LFS pointer".
        fix: What to do.
    """

    name: str
    fix: str


_LFS = FileKind(
    "a Git LFS pointer, a note of 130 bytes in place of the file", "fetch the files themselves: git lfs pull"
)
_PAGE = FileKind("a web page, as a failed download leaves it", "download the file again, signed in if needed")
_HEIC = FileKind(
    "a HEIC picture, as iPhones write them", "pip install 'segue[heic]' (pillow-heif), or save it as JPEG"
)
# First bytes -> what they begin. Archives are named because people pass a download before unpacking it.
_BEGINNINGS: tuple[tuple[bytes, FileKind], ...] = (
    (b"PK\x03\x04", FileKind("a ZIP archive", "unpack it, and name what was in it")),
    (b"\x1f\x8b", FileKind("a gzip file", "unpack it: gunzip FILE (or tar xzf FILE)")),
    (b"7z\xbc\xaf\x27\x1c", FileKind("a 7-Zip archive", "unpack it, and name what was in it")),
    (b"Rar!\x1a\x07", FileKind("a RAR archive", "unpack it, and name what was in it")),
    (b"%PDF-", FileKind("a PDF document", "save its pages as pictures")),
)


def disguised(head: bytes) -> FileKind | None:
    """Say what a file is that is neither text nor a picture that can be read; None where nothing is known.

    Args:
        head: Its first `HEAD_BYTES` bytes, or all of it.
    """
    if head.startswith(b"version ") and b"\noid sha256:" in head:
        return _LFS
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return _PAGE
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return _HEIC
    return None
