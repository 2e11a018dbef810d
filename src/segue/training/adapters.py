"""The frozen/trainable table of the families as data, and LoRA on the language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft import LoraConfig, TrainableTokensConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.tuners.trainable_tokens import TrainableTokensLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from segue.errors import InputError
from segue.models.modeling_grounded import GroundedModel
from segue.protocol import OBJ_TOKEN, PHRASE_END, PHRASE_START, SEG_TOKEN

if TYPE_CHECKING:
    from segue.models.auto import ModelBundle
    from segue.training.finetune.own_objective import OwnDataObjective
    from segue.training.finetune.sources import Sources
    from segue.training.recipe import Recipe

ADAPTER = "default"
"""peft's name for the only adapter of a model."""

_ADAPTER_PARTS = (".lora_", ".trainable_tokens_")


@dataclass(frozen=True)
class FinetuneFamily:
    """A row of the frozen/trainable table: how models of one `model_type` learn from own data.

    Attributes:
        trainable: Parameter prefixes that train beside the LoRA weights; everything else is frozen.
        lora: Layers of the language model that LoRA adapts; PRIMA's queries and keys. Empty: none.
        frozen: Prefixes that stay frozen although they begin with one of `trainable`.
        token_rows: Tokens whose rows of embeddings and head train; the rest of both tables is frozen.
        defaults: From a model to fields of a recipe ("options", "optimiser", "finetune") that hold unless the
            recipe says otherwise.
        options: Names that `options` of a recipe may have beside the objective's own.
        objective: From a run's recipe, model, data and folder to an objective in place of the one over
            conversations; None for models that learn from those. It may bring parameters into the model.
        grown: Gives a model without numbers the parameters that `objective` will bring for the data.
    """

    trainable: tuple[str, ...]
    lora: tuple[str, ...] = ("q_proj", "k_proj")
    frozen: tuple[str, ...] = ()
    token_rows: tuple[str, ...] = ()
    defaults: Callable[[GroundedModel], Mapping[str, Mapping[str, Any]]] = lambda model: {}
    options: frozenset[str] = frozenset()
    objective: Callable[[Recipe, ModelBundle, Sources, Path], OwnDataObjective] | None = None
    grown: Callable[[GroundedModel, Sources], None] | None = None


_TABLES = ("language_model.model.embed_tokens", "language_model.lm_head")
"""Embeddings and head in full, as in GLaMM's code: rows of new tokens cannot be learned otherwise."""

_SEGUE = FinetuneFamily(
    ("seg_projection", "sam.mask_decoder"),
    frozen=("sam.mask_decoder.conv_s",),
    lora=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    token_rows=(SEG_TOKEN, PHRASE_START, PHRASE_END),
)

FAMILIES: dict[str, FinetuneFamily] = {
    "prima": FinetuneFamily(
        (
            "fusion",
            "reader.query_tokens",
            "image_projection",
            "seg_projection",
            "sam.mask_decoder",
            *_TABLES,
        )
    ),
    "prima-tokens": FinetuneFamily(
        ("fusion", "reader.query_tokens", "image_projection", "seg_projection", "sam.mask_decoder"),
        token_rows=(SEG_TOKEN, PHRASE_START, PHRASE_END),
    ),
    "prima-square": FinetuneFamily(
        ("reader.relational", "image_projection", "seg_projection", "sam.mask_decoder", *_TABLES)
    ),
    "prima-encoders-frozen": FinetuneFamily(
        ("fusion", "reader", "image_projection", "language_model", "seg_projection", "sam.mask_decoder"),
        lora=(),
    ),
    "lisa": FinetuneFamily(("seg_projection", "sam.mask_decoder", *_TABLES), lora=("q_proj", "v_proj")),
    "glamm": FinetuneFamily(("seg_projection", "sam.mask_decoder", *_TABLES), lora=("q_proj", "v_proj")),
    "miras": FinetuneFamily(
        ("fusion", "seg_projection", "sam.mask_decoder", *_TABLES), lora=("q_proj", "v_proj")
    ),
    "omg_llava": FinetuneFamily(
        ("image_projection", "seg_projection", "mask_decoder", *_TABLES),
        lora=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    ),
    "segue": _SEGUE,
    "sa2va": _SEGUE,
    "miras-frozen": FinetuneFamily(
        ("fusion", "image_projection", "seg_projection", "sam.mask_decoder"),
        lora=(),
        token_rows=(SEG_TOKEN, OBJ_TOKEN, "<im_start>", "<im_end>"),
    ),
}
"""The frozen/trainable table: `model_type`, or a variant of it, to its row. See `register_family`.

Source: `prima`: PRIMA section 3.2 (query tokens tuned, decoder finetuned, encoder frozen, tokens trained);
fusion and projections are new. `prima-tokens`: ours, for 24 GB; embeddings and head in full cost 262 M
parameters with their Adam states, 4.2 GB. `prima-square`: the newer version's figure (the Q-Former and its
queries are frozen; relational attention, projections and SAM's decoder train).
`prima-encoders-frozen`: ours, for small language models, which train whole. `lisa`, `glamm`: their code
(LoRA on queries and values; CLIP, the projection of its features, and SAM's encoders are frozen). `miras`:
its code (LoRA, tables, `[SEG]` projection and SAM's decoder), and the patch mining that the code leaves at
random. `miras-frozen`: its paper (decoder and projections train; encoders and language model are frozen, save
for the rows of the tokens that LLaVA does not have). `omg_llava`: its code's training for one task
(projections, the decoder of the `[SEG]`, LoRA on every layer, both tables; OMG-Seg is frozen); the head,
which trains in full, has no LoRA besides. `segue`, `sa2va`: ours; LoRA on every layer of the
language model as in Sa2VA, and of its tables the rows of the new tokens alone, where Sa2VA trains both whole;
25 thousand weights of two convolutions stay frozen, so that what is kept of an image stays right.
"""

