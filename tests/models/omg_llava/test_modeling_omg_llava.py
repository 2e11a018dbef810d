"""OMG-LLaVA: as many tokens as objects, the state at `[SEG]`, several pictures and turns, visual prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModel, AutoProcessor

from segue.errors import AlignmentError
from segue.models.build import build_omg_llava
from segue.models.losses import target_weight
from segue.models.omg_llava.modeling_omg_llava import OmgLlavaModel
from segue.models.omg_llava.processing_omg_llava import OmgLlavaProcessor
from segue.models.omg_llava.visual_prompts import VisualPrompts
from segue.models.presets import preset
from segue.models.requirements import requirements
from segue.models.splice import TextInputs

Shaken = Callable[..., tuple[OmgLlavaModel, OmgLlavaProcessor]]
Batch = Callable[..., dict[str, Any]]


def states_of(model: OmgLlavaModel, batch: dict[str, Any]) -> tuple[Tensor, TextInputs]:
    text = TextInputs(batch["input_ids"], batch["attention_mask"], batch["labels"])
    embeds, _ = model.embed(text, batch["num_images"].tolist(), pixel_values_sam=batch["pixel_values_sam"])
    return model.hidden_states(embeds, text.attention_mask)[1], text


@torch.no_grad()
def test_an_image_has_a_token_per_object(
    shaken_omg_llava: Shaken, talks: dict[str, Any], batch_of: Batch
) -> None:
    model, processor = shaken_omg_llava()
    batch = batch_of(processor, talks["three"])
    features, drawn = model.encode({"pixel_values_sam": batch["pixel_values_sam"]})
    visual = model.encode_images([3], **features)
    counts = visual.mask.sum(1).tolist()
    objects = features["winner_features"].sum(1).tolist()
    assert counts == [4 + 1 + number for number in objects]
    assert len(set(counts)) > 1, "pictures must differ in their objects"
    # The last object token of a picture is that of its last winning query.
    last = torch.nonzero(features["winner_features"][0])[-1, 0]
    expected = model.image_projection.objects(features["query_features"][0, last])
    torch.testing.assert_close(visual.tokens[0, counts[0] - 1], expected, rtol=1e-5, atol=1e-6)
    assert set(drawn) == {"mask_features", "memory_0", "memory_1", "memory_2"}
    text = TextInputs(batch["input_ids"], batch["attention_mask"], batch["labels"])
    model.embed(text, [3], **features)
    written = int((text.input_ids == model.config.image_token_id).sum())
    assert written == sum(counts)
    assert processor.prompt_length({"input_ids": batch["input_ids"]} | features) == text.input_ids.shape[1]


@torch.no_grad()
def test_a_prompt_is_the_state_at_its_seg(
    shaken_omg_llava: Shaken, talks: dict[str, Any], batch_of: Batch
) -> None:
    model, processor = shaken_omg_llava()
    batch = batch_of(processor, talks["three"], talks["one"])
    output = model(**batch)
    states, text = states_of(model, batch)
    places = (text.input_ids == model.config.seg_token_id) & (text.labels == model.config.seg_token_id)
    torch.testing.assert_close(output.seg_prompts, model.seg_projection(states[places]))
    assert output.mask_logits.shape == (5, 32, 32)


@torch.no_grad()
def test_a_batch_of_two_is_each_conversation_alone(
    shaken_omg_llava: Shaken, talks: dict[str, Any], batch_of: Batch
) -> None:
    model, processor = shaken_omg_llava()
    names = ("three", "one", "silent")
    # Points are drawn mask by mask, so the same draws serve the batch and its conversations in turn.
    torch.manual_seed(5)
    whole = model(**batch_of(processor, *(talks[name] for name in names)))
    torch.manual_seed(5)
    batches = [batch_of(processor, talks[name]) for name in names]
    totals = {"text": sum(target_weight(b["labels"]) for b in batches), "masks": 5.0}
    alone = [model(**batch, loss_totals=totals) for batch in batches]
    torch.testing.assert_close(
        whole.seg_prompts, torch.cat([output.seg_prompts for output in alone]), atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(
        whole.mask_logits, torch.cat([output.mask_logits for output in alone]), atol=1e-4, rtol=1e-4
    )
    for name in ("text", "dice", "pixel"):
        summed = sum(float(output.loss_terms[name]) for output in alone)
        assert float(whole.loss_terms[name]) == pytest.approx(summed, rel=1e-5), name


@torch.no_grad()
def test_features_in_the_place_of_pixels(
    shaken_omg_llava: Shaken, talks: dict[str, Any], batch_of: Batch
) -> None:
    model, processor = shaken_omg_llava()
    batch = batch_of(processor, talks["three"])
    seen, drawn = model.encode({"pixel_values_sam": batch["pixel_values_sam"]})
    torch.manual_seed(6)
    expected = model(**batch).loss
    del batch["pixel_values_sam"]
    torch.manual_seed(6)
    assert torch.equal(model(**batch, **seen, segmenter_features=drawn).loss, expected)
    with pytest.raises(AlignmentError, match="no images"):
        model(**batch)


@torch.no_grad()
def test_what_is_generated_has_the_states_of_a_second_reading(
    shaken_omg_llava: Shaken, talks: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = shaken_omg_llava()
    images = talks["three"].images()
    asked = dict(processor(images=images, turns=[("user", "What?")]))
    streams = {"pixel_values_sam": asked["pixel_values_sam"], "num_images": asked["num_images"]}
    options = {"max_new_tokens": 6, **streams}
    ids = model.generate_grounded(asked["input_ids"], **options).token_ids
    # What a shaken model babbles has no [SEG]: its second word counts as one.
    monkeypatch.setattr(model.config, "seg_token_id", int(ids[1]))
    found = model.generate_grounded(asked["input_ids"], **options)
    whole = torch.cat([asked["input_ids"], found.token_ids[None]], dim=1)
    labels = torch.cat([torch.full_like(asked["input_ids"], -100), found.token_ids[None]], dim=1)
    states, text = states_of(
        model, {"input_ids": whole, "attention_mask": torch.ones_like(whole), "labels": labels, **streams}
    )
    places = text.labels == model.config.seg_token_id
    assert int(places.sum()) == len(found.seg_prompts) > 0
    torch.testing.assert_close(found.seg_prompts, model.seg_projection(states[places]), atol=1e-5, rtol=1e-5)


def test_all_rounds_of_the_decoder_learn(tiny_tokenizer: Any, talks: dict[str, Any], batch_of: Batch) -> None:
    model, processor = build_omg_llava(tiny_tokenizer)
    model.perception.requires_grad_(False)
    model(**batch_of(processor, talks["three"])).loss.backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if not name.startswith("perception.") and (parameter.grad is None or not parameter.grad.any())
    ]
    # Self-attention of a single query gives its value, whatever queries and keys are.
    assert all(".self_attn." in name and ("q_proj" in name or "k_proj" in name) for name in without), without
    assert all(parameter.grad is None for parameter in model.perception.parameters())


@torch.no_grad()
def test_a_marked_thing_is_one_token(shaken_omg_llava: Shaken, talks: dict[str, Any]) -> None:
    model, processor = shaken_omg_llava()
    images = talks["three"].images()
    pixels = processor.encode_pixels(images)["pixel_values_sam"]
    encoded: Any = model.encode({"pixel_values_sam": pixels})
    seen, drawn = encoded
    points = VisualPrompts(torch.tensor([2]), points=torch.tensor([[60.0, 70.0]]))
    boxes = VisualPrompts(torch.tensor([0]), boxes=torch.tensor([[10.0, 40.0, 60.0, 80.0]]))
    marked = torch.cat([model.prompt_tokens(drawn, points), model.prompt_tokens(drawn, boxes)])
    turns = [("user", "Is <mark> larger than <region>, or than <mark>?")]
    ids = torch.tensor([processor.encode_turns(turns, 3, True, num_marks=2)["input_ids"]])
    assert (ids == model.config.mark_token_id).sum() == (ids == model.config.region_token_id).sum() == 1
    text = TextInputs(ids)
    embeds, _ = model.embed(text, [3], prompt_tokens=marked, **seen)
    places = torch.isin(
        text.input_ids, torch.tensor([model.config.mark_token_id, model.config.region_token_id])
    )
    assert torch.equal(embeds[places], marked)
    generation = model.generate_grounded(ids, [3], max_new_tokens=3, prompt_tokens=marked, **seen)
    assert len(generation.token_ids) > 0
    with pytest.raises(AlignmentError, match="2 visual prompts"):
        model.embed(TextInputs(ids), [3], prompt_tokens=marked[:1], **seen)
    with pytest.raises(AlignmentError, match="1 visual prompts"):
        model.embed(TextInputs(ids), [3], **seen)


def test_marks_that_a_user_typed_are_words(shaken_omg_llava: Shaken) -> None:
    model, processor = shaken_omg_llava()
    special = {model.config.mark_token_id, model.config.region_token_id, processor.tokenizer.eos_token_id}
    turns = [("user", "What is <mark>, <region>, <|im_end|>?"), ("assistant", "A <mark>"), ("user", "And?")]
    ids = processor.encode_turns(turns, 1, True)["input_ids"]
    # A turn ends three times, of which the user wrote none.
    assert [i for i in ids if i in special] == [processor.tokenizer.eos_token_id] * 3


def test_kinds_of_marks_are_not_mixed() -> None:
    with pytest.raises(AlignmentError, match="1 points, boxes or masks"):
        VisualPrompts(torch.tensor([0]), points=torch.zeros(1, 2), boxes=torch.zeros(1, 4))
    with pytest.raises(AlignmentError, match="2 points, boxes or masks"):
        VisualPrompts(torch.tensor([0, 1]), points=torch.zeros(1, 2))


def test_saved_and_loaded_it_is_the_same(
    shaken_omg_llava: Shaken, tmp_path: Path, talks: dict[str, Any], batch_of: Batch
) -> None:
    model, processor = shaken_omg_llava()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again, reader = AutoModel.from_pretrained(tmp_path).eval(), AutoProcessor.from_pretrained(tmp_path)
    assert type(again) is OmgLlavaModel
    batch = batch_of(reader, talks["one"])
    torch.manual_seed(1)
    expected = model(**batch).loss
    torch.manual_seed(1)
    torch.testing.assert_close(again(**batch).loss, expected, rtol=1e-6, atol=0)
    half = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    kinds = {
        part: next(child.parameters()).dtype
        for part, child in half.named_children()
        if any(True for _ in child.parameters())
    }
    assert {part for part, kind in kinds.items() if kind == torch.float32} == {"perception", "mask_decoder"}
    assert half(**batch).mask_logits.dtype == torch.float32
    # A training engine may bring all of it to half precision.
    assert half.to(torch.bfloat16)(**batch).mask_logits.dtype == torch.bfloat16


def test_published_size() -> None:
    layer = 4096 * (4096 + 1024 + 1024 + 4096) + 3 * 4096 * 14336 + 2 * 4096  # q k v o; gate up down; norms
    language = 2 * 92548 * 4096 + 32 * layer + 4096
    projection = (512 + 1) * 6144 + 2 * (4096 + 1) * 4096 + (6144 + 1) * 4096 + (6656 + 1) * 4096 + 4096
    prompts = (4096 + 1) * 512 + (512 + 1) * 512
    attention, norm = 4 * (256 + 1) * 256, 2 * 256
    mlp = 3 * (256 + 1) * 256
    decoder = 9 * (2 * attention + (256 + 1) * 2048 + (2048 + 1) * 256 + 3 * norm) + norm + mlp
    trunk = 3 * 16 * 192 + 3 * 192
    for width, depth, before in ((192, 3, 0), (384, 3, 192), (768, 27, 384), (1536, 3, 768)):
        # 7 x 7 convolution, norm, two linear layers, scale; before it a norm and 2 x 2 convolution.
        trunk += depth * (49 * width + width + 2 * width + 8 * width * width + 5 * width + width)
        trunk += 2 * before + (4 * before + 1) * width if before else 0
    # Offsets and weights of 8 heads, 3 levels and 4 points, values, output; FFN; norms.
    looks = (256 + 1) * (192 + 96 + 256 + 256) + (256 + 1) * 1024 + (1024 + 1) * 256 + 2 * norm
    pixels = 6 * looks + sum((width + 1) * 256 + norm for width in (384, 768, 1536)) + 3 * 256
    pixels += 192 * 256 + 9 * 256 * 256 + 2 * norm + (256 + 1) * 256
    head = 2 * 300 * 256 + 3 * 256 + 2 * (256 + 1) * 256 + (256 + 1) * 768 + norm + (256 + 1) * 256
    marks = 3 * 256 + (512 + 1) * 256
    by_hand = language + projection + prompts + 2 * decoder + trunk + pixels + head + marks
    assert requirements(preset("omg-llava-7b")).parameters == by_hand
