"""A step is a token, or the masks would be drawn from other states than those that said `[SEG]`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from segue.errors import AlignmentError
from segue.models.generation import GroundedGeneration
from segue.models.modeling_grounded import GroundedModel
from segue.models.seg_prompts import PromptState

Shaken = Callable[..., tuple[Any, Any]]
ANSWER = "The <p> mug </p> [SEG] (IMAGE3), the <p> lamp </p> [SEG] (IMAGE1)."


class Say(LogitsProcessor):
    """Makes generation say these ids, by the number of ids that stand there already."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        # generate() from embeddings starts with no ids at all.
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self.ids[min(input_ids.shape[1], len(self.ids) - 1)]] = 0
        return forced


def answered(
    model: GroundedModel, processor: Any, talk: Any, budget: int | None = None, **options: Any
) -> tuple[GroundedGeneration, Any]:
    """The model says ANSWER; and the whole conversation as teacher-forced inputs."""
    turns = [("user", "What can you drink from?")]
    whole = processor(
        images=talk.images(), turns=[*turns, ("assistant", ANSWER)], add_generation_prompt=False
    )
    prompt = processor(images=talk.images(), turns=turns)
    ids = whole["input_ids"][0, prompt["input_ids"].shape[1] :].tolist()
    kept = {k: v for k, v in prompt.items() if k not in ("labels", "original_hw", "resized_hw")}
    kept.pop("pixel_values_sam")
    forced = {"logits_processor": LogitsProcessorList([Say(ids)])} | options
    found = model.generate_grounded(**kept, max_new_tokens=budget or len(ids), generation_options=forced)
    return found, whole


@pytest.mark.parametrize(
    "options",
    [{"prompt_lookup_num_tokens": 3}, {"prefill_chunk_size": 8}, {"assistant": True}],
    ids=["prompt lookup", "chunked prefill", "assistant"],
)
def test_ways_of_generating_that_do_not_go_token_by_token_are_refused(
    shaken: Shaken, talks: dict[str, Any], options: dict[str, Any]
) -> None:
    model, processor = shaken()
    if options.pop("assistant", False):
        options["assistant_model"] = copy.deepcopy(model.language_model)
    with pytest.raises(AlignmentError, match=next(iter(options))) as caught:
        answered(model, processor, talks["three"], **options)
    assert caught.value.where == "generation_options"


def test_as_many_steps_as_tokens_do_not_make_it_right(shaken: Shaken) -> None:
    # One step tried two tokens and kept one: three steps, three ids, and a state that is not the id's own.
    from segue.models.seg_prompts import NormHook

    model, _ = shaken()
    hook = NormHook(model.final_norm, "after", last_only=True)
    hook.states, hook.lengths = [torch.zeros(1, 4)] * 3, [40, 2, 1]
    with pytest.raises(AlignmentError, match="3 steps over 43 tokens, up to 2 a step"):
        hook.generated(40, 3)
    hook.lengths = [40, 1, 1]
    assert hook.generated(40, 3).shape == (3, 1, 4)


@pytest.mark.parametrize("position", ["before", "at"])
@pytest.mark.parametrize("norm", ["before", "after"])
@torch.no_grad()
def test_generated_prompts_are_the_teacher_forced_ones_wherever_a_family_reads_them(
    shaken: Shaken, talks: dict[str, Any], monkeypatch: pytest.MonkeyPatch, position: Any, norm: Any
) -> None:
    model, processor = shaken()
    usual = answered(model, processor, talks["three"])[0].seg_prompts
    monkeypatch.setattr(type(model), "prompt_state", PromptState(position, norm))
    found, whole = answered(model, processor, talks["three"])
    expected = model(**whole).seg_prompts
    torch.testing.assert_close(found.seg_prompts, expected, atol=1e-5, rtol=1e-5)
    if (position, norm) != ("before", "after"):
        assert (found.seg_prompts - usual).abs().max() > 1e-2, "another state must be another prompt"


@torch.no_grad()
def test_a_seg_that_ends_the_budget_has_its_state(
    shaken: Shaken, talks: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = shaken()
    monkeypatch.setattr(type(model), "prompt_state", PromptState("at", "before"))
    whole, _ = answered(model, processor, talks["three"])
    first = whole.token_ids.tolist().index(model.config.seg_token_id)
    cut, _ = answered(model, processor, talks["three"], budget=first + 1)
    assert cut.token_ids.tolist() == whole.token_ids.tolist()[: first + 1]
    assert not cut.finished
    torch.testing.assert_close(cut.seg_prompts, whole.seg_prompts[:1], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_phrases_come_with_their_prompts(
    shaken: Shaken, talks: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = shaken()
    model.config.phrase_token_id = processor.tokenizer.convert_tokens_to_ids("<p>")
    seen: list[list[Tensor]] = []
    monkeypatch.setattr(model, "dense_prompts", lambda phrases, index, features: seen.append(phrases))
    found, whole = answered(model, processor, talks["three"])
    model(**whole, seg_image_index=torch.tensor([2, 0]))
    words = [processor.decode_markup(ids) for ids in found.phrases]
    assert words == ["<p> mug </p>", "<p> lamp </p>"]
    assert [ids.tolist() for ids in seen[0]] == [ids.tolist() for ids in found.phrases]
