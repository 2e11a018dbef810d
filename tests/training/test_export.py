"""Weights for shipping: half as large, and they load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from segue.training.engine.loop import save_final
from segue.training.export import export, main


def test_exported_weights_are_half_as_large_and_load(tiny: Callable[..., Any], tmp_path: Path) -> None:
    model, processor = tiny()
    save_final(tmp_path / "final", model, processor)
    out = export(tmp_path / "final", tmp_path / "half")
    stored = load_file(out / "model.safetensors")
    assert {t.dtype for t in stored.values()} == {torch.float16}
    unique = sum(p.numel() for p in model.parameters())
    buffers = model.sam.shared_image_embedding.positional_embedding.numel()
    assert sum(t.numel() for t in stored.values()) <= unique + 2 * buffers, (
        "tied weights must be written once"
    )
    again, report = AutoModel.from_pretrained(out, dtype=torch.float32, output_loading_info=True)
    assert {name: found for name, found in report.items() if found} == {}
    for name, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[name].half().float()), name


def test_the_command_says_how_large_they_are(
    tiny: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "half"
    main([str(save_final(tmp_path / "final", *tiny())), "--out", str(out)])
    size = sum(file.stat().st_size for file in out.iterdir())
    assert capsys.readouterr().out == f"{out}: {size / 1e6:.1f} MB\n"
