"""Conversations to literal ids and back, images to pixels against numpy, logits back to masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import AutoProcessor

from segue import protocol
from segue.errors import AlignmentError, InputError
from segue.models.losses import IGNORE_INDEX, resize_logits, shrink_masks
from segue.models.processing_grounded import (
    SHORT_TEMPLATE,
    VICUNA_TEMPLATE,
    GroundedProcessor,
    ImageStream,
    PrimaProcessor,
    pad_right,
)
from segue.scenes.dialogue import compose_dialogue
from segue.scenes.render import render_set

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
ANSWER = "The <p> red mug </p> [SEG] (IMAGE2)."


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def normalised(image: Image.Image) -> np.ndarray:
    """`[3, H, W]` of an image that already has its size."""
    pixels = np.asarray(image).astype(np.float64) / 255
    return ((pixels - MEAN) / STD).transpose(2, 0, 1)


@pytest.fixture
def processor(tiny_bundle: SimpleNamespace) -> PrimaProcessor:
    found: PrimaProcessor = tiny_bundle.processor
    return found


# ---- images ----


def test_stretch_squeezes_the_whole_picture() -> None:
    stream = ImageStream(32, "stretch", MEAN, STD)
    image = picture(20, 48)
    assert stream.resized_hw((20, 48)) == (32, 32)
    expected = normalised(image.resize((32, 32), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(stream(image).numpy(), expected, atol=1e-5)


def test_a_picture_of_the_right_size_is_only_normalised() -> None:
    image = picture(32, 32)
    for fit in ("stretch", "pad", "crop"):
        np.testing.assert_allclose(
            ImageStream(32, fit, MEAN, STD)(image).numpy(), normalised(image), atol=1e-5
        )


@pytest.mark.parametrize(
    ("hw", "inside"),
    [
        ((20, 48), (13, 32)),
        ((48, 20), (32, 13)),
        ((16, 32), (16, 32)),
        ((1, 500), (1, 32)),
        ((500, 1), (32, 1)),
    ],
)
def test_pad_fits_the_longest_side_and_fills_with_zeros(hw: tuple[int, int], inside: tuple[int, int]) -> None:
    stream = ImageStream(32, "pad", MEAN, STD)
    image = picture(*hw)
    assert stream.resized_hw(hw) == inside
    found = stream(image).numpy()
    resized = image.resize((inside[1], inside[0]), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(found[:, : inside[0], : inside[1]], normalised(resized), atol=1e-5)
    assert not found[:, inside[0] :].any()
    assert not found[:, :, inside[1] :].any()


def test_crop_keeps_the_centre() -> None:
    stream = ImageStream(32, "crop", MEAN, STD)
    image = picture(32, 52)
    assert stream.resized_hw((32, 52)) == (32, 52)
    np.testing.assert_allclose(stream(image).numpy(), normalised(image)[:, :, 10:42], atol=1e-5)
    assert stream.resized_hw((64, 100)) == (32, 50)
    assert stream(picture(64, 100)).shape == (3, 32, 32)


def test_every_stream_gets_every_image(processor: PrimaProcessor) -> None:
    images = [picture(20, 48), picture(30, 10, 1)]
    streams = processor.encode_pixels(images)
    assert {n: tuple(t.shape) for n, t in streams.items()} == {
        "pixel_values": (2, 3, 56, 56),
        "pixel_values_aux": (2, 3, 56, 56),
        "pixel_values_sam": (2, 3, 48, 48),
    }
    only = processor.encode_pixels(images, ("pixel_values_sam",))
    assert list(only) == ["pixel_values_sam"]
    assert torch.equal(only["pixel_values_sam"], streams["pixel_values_sam"])


# ---- text ----


def test_the_chat_is_literal(processor: PrimaProcessor) -> None:
    turns = [("user", "What?"), ("assistant", ANSWER), ("user", "Why?"), ("assistant", "Because.")]
    text, answers = processor.render_chat(turns, 2, 3, False)
    assert text == (
        " USER: The <image><image><image> (IMAGE1) and <image><image><image> (IMAGE2) provide an overview"
        " of the pictures.\nWhat? ASSISTANT: The <p> red mug </p> [SEG] (IMAGE2).</s>"
        " USER: Why? ASSISTANT: Because.</s>"
    )
    assert [text[a:b] for a, b in answers] == [f" {ANSWER}</s>", " Because.</s>"]
    prompt, none = processor.render_chat(turns[:1], 2, 3, True)
    assert prompt == text[: answers[0][0]]
    assert none == []


def test_templates_and_wrapping(tiny_bundle: SimpleNamespace) -> None:
    tokenizer = tiny_bundle.tokenizer
    wrapped = GroundedProcessor(tokenizer, template=dict(VICUNA_TEMPLATE), image_wrap=["<a>", "<b>"])
    text, _ = wrapped.render_chat([("user", "What?")], 1, 2, True)
    assert text == (
        VICUNA_TEMPLATE["system"] + " USER: The <a><image><image><b> (IMAGE1) provides an overview of the "
        "picture.\nWhat? ASSISTANT:"
    )
    assert SHORT_TEMPLATE["system"] == ""


@pytest.mark.parametrize("keep", [False, True])
def test_one_placeholder_per_visual_token(tiny_bundle: SimpleNamespace, keep: bool) -> None:
    tokenizer = tiny_bundle.tokenizer
    processor = PrimaProcessor(tokenizer, tokenizer, {}, num_query_tokens=5, keep_text_outputs=keep)
    question = "What can you drink coffee from?"
    encoded = processor.encode_turns([("user", question), ("assistant", ANSWER)], 2)
    instruction = tokenizer(question)["input_ids"]
    assert encoded["qformer_input_ids"] == instruction
    per_image = 5 + (len(instruction) if keep else 0)
    special = [
        t
        for t in tokenizer.convert_ids_to_tokens(encoded["input_ids"])
        if t in tokenizer.all_special_tokens
        or t in ("<image>", "[SEG]", "<p>", "</p>", "(IMAGE1)", "(IMAGE2)")
    ]
    assert special == [
        "<s>",
        *["<image>"] * per_image,
        "(IMAGE1)",
        *["<image>"] * per_image,
        "(IMAGE2)",
        "<p>",
        "</p>",
        "[SEG]",
        "(IMAGE2)",
        "</s>",
    ]


def test_a_long_instruction_is_cut_and_still_counted(tiny_bundle: SimpleNamespace) -> None:
    tokenizer = tiny_bundle.tokenizer
    processor = PrimaProcessor(tokenizer, tokenizer, {}, num_query_tokens=2, max_instruction_tokens=6)
    encoded = processor.encode_turns([("user", "what " * 50)], 3)
    assert len(encoded["qformer_input_ids"]) == 6
    assert encoded["input_ids"].count(tokenizer.convert_tokens_to_ids("<image>")) == 3 * (2 + 6)
    assert processor.encode_instruction("") == [0]


def test_the_instruction_is_the_first_question(processor: PrimaProcessor) -> None:
    turns = [("user", "What?"), ("assistant", "A mug."), ("user", "Why is it red?")]
    assert processor.encode_turns(turns, 1)["qformer_input_ids"] == processor.encode_instruction("What?")


def test_labels_cover_answers_and_their_end_and_nothing_else(processor: PrimaProcessor) -> None:
    turns = [("user", "What?"), ("assistant", ANSWER), ("user", "Why?"), ("assistant", "Because.")]
    encoded = processor.encode_turns(turns, 2)
    ids, labels = np.array(encoded["input_ids"]), np.array(encoded["labels"])
    chosen = labels != IGNORE_INDEX
    assert (labels[chosen] == ids[chosen]).all()
    starts = np.flatnonzero(np.diff(np.r_[0, chosen.astype(int)]) == 1)
    ends = np.flatnonzero(np.diff(np.r_[chosen.astype(int), 0]) == -1)
    spoken = [processor.tokenizer.decode(ids[a : b + 1]).strip() for a, b in zip(starts, ends, strict=True)]
    assert [s.removesuffix("</s>") for s in spoken] == [
        processor.tokenizer.decode(
            processor.tokenizer(f" {t}", add_special_tokens=False)["input_ids"]
        ).strip()
        for t in (ANSWER, "Because.")
    ]
    assert all(processor.tokenizer.convert_ids_to_tokens(int(ids[b])) == "</s>" for b in ends)
    assert len(starts) == 2


@pytest.mark.parametrize("answer", [ANSWER, "<p> mug </p> [SEG] (IMAGE1)", "No.", "…"])
def test_the_generation_prompt_is_the_beginning_of_the_training_text(
    processor: PrimaProcessor, answer: str
) -> None:
    turns = [("user", "What?"), ("assistant", answer)]
    prompt = processor.encode_turns(turns[:1], 2, add_generation_prompt=True)["input_ids"]
    whole = processor.encode_turns(turns, 2)
    assert whole["input_ids"][: len(prompt)] == prompt
    assert all(label == IGNORE_INDEX for label in whole["labels"][: len(prompt)])
    assert whole["labels"][len(prompt)] != IGNORE_INDEX


@pytest.mark.parametrize(
    "typed", ["what is [SEG]?", "an <image> more", "<p>mug</p>", "[seg] <IMAGE>", "bye</s>", "<s>"]
)
def test_tags_typed_by_the_user_are_plain_text(processor: PrimaProcessor, typed: str) -> None:
    special = [
        processor.tokenizer.convert_tokens_to_ids(t)
        for t in ("<image>", "[SEG]", "<p>", "</p>", "<s>", "</s>")
    ]

    def counts(question: str) -> list[int]:
        ids = processor.encode_turns([("user", question)], 2, add_generation_prompt=True)["input_ids"]
        return [ids.count(token) for token in special]

    assert counts(typed) == counts("what is it?") == [10, 0, 0, 0, 1, 0]


def test_a_conversation_needs_a_question_and_an_image(processor: PrimaProcessor) -> None:
    with pytest.raises(InputError, match="at least one user turn"):
        processor.encode_turns([("assistant", "Hello.")], 1)
    with pytest.raises(InputError, match="at least one image"):
        processor(images=[], turns=[("user", "What?")])


def test_an_unknown_role_is_not_dropped_in_silence(processor: PrimaProcessor) -> None:
    with pytest.raises(InputError, match="gpt"):
        processor.encode_turns([("user", "What?"), ("gpt", "A mug.")], 1)


# ---- answers back to text ----


def spoken_ids(processor: PrimaProcessor, markup: str) -> list[int]:
    """What a model that answers `markup` would generate."""
    encoded = processor.encode_turns([("user", "What?"), ("assistant", markup)], 3)
    return [
        i for i, label in zip(encoded["input_ids"], encoded["labels"], strict=True) if label != IGNORE_INDEX
    ]


PRIVATE = ("(IMAGE", "<s>", "</s>", "<pad>")
"""What the tiny tokenizer takes for special in an answer; no data of ours contains it."""
words = st.text(st.characters(categories=("L", "N", "P", "S", "M")), min_size=1, max_size=8)
tails = st.sampled_from(["", ".", ",", "'s", "?"])


@st.composite
def markups(draw: Callable[..., Any]) -> str:
    """Words with single blanks between them; some are grounded, punctuation may follow directly."""
    pieces, spans, text = (
        draw(st.lists(st.tuples(words, st.booleans(), tails), min_size=1, max_size=8)),
        [],
        "",
    )
    for word, grounded, tail in pieces:
        text += " " if text else ""
        if grounded:
            images = tuple(draw(st.lists(st.integers(0, 2), min_size=1, max_size=3)))
            spans.append(protocol.MarkedSpan(len(text), len(text) + len(word), images))
        text += word + tail
    if protocol.contains_tag(text) or any(p in text for p in PRIVATE):
        return "The <p> mug </p> [SEG] (IMAGE1)."
    return protocol.render(text, spans)


@settings(max_examples=150)
@given(markup=markups())
def test_decoding_an_encoded_answer_gives_it_back(tiny_bundle: SimpleNamespace, markup: str) -> None:
    processor = tiny_bundle.processor
    assert processor.decode_markup(spoken_ids(processor, markup)) == markup


def test_answers_of_dialogues_survive(processor: PrimaProcessor) -> None:
    rng = np.random.default_rng(3)
    things = [scene.objects for scene in render_set(rng, size=64, split="train", num_images=3)]
    answers = []
    for _ in range(40):
        for exchange in compose_dialogue(things, rng):
            spans = [protocol.MarkedSpan(s.start, s.end, (s.image_index,)) for s in exchange.spans]
            answers.append(protocol.render(exchange.answer, spans))
    assert sum("[SEG]" in a for a in answers) > 20
    assert [processor.decode_markup(spoken_ids(processor, a)) for a in answers] == answers


def test_decoding_takes_tensors_and_unfinished_answers(processor: PrimaProcessor) -> None:
    ids = spoken_ids(processor, ANSWER)
    assert processor.decode_markup(torch.tensor(ids)) == ANSWER
    assert processor.decode_markup(ids[:-3]) == "The <p> red mug </p> [SEG]"
    assert processor.decode_markup([]) == ""
    assert processor.decode_markup([2]) == ""


# ---- batches and masks ----


def test_one_call_prepares_everything(processor: PrimaProcessor) -> None:
    inputs = processor(images=[picture(20, 48), picture(30, 10)], turns=[("user", "What?")])
    assert inputs["num_images"].tolist() == [2]
    assert inputs["original_hw"].tolist() == [[20, 48], [30, 10]]
    assert inputs["resized_hw"].tolist() == [[20, 48], [48, 16]]
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape == inputs["labels"].shape
    assert bool((inputs["labels"] == IGNORE_INDEX).all())
    prompt = processor.encode_turns([("user", "What?")], 2, add_generation_prompt=True)
    assert inputs["input_ids"][0].tolist() == prompt["input_ids"]


def test_collating_pads_right_and_counts_images_over_the_batch(
    processor: PrimaProcessor, talks: dict[str, Any], item_of: Any
) -> None:
    items = [item_of(processor, talks[name]) for name in ("one", "three", "silent")]
    batch = processor.collate(items)
    lengths = [len(i["input_ids"]) for i in items]
    assert batch["attention_mask"].sum(1).tolist() == lengths
    for row, (item, length) in enumerate(zip(items, lengths, strict=True)):
        assert batch["input_ids"][row, :length].tolist() == item["input_ids"]
        assert not batch["input_ids"][row, length:].any()
        assert bool((batch["labels"][row, length:] == IGNORE_INDEX).all())
        questions = batch["qformer_attention_mask"][row].bool()
        assert batch["qformer_input_ids"][row][questions].tolist() == item["qformer_input_ids"]
    assert batch["num_images"].tolist() == [1, 3, 2]
    assert batch["seg_image_index"].tolist() == [0, 3, 1, 1, 3]
    assert [len(m) for m in batch["mask_labels"]] == [1, 2, 0, 2, 0, 0]
    assert batch["pixel_values"].shape[0] == batch["original_hw"].shape[0] == 6
    assert torch.equal(batch["pixel_values_sam"][1:4], items[1]["pixel_values_sam"])


def test_pad_right() -> None:
    assert pad_right([[1, 2, 3], [4]], 9).tolist() == [[1, 2, 3], [4, 9, 9]]


def test_masks_come_back_at_the_photographs_size(processor: PrimaProcessor) -> None:
    original = [(40, 60), (90, 30)]
    inside = [processor.sam_stream.resized_hw(hw) for hw in original]
    wanted, logits = [], []
    for index in (1, 0, 1):
        mask = torch.zeros((1, *original[index]), dtype=torch.bool)
        mask[:, 10:30, 5:25] = True
        wanted.append(mask[0].numpy())
        logits.append(shrink_masks(mask, inside[index], 48, 48)[0] * 8 - 4)
    found = processor.post_process_masks(
        torch.stack(logits), [1, 0, 1], torch.tensor(original), torch.tensor(inside)
    )
    for (mask, score), expected, logit, index in zip(found, wanted, logits, (1, 0, 1), strict=True):
        assert mask.dtype == bool
        assert mask.shape == original[index]
        assert (mask & expected).sum() / (mask | expected).sum() > 0.85
        full = resize_logits(logit[None], inside[index], original[index], 48)[0].numpy()
        np.testing.assert_array_equal(mask, full > 0)
        assert score == pytest.approx((1 / (1 + np.exp(-full[full > 0]))).mean(), abs=1e-5)


def test_an_empty_mask_scores_zero(processor: PrimaProcessor) -> None:
    sizes = torch.tensor([[20, 30]]), torch.tensor([[32, 48]])
    ((mask, score),) = processor.post_process_masks(torch.full((1, 16, 16), -3.0), [0], *sizes)
    assert (mask.any(), score, mask.shape) == (False, 0.0, (20, 30))
    assert processor.post_process_masks(torch.zeros(0, 16, 16), [], *sizes) == []


def test_every_mask_needs_an_address(processor: PrimaProcessor) -> None:
    with pytest.raises(AlignmentError, match=r"2(.|\n)*1"):
        processor.post_process_masks(
            torch.zeros(2, 16, 16), [0], torch.tensor([[9, 9]]), torch.tensor([[48, 48]])
        )


def test_saved_processors_prepare_the_same(tiny_bundle: SimpleNamespace, tmp_path: Path) -> None:
    tokenizer = tiny_bundle.tokenizer
    processor = PrimaProcessor(
        tokenizer,
        tokenizer,
        tiny_bundle.processor.image_streams,
        num_query_tokens=3,
        keep_text_outputs=True,
        template=dict(SHORT_TEMPLATE),
        max_instruction_tokens=4,
    )
    processor.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(again, PrimaProcessor)
    assert again.streams == processor.streams
    images, turns = [picture(20, 48)], [("user", "What is it in the picture?"), ("assistant", ANSWER)]
    first, second = (p(images=images, turns=turns) for p in (processor, again))
    assert set(first) == set(second)
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert again.decode_markup(spoken_ids(again, ANSWER)) == ANSWER
