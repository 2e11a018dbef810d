"""Boxes to masks: SAM or SAM 2 of transformers, or the boxes themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, Sam2Model, SamModel

from segue.agent.boxes import Box
from segue.errors import ModelError
from segue.models.image_streams import IMAGENET_MEAN, IMAGENET_STD
from segue.models.losses import resize_logits
from segue.models.processing_grounded import ImageStream

CACHED_SAMS = (
    "facebook/sam2.1-hiera-large",
    "facebook/sam2.1-hiera-base-plus",
    "facebook/sam-vit-huge",
    "facebook/sam2.1-hiera-small",
    "facebook/sam-vit-large",
    "facebook/sam2.1-hiera-tiny",
    "facebook/sam-vit-base",
)
"""Names looked for in the Hugging Face cache when no SAM is named, best first. Source: ours."""

NO_SAM = "none"
"""In place of a SAM's name: every box is its own mask."""

Drawn = tuple[np.ndarray, float]
"""bool mask `[H, W]` of the original image, and the mean foreground probability inside it."""


class MaskMaker(Protocol):
    """Draws masks for boxes; an image is encoded once, whatever is asked about it."""

    def encode(self, image: Image.Image) -> Any:
        """Encode an image for `draw`."""
        ...

    def draw(self, encoded: Any, boxes: Sequence[Box], hw: tuple[int, int]) -> list[Drawn]:
        """One mask per box.

        Args:
            encoded: From `encode`.
            boxes: left, top, right, bottom in pixels of the original image.
            hw: (height, width) of the original image.
        """
        ...


class SamMaskMaker(nn.Module):
    """SAM or SAM 2 with box prompts, all boxes of an image in one call of the decoder.

    Args:
        sam: `SamModel` or `Sam2Model`.

    Source: both models' own preprocessing: SAM fits the longest side and pads, SAM 2 stretches to a square.
    """

    def __init__(self, sam: SamModel | Sam2Model) -> None:
        super().__init__()
        self.sam = sam
        self._second = isinstance(sam, Sam2Model)
        size = sam.config.vision_config.backbone_config.image_size if self._second else None
        side = size or sam.config.prompt_encoder_config.image_size
        self.stream = ImageStream(
            side if isinstance(side, int) else side[0],
            "stretch" if self._second else "pad",
            tuple(IMAGENET_MEAN),
            tuple(IMAGENET_STD),
        )

    @torch.no_grad()
    def encode(self, image: Image.Image) -> Any:
        """The image's embedding, `[1, C, h, w]`; for SAM 2 a list of three."""
        parameter = next(self.sam.parameters())
        pixels = self.stream(image)[None].to(parameter.device, parameter.dtype)
        return self.sam.get_image_embeddings(pixels)

    @torch.no_grad()
    def draw(self, encoded: Any, boxes: Sequence[Box], hw: tuple[int, int]) -> list[Drawn]:
        """See `MaskMaker.draw`."""
        if not boxes:
            return []
        resized = self.stream.resized_hw(hw)
        # From pixels of the original to those of the model's square: x, y, x, y.
        scale = torch.tensor([resized[1] / hw[1], resized[0] / hw[0]] * 2)
        first = encoded[-1] if self._second else encoded
        prompts = (torch.tensor(boxes, dtype=torch.float32) * scale)[None].to(first.device, first.dtype)
        output = self.sam(image_embeddings=encoded, input_boxes=prompts, multimask_output=False)
        logits = output.pred_masks[0, :, 0]
        return [self._finish(one, resized, hw) for one in logits]

    def _finish(self, logits: Tensor, resized: tuple[int, int], hw: tuple[int, int]) -> Drawn:
        if self._second:
            # SAM 2's square is the whole picture, stretched; SAM's has padding to be cut off first.
            full = F.interpolate(logits.float()[None, None], hw, mode="bilinear", align_corners=False)[0, 0]
        else:
            full = resize_logits(logits[None], resized, hw, self.stream.size)[0]
        mask = full > 0
        score = float(full[mask].sigmoid().mean()) if bool(mask.any()) else 0.0
        return mask.cpu().numpy(), score


