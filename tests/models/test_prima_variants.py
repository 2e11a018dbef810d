"""PRIMA without Q-Former, without DINOv2, without both, and pooled: all on the same forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from segue.errors import ModelError
from segue.models.auto import load
from segue.models.build import build_prima
from segue.models.visual_tokens import conversation_of_images, grid_of
from tiny_model import picture

VARIANTS: dict[str, tuple[dict[str, Any], int]] = {
    "plain": ({"visual_module": "projection", "aux_vision": False}, 16),
    "qformer": ({"aux_vision": False}, 5),
    "dino": ({"visual_module": "projection"}, 16),
    "pooling": ({"visual_module": "pooling", "aux_vision": False, "num_query_tokens": 6}, 6),
}
"""Overrides, and visual tokens an image before kept text: a tower of 56 pixels has 4 x 4 patches."""
TURNS = [("user", "What can you drink coffee from?"), ("assistant", "The <p> red mug </p> [SEG] (IMAGE2).")]


def shown(processor: Any, question: str = TURNS[0][1]) -> dict[str, Any]:
    turns = [("user", question), TURNS[1]]
    return dict(processor([picture(shade=60), picture(shade=200)], turns, add_generation_prompt=False))


@pytest.mark.parametrize("name", VARIANTS)
def test_tokens_agree_with_the_processors_and_depend_on_the_picture(name: str, tiny_tokenizer: Any) -> None:
    overrides, expected = VARIANTS[name]
    model, processor = build_prima(tiny_tokenizer, **overrides)
    batch = shown(processor)
    text = batch["qformer_input_ids"].shape[1] if overrides.get("visual_module") is None else 0
    assert (batch["input_ids"] == model.config.image_token_id).sum() == 2 * (expected + text)
    masks = [torch.zeros(0, 40, 60), torch.ones(1, 40, 60)]
    out = model(**batch, seg_image_index=torch.tensor([1]), mask_labels=masks)
    assert out.visual.tokens.shape[:2] == (2, expected + text)
    assert out.loss.isfinite()
    assert (out.visual.tokens[0] - out.visual.tokens[1]).abs().max() > 1e-4
    assert ("pixel_values_aux" in batch) == model.config.aux_vision
    assert hasattr(model, "aux_vision_model") == hasattr(model, "fusion") == model.config.aux_vision


@pytest.mark.parametrize("name", ["plain", "dino", "pooling"])
def test_without_a_qformer_the_question_does_not_change_what_is_seen(name: str, tiny_tokenizer: Any) -> None:
    model, processor = build_prima(tiny_tokenizer, **VARIANTS[name][0])
    first, second = (model(**shown(processor, q)).visual.tokens for q in ("What is it?", "Which is red?"))
    assert torch.equal(first, second)


def test_pooling_is_the_mean_of_the_cells(tiny_tokenizer: Any) -> None:
    model, _ = build_prima(tiny_tokenizer, **(VARIANTS["pooling"][0] | {"num_query_tokens": 8}))
    features = torch.randn(1, 1 + 16, 16)
    tokens, mask = model.reader(features, None, None, [1])
    cells = features[0, 1:].reshape(2, 2, 4, 1, 16)  # 8 cells are 2 rows of 4: two patches below each other
    assert torch.allclose(tokens[0], cells.mean((1, 3)).reshape(8, 16), atol=1e-6)
    assert mask.all()


@pytest.mark.parametrize("name", VARIANTS)
def test_kept_features_save_and_load(name: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    model, processor = build_prima(tiny_tokenizer, **VARIANTS[name][0])
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    bundle = load(tmp_path / "model", "cpu")
    batch = shown(bundle.processor)
    direct = model(**batch).logits
    names = [name for name in batch if name in ("pixel_values", "pixel_values_aux")]
    streams = {name: batch.pop(name) for name in names}
    kept = bundle.model.encode_features(**streams)
    assert torch.allclose(bundle.model(**batch, **kept).logits, direct, atol=1e-5)


@pytest.mark.parametrize(
    ("cells", "grid"), [(1, (1, 1)), (6, (2, 3)), (32, (4, 8)), (36, (6, 6)), (7, (1, 7))]
)
def test_grid_of_cells(cells: int, grid: tuple[int, int]) -> None:
    assert grid_of(cells) == grid


def test_images_know_their_conversation() -> None:
    assert conversation_of_images([2, 0, 1]) == [0, 0, 2]


def test_an_unknown_module_names_the_known_ones(tiny_tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="'projection' or 'pooling'"):
        build_prima(tiny_tokenizer, visual_module="mean")
