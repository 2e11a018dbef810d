"""Segmenters side by side: what an image costs in the encoder, and what masks cost behind it.

Each is built on torch's meta device at its published size and asked through the same seam as inside a model,
with prompts as wide as it takes; see `compute.py` for what is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Sam2Config, Sam2Model, SamConfig, SamModel

from segue.models.modeling_grounded import SEGMENTERS
from segue.models.presets_qwen import SAM2_BASE_PLUS, SAM2_LARGE
from segue.models.segmenter import MaskPrompts

BYTES_KEPT = 2
"""A number of a kept feature, in bfloat16."""


def _vit(width: int, layers: int, heads: int, attends: list[int]) -> Callable[[], SamConfig]:
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "global_attn_indexes": attends,
    }
    return lambda: SamConfig(vision_config=sizes)


def _small() -> Sam2Config:
    """Hiera-S is transformers' default, Hiera-T, with four more blocks in its third stage."""
    config = Sam2Config()
    backbone = config.vision_config.backbone_config
    backbone.blocks_per_stage, backbone.global_attention_blocks = [1, 2, 11, 2], [7, 10, 13]
    return config


def _of(content: dict[str, Any]) -> Callable[[], Sam2Config]:
    return lambda: Sam2Config(**{name: value for name, value in content.items() if name != "model_type"})


PUBLISHED: dict[str, tuple[type[Any], Callable[[], Any]]] = {
    "SAM ViT-B": (SamModel, _vit(768, 12, 12, [2, 5, 8, 11])),
    "SAM ViT-L": (SamModel, _vit(1024, 24, 16, [5, 11, 17, 23])),
    "SAM ViT-H": (SamModel, _vit(1280, 32, 16, [7, 15, 23, 31])),
    "SAM 2.1 Hiera-T": (Sam2Model, Sam2Config),
    "SAM 2.1 Hiera-S": (Sam2Model, _small),
    "SAM 2.1 Hiera-B+": (Sam2Model, _of(SAM2_BASE_PLUS)),
    "SAM 2.1 Hiera-L": (Sam2Model, _of(SAM2_LARGE)),
}
"""Name -> class and configuration. Source: Segment Anything's and SAM 2's published configurations."""


@dataclass(frozen=True)
class SegmenterCost:
    """Counted cost of one segmenter.

    Attributes:
        name: As published.
        parameters: Of image encoder, prompts and mask decoder.
        encode_flops: Of one image.
        draw_flops: Of all masks of one image, in one call.
        kept_bytes: Of an image's features in bfloat16, which is what a session keeps.
    """

    name: str
    parameters: int
    encode_flops: int
    draw_flops: int
    kept_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Content of its entry in the file that `segue bench` writes."""
        return asdict(self)


def count_segmenter(name: str, masks: int) -> SegmenterCost:
    """Count a published segmenter.

    Args:
        name: One of `PUBLISHED`.
        masks: Drawn in one image.
    """
    kind, config = PUBLISHED[name]
    with torch.device("meta"):
        # As in `compute.meta_model`: fused attention has no kernels there.
        sam = kind._from_config(config(), attn_implementation="eager").eval()
    sam.requires_grad_(False)
    segmenter = SEGMENTERS[kind](sam)
    size = segmenter.input_size
    with FlopCounterMode(display=False) as encoding, torch.no_grad():
        features = segmenter.encode(torch.empty(1, 3, size, size, device="meta"))
    prompts = torch.empty(masks, segmenter.prompt_width, device="meta")
    with FlopCounterMode(display=False) as drawing, torch.no_grad():
        segmenter.decode(features, MaskPrompts(prompts, torch.zeros(masks, dtype=torch.long), None))
    return SegmenterCost(
        name,
        sum(p.numel() for p in sam.parameters()),
        encoding.get_total_flops(),
        drawing.get_total_flops(),
        sum(value.numel() for value in features.values()) * BYTES_KEPT,
    )


def count_segmenters(masks: int) -> list[SegmenterCost]:
    """All of `PUBLISHED`, in its order.

    Args:
        masks: Drawn in one image.
    """
    return [count_segmenter(name, masks) for name in PUBLISHED]
