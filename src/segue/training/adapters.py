"""What trains in each family: the frozen/trainable table as data, and LoRA on the language model."""

from __future__ import annotations

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn

from segue.errors import InputError
from segue.models.modeling_grounded import GroundedModel

TRAINABLE: dict[str, tuple[str, ...]] = {
    "mini": (
        "language_model",
        "reader",
        "fusion",
        "image_projection",
        "seg_projection",
        "sam.mask_decoder",
    ),
    "prima": (
        "fusion",
        "reader.query_tokens",
        "image_projection",
        "seg_projection",
        "sam.mask_decoder",
        "language_model.model.embed_tokens",
        "language_model.lm_head",
    ),
    "prima-square": (
        "reader.relational",
        "image_projection",
        "seg_projection",
        "sam.mask_decoder",
        "language_model.model.embed_tokens",
        "language_model.lm_head",
    ),
}
"""Parameter prefixes that train beside the LoRA weights; everything else is frozen.

Source: `mini`: ours; it is small enough to train whole parts, and new words need the embeddings and all
layers of its language model (towers, SAM's encoder, slot heads stay). `prima`: PRIMA section 3.2 (query tokens
finetuned, decoder finetuned, encoder frozen, tokens trained); fusion and projections are new and must train.
`prima-square`: the newer version's figure (the Q-Former and its queries are frozen; relational attention,
projections and SAM's decoder train). Embeddings and head in full as in GLaMM's code.
"""


def add_lora(
    model: GroundedModel,
    rank: int = 8,
    alpha: int = 16,
    dropout: float = 0.05,
    targets: tuple[str, ...] = ("q_proj", "k_proj"),
) -> list[str]:
    """Put LoRA layers on the language model's attention, in place.

    Args:
        model: gets `lora_A` and `lora_B` beside each target.
        rank, alpha: PRIMA's 8 and 16.
        targets: PRIMA's queries and keys; GLaMM and LISA use `q_proj`, `v_proj`.

    Returns:
        Names of the LoRA parameters, relative to the whole model.

    Source: PRIMA appendix C.
    """
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets), bias="none"
    )
    inject_adapter_in_model(config, model.language_model)
    return [name for name, _ in model.named_parameters() if "lora_" in name]


def merge_lora(model: GroundedModel) -> int:
    """Fold the LoRA layers into the weights that they adapt, in place; returns how many there were."""
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, layer in layers:
        parent_name, _, child = name.rpartition(".")
        layer.merge()
        setattr(model.get_submodule(parent_name), child, layer.get_base_layer())
    return len(layers)


def prepare_for_training(model: GroundedModel, family: str) -> list[str]:
    """Freeze everything but the family's table and the LoRA weights.

    Args:
        family: a key of `TRAINABLE`.

    Returns:
        Names of the parameters that train.

    Raises:
        InputError: no such family.
    """
    if family not in TRAINABLE:
        raise InputError(
            "unknown family",
            expected=" or ".join(TRAINABLE),
            found=family,
            where="prepare_for_training",
            fix="choose one of them",
        )
    trains = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(TRAINABLE[family]) or "lora_" in name)
        if parameter.requires_grad:
            trains.append(name)
    return trains


def trained_parts(model: nn.Module) -> dict[str, int]:
    """Parameters that train, counted by top-level part."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = name.split(".")[0]
            counts[part] = counts.get(part, 0) + parameter.numel()
    return counts
