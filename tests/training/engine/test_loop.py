"""Parts of saved models are loaded whole or refused, and written so that they load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from segue.errors import InputError
from segue.training.engine.loop import load_parts, save_final
from segue.training.recipe import InitRecipe


def test_all_of_a_part_is_loaded(tiny: Callable[..., Any], tmp_path: Path) -> None:
    source, processor = tiny(seed=1)
    save_final(tmp_path, source, processor)
    model, _ = tiny(seed=2)
    before = {n: p.clone() for n, p in model.state_dict().items()}
    names = load_parts(
        model, InitRecipe(folder=str(tmp_path), parts=["aux_vision_model", "sam.mask_decoder"])
    )
    assert names == [n for n in before if n.startswith(("aux_vision_model.", "sam.mask_decoder."))]
    for name, value in model.state_dict().items():
        expected = source.state_dict()[name] if name in names else before[name]
        assert torch.equal(value, expected), name
    everything = load_parts(model, InitRecipe(folder=str(tmp_path)))
    assert set(everything) == set(before)


def test_parts_that_do_not_fit_are_refused(tiny: Callable[..., Any], tmp_path: Path) -> None:
    source, processor = tiny(visual_module="fusion")
    save_final(tmp_path, source, processor)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_parts(source, InitRecipe(folder=str(tmp_path / "nowhere")))
    with pytest.raises(InputError, match="visoin_model"):
        load_parts(source, InitRecipe(folder=str(tmp_path), parts=["visoin_model", "sam"]))
    wider, _ = tiny(num_query_tokens=9)
    with pytest.raises(InputError, match=r"reader\.query_tokens"):
        load_parts(wider, InitRecipe(folder=str(tmp_path), parts=["reader"]))
    square, _ = tiny(visual_module="square")
    with pytest.raises(InputError, match=r"reader\.relational"):
        load_parts(square, InitRecipe(folder=str(tmp_path), parts=["reader"]))
    load_parts(square, InitRecipe(folder=str(tmp_path), parts=["sam", "reader.qformer"]))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_model_is_there_whole_or_not_at_all(
    tiny: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = tiny(seed=1)
    folder = save_final(tmp_path / "final", model, processor)
    before = contents(folder)
    (folder / "notes.txt").write_text("mine")

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    another = tiny(seed=2)[0]
    with monkeypatch.context() as patched:
        patched.setattr(type(processor), "save_pretrained", killed)
        with pytest.raises(KeyboardInterrupt):
            save_final(folder, another, processor)
    assert contents(folder) == before | {"notes.txt": b"mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["final"]
    save_final(folder, another, processor)
    after = contents(folder)
    assert set(after) == {*before, "notes.txt"}
    assert after["model.safetensors"] != before["model.safetensors"]
