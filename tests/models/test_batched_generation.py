"""Rows of a batch are read and answered as they would be alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from segue.models.batched_generation import flush_right, generate_many
from segue.models.build import build_segue
from segue.models.seg_prompts import NormHook, PromptState

Shaken = Callable[..., tuple[Any, Any]]
QUESTIONS = {
    "one": "What?",
    "three": "What can you drink coffee from, and what else is there?",
    "silent": "A lamp?",
}


def prompts_of(processor: Any, talks: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Inputs of all talks together, and of each alone."""
    items = []
    for name, talk in talks.items():
        images = talk.images()
        item: dict[str, Any] = processor.encode_turns([("user", QUESTIONS[name])], len(images), True)
        item |= processor.encode_pixels(images)
        items.append(item | {"num_images": len(images)})
    # The segmenter's pixels are left out, unless words need them too.
    left_out = ("labels", *(["pixel_values_sam"] if len(processor.streams) > 1 else []))
    kept = [
        {k: v for k, v in processor.collate(chosen).items() if k not in left_out}
        for chosen in (items, *([item] for item in items))
    ]
    return kept[0], kept[1:]


@pytest.mark.parametrize("module", ["fusion", "square", "qwen3_vl", "omg_llava"])
@pytest.mark.parametrize("position", ["before", "at"])
@torch.no_grad()
def test_states_ids_and_prompts_are_those_of_each_alone(
    shaken: Shaken,
    shaken_segue: Shaken,
    shaken_omg_llava: Shaken,
    talks: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    position: Any,
) -> None:
    others = {"qwen3_vl": shaken_segue, "omg_llava": shaken_omg_llava}
    model, processor = others[module]() if module in others else shaken(visual_module=module)
    monkeypatch.setattr(type(model), "prompt_state", PromptState(position, "after"))
    together, alone = prompts_of(processor, talks)
    # What a shaken model babbles has few [SEG]: the id it likes most counts as one.
    said = model.generate_grounded(**alone[1], max_new_tokens=8).token_ids.tolist()
    monkeypatch.setattr(model.config, "seg_token_id", said[-1])
    with NormHook(model.final_norm, "after", last_only=True) as caught:
        found = generate_many(model, **together, max_new_tokens=8)
    assert len({len(row) for row in (inputs["input_ids"][0] for inputs in alone)}) == 3, "lengths must differ"
    segs = 0
    for row, inputs in enumerate(alone):
        with NormHook(model.final_norm, "after", last_only=True) as single:
            expected = model.generate_grounded(**inputs, max_new_tokens=8)
        assert found[row].token_ids.tolist() == expected.token_ids.tolist()
        assert found[row].finished == expected.finished
        for ours, theirs in zip(caught.states, single.states[: len(expected.token_ids)], strict=False):
            torch.testing.assert_close(ours[row], theirs[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found[row].seg_prompts, expected.seg_prompts, atol=1e-5, rtol=1e-5)
        segs += len(expected.seg_prompts)
    assert segs > 0


@torch.no_grad()
def test_what_follows_the_end_of_a_row_is_no_part_of_it(
    shaken: Shaken, talks: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = shaken()
    together, alone = prompts_of(processor, talks)
    said = [model.generate_grounded(**inputs, max_new_tokens=6).token_ids.tolist() for inputs in alone]
    end = said[0][2]
    monkeypatch.setattr(model.language_model.generation_config, "eos_token_id", end)
    monkeypatch.setattr(model.language_model.generation_config, "pad_token_id", 0)
    found = generate_many(model, **together, max_new_tokens=6)
    for row, inputs in enumerate(alone):
        expected = model.generate_grounded(**inputs, max_new_tokens=6)
        assert found[row].token_ids.tolist() == expected.token_ids.tolist()
        assert found[row].finished == expected.finished
    assert found[0].finished
    assert len(found[0].token_ids) <= 3


def test_flush_right() -> None:
    embeds = torch.arange(6.0).reshape(2, 3, 1)
    moved, mask = flush_right(embeds, torch.tensor([[1, 0, 0], [1, 1, 1]]))
    assert mask.tolist() == [[0, 0, 1], [1, 1, 1]]
    assert moved[..., 0].tolist() == [[0, 0, 0], [3, 4, 5]]
    assert moved[0, 2, 0] == embeds[0, 0, 0]


@pytest.mark.parametrize(("position", "norm"), [("before", "after"), ("at", "after"), ("at", "before")])
@torch.no_grad()
def test_families_that_read_with_positions_of_their_own(
    tiny_tokenizer: Any,
    shake: Callable[..., Any],
    talks: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    position: Any,
    norm: Any,
) -> None:
    model, processor = build_segue(tiny_tokenizer, prompt_position=position, prompt_norm=norm)
    assert model.prompt_state == PromptState(position, norm)
    shake(model)
    together, alone = prompts_of(processor, talks)
    said = model.generate_grounded(**alone[1], max_new_tokens=6).token_ids.tolist()
    monkeypatch.setattr(model.config, "seg_token_id", said[-1])
    found = generate_many(model, **together, max_new_tokens=6)
    assert sum(len(one.seg_prompts) for one in found) > 0
    for row, inputs in enumerate(alone):
        expected = model.generate_grounded(**inputs, max_new_tokens=6)
        assert found[row].token_ids.tolist() == expected.token_ids.tolist()
        torch.testing.assert_close(found[row].seg_prompts, expected.seg_prompts, atol=1e-5, rtol=1e-5)
