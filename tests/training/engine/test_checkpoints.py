"""Weights come back whole, whatever names the file gives them; damaged checkpoints are passed over."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from segue.errors import InputError, ModelError
from segue.training.adapters import add_lora, prepare_for_training
from segue.training.engine.checkpoints import (
    begin_anew,
    finish_checkpoint,
    frozen_fingerprint,
    last_checkpoint,
    manifest_of,
    partial_folder,
    problem_with,
    restore,
    restore_trained,
    rotate,
    saved_weights,
    step_of,
    sweep,
    told_when_full,
    trained_state,
)

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


def write_one(out: Path, step: int, text: str = "weights") -> Path:
    folder = partial_folder(out, step)
    (folder / "deep").mkdir(parents=True)
    (folder / "model.safetensors").write_text(text)
    (folder / "deep" / "piece.bin").write_bytes(bytes(range(100)))
    return finish_checkpoint(out, step, {"recipe": {"stage": "masks"}})


def test_a_checkpoint_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    partial_folder(tmp_path, 9).mkdir()
    (partial_folder(tmp_path, 9) / "model.safetensors").write_text("half")
    assert last_checkpoint(tmp_path) is None
    first, second = write_one(tmp_path, 3), write_one(tmp_path, 12)
    assert last_checkpoint(tmp_path) == second == tmp_path / "checkpoint-12"
    assert [problem_with(p) for p in (first, second)] == [None, None]
    assert manifest_of(second)["step"] == step_of(second) == 12
    assert manifest_of(second)["recipe"] == {"stage": "masks"}
    assert set(manifest_of(second)["files"]) == {"model.safetensors", "deep/piece.bin"}
    sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-12", "checkpoint-3"]


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (
            lambda p: (p / "model.safetensors").write_text("weight"),
            "model.safetensors has 6 bytes instead of 7",
        ),
        (lambda p: (p / "model.safetensors").write_text("Weights"), "model.safetensors was changed"),
        (lambda p: (p / "deep" / "piece.bin").unlink(), "deep/piece.bin is missing"),
        (lambda p: (p / "manifest.json").unlink(), "no manifest"),
        (lambda p: (p / "manifest.json").write_text('{"files": {"model'), "manifest cannot be read"),
        (lambda p: (p / "manifest.json").write_text("[]"), "manifest cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_told_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], Any], words: str
) -> None:
    before, newest = write_one(tmp_path, 3), write_one(tmp_path, 6)
    harm(newest)
    assert words in str(problem_with(newest))
    assert last_checkpoint(tmp_path) == before
    assert words in caplog.text
    assert "checkpoint-6" in caplog.text
    assert write_one(tmp_path, 6) == newest  # the run comes there again
    assert last_checkpoint(tmp_path) == newest


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (2, 10, 9):
        write_one(tmp_path, step)
    rotate(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-9"]
    begin_anew(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_told_and_the_last_checkpoint_stays(tmp_path: Path, error: Exception) -> None:
    good = write_one(tmp_path, 3)
    partial_folder(tmp_path, 6).mkdir()
    with pytest.raises(ModelError) as caught, told_when_full(tmp_path, 6):
        raise error
    for words in ("step 6", str(error), "MiB are free", "checkpoint-3", str(tmp_path)):
        assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == [good], "what was half written must not fill the disk"
    assert problem_with(good) is None


def test_other_failures_while_saving_keep_their_name(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), told_when_full(tmp_path, 6):
        raise RuntimeError("shapes differ")


def test_trained_weights_alone_bring_a_run_back(tiny: Tiny, tmp_path: Path) -> None:
    model, _ = tiny(seed=1)
    add_lora(model)
    names = set(prepare_for_training(model, "prima"))
    kept = trained_state(model)
    buffers = {n for n, _ in model.named_buffers()}
    assert names <= set(kept) <= names | buffers
    before = {n: p.clone() for n, p in model.state_dict().items()}
    save_file({n: t.clone() for n, t in kept.items()}, tmp_path / "model.safetensors")
    fingerprint = frozen_fingerprint(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(1)
    assert frozen_fingerprint(model) == fingerprint, "what trains is no part of it"
    restore_trained(model, tmp_path, fingerprint, frozen_fingerprint(model))
    assert equal(model.state_dict(), before)
    with torch.no_grad():
        model.vision_model.post_layernorm.weight[0] += 1e-6
    with pytest.raises(ModelError, match="other frozen weights"):
        restore_trained(model, tmp_path, fingerprint, frozen_fingerprint(model))
    del kept["seg_projection.0.bias"]
    save_file({n: t.clone() for n, t in kept.items()}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"seg_projection\.0\.bias"):
        restore_trained(model, tmp_path, "same", "same")
