"""Pixel streams: sizes, fitting and normalisation of the images that each family's encoders see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from segue.models.configuration_grounded import PrimaConfig
from segue.models.configuration_lisa import LisaConfig
from segue.models.configuration_miras import MirasConfig

# Red, green, blue. SAM's own numbers, 123.675, 116.28, 103.53 on the 0..255 scale, are ImageNet's.
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@dataclass(frozen=True)
class ImageStream:
    """One encoder's wishes: size, fit and normalisation.

    Attributes:
        size: side of the square, in pixels.
        fit: `stretch` to the square; `pad` fits the longest side and pads bottom and right with zeros after
            normalising (SAM); `letterbox` does the same on both sides (LLaVA-1.5); `square` pads both sides
            with the mean colour before resizing (OMG-LLaVA); `crop` fits the shortest side and cuts the
            centre (CLIP).
        mean, std: per channel, on the 0..1 scale.
    """

    size: int
    fit: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def centred(self) -> bool:
        """Whether a picture lies in the middle of the square."""
        return self.fit in ("letterbox", "square")

    def resized_hw(self, hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width of a `hw` photograph inside the square."""
        if self.fit == "stretch":
            return self.size, self.size
        if self.fit == "crop":
            # CLIP's preprocessing cuts the fraction of a pixel off where SAM's rounds it.
            return self.size * hw[0] // min(hw), self.size * hw[1] // min(hw)
        # Half up, as SAM rounds; Python's `round` goes to the even number. A strip of 1 x 5000 keeps a row.
        scale = self.size / max(hw)
        return max(1, int(hw[0] * scale + 0.5)), max(1, int(hw[1] * scale + 0.5))

    def __call__(self, image: Image.Image) -> Tensor:
        """RGB image to `[3, size, size]` float32."""
        if self.fit == "square":
            image = padded_square(image, self.mean)
        height, width = self.resized_hw((image.height, image.width))
        # As their own preprocessing does: SAM's is bilinear, CLIP's and DINOv2's are bicubic.
        filter_ = Image.Resampling.BILINEAR if self.fit == "pad" else Image.Resampling.BICUBIC
        if (image.height, image.width) != (height, width):
            # PIL counts (width, height), everything else here (height, width).
            image = image.resize((width, height), filter_)
        pixels: NDArray[Any] = np.asarray(image, dtype=np.float32) / 255.0
        pixels = (pixels - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)
        if self.fit == "crop":
            top, left = (height - self.size) // 2, (width - self.size) // 2
            return tensor[:, top : top + self.size, left : left + self.size].contiguous()
        if (height, width) == (self.size, self.size):
            return tensor.contiguous()
        # After normalising: zero is then the mean colour, as in the published code, not black.
        square = tensor.new_zeros((3, self.size, self.size))
        top, left = ((self.size - side) // 2 if self.centred else 0 for side in (height, width))
        square[:, top : top + height, left : left + width] = tensor
        return square


def padded_square(image: Image.Image, mean: tuple[float, ...]) -> Image.Image:
    """An RGB image in the middle of a square of its mean colour, whole numbers rounded down.

    Source: OMG-LLaVA's code (`expand2square`).
    """
    side = max(image.width, image.height)
    if image.width == image.height:
        return image
    square = Image.new("RGB", (side, side), tuple(int(value * 255) for value in mean))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def moved(streams: dict[str, Tensor], device: torch.device | str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Streams where a model is: pixels in its precision; whole numbers (sizes of grids) keep theirs."""
    return {
        name: value.to(device, dtype if value.is_floating_point() else value.dtype)
        for name, value in streams.items()
    }


def streams_for(config: PrimaConfig, aux_size: int | None = None) -> dict[str, dict[str, Any]]:
    """Image streams whose sizes agree with a PRIMA configuration.

    SAM sees the picture with its longest side fitted and the rest padded; the others see all of it squeezed
    to a square (InstructBLIP's own resizing; DINOv2's usual centre crop would hide what masks are asked
    for).
    """
    vision, aux = config.vision_config.image_size, aux_size or config.aux_vision_config.image_size
    streams: dict[str, dict[str, Any]] = {
        "pixel_values": {"size": vision, "fit": "stretch", "mean": CLIP_MEAN, "std": CLIP_STD},
        "pixel_values_aux": {"size": aux, "fit": "stretch", "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
        "pixel_values_sam": {
            "size": config.sam_config.vision_config.image_size,
            "fit": "pad",
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
        },
    }
    if not config.aux_vision:
        del streams["pixel_values_aux"]
    return streams


def clip_streams_for(config: LisaConfig) -> dict[str, dict[str, Any]]:
    """Image streams of LISA and GLaMM: CLIP sees the centre of the picture, SAM all of it.

    Source: LISA's and GLaMM's code.
    """
    size = config.vision_config.image_size
    sam = config.sam_config.vision_config.image_size
    return {
        "pixel_values": {"size": size, "fit": "crop", "mean": CLIP_MEAN, "std": CLIP_STD},
        "pixel_values_sam": {"size": sam, "fit": "pad", "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
    }


def miras_streams_for(config: MirasConfig) -> dict[str, dict[str, Any]]:
    """Image streams of MIRAS: both encoders see the whole picture in the middle of a padded square.

    Source: LLaVA-1.5's and Mini-Gemini's code pad to a square; MIRAS's own cuts the centre out, so that its
    language model never sees the edges on which masks are asked for.
    """
    shown = {"fit": "letterbox", "mean": CLIP_MEAN, "std": CLIP_STD}
    sam = config.sam_config.vision_config.image_size
    return {
        "pixel_values": {"size": config.vision_config.image_size} | shown,
        "pixel_values_aux": {"size": config.aux_vision_config.image_size} | shown,
        "pixel_values_sam": {"size": sam, "fit": "pad", "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
    }
