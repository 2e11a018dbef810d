"""The one look-up of image files by the names that annotation files use for them.

Exports carry the paths of other computers, backslashes, addresses, prefixes of upload tools. A name is tried
as it stands, then by as many of its last parts as any file shares, then in looser spellings; where several
files fit equally well, none is taken.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from segue.data.formats.splits import SPLIT_NAMES, words_of

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"),
)
# Label Studio puts eight hexadecimal digits before the name of what is uploaded.
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
_ANNOTATION_FOLDERS = {"annotations", "annotation", "anns", "ann", "labels", "label", "json", "jsons"}
_IMAGE_FOLDERS = {"images", "image", "imgs", "img", "jpegimages", "photos", "pictures", "data"}
_MOST_SHOWN = 5


@dataclass(frozen=True)
class Found:
    """Result of a look-up.

    Attributes:
        path: The file; None where there is none, or no single one.
        candidates: The files that fit equally well, where there are several.
        spelling: How the name had to be read to be found, for reports; "" where it fits as it is.
    """

    path: Path | None
    candidates: tuple[Path, ...] = ()
    spelling: str = ""

    @property
    def reason(self) -> str:
        """Why there is no path, in the words of the reports."""
        return "several image files of this name" if self.candidates else "image file not found"

    def found(self, name: str, folder: Path) -> str:
        """Words for a report where there is no path."""
        if not self.candidates:
            return str(folder / name)
        shown = ", ".join(map(str, self.candidates[:_MOST_SHOWN]))
        more = len(self.candidates) - _MOST_SHOWN
        return f"{name}: {shown}{f' and {more} more' if more > 0 else ''}"


class ImageFolder:
    """Finds image files below one or several folders.

    Args:
        folder: Where to look first, and what relative paths in records belong to.
        also: Where to look next, only for what is not below `folder`.
        hints: Words ("train") that tell two files of one name apart when just one lies in a folder so called.
    """

    def __init__(self, folder: Path, also: Sequence[Path] = (), hints: Iterable[str] = ()) -> None:
        self.folder = folder
        self._places = [_Place(folder), *(_Place(other) for other in also)]
        self._hints = frozenset(hints)

    @classmethod
    def beside(cls, annotations: Path, images: Path | None = None) -> ImageFolder:
        """The images of an annotation file (or folder of them): `images`, else where exports put them.

        That is the file's own folder; if it is called `annotations` or the like, or stands beside a folder
        `images`, then also those.
        """
        hints = words_of(annotations.stem) & {name for names in SPLIT_NAMES.values() for name in names}
        if images is not None:
            return cls(images, hints=hints)
        own = annotations if annotations.is_dir() else annotations.parent
        full = Path(os.path.abspath(own))
        beside = _subfolders(full.parent)
        also = [entry for entry in beside if entry.name.lower() in _IMAGE_FOLDERS and entry != full]
        if full.name.lower() in _ANNOTATION_FOLDERS:
            also.append(full.parent)
        return cls(own, also, hints)

    def find(self, name: str) -> Path | None:
        """The file, or None."""
        return self.look(name).path

    def look(self, name: str) -> Found:
        """The file, or why there is none."""
        several: Found | None = None
        for place in self._places:
            found = self._in(place, name)
            if found.path is not None:
                return found
            # A later folder may hold the file just once.
            several = several or (found if found.candidates else None)
        return several or Found(None)

    def _in(self, place: _Place, name: str) -> Found:
        # Every exact reading before any loose one: "A.jpg" and "a.jpg" may both be there.
        for loose in (False, True):
            for said, spelling in _readings(name):
                direct = None if loose else place.direct(said)
                if direct is not None:
                    return Found(direct, spelling=spelling)
                candidates = self._hinted(place.ending(said, loose=loose), place.folder)
                if len(candidates) > 1 and _same_content(candidates):
                    candidates = candidates[:1]
                if len(candidates) == 1:
                    return Found(candidates[0], spelling=spelling or ("another letter case" if loose else ""))
                if candidates:
                    return Found(None, tuple(candidates))
        return Found(None)

    def _hinted(self, candidates: list[Path], folder: Path) -> list[Path]:
        """Keep of several files those in a folder that is called like a hint, if there are any."""
        if len(candidates) < 2 or not self._hints:
            return candidates
        named = [
            path
            for path in candidates
            if any(words_of(part) & self._hints for part in path.relative_to(folder).parts[:-1])
        ]
        return named or candidates


class _Place:
    """The images below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_name: dict[str, list[Path]] | None = None
        self._by_loose: dict[str, list[Path]] = {}

    def direct(self, name: str) -> Path | None:
        """The file of exactly this path."""
        try:
            path = self.folder / name
            return Path(os.path.normpath(path)) if path.is_file() else None
        except (OSError, ValueError):  # too long for any file, or with a NUL
            return None

    def ending(self, name: str, *, loose: bool) -> list[Path]:
        """The files whose last part is the name's, of these the ones that share most parts before it."""
        parts = [part for part in name.split("/") if part not in ("", ".", "..")]
        if not parts:
            return []
        if self._by_name is None:
            self._read()
        assert self._by_name is not None
        alike = self._by_loose.get(_loose(parts[-1]), []) if loose else self._by_name.get(parts[-1], [])
        shared = {path: _shared(parts, path.relative_to(self.folder).parts) for path in alike}
        most = max(shared.values(), default=0)
        return [path for path in alike if shared[path] == most]

    def _read(self) -> None:
        """List all images below the folder; once, on the first name that needs it."""
        self._by_name = {}
        for path in _images_below(self.folder):
            self._by_name.setdefault(path.name, []).append(path)
            self._by_loose.setdefault(_loose(path.name), []).append(path)


