"""Region alignment: where a phrase's states stand, and that training and generation align alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModel, LogitsProcessor, LogitsProcessorList

from segue.errors import ModelError
from segue.models.losses import IGNORE_INDEX
from segue.models.presets_prima import tiny_prima_config
from segue.models.region_alignment import RegionAlignment, phrase_state_columns, phrases_of

Shaken = Callable[..., Any]
OPEN, SEG = 5, 4
PROMPT_STREAMS = (
    "input_ids", "attention_mask", "num_images", "pixel_values", "pixel_values_aux", "qformer_input_ids",
    "qformer_attention_mask",
)  # fmt: skip


# ---- which tokens ----


@pytest.mark.parametrize(
    ("answer", "places"),
    [
        ([30, 31, OPEN, 32, 33, SEG, 34, 35, SEG], [range(2, 5), range(2, 5)]),  # the module's example
        ([SEG, 30, OPEN, 31, SEG], [range(0), range(2, 4)]),
        ([OPEN, 30, OPEN, 31, SEG], [range(2, 4)]),  # the inner one counts, as in the parser
        ([OPEN, SEG], [range(0, 1)]),
        ([OPEN, 30], []),
        ([], []),
    ],
)
def test_phrases_of_an_answer(answer: list[int], places: list[range]) -> None:
    assert phrases_of(answer, OPEN, SEG) == places


@given(st.lists(st.lists(st.sampled_from([OPEN, SEG, 30, 31]), max_size=12), min_size=1, max_size=4))
def test_columns_are_the_answers_places_one_to_the_left(answers: list[list[int]]) -> None:
    ids, labels, expected = [1], [IGNORE_INDEX], []
    for answer in answers:
        # A question may hold the same tokens: they open nothing.
        ids += [OPEN, SEG, 40]
        labels += [IGNORE_INDEX] * 3
        shift = len(ids) - 1
        expected += [
            range(p.start + shift, p.stop + shift) if p else p for p in phrases_of(answer, OPEN, SEG)
        ]
        ids += answer
        labels += answer
    found = phrase_state_columns(torch.tensor([ids]), torch.tensor([labels]), OPEN, SEG)
    assert found == [(0, place) for place in expected]


def test_an_answer_does_not_reach_into_the_next() -> None:
    ids = torch.tensor([[1, 40, OPEN, 30, 40, SEG, 2]])
    labels = torch.tensor([[-100, -100, OPEN, 30, -100, SEG, 2]])
    assert phrase_state_columns(ids, labels, OPEN, SEG) == [(0, range(0))]


# ---- the module ----


def module(**options: Any) -> RegionAlignment:
    made = RegionAlignment(tiny_prima_config(region_alignment=True, **options))
    made.reset()
    return made


def test_it_starts_as_the_identity_and_learns_from_there() -> None:
    aligning, prompts = module(), torch.randn(3, 16)
    phrases = [torch.randn(n, 16) for n in (4, 0, 1)]
    assert torch.equal(aligning(prompts, phrases), prompts)
    aligning(prompts, phrases).square().sum().backward()
    assert aligning.output.weight.grad.abs().sum() > 0
    with torch.no_grad():
        aligning.output.weight.normal_()
    aligned = aligning(prompts, phrases)
    assert torch.equal(aligned[1], prompts[1]), "no phrase, no change"
    assert (aligned[[0, 2]] - prompts[[0, 2]]).abs().min(1).values.max() > 0
    aligned.sum().backward()
    assert aligning.attention.in_proj_weight.grad.abs().sum() > 0


def test_replacing_forgets_the_prompt_but_for_the_attention() -> None:
    aligning, prompts = module(region_alignment_residual=False), torch.randn(2, 16)
    aligned = aligning(prompts, [torch.randn(1, 16), torch.zeros(0, 16)])
    assert (aligned[0] - prompts[0]).abs().max() > 0.1
    assert torch.equal(aligned[1], prompts[1])
    # With one state to attend to, the prompt decides nothing.
    state = torch.randn(1, 16)
    torch.testing.assert_close(aligning(prompts, [state, state])[0], aligning(prompts, [state, state])[1])


@torch.no_grad()
def test_rows_do_not_see_each_other_nor_the_padding() -> None:
    aligning = module(region_alignment_residual=False)
    prompts, phrases = torch.randn(4, 16), [torch.randn(n, 16) for n in (1, 7, 0, 3)]
    together = aligning(prompts, phrases)
    alone = torch.cat([aligning(p[None], [s]) for p, s in zip(prompts, phrases, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-6)
    assert aligning(prompts[:0], []).shape == (0, 16)


def test_without_the_token_that_opens_phrases_it_is_refused() -> None:
    with pytest.raises(ModelError, match="phrase_token_id"):
        RegionAlignment(tiny_prima_config(region_alignment=True, phrase_token_id=-1))


def test_published_size() -> None:
    from segue.models.presets_prima import prima_7b_config

    with torch.device("meta"):
        aligning = RegionAlignment(prima_7b_config(region_alignment=True))
    # Attention with biases, and a linear layer: 0.33 M, as in MIRAS's code.
    assert sum(p.numel() for p in aligning.parameters()) == 4 * (256 * 256 + 256) + (256 * 256 + 256)


# ---- PRIMA with it ----


@torch.no_grad()
def test_turning_it_on_changes_nothing_at_the_start(
    shaken: Shaken, fresh: Shaken, batch_of: Any, talks: dict[str, Any]
) -> None:
    plain, processor = shaken()
    model, _ = fresh(region_alignment=True)
    report = model.load_state_dict(plain.state_dict(), strict=False)
    assert all(name.startswith("region_alignment.") for name in report.missing_keys)
    assert len(report.missing_keys) == 6
    model.region_alignment.reset()
    batch = batch_of(processor, talks["three"], talks["one"], talks["silent"])
    first, second = plain(**batch), model(**batch)
    for name in ("loss", "logits", "mask_logits", "seg_prompts"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name


@torch.no_grad()
def test_a_new_model_starts_as_the_identity(tiny_tokenizer: Any) -> None:
    from segue.models.build import build_prima

    model, _ = build_prima(tiny_tokenizer, region_alignment=True)
    assert not model.region_alignment.output.weight.any()
    assert model.region_alignment.attention.out_proj.weight.any()


@torch.no_grad()
def test_two_conversations_at_once_are_two_conversations(
    shaken: Shaken, batch_of: Any, talks: dict[str, Any]
) -> None:
    model, processor = shaken(region_alignment=True)
    three, one = talks["three"], talks["one"]
    both = model(**batch_of(processor, three, one))
    first, second = model(**batch_of(processor, three)), model(**batch_of(processor, one))
    for name in ("seg_prompts", "mask_logits"):
        alone = torch.cat([getattr(first, name), getattr(second, name)])
        torch.testing.assert_close(getattr(both, name), alone, atol=2e-5, rtol=1e-5)


class Say(LogitsProcessor):
    """Makes generation say these ids."""

    def __init__(self, ids: list[int]) -> None:
        self.ids, self.step = ids, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self.ids[self.step]] = 0
        self.step += 1
        return forced


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        "The <p> mug </p> [SEG] (IMAGE3), the <p> lamp </p> [SEG] (IMAGE1) [SEG] (IMAGE2).",
        "<p> mug </p> [SEG] (IMAGE1)",
        "It is [SEG] (IMAGE1) and a <p> red mug </p> [SEG] (IMAGE2).",
    ],
)
@torch.no_grad()
def test_generation_aligns_as_training_does(
    shaken: Shaken, talks: dict[str, Any], answer: str, residual: bool
) -> None:
    model, processor = shaken(region_alignment=True, region_alignment_residual=residual)
    images = talks["three"].images()
    turns = [
        ("user", "What can you drink from?"),
        ("assistant", "The <p> chair </p> [SEG] (IMAGE2)."),
        ("user", "And now?"),
    ]
    whole = processor(images=images, turns=[*turns, ("assistant", answer)], add_generation_prompt=False)
    prompt = processor(images=images, turns=turns)
    ids = whole["input_ids"][0, prompt["input_ids"].shape[1] :].tolist()
    found = model.generate_grounded(
        **{name: prompt[name] for name in PROMPT_STREAMS},
        max_new_tokens=len(ids),
        generation_options={"logits_processor": LogitsProcessorList([Say(ids)])},
    )
    # The first mask is that of the turn before, which training labels too.
    expected = model(**whole).seg_prompts[1:]
    torch.testing.assert_close(found.seg_prompts, expected, atol=1e-5, rtol=1e-5)
    plain, _ = shaken()
    plain_state = {n: p for n, p in model.state_dict().items() if not n.startswith("region_alignment")}
    assert set(plain_state) == set(plain.state_dict())
    model.config.region_alignment, kept = False, model.region_alignment
    model.region_alignment = None
    try:
        unaligned = model(**whole).seg_prompts[1:]
    finally:
        model.config.region_alignment, model.region_alignment = True, kept
    assert (unaligned - expected).abs().max() > 1e-2, "it must matter, or this proves nothing"


def test_it_is_trained_and_saved(fresh: Shaken, batch_of: Any, talks: dict[str, Any], tmp_path: Any) -> None:
    model, processor = fresh(region_alignment=True)
    batch = batch_of(processor, talks["three"], talks["one"])
    model(**batch).loss.backward()
    grads = [p.grad for n, p in model.named_parameters() if n.startswith("region_alignment")]
    assert len(grads) == 6
    assert all(g is not None and bool(g.any()) for g in grads)
    model.save_pretrained(tmp_path)
    again, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert {name: found for name, found in report.items() if found} == {}
    written = again.state_dict()
    assert all(torch.equal(written[name], value) for name, value in model.state_dict().items())
    with torch.no_grad():
        found, expected = (m.eval()(**batch).mask_logits for m in (again, model))
    # The same weights at other places of the memory may be multiplied by other kernels: 1e-6 was seen.
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
