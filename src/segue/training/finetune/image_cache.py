"""Photographs that training has opened lately, ready for the encoders: small data are decoded only once.

Source: ours.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 30
"""Bytes of pixels in one process: 500 photographs for segue-mini, 60 for PRIMA."""


class ImageCache:
    """Opened photographs by path, the latest ones, up to a number of bytes.

    A file that has changed since (its time or its length) is not the photograph that was kept.

    Args:
        most_bytes: of all tensors together; 0 keeps nothing.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes, self.held = most_bytes, 0
        self.pictures: OrderedDict[Path, tuple[tuple[int, int], dict[str, Any]]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        # A worker begins with nothing: what was kept here is not worth sending there.
        return {"most_bytes": self.most_bytes, "held": 0, "pictures": OrderedDict()}

    def get(self, path: Path) -> dict[str, Any] | None:
        """The picture that was put under a path, or None."""
        if path not in self.pictures:
            return None
        stamp, picture = self.pictures[path]
        if stamp != file_stamp(path):
            self.drop(path)
            return None
        self.pictures.move_to_end(path)
        return picture

    def put(self, path: Path, picture: dict[str, Any]) -> None:
        """Keep a picture; the ones that were not asked for the longest make room."""
        stamp, needed = file_stamp(path), picture_bytes(picture)
        if stamp is None or needed > self.most_bytes:
            return
        # Its own older entry first, whose bytes would count twice.
        self.drop(path)
        while self.held + needed > self.most_bytes:
            self.drop(next(iter(self.pictures)))
        self.pictures[path] = stamp, picture
        self.held += needed

    def drop(self, path: Path) -> None:
        """Forget a picture, if it is kept."""
        if path in self.pictures:
            self.held -= picture_bytes(self.pictures.pop(path)[1])


def picture_bytes(picture: dict[str, Any]) -> int:
    """Size of a picture's pixels: of its encoders' `streams`, and of the RGB `image` itself."""
    streams = sum(stream.numel() * stream.element_size() for stream in picture.get("streams", {}).values())
    image = picture.get("image")
    return streams + (3 * image.width * image.height if image is not None else 0)


def file_stamp(path: Path) -> tuple[int, int] | None:
    """Time and length of a file, which change when it is written anew; None when there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