def _images_below(folder: Path) -> Iterator[Path]:
    """In a fixed order; links to folders are followed, once each."""
    seen: set[str] = set()
    for parent, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        # A link to a folder above itself would be followed without end.
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        # In place: `os.walk` goes on into what its own list holds.
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."):
                yield Path(parent) / name


def _readings(name: str) -> Iterator[tuple[str, str]]:
    """A name as it stands, then as tools may have meant it: `(path with slashes, how it was read)`."""
    said = name.replace("\\", "/")
    if not said.strip() or "\0" in said:
        return
    yield said, ""
    address = None
    if re.match(r"^[a-z][a-z0-9+.-]+://|.*\?", said):
        with suppress(ValueError):  # an address that is none, such as "http://["
            address = urlsplit(said)
    if address is not None:
        # Label Studio serves local files as /data/local-files/?d=folder/a.jpg.
        inner = parse_qs(address.query).get("d")
        said = inner[0] if inner else unquote(address.path).lstrip("/")
        yield said, "an address"
    elif "%" in said:
        said = unquote(said)
        yield said, "an address"
    folder, _, last = said.rpartition("/")
    if _UPLOADED.match(last):
        yield (
            f"{folder}/{_UPLOADED.sub('', last)}".lstrip("/"),
            "without the digits that an upload put before it",
        )
    if last and not last.lower().endswith(IMAGE_SUFFIXES):
        for suffix in IMAGE_SUFFIXES:
            yield said + suffix, "a suffix added"


def _loose(name: str) -> str:
    """A spelling in which letter case and the ways to write an accent are alike."""
    return unicodedata.normalize("NFC", name).casefold()


def _shared(parts: Sequence[str], other: Sequence[str]) -> int:
    """How many last parts two paths have in common, letter case aside: it only ranks."""
    count = 0
    for one, two in zip(reversed(parts), reversed(other), strict=False):
        if _loose(one) != _loose(two):
            break
        count += 1
    return count


def _same_content(paths: Sequence[Path]) -> bool:
    """Whether files are copies of one another: then it does not matter which one is taken."""
    try:
        # Sizes first: hashing reads every file whole.
        if len({path.stat().st_size for path in paths}) > 1:
            return False
        return len({hashlib.sha256(path.read_bytes()).digest() for path in paths}) == 1
    except OSError:
        return False


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir())
    except OSError:
        return []
