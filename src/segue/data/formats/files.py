"""Find and parse the files of a user's data: JSON of any encoding, images wherever they lie."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from segue.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic")


def load_json(path: Path) -> Any:
    """Parse a JSON file in UTF-8 or, as older tools wrote, in Windows-1252.

    Raises:
        InputError: It cannot be read, or is not JSON.
    """
    try:
        content = path.read_bytes()
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252", errors="replace")
        return json.loads(text)
    except OSError as error:
        raise InputError(
            "This is not JSON that can be read.",
            expected="a JSON file",
            found=error.strerror or str(error),
            where=str(path),
            fix="check the path and its permissions",
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(
            "The file is not JSON.",
            expected="a complete JSON file",
            found=str(error),
            where=str(path),
            fix="save or download the file again",
        ) from None


def json_files(folder: Path, split: str) -> list[Path]:
    """All JSON files of a folder, sorted; where it has a subfolder named like the split, only those in it."""
    own = folder / split
    if own.is_dir() and any(own.rglob("*.json")):
        folder = own
    found = (path for path in folder.rglob("*.json") if path.is_file())
    return sorted(
        path for path in found if not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )


class ImageFolder:
    """Finds image files by the names that annotation files use for them.

    A name is tried as it stands, then by its last part alone, anywhere under the folder, as long as only one
    file is called so.

    Args:
        folder: Where to look.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, name: str) -> Path | None:
        """The file, or None."""
        name = name.replace("\\", "/")
        if not name or "\0" in name:
            return None
        direct = self.folder / name
        try:
            if direct.is_file():
                return direct
        except OSError:  # a name that is too long for any file
            return None
        found = self._index().get(name.rsplit("/", 1)[-1], [])
        return found[0] if len(found) == 1 else None

    def _index(self) -> dict[str, list[Path]]:
        """Bare names of all images below the folder; read once, on the first name that needs it."""
        if self._by_name is None:
            self._by_name = {}
            for parent, _, names in os.walk(self.folder):
                for name in names:
                    if name.lower().endswith(IMAGE_SUFFIXES):
                        self._by_name.setdefault(name, []).append(Path(parent) / name)
        return self._by_name
