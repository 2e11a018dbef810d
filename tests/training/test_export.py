"""Weights for shipping: half as large; the mean of runs, exact, of the named parts alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from segue.errors import InputError
from segue.models.mini.modeling_mini import MiniModel
from segue.training.engine.loop import save_final
from segue.training.export import average, export, main


@pytest.fixture
def saved(reading: Callable[..., Any], tmp_path: Path) -> Callable[..., tuple[Path, dict[str, Any]]]:
    """`(seed)` to the folder of a saved model and its weights."""

    def save(seed: int, **overrides: Any) -> tuple[Path, dict[str, Any]]:
        model, processor = reading(seed=seed, **overrides)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.fill_(seed)
        folder = tmp_path / f"model_{seed}"
        save_final(folder, model, processor)
        return folder, {n: w.clone() for n, w in model.state_dict().items()}

    return save


def test_parts_are_the_mean_and_the_rest_is_the_first(saved: Any, tmp_path: Path) -> None:
    (first, a), (second, b), (third, c) = (saved(seed) for seed in (1, 2, 3))
    out = average([first, second, third], tmp_path / "mean", ["label_reader"])
    found = MiniModel.from_pretrained(out, dtype=torch.float32).state_dict()
    moved = 0
    for name, weight in found.items():
        expected = a[name]
        if name.startswith("label_reader") and weight.is_floating_point():
            expected = (a[name] + b[name] + c[name]) / 3
            moved += int(not torch.equal(expected, a[name]))
        torch.testing.assert_close(weight, expected, msg=name)
    assert moved > 10
    assert float(found["label_reader.smooth.1.running_mean"][0]) == pytest.approx(2.0)


def test_all_is_averaged_without_parts(saved: Any, tmp_path: Path) -> None:
    (first, a), (second, b) = saved(1), saved(2)
    found = MiniModel.from_pretrained(average([first, second], tmp_path / "mean")).state_dict()
    name = "language_model.model.layers.0.mlp.up_proj.weight"
    torch.testing.assert_close(found[name], (a[name] + b[name]) / 2)


def test_what_cannot_be_averaged_is_refused(saved: Any, tmp_path: Path) -> None:
    (first, _), (second, _) = saved(1), saved(2, num_query_tokens=24)
    with pytest.raises(InputError, match="nothing to average"):
        average([first], tmp_path / "mean")
    with pytest.raises(InputError, match=r"reader\.query_tokens"):
        average([first, second], tmp_path / "mean")
    with pytest.raises(InputError, match="lable_reader"):
        average([first, second], tmp_path / "mean", ["lable_reader"])
    assert not (tmp_path / "mean").exists()


def test_the_command_averages_several_and_halves_one(
    saved: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(saved(seed)[0]) for seed in (1, 2)]
    out = tmp_path / "mean"
    main([*folders, "--out", str(out), "--parts", "label_reader", "slot_heads"])
    assert capsys.readouterr().out.startswith(f"{out}: ")
    assert {t.dtype for t in load_file(out / "model.safetensors").values() if t.is_floating_point()} == {
        torch.float32
    }
    main([str(out), "--out", str(tmp_path / "half")])
    assert {t.dtype for t in load_file(tmp_path / "half" / "model.safetensors").values()} >= {torch.float16}


def test_exported_weights_are_half_as_large_and_load(tiny: Callable[..., Any], tmp_path: Path) -> None:
    model, processor = tiny()
    model.training_heads = torch.nn.Linear(4, 4)
    save_final(tmp_path / "final", model, processor)
    out = export(tmp_path / "final", tmp_path / "half")
    stored = load_file(out / "model.safetensors")
    assert {t.dtype for t in stored.values()} == {torch.float16}
    unique = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("training_heads"))
    buffers = model.sam.shared_image_embedding.positional_embedding.numel()
    assert sum(t.numel() for t in stored.values()) <= unique + 2 * buffers, (
        "tied weights must be written once"
    )
    again, report = AutoModel.from_pretrained(out, dtype=torch.float32, output_loading_info=True)
    assert {name: found for name, found in report.items() if found} == {}
    for name, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[name].half().float()), name
