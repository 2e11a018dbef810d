"""Sharded safetensors written tensor by tensor: the layout first, then each tensor into its place."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import torch
from torch import Tensor

from segue.errors import AlignmentError
from segue.models.conversion.plan import Shape

SHARD_BYTES = 4 * 2**30
"""Largest shard, unless one tensor alone is larger."""

_NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


class ShardWriter:
    """Writes `model*.safetensors` and their index; at no time does it hold more than one tensor.

    Args:
        folder: exists.
        shapes: of all tensors that will be written.
        dtype: of all of them but those that are kept exact.
        shard_bytes: where a new file begins.
        exact: prefixes of tensors that are written in float32.

    Source: ours; the format is that of safetensors.
    """

    def __init__(
        self,
        folder: Path,
        shapes: Mapping[str, Shape],
        dtype: torch.dtype,
        shard_bytes: int = SHARD_BYTES,
        exact: tuple[str, ...] = (),
    ) -> None:
        self.dtype, self.exact = dtype, exact
        self._shapes = dict(shapes)
        self._place: dict[str, tuple[int, int]] = {}
        self._files: list[BinaryIO] = []
        self._begin(folder, _shards({name: self._bytes(name) for name in self._shapes}, shard_bytes))

    def _begin(self, folder: Path, shards: list[list[str]]) -> None:
        total, where = 0, {}
        for number, names in enumerate(shards):
            only = len(shards) == 1
            file = "model.safetensors" if only else f"model-{number + 1:05d}-of-{len(shards):05d}.safetensors"
            header: dict[str, object] = {"__metadata__": {"format": "pt"}}
            offset = 0
            for name in names:
                size = self._bytes(name)
                header[name] = {
                    "dtype": _NAMES[self.dtype_of(name)],
                    "shape": list(self._shapes[name]),
                    "data_offsets": [offset, offset + size],
                }
                self._place[name] = (number, offset)
                where[name] = file
                offset += size
            text = json.dumps(header, separators=(",", ":")).encode()
            # Data begin at a multiple of 8, as safetensors asks: readers map them in place.
            text += b" " * (-len(text) % 8)
            opened = (folder / file).open("wb")
            # Eight bytes, little-endian: the length of the header. Offsets in it count from its end, those in
            # `_place` from the file's start.
            opened.write(struct.pack("<Q", len(text)) + text)
            # The full length at once: tensors may then come in any order.
            opened.truncate(8 + len(text) + offset)
            self._place |= {name: (number, 8 + len(text) + self._place[name][1]) for name in names}
            self._files.append(opened)
            total += offset
        if len(shards) > 1:
            index = {"metadata": {"total_size": total}, "weight_map": where}
            listing = json.dumps(index, indent=2, sort_keys=True) + "\n"
            (folder / "model.safetensors.index.json").write_text(listing, encoding="utf-8")

    def _bytes(self, name: str) -> int:
        return int(torch.Size(self._shapes[name]).numel()) * self.dtype_of(name).itemsize

    def dtype_of(self, name: str) -> torch.dtype:
        """The type that a tensor is written in."""
        return torch.float32 if self.exact and name.startswith(self.exact) else self.dtype

    def write(self, name: str, tensor: Tensor) -> None:
        """Put one tensor into its place; each is written exactly once."""
        if tuple(tensor.shape) != self._shapes[name]:
            raise AlignmentError(
                "a tensor changed its shape on the way",
                expected=str(list(self._shapes[name])),
                found=str(list(tensor.shape)),
                where=name,
                fix="report this: the plan and the tensors disagree",
            )
        # Popped: a second write of a name is a KeyError, and what is left at the end was never written.
        number, offset = self._place.pop(name)
        # As bytes: numpy has no bfloat16.
        data = tensor.detach().to(self.dtype_of(name)).contiguous().reshape(-1).view(torch.uint8).numpy()
        self._files[number].seek(offset)
        self._files[number].write(data.data)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()
        if kind is None and self._place:
            raise AlignmentError(
                "tensors were planned but not written",
                expected="every tensor of the plan",
                found=f"{len(self._place)} missing, first {next(iter(self._place))}",
                where="ShardWriter",
                fix="report this: the plan and the tensors disagree",
            )


def _shards(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Names in order, cut where a shard would become larger than the limit; sizes in bytes."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        # A tensor larger than the limit has a file of its own; an empty one is never written before it.
        if shards[-1] and filled + size > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards
