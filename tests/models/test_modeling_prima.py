"""PRIMA's way from images to visual tokens: batches, both visual modules, and what depends on what."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from segue.errors import AlignmentError
from segue.models.modeling_prima import PrimaModel
from segue.models.segmenter import MaskPrompts
from segue.models.segmenter_sam import EMBEDDINGS

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
    torch.testing.assert_close(together.mask_logits, torch.cat([a.mask_logits for a in alone]), **close)
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


@torch.no_grad()
def test_images_are_looked_at_from_the_first_step(
    tiny_bundle: SimpleNamespace, batch_of: Any, talks: dict[str, Any]
) -> None:
    # As it is built: an initialisation so small that images vanish would make every other test here vacuous.
    model, batch = tiny_bundle.model, batch_of(tiny_bundle.processor, talks["three"])
    before = tokens_of(model, batch)
    after = tokens_of(model, with_other_image(batch, 1))
    assert (before - after)[1].abs().max() > 0.05 * before[1].std()
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    first, second = (
        model.segmenter.encode(b["pixel_values_sam"])[EMBEDDINGS] for b in (batch, with_other_image(batch, 1))
    )
    assert (first - second)[1].abs().max() > 0.05 * first[1].std()


@pytest.mark.parametrize("stream", ["pixel_values", "pixel_values_aux"])
@torch.no_grad()
def test_both_towers_are_read(shaken: Shaken, batch_of: Any, talks: dict[str, Any], stream: str) -> None:
    model, processor = shaken(fusion_pooled_skip=False)
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
    from segue.models.build import build_from_tokenizer

    model, processor = build_from_tokenizer("tiny", tiny_tokenizer, visual_module="square")
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
def test_the_index_embedding_is_that_of_the_identifier(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any]
) -> None:
    plain, processor = shaken(image_index_embedding=False)
    marked, _ = shaken()
    batch = batch_of(processor, talks["three"], talks["one"])
    added = tokens_of(marked, batch) - tokens_of(plain, batch)
    ids = processor.tokenizer.convert_tokens_to_ids(["(IMAGE1)", "(IMAGE2)", "(IMAGE3)", "(IMAGE1)"])
    expected = marked.get_input_embeddings()(torch.tensor(ids))[:, None].expand_as(added)
    torch.testing.assert_close(added, expected, atol=1e-5, rtol=1e-5)


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


@torch.no_grad()
def test_more_images_than_identifiers_are_refused(shaken: Shaken) -> None:
    model, processor = shaken(identifier_token_ids=(7, 8))
    from PIL import Image

    inputs = processor(images=[Image.new("RGB", (20, 20))] * 3, turns=[("user", "What?")])
    with pytest.raises(AlignmentError, match=r"2(.|\n)*3"):
        model(**inputs)


@torch.no_grad()
def test_the_image_index_is_as_loud_as_the_image(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any]
) -> None:
    """Without the index, scaled visual tokens have exactly the length that the option asks for."""
    model, processor = shaken(visual_token_rms=0.1, slot_relevance=False)
    batch = batch_of(processor, talks["three"])
    tokens = tokens_of(model, batch)
    ids = torch.tensor(model.config.identifier_token_ids)[torch.arange(len(tokens))]
    bare = tokens - model.get_input_embeddings()(ids)[:, None]
    lengths = bare.pow(2).mean(-1).sqrt()
    torch.testing.assert_close(lengths, torch.full_like(lengths, 0.1), atol=2e-3, rtol=0)


@pytest.mark.parametrize("keep", [False, True])
@torch.no_grad()
def test_slots_spell_what_they_read(shaken: Shaken, batch_of: Any, talks: dict[str, Any], keep: bool) -> None:
    """By hand: probabilities of names times the embeddings of their words, and nothing for "nothing"."""
    options = {"slot_classes": ("mug", "lamp"), "slot_attributes": ("red",), "keep_text_outputs": keep}
    plain, _ = shaken(**options, slot_word_ids=())
    model, processor = shaken(**options, slot_word_ids=((20,), (21, 22), (23,)))
    batch = batch_of(processor, talks["three"], talks["one"])
    names = ("pixel_values", "pixel_values_aux", "qformer_input_ids", "qformer_attention_mask")
    visual = model.encode_images(batch["num_images"].tolist(), **{n: batch[n] for n in names})
    classes, attributes, _ = model.slot_heads(visual.queries)
    seen, table = classes.softmax(-1), model.get_input_embeddings().weight
    words = [table[20], (table[21] + table[22]) / 2, table[23]]
    wanted = seen[..., :1] * words[0] + seen[..., 1:2] * words[1] + (1 - seen[..., 2:]) * words[2]
    added = visual.tokens - tokens_of(plain, batch)
    torch.testing.assert_close(added[:, : wanted.shape[1]], wanted, atol=1e-5, rtol=1e-4)
    assert (added[:, wanted.shape[1] :] == 0).all()
    assert attributes.shape[-1] == 1


@torch.no_grad()
def test_the_number_of_an_image_can_be_added_as_the_text_writes_it(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any]
) -> None:
    plain, processor = shaken(image_number_ids=())
    numbered, _ = shaken(image_number_ids=(30, 31, 32))
    batch = batch_of(processor, talks["three"], talks["one"])
    added = tokens_of(numbered, batch) - tokens_of(plain, batch)
    expected = numbered.get_input_embeddings()(torch.tensor([30, 31, 32, 30]))[:, None].expand_as(added)
    torch.testing.assert_close(added, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_slots_that_are_asked_for_are_marked(shaken: Shaken, batch_of: Any, talks: dict[str, Any]) -> None:
    """By hand: the mark times the probability, on the slots alone (the last queries)."""
    model, processor = shaken(
        slot_relevance=True, num_object_slots=2, num_query_tokens=6, keep_text_outputs=True
    )
    batch = batch_of(processor, talks["three"])
    names = ("pixel_values", "pixel_values_aux", "qformer_input_ids", "qformer_attention_mask")
    visual = model.encode_images(batch["num_images"].tolist(), **{n: batch[n] for n in names})
    mark, model.slot_heads.mark.data = model.slot_heads.mark.data, torch.zeros_like(model.slot_heads.mark)
    added = visual.tokens - tokens_of(model, batch)
    model.slot_heads.mark.data = mark
    assert visual.asked.shape == (3, 2)
    total = visual.queries.shape[1]
    assert mark.norm() > 0
    wanted = visual.asked.sigmoid()[..., None] * mark
    torch.testing.assert_close(added[:, total - 2 : total], wanted, atol=1e-5, rtol=1e-4)
    assert (added[:, : total - 2] == 0).all()
    assert (added[:, total:] == 0).all()


@torch.no_grad()
def test_relevance_rests_on_the_names_in_the_instruction(shaken: Shaken) -> None:
    options = {"slot_classes": ("mug", "lamp"), "slot_attributes": ("red",)}
    model, _ = shaken(**options, slot_relevance=True, slot_name_ids=((20, 21), (22,), (23,)))
    found = model.named_slots(torch.tensor([[5, 21, 0], [23, 22, 22], [1, 2, 3]]))
    assert found.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    queries = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(2))
    first, second = (model.slot_heads.asked(queries[:1], found[k : k + 1]) for k in (0, 2))
    assert (first - second).abs().max() > 1e-4
