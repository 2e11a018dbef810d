"""Names and shapes of a checkpoint without its weights: index, safetensors headers, or a report of `--probe`.

A header is eight bytes of length and a JSON object; it is read as what a stranger wrote. Files may end right
behind it, so that a few hundred kilobytes of a 14 GB repository are enough.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch

from segue.errors import ModelError
from segue.models.conversion.checkpoints import Checkpoint, open_checkpoint, without_prefix
from segue.models.conversion.plan import Shape

FORMAT = "segue-probe/1"
"""`format` of a report, which can be probed itself."""

MAX_HEADER_BYTES = 100_000_000
"""Longest header; that of the safetensors library."""

MAX_TENSORS = 1_000_000
MAX_DIMENSIONS = 8
MAX_SIZE = 2**40
MAX_NAME = 1000

INDEX = "model.safetensors.index.json"

_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    # No torch type of their own everywhere; as wide as these.
    "U64": torch.int64, "U32": torch.int32, "U16": torch.int16,
}  # fmt: skip


@dataclass
class Headers:
    """What is known of a checkpoint.

    Attributes:
        checkpoint: names and shapes; its tensors cannot be read.
        absent: names that the index lists in shards that are not here, and those shards.
    """

    checkpoint: Checkpoint
    absent: dict[str, str] = field(default_factory=dict)


def open_headers(path: Path) -> Headers:
    """Look at names and shapes.

    Args:
        path: a folder (config.json, the safetensors index and shards, of which the beginning is enough), a
            file of weights, or a report of an earlier probe.

    Raises:
        ModelError: nothing there, or a header that is damaged or breaks a limit.
    """
    if path.suffix == ".json" and path.is_file():
        return _open_report(path)
    if path.is_file() and path.suffix == ".safetensors":
        return _open_files([path], {}, _config_beside(path.parent))
    if path.is_dir() and (path / INDEX).is_file():
        return _open_index(path)
    if path.is_dir() and (files := sorted(path.glob("*.safetensors"))):
        return _open_files(files, {}, _config_beside(path), path)
    # Torch's files have no header; their names and shapes are read without their numbers.
    return Headers(open_checkpoint(path))


def read_header(file: Path) -> dict[str, tuple[Shape, torch.dtype]]:
    """Shape and type of every tensor of a safetensors file, which may end behind its header.

    Raises:
        ModelError: no header, or one that breaks a rule of the format or a limit.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= MAX_HEADER_BYTES:
                raise _broken(file, f"a header of 2 to {MAX_HEADER_BYTES} bytes", f"{length} bytes")
            text = opened.read(length)
    except OSError as error:
        raise _broken(file, "a file that can be read", str(error)) from None
    if len(text) < length:
        raise _broken(file, f"a header of {length} bytes", f"a file that ends after {len(text)} of them")
    content = _object(text, file, unique=True)
    content.pop("__metadata__", None)
    if len(content) > MAX_TENSORS:
        raise _broken(file, f"at most {MAX_TENSORS} tensors", str(len(content)))
    return {name: _entry(name, value, file) for name, value in content.items()}


def _entry(name: str, value: object, file: Path) -> tuple[Shape, torch.dtype]:
    if not isinstance(value, dict):
        raise _broken(file, "an object for every tensor", f"{type(value).__name__} for {name[:80]!r}")
    shape, dtype = checked_shape(name, value.get("shape"), value.get("dtype"), file)
    offsets = value.get("data_offsets")
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(type(o) is int for o in offsets)):
        raise _broken(file, "two data_offsets for every tensor", f"{offsets!r} for {name[:80]!r}")
    size = prod(shape) * dtype.itemsize
    if offsets[0] < 0 or offsets[1] - offsets[0] != size:
        raise _broken(file, f"{size} bytes for {name[:80]!r}, as its shape says", f"offsets {offsets}")
    return shape, dtype


def checked_shape(name: str, shape: object, dtype: object, where: Path) -> tuple[Shape, torch.dtype]:
    """Shape and type of one tensor as a file has them.

    Raises:
        ModelError: the name, the shape or the type is none.
    """
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise _broken(where, f"a printable name of 1 to {MAX_NAME} characters", ascii(name[:80]))
    sizes = shape if isinstance(shape, list) else [None]
    # `type`, not isinstance: true is an int.
    if len(sizes) > MAX_DIMENSIONS or not all(type(s) is int and 0 <= s <= MAX_SIZE for s in sizes):
        wanted = f"at most {MAX_DIMENSIONS} sizes from 0 to 2^40 for {name[:80]!r}"
        raise _broken(where, wanted, repr(shape)[:80])
    if not isinstance(dtype, str) or dtype not in _TYPES:
        raise _broken(where, f"a type for {name[:80]!r}: {', '.join(_TYPES)}", repr(dtype)[:80])
    return tuple(int(s) for s in sizes if s is not None), _TYPES[dtype]


