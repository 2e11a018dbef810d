"""What trains in each family: the frozen/trainable table as data, and LoRA on the language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peft import LoraConfig, TrainableTokensConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.tuners.trainable_tokens import TrainableTokensLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from segue.errors import InputError
from segue.models.modeling_grounded import GroundedModel
from segue.protocol import OBJ_TOKEN, PHRASE_END, PHRASE_START, SEG_TOKEN

ADAPTER = "default"
"""peft's name for the only adapter of a model."""

_ADAPTER_PARTS = (".lora_", ".trainable_tokens_")

TRAINABLE: dict[str, tuple[str, ...]] = {
    "mini": (
        "language_model",
        "reader",
        "fusion",
        "image_projection",
        "seg_projection",
        "sam.mask_decoder",
        "sam.vision_encoder",
        "slot_heads.classes",
    ),
    "mini-frozen": (
        "language_model",
        "reader",
        "fusion",
        "image_projection",
        "seg_projection",
        "sam.mask_decoder",
        "slot_heads.classes",
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
    "prima-tokens": (
        "fusion",
        "reader.query_tokens",
        "image_projection",
        "seg_projection",
        "sam.mask_decoder",
    ),
    "prima-square": (
        "reader.relational",
        "image_projection",
        "seg_projection",
        "sam.mask_decoder",
        "language_model.model.embed_tokens",
        "language_model.lm_head",
    ),
    "lisa": (
        "seg_projection",
        "sam.mask_decoder",
        "language_model.model.embed_tokens",
        "language_model.lm_head",
    ),
    "glamm": (
        "seg_projection",
        "sam.mask_decoder",
        "language_model.model.embed_tokens",
        "language_model.lm_head",
    ),
    "miras": (
        "fusion",
        "seg_projection",
        "sam.mask_decoder",
        "language_model.model.embed_tokens",
        "language_model.lm_head",
    ),
    "miras-frozen": (
        "fusion",
        "image_projection",
        "seg_projection",
        "sam.mask_decoder",
    ),
}
"""Parameter prefixes that train beside the LoRA weights; everything else is frozen.

Source: `mini`: ours; small enough to train whole parts, new words need the embeddings and all layers of the
language model and the slots' classes, and new shapes need SAM's encoder, which has seen little (towers stay).
`mini-frozen`: the same with SAM's encoder frozen, so that its outputs can be kept. `prima`: PRIMA section 3.2
(query tokens tuned, decoder finetuned, encoder frozen, tokens trained); fusion and projections are new.
`prima-square`: the newer version's figure (the Q-Former and its queries are frozen; relational attention,
projections and SAM's decoder train). Embeddings and head in full as in GLaMM's code. `lisa`, `glamm`: their
code (CLIP, the projection of its features, and SAM's encoders are frozen). `miras`: its code (LoRA, tables,
`[SEG]` projection and SAM's decoder), and the patch mining that the code leaves at random. `miras-frozen`:
its paper (decoder and projections train; encoders and language model are frozen, save for the rows of the
new tokens, which could not be learned otherwise).
"""

ALWAYS = ("region_alignment",)
"""Prefixes that train in every family where the option is on. Source: MIRAS's paper."""

FINETUNE_DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "mini": {
        "options": {
            "batch_size": 2,
            "code_prompts": 6,
            "distillation": 1.0,
            "name_presence": 0.5,
        },
        "optimiser": {"muon_rate": 0.01, "muon_parts": ["sam"]},
        "finetune": {"least_steps": 1000},
    },
    "mini-frozen": {
        "options": {"batch_size": 2, "code_prompts": 6, "distillation": 1.0, "name_presence": 0.5},
        "finetune": {"least_steps": 1000},
    },
}
"""Fields of a recipe that a family's finetuning has unless the recipe says otherwise.

Source: ours; segue-mini's decoder was made with the codes of phrases and its SAM with Muon. In the same time
many small batches teach it far more than few large ones (docs/own_data.md).
"""

LORA_TARGETS: dict[str, tuple[str, ...]] = {
    "lisa": ("q_proj", "v_proj"),
    "glamm": ("q_proj", "v_proj"),
    "miras": ("q_proj", "v_proj"),
    "miras-frozen": (),
}
"""Layers that LoRA adapts where they are not PRIMA's queries and keys. Source: LISA's, GLaMM's, MIRAS's
code; MIRAS's paper."""


