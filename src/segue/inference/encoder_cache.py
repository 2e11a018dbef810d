"""Each picture through each encoder once: what encoders made of pictures, for all sessions of a model."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

import torch
from safetensors import SafetensorError
from torch import Tensor

from segue.models.encoder_features import read_features, write_features
from segue.models.segmenter import SegmenterFeatures

MOST_BYTES = 1 << 30
"""What is kept beyond the pictures of living sessions: about a hundred pictures of PRIMA-7B."""

_VISUAL, _DRAWABLE = "visual.", "drawable."


@dataclass(frozen=True, eq=False)
class Encoded:
    """What encoders made of one picture; nothing in it depends on a question or on other pictures.

    Attributes:
        visual: `[1, ...]` each, what `encode_images` takes in place of pixels; empty where only the segmenter
            has looked.
        drawable: `[1, ...]` each, what the segmenter draws in; empty where only the other encoders have.
    """

    visual: dict[str, Tensor] = field(default_factory=dict)
    drawable: SegmenterFeatures = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Size of all tensors."""
        return sum(value.numel() * value.element_size() for value in self.tensors.values())

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All of them by one name each, as they stand in a file."""
        return {_VISUAL + name: value for name, value in self.visual.items()} | {
            _DRAWABLE + name: value for name, value in self.drawable.items()
        }

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> Encoded:
        """The inverse of `tensors`."""
        parts: dict[str, dict[str, Tensor]] = {_VISUAL: {}, _DRAWABLE: {}}
        for name, value in tensors.items():
            part = _VISUAL if name.startswith(_VISUAL) else _DRAWABLE
            parts[part][name.removeprefix(part)] = value
        return cls(parts[_VISUAL], parts[_DRAWABLE])


class EncoderCache:
    """Keeps what encoders made of pictures, the pictures asked for last first.

    A picture that a living session shows is always found, however many others came after it: `most_bytes`
    bounds what is kept beside those. Threads may share a cache; each picture is encoded by one of them while
    the others wait.

    Args:
        most_bytes: Of tensors, where the model is; 0 keeps nothing beyond living sessions.
        folder: Further tier on the disk, for later processes too; none by default. It is not bounded.

    Source: paper silent; ours. Published code runs its encoders again in every turn.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, folder: str | Path | None = None) -> None:
        self.most_bytes = most_bytes
        self.folder = None if folder is None else Path(folder)
        self._kept: OrderedDict[Hashable, Encoded] = OrderedDict()
        self._alive: WeakValueDictionary[Hashable, Encoded] = WeakValueDictionary()
        self._running: dict[Hashable, threading.Event] = {}
        self._lock = threading.Lock()
        self.held = 0
        """Bytes kept now, living sessions' own not counted."""

    def __len__(self) -> int:
        return len(self._kept)

    def get(
        self, key: Hashable, encode: Callable[[], Encoded], file: Callable[[], str], device: torch.device
    ) -> Encoded:
        """What is kept under a key, or what `encode` makes of it now.

        Args:
            key: All that the result depends on.
            encode: Runs the encoders. What it raises is raised here, and the next who asks tries again.
            file: Name in `folder` that stands for the key in every process; asked only where there is one.
            device: Where tensors out of a file are put.
        """
        while True:
            with self._lock:
                found = self._alive.get(key)
                if found is not None:
                    self._keep(key, found)
                    return found
                running = self._running.get(key)
                if running is None:
                    mine = self._running[key] = threading.Event()
                    break
            running.wait()
        try:
            made = encode() if self.folder is None else self._from_disk(self.folder / file(), encode, device)
            with self._lock:
                self._alive[key] = made
                self._keep(key, made)
            return made
        finally:
            with self._lock:
                del self._running[key]
            mine.set()

    def clear(self) -> None:
        """Forget everything but what living sessions hold; files stay."""
        with self._lock:
            self._kept.clear()
            self.held = 0

    def _keep(self, key: Hashable, encoded: Encoded) -> None:
        if key in self._kept:
            self._kept.move_to_end(key)
            return
        self._kept[key] = encoded
        self.held += encoded.num_bytes
        while self.held > self.most_bytes:
            self.held -= self._kept.popitem(last=False)[1].num_bytes

    def _from_disk(self, path: Path, encode: Callable[[], Encoded], device: torch.device) -> Encoded:
        found = read_features(path)
        if found is not None:
            return Encoded.of({name: value.to(device) for name, value in found[0].items()})
        made = encode()
        # A full disk costs time at the next start, not this answer.
        with suppress(OSError, SafetensorError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_features(path, made.tensors)
        return made
