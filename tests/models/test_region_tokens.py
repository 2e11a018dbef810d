"""Regions as words: the right features at the right place, in every family, and nothing without them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from segue.errors import AlignmentError
from segue.models.auto import ModelBundle
from segue.models.dense_features import DenseMap
from segue.models.region_tokens import (
    GRID,
    pool,
    put_tokens,
    region_grid,
    switch_region_tokens,
    told_apart,
)


def test_pooled_under_the_mask_alone() -> None:
    features = torch.zeros(2, 8, 8)
    features[0, :, :4], features[1, :, 4:] = 3.0, 5.0
    grids = torch.zeros(2, GRID, GRID)
    grids[0, :, :32], grids[1, 10:12, 60:] = 1, 1
    pooled = pool([DenseMap(features, "x"), DenseMap(features[:1, ::2, ::2], "x")], grids)
    assert pooled.tolist() == [[3.0, 0.0, 3.0], [0.0, 5.0, 0.0]]


def test_tokens_go_to_their_places_in_order() -> None:
    ids = torch.tensor([[1, 9, 2, 0], [9, 3, 9, 4]])
    placed = put_tokens(torch.zeros(2, 4, 1), ids, 9, torch.tensor([[1.0], [2.0], [3.0]]))
    assert placed[..., 0].tolist() == [[0, 1, 0, 0], [2, 0, 3, 0]]
    with pytest.raises(AlignmentError, match="3 regions"):
        put_tokens(torch.zeros(2, 4, 1), ids, 9, torch.zeros(2, 1))


def test_a_cache_tells_regions_apart() -> None:
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 3.0]])
    assert told_apart([5, 9, 6], 9, a) == told_apart([5, 9, 6], 9, a.clone())
    assert told_apart([5, 9, 6], 9, a)[1] != told_apart([5, 9, 6], 9, b)[1]
    assert told_apart([5, 9, 6], 9, None) == [5, 9, 6]


def with_masks(processor: Any, talk: Any, corner: slice) -> dict[str, Any]:
    """A conversation whose question speaks of a corner of its first image."""
    (role, asked), *rest = talk.turns
    turns = [(role, f"{asked} this <region> (IMAGE1)"), *rest]
    item: dict[str, Any] = dict(processor.encode_turns(turns, len(talk.hws)))
    item |= processor.encode_pixels(talk.images())
    mask = torch.zeros(talk.hws[0], dtype=torch.bool)
    mask[corner, corner] = True
    item["num_images"] = len(talk.hws)
    item["region_masks"] = region_grid(processor, mask, talk.hws[0])[None]
    item["region_image_index"] = torch.tensor([0])
    return item


def switched(model: Any, processor: Any) -> Any:
    """Let a model take regions; a processor of its own, for the tokenizer is shared between tests."""
    own = copy.deepcopy(processor)
    switch_region_tokens(ModelBundle(model, own, "tiny", None))
    return own


BUILDERS = ["fresh", "shaken_segue"]


@pytest.fixture(params=BUILDERS)
def pointed(request: pytest.FixtureRequest, shake: Callable[..., Any]) -> tuple[Any, Any]:
    """A shaken model of a family that takes regions, and its processor."""
    model, processor = request.getfixturevalue(request.param)(
        **({"seg_projection_hidden_size": 24} if request.param == "shaken_segue" else {})
    )
    # Builders may give one model to many tests.
    model = copy.deepcopy(model)
    processor = switched(model, processor)
    shake(model)
    return model, processor


def test_the_region_reaches_the_words(pointed: tuple[Any, Any], talks: dict[str, Any]) -> None:
    model, processor = pointed
    talk = talks["one"]
    batches = [
        dict(processor.collate([with_masks(processor, talk, c)])) for c in (slice(0, 15), slice(25, 40))
    ]
    with torch.no_grad():
        logits = [model(**batch).logits for batch in batches]
    place = int((batches[0]["input_ids"][0] == model.config.region_token_id).nonzero()[0, 0])
    before = logits[0].shape[1] - batches[0]["input_ids"].shape[1] + place
    assert torch.equal(logits[0][:, :before], logits[1][:, :before])
    assert float((logits[0][:, before:] - logits[1][:, before:]).abs().max()) > 1e-4


def test_width_is_that_of_the_maps(pointed: tuple[Any, Any], talks: dict[str, Any]) -> None:
    model, processor = pointed
    batch = dict(processor.collate([with_masks(processor, talks["one"], slice(0, 9))]))
    streams = {k: v for k, v in batch.items() if k.startswith(("pixel_values", "image_grid"))}
    streams.pop("pixel_values_sam")
    found = model.region_features(streams, None, batch["region_masks"], batch["region_image_index"])
    assert found["region_features"].shape == (1, model.region_width)


def test_a_batch_is_its_conversations(pointed: tuple[Any, Any], talks: dict[str, Any]) -> None:
    model, processor = pointed
    items = [with_masks(processor, talks[name], slice(3, 17)) for name in ("one", "three")]
    with torch.no_grad():
        together = model(**dict(processor.collate(items))).logits
        for row, item in enumerate(items):
            alone = model(**dict(processor.collate([item]))).logits[0]
            assert torch.allclose(together[row, : len(alone)], alone, atol=2e-4)


def test_without_regions_nothing_changes(
    fresh: Callable[..., Any], batch_of: Any, talks: dict[str, Any]
) -> None:
    model, processor = fresh()
    batch = batch_of(processor, talks["three"], talks["one"])
    with torch.no_grad():
        before = model(**batch)
        own = switched(model, processor)
        after = model(**batch)
        switch_region_tokens(ModelBundle(model, own, "tiny", None), on=False)
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.mask_logits, after.mask_logits)
    assert model.region_reader is None


def test_saved_and_loaded(pointed: tuple[Any, Any], tmp_path: Any) -> None:
    model, _ = pointed
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert torch.equal(again.region_reader.layers[0].weight, model.region_reader.layers[0].weight)


def test_the_region_decides_the_answer(fresh: Callable[..., Any], talks: dict[str, Any]) -> None:
    """One picture, one question, two answers: learned by heart, only the region can tell them apart."""
    torch.manual_seed(0)
    model, processor = fresh()
    processor = switched(model, processor)
    answers = ("The mug.", "No lamp.")
    corners = (slice(0, 20), slice(20, 40))
    talk = talks["one"]
    items = []
    for said, corner in zip(answers, corners, strict=True):
        item = with_masks(
            processor, type(talk)(talk.hws, (talk.turns[0], ("assistant", said)), (), talk.seed), corner
        )
        items.append(item)
    batch = dict(processor.collate(items))
    batch.pop("pixel_values_sam")
    optimizer = torch.optim.Adam(
        [*model.language_model.parameters(), *model.region_reader.parameters()], lr=5e-3
    )
    for _ in range(60):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = float(model(**batch).loss)
        batch["region_masks"] = batch["region_masks"].flip(0)
        exchanged = float(model(**batch).loss)
    assert right < 0.3
    assert exchanged > 5 * right