TOKENS_ONLY = {
    "prima-tokens": (SEG_TOKEN, PHRASE_START, PHRASE_END),
    "miras-frozen": (SEG_TOKEN, OBJ_TOKEN, "<im_start>", "<im_end>"),
}
"""Families that train single rows of embeddings and head instead of all, and the tokens of these rows.

Source: ours. `prima-tokens`: for 24 GB; embeddings and head in full cost 262 M parameters with their Adam
states, 4.2 GB. `miras-frozen`: the tokens that LLaVA does not have.
"""


def special_token_ids(tokenizer: Any, family: str = "prima-tokens") -> list[int]:
    """Ids of the rows that a family of `TOKENS_ONLY` trains; tokens that the tokenizer lacks are left out."""
    ids = tokenizer.convert_tokens_to_ids(list(TOKENS_ONLY[family]))
    return sorted(i for i in ids if isinstance(i, int) and i >= 0 and i != tokenizer.unk_token_id)


def add_lora(
    model: GroundedModel,
    rank: int = 8,
    alpha: int = 16,
    dropout: float = 0.05,
    targets: tuple[str, ...] = ("q_proj", "k_proj"),
    token_ids: Sequence[int] = (),
) -> list[str]:
    """Put LoRA layers on the language model's attention, or trainable rows on its tables, in place.

    Args:
        model: gets `lora_A` and `lora_B` beside each target.
        rank, alpha: PRIMA's 8 and 16.
        targets: PRIMA's queries and keys; GLaMM, LISA and MIRAS use `q_proj`, `v_proj`. None leaves the
            rows of `token_ids` alone to train.
        token_ids: rows of the embeddings and of the head that train while the rest of both is frozen; for
            families of `TOKENS_ONLY`.

    Returns:
        Names of the adapters' parameters, relative to the whole model.

    Source: PRIMA appendix C.
    """
    tables = ["embed_tokens", "lm_head"]
    if not targets:
        rows = TrainableTokensConfig(target_modules=tables, token_indices=list(token_ids))
        inject_adapter_in_model(rows, model.language_model)
        return [name for name, _ in model.named_parameters() if is_adapter(name)]
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(targets),
        bias="none",
        trainable_token_indices={part: list(token_ids) for part in tables} if token_ids else None,
    )
    inject_adapter_in_model(config, model.language_model)
    return [name for name, _ in model.named_parameters() if is_adapter(name)]


def is_adapter(name: str) -> bool:
    """Whether a parameter belongs to LoRA or to the trainable rows of the embeddings."""
    return any(part in name for part in _ADAPTER_PARTS)


def merge_lora(model: GroundedModel) -> int:
    """Fold the LoRA layers into the weights that they adapt, in place; returns how many there were."""
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, layer in layers:
        parent_name, _, child = name.rpartition(".")
        layer.merge()
        setattr(model.get_submodule(parent_name), child, layer.get_base_layer())
    return len(layers)


def has_adapters(model: nn.Module) -> bool:
    """Whether LoRA layers or trainable tokens have been put into a model."""
    return any(isinstance(module, BaseTunerLayer) for module in model.modules())


def merged_state(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A model's weights with its adapters folded in, under the names that they have without adapters.

    Args:
        model: says where the adapters are and how they scale; its weights are not read.
        state: all of its weights, in memory that this process sees (not ZeRO's or FSDP2's pieces).
    """
    merged = {n: v for n, v in state.items() if not any(part in n for part in _ADAPTER_PARTS)}
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer) and f"{name}.base_layer.weight" in state:
            a, b = (state[f"{name}.lora_{x}.{ADAPTER}.weight"] for x in "AB")
            base = state[f"{name}.base_layer.weight"]
            change = (b.float() @ a.float()) * layer.scaling[ADAPTER]
            merged[f"{name}.base_layer.weight"] = (base.float() + change).to(base.dtype)
        elif isinstance(layer, TrainableTokensLayer):
            rows = state[f"{name}.trainable_tokens_delta.{ADAPTER}"]
            base = state[f"{name}.base_layer.weight"].clone()
            base[layer.token_indices[ADAPTER]] = rows.to(base.dtype)
            merged[f"{name}.base_layer.weight"] = base
    return {n.replace(".token_adapter", "").replace(".base_layer", ""): v for n, v in merged.items()}


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
        parameter.requires_grad_(name.startswith((*TRAINABLE[family], *ALWAYS)) or is_adapter(name))
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
