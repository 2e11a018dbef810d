"""Compiling measured: all ways are, on any language model, and nothing of the model is changed by it."""

from types import SimpleNamespace

import pytest
import torch

from segue.evaluation import compile_bench


def test_every_way_has_its_seconds(tiny_bundle: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_bench, "PROMPT", 8)
    monkeypatch.setattr(compile_bench, "STEPS", 2)
    compiled = []
    # Compiling takes half a minute: here it is only asked for, once.
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    language_model = tiny_bundle.model.language_model
    found = compile_bench.measure(language_model, torch.device("cpu"))
    assert list(found) == ["as it is", "static cache", "static cache, compiled", "compiling"]
    assert all(seconds > 0 for seconds in found.values())
    assert compiled == [language_model]
