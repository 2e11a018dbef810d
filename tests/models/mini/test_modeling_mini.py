"""What the embedded model adds to PRIMA's visual tokens: words, marks and numbers, each by hand."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from segue.errors import AlignmentError
from segue.models.mini.modeling_mini import MiniModel
from segue.models.segmenter_sam import EMBEDDINGS

Shaken = Callable[..., Any]
STREAMS = ("pixel_values", "pixel_values_aux", "pixel_values_sam")


def tokens_of(model: MiniModel, batch: dict[str, Any]) -> torch.Tensor:
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


@torch.no_grad()
def test_a_batch_of_two_is_two_batches_of_one(shaken: Shaken, batch_of: Any, talks: dict[str, Any]) -> None:
    model, processor = shaken(slot_classes=("mug", "lamp"))
    batch = batch_of(processor, talks["three"], talks["one"])
    together = tokens_of(model, batch)
    alone = [tokens_of(model, batch_of(processor, talks[name])) for name in ("three", "one")]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


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
    named = model.named_slots(batch["qformer_input_ids"]).expand(3, -1)
    asked, total = model.slot_heads.asked(visual.queries, named), visual.queries.shape[1]
    assert asked.shape == (3, 2)
    assert mark.norm() > 0
    wanted = asked.sigmoid()[..., None] * mark
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
