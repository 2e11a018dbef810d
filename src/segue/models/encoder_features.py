"""What encoders make of images, on the disk: a hash of what it depends on, and files of tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from segue.files import atomic_path

if TYPE_CHECKING:
    from segue.models.processing_grounded import GroundedProcessor

__all__ = ["encoder_hash", "encoders", "image_hash", "image_weights", "read_features", "write_features"]


def encoders(model: Any) -> dict[str, nn.Module]:
    """Parts of a model whose outputs may be kept while they are frozen."""
    modules = dict(model.named_modules())
    return {name: modules[name] for name in model.encoder_parts if name in modules}


def encoder_hash(model: nn.Module, processor: GroundedProcessor) -> str:
    """Changes with every weight of the encoders and with the images' sizes and normalisation."""
    weights = (
        (f"{encoder}.{name}", value)
        for encoder, part in encoders(model).items()
        for name, value in part.state_dict().items()
    )
    return _digest(repr(sorted(processor.image_streams.items())), weights)


def image_weights(model: Any) -> dict[str, Tensor]:
    """Tensors by name that what is kept of an image may depend on: all but the language model's.

    More than `encoders`: sessions keep whatever `encode_features` returns, in every family.
    """
    parts = {**dict(model.named_children()), **model.unsaved_encoders}
    del parts["language_model"]
    # Qwen3-VL's vision tower lies inside of it.
    parts |= {name: part for name, part in encoders(model).items() if name.startswith("language_model.")}
    return {
        f"{part}.{name}": value
        for part, module in parts.items()
        for name, value in (*module.named_parameters(), *module.named_buffers())
    }


def image_hash(model: Any, processor: GroundedProcessor) -> str:
    """Changes with all that is kept of an image but the image: weights, configuration, image processing."""
    # The configuration too: a layer that is chosen (`vision_select_layer`) has no weight of its own.
    begin = repr((sorted(processor.image_streams.items()), model.config.to_json_string(use_diff=False)))
    return _digest(begin, image_weights(model).items())


def _digest(begin: str, weights: Iterable[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256(begin.encode())
    for name, value in weights:
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def read_features(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """The tensors of a file and what is noted beside them; None when it is not there or damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            noted = dict(file.metadata() or {})
            return {name: file.get_tensor(name) for name in file.keys()}, noted  # noqa: SIM118  not a mapping
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return None  # damaged on the disk: whoever asks computes and writes it again


def write_features(path: Path, tensors: Mapping[str, Tensor], noted: dict[str, str] | None = None) -> None:
    """Write tensors to a file that appears complete or not at all.

    Raises:
        SafetensorError, OSError: The folder takes no more files.
    """
    ready = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_path(path) as unfinished:
        save_file(ready, unfinished, metadata=noted or {})
