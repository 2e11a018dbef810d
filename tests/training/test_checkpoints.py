"""Weights come back whole, whatever names the file gives them; cut-off checkpoints are passed over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from segue.errors import InputError, ModelError
from segue.training.checkpoints import last_checkpoint, restore, saved_weights

Tiny = Callable[..., Any]


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return set(first) == set(second) and all(torch.equal(first[n], second[n]) for n in first)


def test_files_use_other_names_than_memory(tiny: Tiny, tmp_path: Path) -> None:
    # The trap itself: should transformers ever stop renaming, `saved_weights` may become `load_file`.
    model, _ = tiny()
    model.save_pretrained(tmp_path)
    renamed = set(model.state_dict()) - set(load_file(tmp_path / "model.safetensors"))
    assert "aux_vision_model.encoder.layer.0.attention.q_proj.weight" in renamed


def test_every_weight_comes_back(tiny: Tiny, tmp_path: Path) -> None:
    model, _ = tiny(seed=1)
    model.save_pretrained(tmp_path)
    other, _ = tiny(seed=2)
    assert equal(saved_weights(tmp_path, other), model.state_dict())
    restore(other, tmp_path)
    assert equal(other.state_dict(), model.state_dict())


def test_heads_for_training_come_back_too(tiny: Tiny, tmp_path: Path) -> None:
    model, _ = tiny(seed=1)
    other, _ = tiny(seed=2)
    for one in (model, other):
        one.training_heads = torch.nn.Linear(3, 2)
    model.save_pretrained(tmp_path)
    restore(other, tmp_path)
    assert equal(other.state_dict(), model.state_dict())


def test_what_a_file_lacks_is_not_made_up(tiny: Tiny, tmp_path: Path) -> None:
    model, _ = tiny()
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    kept = {n: t for n, t in load_file(path).items() if not n.startswith("fusion.attention")}
    save_file(kept, path, metadata={"format": "pt"})
    assert not any(n.startswith("fusion.attention") for n in saved_weights(tmp_path, model))
    with pytest.raises(ModelError, match=r"fusion\.attention"):
        restore(model, tmp_path)


def test_a_checkpoint_of_another_size_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    tiny()[0].save_pretrained(tmp_path)
    wider, _ = tiny(num_query_tokens=9)
    with pytest.raises(ModelError, match=r"reader\.query_tokens"):
        restore(wider, tmp_path)


def test_no_weights_are_told(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.safetensors"):
        saved_weights(tmp_path, tiny()[0])


def test_only_complete_checkpoints_count(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for step in (3, 12, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert last_checkpoint(tmp_path) is None
    for step in (3, 12):
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-12"