class BoxFiller(nn.Module):
    """Every box is its own mask: for trying a chat model out, and to see what SAM adds."""

    def encode(self, image: Image.Image) -> None:
        """Nothing is needed."""

    def draw(self, encoded: None, boxes: Sequence[Box], hw: tuple[int, int]) -> list[Drawn]:
        """Filled boxes, pixels whose centre lies inside; score 1, since a box claims nothing else."""
        drawn = []
        for left, top, right, bottom in boxes:
            mask = np.zeros(hw, bool)
            mask[round(top) : max(round(top) + 1, round(bottom)),
                 round(left) : max(round(left) + 1, round(right))] = True  # fmt: skip
            drawn.append((mask, 1.0))
        return drawn


def load_mask_maker(
    name: str = "", device: str | torch.device | None = None, dtype: torch.dtype | str | None = None
) -> SamMaskMaker | BoxFiller:
    """Load what draws the masks.

    Args:
        name: A folder that `save_pretrained` wrote, or a hub name, of a SAM or SAM 2; a hub name is
            downloaded once. "none" for no SAM. Empty for the best of `CACHED_SAMS` that is in the cache.
        device: The first CUDA device if there is one, else the CPU.
        dtype: float32 by default.

    Raises:
        ModelError: None found, not a SAM, damaged, or a device that cannot be used.
    """
    if name == NO_SAM:
        return BoxFiller()
    name = name or _cached_sam()
    try:
        kind = AutoConfig.from_pretrained(name).model_type
    # The hub's client and the readers raise whatever they trip over.
    except Exception as error:
        raise _no_sam(name, "a folder or hub name of a SAM", f"{type(error).__name__}: {error}") from None
    # Published SAM 2 repositories call themselves sam2_video; the half that sees single images is the same.
    classes = {"sam": SamModel, "sam2": Sam2Model, "sam2_video": Sam2Model}
    if kind not in classes:
        raise _no_sam(name, "model_type " + " or ".join(classes), repr(kind))
    try:
        sam, report = classes[kind].from_pretrained(
            name, dtype=dtype or torch.float32, output_loading_info=True
        )
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        sam = sam.to(place).eval()
    except Exception as error:
        raise _no_sam(
            name, "weights that can be read and moved", f"{type(error).__name__}: {error}"
        ) from None
    # A SAM with parts drawn at random would draw masks too, only not of anything.
    missing = sorted(map(str, [*report.get("missing_keys", ()), *report.get("mismatched_keys", ())]))
    if missing:
        raise _no_sam(
            name, "weights for every parameter", f"{len(missing)} without: {', '.join(missing[:3])}"
        )
    return SamMaskMaker(sam)


def _cached_sam() -> str:
    from huggingface_hub import try_to_load_from_cache

    for name in CACHED_SAMS:
        if isinstance(try_to_load_from_cache(name, "model.safetensors"), str):
            return name
    raise ModelError(
        "No SAM is named, and none is in the Hugging Face cache.",
        expected="sam=FOLDER or sam=HUB-NAME in the agent's address",
        found="neither",
        where="model name",
        fix="add &sam=facebook/sam2.1-hiera-base-plus (downloaded once, 0.3 GB), or &sam=none to fill boxes",
    )


def _no_sam(name: str, expected: str, found: str) -> ModelError:
    # A folder is named by its last part: messages travel further than the machine.
    return ModelError(
        "The SAM that turns boxes into masks cannot be loaded.",
        expected=expected,
        found=found,
        where=f"sam={Path(name).name if Path(name).is_absolute() else name}",
        fix="give a folder with config.json and weights, a hub name such as facebook/sam-vit-base, or none",
    )
