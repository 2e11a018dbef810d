"""Loading in 8 or 4 bits: the language model's large matrices shrink, everything that draws stays exact.

Quantised are the linear layers of the language model's blocks, and nothing else. The image encoders, what
turns them into visual tokens, the projection of `[SEG]`, SAM, the embeddings and the output head keep their
precision: a mask's border is a comparison with zero, and the state that predicts `[SEG]` is a prompt, not a
choice among words. Source: ours; LISA's code also leaves its SAM out.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from segue.errors import InputError, ModelError

LANGUAGE_MODEL = "language_model"
PACKAGE = "bitsandbytes"

BYTES_PER_WEIGHT = {"8bit": 1.0, "4bit": 0.5 + 1 / 64 + 4 / (64 * 256)}
"""Bytes of a quantised weight, scales included. 8 bit has one float32 a row, which does not show; 4 bit (NF4
with double quantisation) has one byte for 64 weights and 4 bytes for 256 of those."""


def check_quantize(quantize: str) -> str:
    """The way of quantising, if it can be used here.

    Raises:
        InputError: Unknown. ModelError: bitsandbytes is missing.
    """
    if quantize not in BYTES_PER_WEIGHT:
        raise InputError(
            "Unknown way of quantising.",
            expected=" or ".join(BYTES_PER_WEIGHT),
            found=repr(quantize),
            where="quantize",
            fix="choose one of the two, or leave it out",
        )
    if find_spec(PACKAGE) is None:
        raise ModelError(
            f"Loading in {quantize} needs a package that is not installed.",
            expected=PACKAGE,
            found="no such package",
            where="quantize",
            fix=f"pip install -c constraints.txt {PACKAGE}",
        )
    return quantize


def quantised_names(model: nn.Module) -> list[str]:
    """Names of the layers that may shrink: linear ones of the language model, without its output head."""
    language_model = model.get_submodule(LANGUAGE_MODEL)
    get_head = getattr(language_model, "get_output_embeddings", lambda: None)
    head = get_head()
    return [
        f"{LANGUAGE_MODEL}.{name}"
        for name, module in language_model.named_modules()
        if isinstance(module, nn.Linear) and module is not head
    ]


def kept_names(model: nn.Module) -> list[str]:
    """Names that must not shrink, as patterns for transformers: whole parts, and the output head.

    Anchored at the start of a layer's full name: transformers takes a plain "sam" for the end of a name too.
    """
    parts = [name for name, _ in model.named_children() if name != LANGUAGE_MODEL]
    language_model = model.get_submodule(LANGUAGE_MODEL)
    shrinking = set(quantised_names(model))
    loose = [
        name
        for child, module in language_model.named_modules()
        if isinstance(module, nn.Linear) and (name := f"{LANGUAGE_MODEL}.{child}") not in shrinking
    ]
    return [f"^{re.escape(name)}" for name in (*parts, *loose)]


CPU_BLOCK = 32
"""Rows that bitsandbytes packs together for 4 bits on a CPU (0.50); a layer's width is a multiple of it."""


def quantization_config(
    model_class: Any, config: Any, quantize: str, dtype: torch.dtype, device: str = "cuda"
) -> Any:
    """Options of quantising for `from_pretrained`.

    Args:
        model_class: Builds the model, on the meta device, for the names of its parts.
        config: The model's configuration.
        quantize: "8bit" or "4bit".
        dtype: In which 4-bit layers compute.
        device: The kind on which they do.

    Returns:
        A `transformers.BitsAndBytesConfig`.

    Raises:
        ModelError: bitsandbytes is missing, or cannot pack a layer. InputError: another way of quantising.
    """
    from transformers import BitsAndBytesConfig

    check_quantize(quantize)
    with torch.device("meta"):
        model = model_class(config)
    kept = kept_names(model)
    if quantize == "4bit" and device == "cpu":
        _check_widths(model)
    if quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        # QLoRA's settings (Dettmers et al. 2023): levels for normal weights, scales in 8 bits.
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        # Named after 8 bits, and read by transformers for 4 bits too.
        llm_int8_skip_modules=kept,
    )


def _check_widths(model: nn.Module) -> None:
    """Refuse at once what bitsandbytes stumbles over in the first answer."""
    for name in quantised_names(model):
        width = model.get_submodule(name).get_parameter("weight").shape[0]
        if width % CPU_BLOCK:
            raise ModelError(
                "This model cannot be loaded in 4 bits on a CPU.",
                expected=f"layers of a width that {CPU_BLOCK} divides",
                found=f"{name} of width {width}",
                where="quantize",
                fix="use 8bit, or a GPU",
            )