def type_name(dtype: torch.dtype) -> str:
    """The name of a type in a header."""
    return next((name for name, known in _TYPES.items() if known == dtype), str(dtype).removeprefix("torch."))


def _open_index(folder: Path) -> Headers:
    listed = _object((folder / INDEX).read_bytes(), folder / INDEX).get("weight_map")
    if not isinstance(listed, dict) or not listed or len(listed) > MAX_TENSORS:
        raise _broken(folder / INDEX, "a weight_map of names and files", type(listed).__name__)
    for name, shard in listed.items():
        # A shard stands beside its index: no path leads out of the folder.
        if not isinstance(shard, str) or Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise _broken(folder / INDEX, "the name of a .safetensors file in this folder", ascii(shard)[:80])
        checked_shape(name, [], "F32", folder / INDEX)
    shards = sorted(set(listed.values()))
    here = [folder / shard for shard in shards if (folder / shard).is_file()]
    return _open_files(here, listed, _config_beside(folder), folder)


def _open_files(
    files: list[Path], listed: Mapping[str, str], config: dict[str, Any], path: Path | None = None
) -> Headers:
    checkpoint = Checkpoint(path or files[0], config)
    for file in files:
        for name, (shape, dtype) in read_header(file).items():
            if name in checkpoint.shapes:
                raise _broken(file, "every tensor in one file", f"{name} in two")
            checkpoint.shapes[name], checkpoint.dtypes[name] = shape, dtype
    here = {file.name for file in files}
    astray = [n for n, shard in listed.items() if shard in here and n not in checkpoint.shapes]
    if astray:
        raise _broken(path or files[0], "every tensor in the shard that the index names", f"no {astray[0]}")
    absent = {n: shard for n, shard in listed.items() if shard not in here}
    return Headers(without_prefix(checkpoint) if not absent else checkpoint, absent)


def _config_beside(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    return _object(file.read_bytes(), file) if file.is_file() else {}


def _open_report(file: Path) -> Headers:
    content = _object(file.read_bytes(), file)
    tensors, config = content.get("tensors"), content.get("config") or {}
    if content.get("format") != FORMAT or not isinstance(tensors, list) or not isinstance(config, dict):
        raise _broken(file, f"a report of `segue convert --probe` ({FORMAT})", "another JSON file")
    checkpoint = Checkpoint(Path(str(content.get("source") or file.stem)), config)
    for entry in tensors:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise _broken(file, "an object with a name for every tensor", repr(entry)[:80])
        for name in expanded(entry["name"], entry.get("numbers"), file):
            shape, dtype = checked_shape(name, entry.get("shape"), entry.get("dtype"), file)
            checkpoint.shapes[name], checkpoint.dtypes[name] = shape, dtype
    return Headers(without_prefix(checkpoint))


def expanded(name: str, numbers: object, where: Path) -> list[str]:
    """The names that an entry of a report stands for: `a.{}.b` with `0-2,5` is four.

    Raises:
        ModelError: no numbers for a name with a place for them, or too many.
    """
    if numbers is None:
        return [name]
    found: list[int] = []
    for run in str(numbers).split(","):
        first, _, last = run.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal()):
            raise _broken(where, "numbers such as 0-31,40", repr(numbers)[:80])
        begin, end = int(first), int(last or first)
        if end - begin + len(found) >= MAX_TENSORS:
            raise _broken(where, f"at most {MAX_TENSORS} tensors", repr(numbers)[:80])
        found += range(begin, end + 1)
    return [name.replace("{}", str(n), 1) for n in found]


def _object(text: bytes, file: Path, unique: bool = False) -> dict[str, Any]:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if unique and len(found) < len(items):
            raise ValueError("a name comes twice")
        return found

    try:
        content = json.loads(text.decode("utf-8"), object_pairs_hook=pairs)
    # Too deep a nesting is a RecursionError, broken UTF-8 a ValueError.
    except (ValueError, RecursionError) as error:
        raise _broken(file, "a JSON object", str(error)[:120]) from None
    if not isinstance(content, dict):
        raise _broken(file, "a JSON object", type(content).__name__)
    return content


def _broken(file: Path, expected: str, found: str) -> ModelError:
    return ModelError(
        "The header cannot be read.",
        expected=expected,
        found=found,
        where=file.name,
        fix="download config.json, the index and the beginning of every shard again",
    )
