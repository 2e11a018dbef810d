"""Recognise the format of a user's data by its content."""

from __future__ import annotations

import re
from pathlib import Path

from segue.data.formats.parquet_rows import PARQUET, parquet_files
from segue.data.formats.splits import json_files
from segue.data.formats.text_file import decode, decode_beginning
from segue.data.own.mixed_parts import is_mixed_parts
from segue.data.own.part_nodes import PARENT, is_part_nodes
from segue.errors import InputError
from segue.file_kind import disguised

FORMATS: tuple[str, ...] = (
    "coco", "labelme", "reasonseg", "refcoco", "grand", "gconv", "mixedparts", "partnodes", "m4seg",
)  # fmt: skip

LOOKED_FOR: dict[str, str] = {
    "coco": "JSON with `images`, `annotations` and `categories`",
    "labelme": "JSON per image with `shapes` and `imagePath`",
    "reasonseg": "JSON per image with `text` and `shapes`",
    "refcoco": "refs(...).p or grefs(...).json beside instances.json",
    "grand": "JSON list of `caption` with `groundings`, `refs` or `tokens_positive`",
    "gconv": '.jsonl with "schema": "gconv/1"',
    "mixedparts": "COCO with lists of pairs, or categories that are parts of their `supercategory`",
    "partnodes": f".jsonl with `{PARENT}`",
    "m4seg": "Parquet files with questions, answers, images and masks",
}
_HEAD = 1 << 20
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}:,]')
# About so many files are looked at, spread over the folder.
_SAMPLED = 40


def detect_format(path: Path) -> str:
    """Say which format a file or folder is in.

    Args:
        path: A file, or a folder as it is downloaded or annotated.

    Returns:
        One of `FORMATS`.

    Raises:
        InputError: Nothing is recognised, or files of several formats are; it lists what was looked for.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(
            "There is no such data.",
            expected="a file or folder of annotations",
            found="nothing",
            where=str(path),
            fix="check the path",
        )
    found = {_of_file(path)} if path.is_file() else _of_folder(path)
    found.discard(None)
    if len(found) == 1:
        return str(found.pop())
    raise InputError(
        "The format of the data is not recognised." if not found else "The data holds several formats.",
        expected="; ".join(f"{name}: {what}" for name, what in LOOKED_FOR.items()),
        found=", ".join(sorted(map(str, found))) or _shown(path),
        where=str(path),
        fix=f"name the format ({', '.join(FORMATS)}) with --format, or pass the annotation file itself",
    )


def _of_folder(folder: Path) -> set[str | None]:
    """The formats of a folder's files; references and conversations outrank the JSON files beside them."""
    names = [entry.name for entry in folder.iterdir() if entry.is_file()]
    if any(re.fullmatch(r"g?refs\(.*\)\.(p|json)", name) for name in names):
        return {"refcoco"}
    # The merged files of MixedParts lie above folders of its single sources.
    if any(re.fullmatch(r".*mixed_parts_\w+\.json", name) for name in names):
        return {"mixedparts"}
    found = json_files(folder, "train")
    lines = [path for path in sorted(folder.glob("*.jsonl")) if path.is_file()]
    if not found and (lines or parquet_files(folder)):
        kinds = {_of_file(file) for file in lines} - {None}
        return kinds or ({"m4seg"} if parquet_files(folder) else set())
    step = max(1, len(found) // _SAMPLED)
    conversations = conversation_files(folder)
    if not conversations:
        return {_of_file(file) for file in found[::step]}
    if not all(is_drawn(file) for file in conversations):
        return {"gconv"}
    # Conversations drawn from annotations that lie here too are not the data, unless they are all there is.
    return {_of_file(file) for file in found[::step]} - {None, "gconv"} or {"gconv"}


def conversation_files(folder: Path) -> list[Path]:
    """The files of conversations at the top of a folder."""
    lines = sorted(path for path in folder.glob("*.jsonl") if path.is_file())
    return [path for path in lines if _of_file(path) == "gconv"]


def detected_lines(path: Path) -> str | None:
    """The format of a file of lines by its first one; None for something else."""
    with path.open("rb") as file:
        first = decode_beginning(file.readline(_HEAD))
    return "partnodes" if is_part_nodes(first) else "gconv" if '"gconv/1"' in first else None


def is_drawn(path: Path) -> bool:
    """Whether `segue data own` wrote a file: its first record says what it was drawn from."""
    with path.open("rb") as file:
        return b'"drawn_from"' in file.readline()


def _of_file(path: Path) -> str | None:
    if path.suffix.lower() in (".p", ".pkl", ".pickle"):
        return "refcoco"
    if re.fullmatch(r"grefs\(.*\)\.json", path.name):
        return "refcoco"
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[:4] == PARQUET:
        return "m4seg"
    # The first byte of a pickle of protocol 2 and above.
    if head[:1] == b"\x80":
        return "refcoco"
    kind = disguised(head)
    if kind is not None:
        raise InputError(
            "The file holds no annotations.",
            expected="; ".join(LOOKED_FOR.values()),
            found=kind.name,
            where=str(path),
            fix=kind.fix,
        )
    text = decode_beginning(head)
    if path.suffix.lower() == ".jsonl" and is_part_nodes(text.split("\n", 1)[0]):
        return "partnodes"
    if (path.suffix.lower() == ".jsonl" or "\n{" in text.lstrip()) and '"gconv/1"' in text.split("\n", 1)[0]:
        return "gconv"
    found = _of_keys(*_outline(text))
    if found is None and len(head) == _HEAD:  # a long list or an embedded image may come first
        text = decode(path.read_bytes()).text
        found = _of_keys(*_outline(text))
    if found == "coco" and is_mixed_parts(_outline(text)[0], text):
        return "mixedparts"
    return found


def _of_keys(keys: set[str], inner: set[str]) -> str | None:
    """Decide by the keys of the outermost object and those one level below (of a list's items)."""
    every = keys | inner
    if '"gconv/1"' in every or ("schema" in keys and "turns" in keys):
        return "gconv"
    if "caption" in every and every & {"groundings", "refs", "tokens_positive"}:
        return "grand"
    if "text" in keys and "shapes" in keys:
        return "reasonseg"
    if "shapes" in keys:
        return "labelme"
    if "annotations" in keys and (keys & {"images", "categories"} or {"image_id", "category_id"} <= inner):
        return "coco"
    return None


def _outline(text: str) -> tuple[set[str], set[str]]:
    """Keys of the outermost object, and those up to three brackets deeper, as far as the text goes."""
    keys: set[str] = set()
    inner: set[str] = set()
    depth, last, outer = 0, "", text.lstrip()[:1]
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in "{[":
            depth += 1
        elif token in "}]":
            depth -= 1
        elif token == ":":
            if depth == 1 and outer == "{":
                keys.add(last)
            elif depth <= 4:
                inner.add(last)
        elif token != ",":
            last = token[1:-1]
    return keys, inner


def _shown(path: Path) -> str:
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
        return f"a folder with {', '.join(names[:8]) or 'nothing in it'}"
    with path.open("rb") as file:
        return f"a file that begins with {file.read(60)!r}"
