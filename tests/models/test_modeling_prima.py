"""PRIMA's way from images to visual tokens: batches, both visual modules, and what depends on what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from segue.models.build import build_prima
from segue.models.modeling_prima import PrimaModel
from segue.models.segmenter import MaskPrompts

Shaken = Callable[..., Any]
OPTIONS = [(module, keep) for module in ("fusion", "square") for keep in (False, True)]
STREAMS = ("pixel_values", "pixel_values_aux", "pixel_values_sam")


def tokens_of(model: PrimaModel, batch: dict[str, Any]) -> torch.Tensor:
    """`[N, T, D]` visual tokens."""
    names = ("pixel_values", "pixel_values_aux", "qformer_input_ids", "qformer_attention_mask")
    with torch.no_grad():
        return model.encode_images(batch["num_images"].tolist(), **{n: batch[n] for n in names}).tokens


def with_other_image(batch: dict[str, Any], index: int) -> dict[str, Any]:
    changed = dict(batch)
    for name in STREAMS:
        changed[name] = batch[name].clone()
        changed[name][index] = batch[name][index].flip(-1).roll(3, -2)
    return changed


@pytest.mark.parametrize(("module", "keep"), OPTIONS)
@torch.no_grad()
def test_a_batch_of_two_is_two_batches_of_one(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any], module: str, keep: bool
) -> None:
    model, processor = shaken(visual_module=module, keep_text_outputs=keep)
    pair = [talks["three"], talks["one"]]
    lengths = [len(processor.encode_instruction(t.turns[0][1])) for t in pair]
    assert lengths[0] != lengths[1]
    batch = batch_of(processor, *pair)
    together = model(**batch)
    alone = [model(**batch_of(processor, talk)) for talk in pair]
    close = {"atol": 1e-5, "rtol": 1e-5}
    for row, single in enumerate(alone):
        real = batch["attention_mask"][row].bool()
        torch.testing.assert_close(together.logits[row][real], single.logits[0], **close)
    masks = torch.cat([a.mask_logits for a in alone])
    # Batches of other sizes are summed in another order, and the decoder has many layers.
    torch.testing.assert_close(together.mask_logits, masks, atol=5e-5, rtol=1e-5)
    torch.testing.assert_close(together.seg_prompts, torch.cat([a.seg_prompts for a in alone]), **close)
    shown = [(a.visual.tokens, a.visual.mask) for a in alone]
    torch.testing.assert_close(
        together.visual.tokens[together.visual.mask], torch.cat([t[m] for t, m in shown]), **close
    )


@pytest.mark.parametrize("names", [("one", "three"), ("silent", "three", "one")])
@torch.no_grad()
def test_the_order_of_conversations_does_not_matter(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any], names: tuple[str, ...]
) -> None:
    model, processor = shaken()
    forwards = model(**batch_of(processor, *(talks[n] for n in names)))
    backwards = model(**batch_of(processor, *(talks[n] for n in reversed(names))))
    torch.testing.assert_close(forwards.loss, backwards.loss, atol=1e-5, rtol=1e-5)
    counts = [len(talks[n].addressed) for n in names]
    pieces = forwards.mask_logits.split(counts)
    torch.testing.assert_close(torch.cat(pieces[::-1]), backwards.mask_logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_order_of_masks_is_the_order_of_the_text(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any]
) -> None:
    model, processor = shaken()
    batch = batch_of(processor, talks["three"])
    output = model(**batch)
    features = model.segmenter.encode(batch["pixel_values_sam"])
    order = torch.tensor([2, 0, 3, 1])
    asked = MaskPrompts(output.seg_prompts[order], batch["seg_image_index"][order])
    permuted = model.segmenter.decode(features, asked)
    torch.testing.assert_close(permuted, output.mask_logits[order], atol=1e-5, rtol=1e-5)
    assert (output.mask_logits[0] - output.mask_logits[3]).abs().max() > 1e-2


@pytest.mark.parametrize("stream", ["pixel_values", "pixel_values_aux"])
@torch.no_grad()
def test_both_towers_are_read(shaken: Shaken, batch_of: Any, talks: dict[str, Any], stream: str) -> None:
    model, processor = shaken()
    batch = batch_of(processor, talks["three"])
    changed = dict(batch, **{stream: with_other_image(batch, 2)[stream]})
    difference = (tokens_of(model, batch) - tokens_of(model, changed)).abs().amax((1, 2))
    assert difference[2] > 1e-2
    assert not difference[:2].any()


@torch.no_grad()
def test_the_mask_decoder_sees_its_image(shaken: Shaken, batch_of: Any, talks: dict[str, Any]) -> None:
    model, processor = shaken()
    batch = batch_of(processor, talks["three"])
    changed = dict(batch, pixel_values_sam=with_other_image(batch, 0)["pixel_values_sam"])
    difference = (model(**batch).mask_logits - model(**changed).mask_logits).abs().amax((1, 2))
    assert (difference[[1, 2]] > 1e-2).all(), "these address image 0"
    assert not difference[[0, 3]].any()


def test_square_relates_images_and_fusion_does_not(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any]
) -> None:
    moved = {}
    for module in ("fusion", "square"):
        model, processor = shaken(visual_module=module)
        batch = batch_of(processor, talks["three"], talks["silent"])
        difference = tokens_of(model, batch) - tokens_of(model, with_other_image(batch, 1))
        moved[module] = difference.abs().amax((1, 2))
    assert (moved["fusion"] > 1e-3).tolist() == [False, True, False, False, False]
    assert (moved["square"] > 1e-3).tolist() == [True, True, True, False, False]


def test_square_starts_without_relations(tiny_tokenizer: Any, batch_of: Any, talks: dict[str, Any]) -> None:
    model, processor = build_prima(tiny_tokenizer, visual_module="square")
    batch = batch_of(processor, talks["three"])
    assert torch.equal(tokens_of(model, batch)[0], tokens_of(model, with_other_image(batch, 1))[0])


@torch.no_grad()
def test_square_without_its_output_projection_is_fusion(
    fresh: Shaken, batch_of: Any, talks: dict[str, Any]
) -> None:
    square, processor = fresh(visual_module="square", keep_text_outputs=True)
    plain, _ = fresh(visual_module="fusion", keep_text_outputs=True)
    loaded = plain.load_state_dict(square.state_dict(), strict=False)
    assert loaded.missing_keys == []
    assert all(key.startswith("reader.relational.") for key in loaded.unexpected_keys)
    batch = batch_of(processor, talks["three"], talks["one"])
    assert (square(**batch).logits - plain(**batch).logits).abs().max() > 1e-3
    square.reader.relational.attention.out_proj.weight.zero_()
    square.reader.relational.attention.out_proj.bias.zero_()
    first, second = square(**batch), plain(**batch)
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.mask_logits, second.mask_logits)


@torch.no_grad()
def test_instructions_steer_the_visual_tokens(shaken: Shaken, batch_of: Any, talks: dict[str, Any]) -> None:
    model, processor = shaken()
    batch = batch_of(processor, talks["three"])
    asked = dict(batch, qformer_input_ids=batch["qformer_input_ids"].flip(1))
    assert (tokens_of(model, batch) - tokens_of(model, asked)).abs().max() > 1e-3


@torch.no_grad()
def test_cached_features_and_embeddings_replace_pixels(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any]
) -> None:
    model, processor = shaken()
    batch = batch_of(processor, talks["three"], talks["one"])
    cached = {k: v for k, v in batch.items() if k not in STREAMS}
    cached["vision_features"], cached["aux_features"] = model.encode_towers(
        batch["pixel_values"], batch["pixel_values_aux"]
    )
    cached["segmenter_features"] = model.segmenter.encode(batch["pixel_values_sam"])
    first, second = model(**batch), model(**cached)
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.mask_logits, second.mask_logits)
