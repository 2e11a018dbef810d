"""Patches of pictures that keep their ratio, as Qwen3-VL sees them; without torchvision."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from PIL import Image
from torch import Tensor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from segue.errors import ImageError

_MOST_STRETCHED = 200
"""Longest side over shortest that Qwen's resizing takes."""


@dataclass(frozen=True)
class PatchStream:
    """Pictures as patches: resized to multiples of a merged patch within limits of area, then cut.

    Attributes:
        min_pixels, max_pixels: limits of the resized picture's area.
        patch_size: side of a patch in pixels.
        merge_size: patches along each side of one visual token.
        temporal_patch_size: frames of a patch; a picture is repeated as often.
        mean, std: of all three channels, on the 0..1 scale.

    Source: Qwen3-VL's preprocessing; `max_pixels` is a preset's.
    """

    min_pixels: int
    max_pixels: int
    patch_size: int = 16
    merge_size: int = 2
    temporal_patch_size: int = 2
    mean: float = 0.5
    std: float = 0.5

    @cached_property
    def _processor(self) -> Qwen2VLImageProcessorPil:
        return Qwen2VLImageProcessorPil(
            size={"shortest_edge": self.min_pixels, "longest_edge": self.max_pixels},
            patch_size=self.patch_size,
            merge_size=self.merge_size,
            temporal_patch_size=self.temporal_patch_size,
            image_mean=[self.mean] * 3,
            image_std=[self.std] * 3,
        )

    def resized_hw(self, hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width of a `hw` photograph as the vision tower sees it.

        Raises:
            ImageError: A strip that Qwen's resizing refuses.
        """
        if max(hw) > _MOST_STRETCHED * min(hw):
            raise ImageError(
                "A picture is too long and narrow for this model.",
                expected=f"at most {_MOST_STRETCHED} times as long as wide",
                found=f"{hw[1]} x {hw[0]} pixels",
                where="image",
                fix="cut out the part that matters",
            )
        height, width = smart_resize(*hw, self.patch_size * self.merge_size, self.min_pixels, self.max_pixels)
        return int(height), int(width)

    def num_tokens(self, hw: tuple[int, int]) -> int:
        """Visual tokens of a `hw` photograph."""
        height, width = self.resized_hw(hw)
        return height * width // (self.patch_size * self.merge_size) ** 2

    def patches(self, images: list[Image.Image]) -> dict[str, Tensor]:
        """RGB images to `pixel_values` `[P, C]` float32 and `image_grid_thw` `[N, 3]`.

        Raises:
            ImageError: See `resized_hw`.
        """
        for image in images:
            self.resized_hw((image.height, image.width))
        found = self._processor(images=images, return_tensors="pt")
        return {"pixel_values": found["pixel_values"], "image_grid_thw": found["image_grid_thw"]}
