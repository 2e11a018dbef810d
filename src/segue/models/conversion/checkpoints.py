"""Public checkpoints, read tensor by tensor: safetensors or torch files, one or many, never pickled code."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from segue.errors import ModelError
from segue.models.conversion.plan import Shape
from segue.models.folder_kind import unfinished

_WRAPPERS = ("state_dict", "module", "model_state_dict")
_PREFIXES = ("base_model.model.", "module.")
"""Prefixes that training frameworks put before every name."""

# Memory that mapped pages may take while a file is read.
_GROUP_BYTES = 2**30

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass
class Checkpoint:
    """Names, shapes and types of all tensors of a folder or file; the tensors themselves stay on disk.

    Attributes:
        path: the folder or file.
        config: content of its `config.json`; empty where there is none.
        shapes: by name, without the prefixes of training frameworks.
        dtypes: by name.
    """

    path: Path
    config: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    dtypes: dict[str, torch.dtype] = field(default_factory=dict)
    files: dict[Path, dict[str, str]] = field(default_factory=dict)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor once, file by file; each lives only as long as the caller keeps it.

        Files are mapped into memory, and pages once read stay until the mapping is closed: it is closed and
        opened again after each gigabyte.
        """
        for file, names in self.files.items():
            for stored in self._groups(file):
                if file.suffix == ".safetensors":
                    with safe_open(str(file), framework="pt") as opened:
                        for key in stored:
                            yield names[key], opened.get_tensor(key)
                else:
                    content = _load_torch(file)
                    for key in stored:
                        yield names[key], content.pop(key)
                    del content

    def _groups(self, file: Path) -> Iterator[list[str]]:
        """The stored names of a file, about a gigabyte at a time where it can be opened again cheaply."""
        names = self.files[file]
        # Torch's format before 1.6 cannot be mapped: opening it again would read all of it again.
        if file.suffix != ".safetensors" and not zipfile.is_zipfile(file):
            yield list(names)
            return
        group, filled = [], 0
        for stored, name in names.items():
            group.append(stored)
            filled += int(torch.Size(self.shapes[name]).numel()) * self.dtypes[name].itemsize
            if filled >= _GROUP_BYTES:
                yield group
                group, filled = [], 0
        if group:
            yield group

    def majority_dtype(self) -> torch.dtype:
        """The floating type that most of the numbers have."""
        counts: dict[torch.dtype, int] = {}
        for name, dtype in self.dtypes.items():
            if dtype.is_floating_point:
                counts[dtype] = counts.get(dtype, 0) + int(torch.Size(self.shapes[name]).numel())
        # Numbers are counted, not tensors: a bfloat16 model with float32 norms stays bfloat16.
        return max(counts, key=lambda d: counts[d]) if counts else torch.float32


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Look into a folder or file.

    Args:
        path: a folder with safetensors or torch files (with or without an index), or one such file.

    Raises:
        ModelError: nothing there, a damaged file, or one that only arbitrary pickle could read.
    """
    path = Path(path)
    kind = unfinished(path)
    if kind is not None:
        raise _unreadable(path, "weights of a whole model", kind.name, kind.fix)
    files = _files(path)
    checkpoint = Checkpoint(path, _config(path))
    for file in files:
        entries = _safetensors_header(file) if file.suffix == ".safetensors" else _torch_header(file)
        checkpoint.files[file] = {}
        for stored, (shape, dtype) in entries.items():
            checkpoint.files[file][stored] = stored
            checkpoint.shapes[stored], checkpoint.dtypes[stored] = shape, dtype
    return without_prefix(checkpoint)


def _files(path: Path) -> list[Path]:
    if os.path.isfile(path):
        if path.suffix in (".safetensors", ".bin", ".pth", ".pt"):
            return [path]
        raise _unreadable(path, "a .safetensors, .bin, .pth or .pt file", f"a file named {path.name}")
    if not os.path.isdir(path):
        raise _unreadable(path, "a folder or a file", "nothing")
    # The index before any pattern: the folder may hold files that it does not name.
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if (path / index).is_file():
            listed = _json(path / index).get("weight_map")
            named = set(map(str, listed.values())) if isinstance(listed, dict) else set()
            # A shard stands beside its index: no path leads out of the folder.
            if not named or any(Path(name).name != name for name in named):
                raise _unreadable(path / index, "a weight_map of names and files in this folder", "none")
            missing = sorted(name for name in named if not (path / name).is_file())
            if missing:
                raise _unreadable(path, f"every shard that {index} names", f"no {', '.join(missing)}")
            return sorted(path / name for name in named)
    for pattern in ("*.safetensors", "pytorch_model*.bin", "open_clip_pytorch_model*.bin", "*.pth", "*.pt"):
        # All files of one pattern, and none of the next: `pytorch_model*.bin` beside safetensors would give
        # every tensor twice.
        if found := sorted(path.glob(pattern)):
            return found
    raise _unreadable(path, "weights (*.safetensors, pytorch_model*.bin, *.pth)", "none")


def _config(path: Path) -> dict[str, Any]:
    file = path / "config.json" if path.is_dir() else path.parent / "config.json"
    return _json(file) if file.is_file() else {}


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(file, "a JSON object", str(error)) from None
    if not isinstance(content, dict):
        raise _unreadable(file, "a JSON object", type(content).__name__)
    return content


def _safetensors_header(file: Path) -> dict[str, tuple[Shape, torch.dtype]]:
    try:
        with safe_open(str(file), framework="pt") as opened:
            entries = {}
            for name in opened.keys():  # noqa: SIM118  not a mapping
                part = opened.get_slice(name)
                entries[name] = (tuple(part.get_shape()), _DTYPES.get(part.get_dtype(), torch.int64))
            return entries
    except (SafetensorError, OSError) as error:
        raise _unreadable(file, "a whole safetensors file", str(error)) from None


def _torch_header(file: Path) -> dict[str, tuple[Shape, torch.dtype]]:
    return {name: (tuple(t.shape), t.dtype) for name, t in _load_torch(file).items()}


def _load_torch(file: Path) -> dict[str, Tensor]:
    """The tensors of a torch file; memory-mapped where its format allows, so that they cost no memory."""
    try:
        try:
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:
            # Files older than torch 1.6 are no zip archives and cannot be mapped.
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _unreadable(file, "tensors only (weights_only)", str(error).split("\n")[0]) from None
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise _unreadable(file, "a whole torch file", str(error).split("\n")[0]) from None
    # One after the other, so that `{"state_dict": {"module": {...}}}` is opened twice.
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise _unreadable(file, "a dictionary of tensors", type(content).__name__)
    return dict(content)


def without_prefix(checkpoint: Checkpoint) -> Checkpoint:
    """Take the prefixes of training frameworks off every name."""
    # PEFT's outermost first. Taken off only where every name has it: one `module.` inside a model is a name.
    for prefix in _PREFIXES:
        if checkpoint.shapes and all(name.startswith(prefix) for name in checkpoint.shapes):
            cut = len(prefix)
            checkpoint.shapes = {name[cut:]: shape for name, shape in checkpoint.shapes.items()}
            checkpoint.dtypes = {name[cut:]: dtype for name, dtype in checkpoint.dtypes.items()}
            for file, names in checkpoint.files.items():
                checkpoint.files[file] = {stored: name[cut:] for stored, name in names.items()}
    return checkpoint


def _unreadable(path: Path, expected: str, found: str, fix: str = "") -> ModelError:
    return ModelError(
        "The checkpoint cannot be read.",
        expected=expected,
        found=found,
        where=str(path),
        fix=fix or "download the repository again, whole, and give its folder",
    )
