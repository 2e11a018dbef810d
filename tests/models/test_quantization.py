"""What shrinks in 8 and 4 bits is the language model's blocks; what draws, reads images or speaks stays."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers.quantizers.quantizers_utils import should_convert_module

import segue
from segue.errors import InputError, ModelError
from segue.models import quantization
from segue.models.quantization import check_quantize, kept_names, quantised_names

BLOCK_LAYERS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def shrinking(model: nn.Module) -> set[str]:
    """Linear layers that transformers would replace, by its own rule."""
    kept = kept_names(model)
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return {name for name in linear if should_convert_module(name, kept)}


def test_exactly_the_blocks_of_the_language_model_shrink(tiny_bundle: SimpleNamespace) -> None:
    model = tiny_bundle.model
    names = shrinking(model)
    assert names == set(quantised_names(model))
    assert all(re.fullmatch(r"language_model\.model\.layers\.\d+\.\w+\.\w+", name) for name in names)
    layers = model.config.text_config.num_hidden_layers
    assert len(names) == len(BLOCK_LAYERS) * layers
    assert {name.rpartition(".")[2] for name in names} == BLOCK_LAYERS


def test_mask_head_and_projections_are_in_the_list(tiny_bundle: SimpleNamespace) -> None:
    kept = kept_names(tiny_bundle.model)
    parts = {name for name, _ in tiny_bundle.model.named_children()} - {"language_model"}
    assert {"sam", "seg_projection", "image_projection"} <= parts
    assert set(kept) == {f"^{name}" for name in parts} | {r"^language_model\.lm_head"}


def test_a_name_keeps_only_what_it_means() -> None:
    # A layer of the language model that ends like a part's name must not hide behind it.
    with torch.device("meta"):
        model = nn.ModuleDict({
            "language_model": nn.ModuleDict({"sam": nn.Linear(2, 2), "a": nn.Linear(2, 2)}),
            "sam": nn.Linear(2, 2),
        })  # fmt: skip
    assert set(quantised_names(model)) == {"language_model.sam", "language_model.a"}
    assert shrinking(model) == {"language_model.sam", "language_model.a"}


@pytest.mark.parametrize("quantize", ["8bit", "4bit"])
def test_without_bitsandbytes_the_package_is_named(
    quantize: str, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="bitsandbytes") as caught:
        segue.load(tiny_model_folder, "cpu", quantize=quantize)
    assert "pip install" in caught.value.fix


def test_other_ways_are_refused() -> None:
    with pytest.raises(InputError, match="8bit or 4bit"):
        check_quantize("2bit")
    with pytest.raises(InputError, match="cannot be quantised"):
        segue.load("agent:http://localhost:1/v1?model=m&sam=none", quantize="8bit")


@pytest.mark.parametrize(("quantize", "kind"), [("8bit", "Linear8bitLt"), ("4bit", "Linear4bit")])
def test_a_quantised_model_answers(quantize: str, kind: str) -> None:
    pytest.importorskip("bitsandbytes", reason="8 and 4 bits need bitsandbytes, which is optional")
    from tiny_model import picture

    loaded = segue.load("segue-scenes", "cpu", quantize=quantize)
    kinds: dict[str, Any] = {name: type(m).__name__ for name, m in loaded.model.named_modules()}
    replaced = {name for name, k in kinds.items() if k == kind}
    assert replaced == set(quantised_names(loaded.model))
    assert kinds["language_model.lm_head"] == "Linear"
    assert all(p.dtype == torch.float32 for p in loaded.model.sam.parameters())
    answer = loaded.session([picture(30, 40), picture(shade=200)]).ask("Which is larger?", max_new_tokens=20)
    assert answer.markup


def test_four_bits_on_a_cpu_need_widths_that_can_be_packed(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "check_quantize", str)
    with pytest.raises(ModelError, match=r"found:    language_model\.model\.layers.* of width \d+"):
        segue.load(tiny_model_folder, "cpu", quantize="4bit")
