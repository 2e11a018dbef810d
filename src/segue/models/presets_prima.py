"""PRIMA at its published size, and a tiny one for tests, as configurations."""

from __future__ import annotations

from typing import Any

from segue.models.configuration_grounded import MODULES_WITH_QUERIES, PrimaConfig
from segue.models.presets_parts import (
    LLAMA_7B,
    SAM_HUGE,
    TINY_CLIP,
    TINY_DINO,
    TINY_LLAMA,
    TINY_QFORMER,
    TINY_SAM,
)

PRIMA_COMPONENTS = {
    "vision_model, reader": "Salesforce/instructblip-vicuna-7b",
    "aux_vision_model": "facebook/dinov2-with-registers-large",
    "language_model": "lmsys/vicuna-7b-v1.5",
    "sam": "facebook/sam-vit-huge",
}


PRIMA_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "prima-7b": ("PRIMA as in the paper: EVA-CLIP-g x DINOv2-L, Q-Former, Vicuna-7B, SAM ViT-H", {}),
    "prima-square-7b": (
        "PRIMA's newer version: relational queries over all images (SQuARE)",
        {"visual_module": "square"},
    ),
    "prima-plain-7b": (
        "PRIMA without Q-Former and DINOv2: CLIP's patches projected; SQuARE replaced by a projection",
        {"visual_module": "projection", "aux_vision": False},
    ),
    "prima-qformer-7b": ("PRIMA without DINOv2: the Q-Former reads CLIP alone", {"aux_vision": False}),
    "prima-dino-7b": (
        "PRIMA without Q-Former: CLIP's patches, fused with DINOv2's, projected",
        {"visual_module": "projection"},
    ),
    "prima-pooling-7b": (
        "PRIMA's newer version with SQuARE replaced by pooling: 32 means of CLIP's patches",
        {"visual_module": "pooling", "aux_vision": False},
    ),
}
"""Presets of the family: summary, and what differs from the paper's model.

Source: PRIMA table 4 and the newer version's table; how SQuARE is replaced there is not said, so both rows
are read as the whole way from features to tokens (ours).
"""


def components_of(overrides: dict[str, Any]) -> dict[str, str]:
    """Public checkpoints that a variant starts from: those of the parts that it has."""
    found = dict(PRIMA_COMPONENTS)
    # As `GroundedConfig.has_queries` says of a whole configuration, which is slow to make at every import.
    if overrides.get("visual_module", "fusion") not in MODULES_WITH_QUERIES:
        found = {"vision_model": found.pop("vision_model, reader"), **found}
    if not overrides.get("aux_vision", True):
        del found["aux_vision_model"]
    return found


def prima_7b_config(visual_module: str = "fusion", **overrides: Any) -> PrimaConfig:
    """PRIMA at full size.

    EVA-CLIP-g/14 without its last block, DINOv2-L with registers, BLIP-2's Q-Former, Vicuna-7B v1.5 with the
    seven tokens of GLaMM and `<image>`, SAM ViT-H.

    Source: PRIMA section 3.2 and appendix C; token order GLaMM's code.
    """
    return PrimaConfig(
        **(
            {
                "visual_module": visual_module,
                "vision_config": {
                    "hidden_size": 1408,
                    "intermediate_size": 6144,
                    "num_hidden_layers": 39,
                    "num_attention_heads": 16,
                    "image_size": 224,
                    "patch_size": 14,
                },
                "aux_vision_config": {
                    "hidden_size": 1024,
                    "num_hidden_layers": 24,
                    "num_attention_heads": 16,
                    # What its positions were trained at; the preset's stream shows 448 pixels.
                    "image_size": 518,
                    "patch_size": 14,
                    "num_register_tokens": 4,
                },
                # BERT's 30522 pieces and BLIP-2's `[DEC]`; the other sizes are the class's own, BERT-base's.
                "qformer_config": {"vocab_size": 30523},
                "text_config": LLAMA_7B | {"vocab_size": 32008},
                "sam_config": SAM_HUGE,
                "seg_token_id": 32004,
                "phrase_token_id": 32005,
                "image_token_id": 32007,
            }
            | overrides
        )
    )


def tiny_prima_config(**overrides: Any) -> PrimaConfig:
    """Random-weight size: every part present, milliseconds a step, text outputs kept. Source: ours.

    Ids are those of a tokenizer of `segue.mini.tokenizer`.
    """
    fields: dict[str, Any] = {
        "vision_config": TINY_CLIP,
        "aux_vision_config": TINY_DINO,
        # From the second layer on, outputs at the instruction's positions know of the image too.
        "qformer_config": TINY_QFORMER | {"num_hidden_layers": 2},
        "text_config": TINY_LLAMA,
        "sam_config": TINY_SAM,
        "num_query_tokens": 5,
        "fusion_heads": 2,
        "identifier_token_ids": tuple(range(7, 16)),
        "seg_token_id": 4,
        "phrase_token_id": 5,
        "image_token_id": 3,
        "mask_loss_resolution": "decoder",
    }
    return PrimaConfig(**(fields | overrides))
