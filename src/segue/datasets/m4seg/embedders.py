"""Models that turn an image into a vector, for finding similar images.

Source: PRIMA sec. A.2 takes DINOv2 features; sec. 3.2 names the variant, L with registers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segue.errors import ModelError

MINI = "segue-scenes"
DINO = "facebook/dinov2-with-registers-large"
# ImageNet's, as DINOv2 was trained with.
_MEAN = np.asarray((0.485, 0.456, 0.406), np.float32)
_STD = np.asarray((0.229, 0.224, 0.225), np.float32)


class Embedder(Protocol):
    """Anything that embeds images.

    Attributes:
        name: In manifests and records.
        digest: Changes when its vectors do (a hash of its weights).
        dim: Length of a vector.
        near_duplicate: Cosine distance below which two images count as one.
    """

    name: str
    digest: str
    dim: int
    near_duplicate: float

    def __call__(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """RGB images to `[n, dim]`, of any length (they are normalised afterwards)."""
        ...


@lru_cache(maxsize=2)
def open_embedder(name: str) -> Embedder:
    """Open an embedder by name, once in each process.

    Args:
        name: `segue-scenes` (offline, small, made for scenes and street photographs), or the hub name or
            folder of any DINOv2 of transformers, such as `DINO`, which is the paper's.

    Raises:
        ModelError: It cannot be loaded.
    """
    return MiniEmbedder() if name == MINI else DinoEmbedder(name)


class MiniEmbedder:
    """The second encoder of the embedded model, mean of its patches.

    Source: ours, so that everything runs offline. Its vectors lie close together, hence the small distance
        of near duplicates: pairs of different street photographs begin at 0.009.
    """

    name: str = MINI
    near_duplicate: float = 0.002

    def __init__(self) -> None:
        from segue.models import auto
        from segue.models.processing_grounded import ImageStream

        bundle = auto.load(MINI)
        self._tower = bundle.model.aux_vision_model
        self._device = next(self._tower.parameters()).device
        self._stream = ImageStream(**bundle.processor.image_streams["pixel_values_aux"])
        # The class token and the registers come before the patches: (1 + registers + patches, dim).
        self._prefix = 1 + int(self._tower.config.num_register_tokens)
        self.dim = int(self._tower.config.hidden_size)
        self.digest = weights_digest(self._tower)

    def __call__(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        import torch

        pixels = torch.stack([self._stream(image) for image in images]).to(self._device)
        with torch.inference_mode():
            hidden = self._tower(pixels).last_hidden_state
        return np.asarray(hidden[:, self._prefix :].mean(1).float().cpu().numpy(), np.float32)


class DinoEmbedder:
    """DINOv2 of transformers: the class token after the final norm, of the image at 224 x 224.

    The image is resized, not cropped, so that what stands at its edges counts too.

    Source: PRIMA sec. A.2 (DINOv2, cosine); pooling, size and the distance of near duplicates (0.02): ours.
    """

    near_duplicate: float = 0.02
    side: ClassVar[int] = 224

    def __init__(self, name_or_path: str) -> None:
        import torch
        from transformers import AutoModel

        try:
            model = AutoModel.from_pretrained(name_or_path)
            self.dim = int(model.config.hidden_size)
        except (OSError, ValueError, AttributeError) as error:
            raise ModelError(
                "The embedder cannot be loaded.",
                expected=f"{MINI}, or a DINOv2 of transformers such as {DINO} or a folder of it",
                found=f"{type(error).__name__}: {error}",
                where=f"embedder {name_or_path}",
                fix="download it, or give the folder that it lies in",
            ) from None
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.float().eval().to(self._device)
        # Without the way to it: the name is part of a stage's key, and the digest tells weights apart
        # wherever they lie.
        self.name = Path(name_or_path).name if Path(name_or_path).is_dir() else name_or_path
        self.digest = weights_digest(self._model)

    def __call__(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        import torch

        pixels = torch.from_numpy(np.stack([self._pixels(image) for image in images])).to(self._device)
        with torch.inference_mode():
            hidden = self._model(pixel_values=pixels).last_hidden_state
        # The class token comes first. transformers' `last_hidden_state` of DINOv2 is after the final norm.
        return np.asarray(hidden[:, 0].float().cpu().numpy(), np.float32)

    def _pixels(self, image: Image.Image) -> NDArray[np.float32]:
        small = image.convert("RGB").resize((self.side, self.side), Image.Resampling.BICUBIC)
        scaled = (np.asarray(small, np.float32) / 255 - _MEAN) / _STD
        # (height, width, 3) to (3, height, width).
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def weights_digest(module: Any) -> str:
    """SHA-256 over the names and values of a module's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        # To float32 first, since NumPy has no bfloat16.
        digest.update(np.ascontiguousarray(value.float().cpu().numpy()).tobytes())
    return digest.hexdigest()