ALWAYS = ("region_alignment", "region_reader")
"""Prefixes that train in every family where the option is on. Source: MIRAS's paper."""


def register_family(name: str, family: FinetuneFamily) -> None:
    """Add a row to the table; `name` is a `model_type`, or what `finetune.family` of a recipe says."""
    FAMILIES[name] = family


def family_named(name: str) -> FinetuneFamily:
    """A row of the table.

    Raises:
        InputError: there is none of that name.
    """
    if name not in FAMILIES:
        raise InputError(
            "unknown family: what trains in it is not known.",
            expected=" or ".join(FAMILIES),
            found=name,
            where="finetune.family",
            fix="choose one of them, or name prefixes in `trainable`",
        )
    return FAMILIES[name]


def special_token_ids(tokenizer: Any, family: str = "prima-tokens") -> list[int]:
    """Ids of a family's `token_rows`; tokens that the tokenizer lacks are left out."""
    ids = tokenizer.convert_tokens_to_ids(list(family_named(family).token_rows))
    # For a token that it lacks a tokenizer answers the id of <unk>, or None: that row must not train.
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
            families with `token_rows`.

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
    """Tell whether a parameter belongs to LoRA or to the trainable rows of the embeddings."""
    return any(part in name for part in _ADAPTER_PARTS)


def merge_lora(model: GroundedModel) -> int:
    """Fold the LoRA layers into the weights that they adapt, in place; returns how many there were."""
    # A list first: the loop changes the tree that `named_modules` walks.
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, layer in layers:
        parent_name, _, child = name.rpartition(".")
        layer.merge()
        setattr(model.get_submodule(parent_name), child, layer.get_base_layer())
    return len(layers)


def has_adapters(model: nn.Module) -> bool:
    """Tell whether LoRA layers or trainable tokens have been put into a model."""
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
            # W + scaling * B A, added in float32: half precision would lose small changes of large weights.
            a, b = (state[f"{name}.lora_{x}.{ADAPTER}.weight"] for x in "AB")
            base = state[f"{name}.base_layer.weight"]
            change = (b.float() @ a.float()) * layer.scaling[ADAPTER]
            merged[f"{name}.base_layer.weight"] = (base.float() + change).to(base.dtype)
        elif isinstance(layer, TrainableTokensLayer):
            rows = state[f"{name}.trainable_tokens_delta.{ADAPTER}"]
            # Cloned, for the state's tensors may be the model's own, which goes on training.
            base = state[f"{name}.base_layer.weight"].clone()
            base[layer.token_indices[ADAPTER]] = rows.to(base.dtype)
            merged[f"{name}.base_layer.weight"] = base
    # `q_proj.base_layer.weight` -> `q_proj.weight`, the name that a model without adapters loads.
    return {n.replace(".token_adapter", "").replace(".base_layer", ""): v for n, v in merged.items()}


def prepare_for_training(model: GroundedModel, family: str) -> list[str]:
    """Freeze everything but the family's table and the LoRA weights.

    Args:
        family: a key of `FAMILIES`.

    Returns:
        Names of the parameters that train.

    Raises:
        InputError: no such family.
    """
    row = family_named(family)
    prefixes = (*row.trainable, *ALWAYS)
    trains = []
    for name, parameter in model.named_parameters():
        chosen = name.startswith(prefixes) and not name.startswith(row.frozen)
        parameter.requires_grad_(chosen or is_adapter(name))
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
