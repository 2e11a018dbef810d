"""Frozen encoders see each image once: their outputs are kept beside the run, one file per image.

SAM's encoder is about two thirds of PRIMA's forward, and it says the same of an image in every epoch.
Features are computed the first time that an image occurs, one image at a time, so that they do not depend on
the batch that it occurred in; a run that was killed finds the files of the images that it had seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from segue.errors import ImageError, InputError
from segue.models.encoder_features import encoder_hash, encoders, read_features, write_features
from segue.models.image_streams import moved
from segue.models.processing_grounded import GroundedProcessor

SEGMENTER = "segmenter_features"
"""The argument of `forward` that takes what the segmenter keeps of images; in the files, the beginning of its
tensors' names. `encode_features` names the other arguments."""


@dataclass(frozen=True)
class StoredFeatures:
    """The features of one image, each with a leading dimension of one, and the image's (height, width)."""

    tensors: dict[str, Tensor]
    hw: tuple[int, int]


class FeatureStore:
    """A folder of features of one model's encoders.

    Args:
        model: Has the encoders; they must be frozen by now.
        processor: Its image streams are part of the folder's name, as are the encoders' weights: features of
            another model or of other sizes are never read.
        folder: Where the folder is made.

    Raises:
        InputError: One of the encoders trains.

    Source: ours.
    """

    def __init__(self, model: Any, processor: GroundedProcessor, folder: Path) -> None:
        check_frozen(model)
        self.model: Any = model
        self.folder = folder / encoder_hash(model, processor)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._keys: dict[Path, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Workers read and write files; the model is of use in the training process only.
        return {**self.__dict__, "model": None}

    def key(self, path: Path) -> str:
        """Hash of an image file's bytes, computed once per process.

        Raises:
            ImageError: The file cannot be read.
        """
        if path not in self._keys:
            try:
                self._keys[path] = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                raise ImageError(
                    "The image file cannot be read.",
                    expected="a file that may be opened",
                    found=error.strerror or str(error),
                    where=str(path),
                    fix="check the path and its permissions",
                ) from None
        return self._keys[path]

    def read(self, key: str) -> StoredFeatures | None:
        """The features of an image, or None when they are not there (or not readable) yet."""
        found = read_features(self.folder / f"{key}.safetensors")
        if found is None:
            return None
        tensors, noted = found
        try:
            return StoredFeatures(tensors, (int(noted["height"]), int(noted["width"])))
        except (KeyError, ValueError):
            return None  # another's file: it is computed and written again

    def write(self, key: str, features: StoredFeatures) -> None:
        """Keep the features of an image; the file appears complete or not at all.

        Raises:
            InputError: The folder takes no more files.
        """
        noted = {"height": str(features.hw[0]), "width": str(features.hw[1])}
        try:
            write_features(self.folder / f"{key}.safetensors", features.tensors, noted)
        except (SafetensorError, OSError) as error:
            raise InputError(
                "The features of an image cannot be kept.",
                expected="room for one file per image",
                found=str(error),
                where=str(self.folder),
                fix="free some space, or train without --cache-features",
            ) from None

    def assemble(self, pictures: list[dict[str, Any]]) -> dict[str, Any]:
        """Features of a batch's images, in order; those that are missing are computed and kept.

        Args:
            pictures: One per image: `key`, and either `features` or, with `hw`, the image's pixel `streams`
                `[1, 3, S, S]`.

        Returns:
            Arguments of `forward` in place of the pixel streams, `[N, ...]` each; the segmenter's are one
            mapping.
        """
        computed: dict[str, dict[str, Tensor]] = {}
        rows = []
        for picture in pictures:
            key = picture["key"]
            if "features" in picture:
                rows.append(picture["features"])
                continue
            if key not in computed:
                # Another batch may have had the same image since this one was made.
                stored = self.read(key)
                if stored is None:
                    stored = StoredFeatures(self.compute(picture["streams"]), tuple(picture["hw"]))
                    self.write(key, stored)
                computed[key] = stored.tensors
            rows.append(computed[key])
        joined: dict[str, Any] = {SEGMENTER: {}}
        for name in rows[0]:
            # `segmenter_features.image_embeddings` goes into a mapping, `vision_features` beside it.
            owner, _, own = name.rpartition(".")
            target = joined[SEGMENTER] if owner == SEGMENTER else joined
            target[own] = torch.cat([row[name].to(self.model.device) for row in rows])
        return joined

    @torch.no_grad()
    def compute(self, streams: dict[str, Tensor]) -> dict[str, Tensor]:
        """Run the encoders over one image, in eval mode."""
        pixels = moved(streams, self.model.device, self.model.dtype)
        with _evaluating(list(encoders(self.model).values())):
            features, drawn_in = self.model.encode(pixels)
        kept: dict[str, Tensor] = features | {f"{SEGMENTER}.{n}": value for n, value in drawn_in.items()}
        return kept


def check_frozen(model: nn.Module) -> None:
    """Refuse to keep the outputs of encoders that change.

    Raises:
        InputError: Naming the encoders that train.
    """
    parts = encoders(model)
    training = [name for name, part in parts.items() if any(p.requires_grad for p in part.parameters())]
    if training:
        raise InputError(
            "Features cannot be kept: they change while the encoders train.",
            expected=f"{', '.join(parts)} frozen",
            found=f"{', '.join(training)} trains",
            where="finetune.cache_features",
            fix="leave out --cache-features, or take these parts out of `trainable`",
        )


@contextmanager
def _evaluating(modules: list[nn.Module]) -> Iterator[None]:
    # Frozen is not at rest: in training mode dropout and random depth would be kept with the features.
    modes = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.train(mode)
