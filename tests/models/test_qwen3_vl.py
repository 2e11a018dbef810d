"""The backbone answers as Qwen3-VL itself, over several images and turns, whatever was asked in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration

from segue.errors import AlignmentError
from segue.models.conversation_cache import ConversationCache

Built = tuple[Any, Any]
TURNS = [("user", "What can you drink from?")]


@pytest.fixture(scope="module")
def built(shaken_segue: Callable[[], Built]) -> Built:
    return shaken_segue()


@pytest.fixture(scope="module")
def qwen(built: Built) -> Qwen3VLForConditionalGeneration:
    """Transformers' own model with the same weights in it, and nothing else in common."""
    model = built[0]
    reference = Qwen3VLForConditionalGeneration(model.config.vlm_config).eval()
    reference.load_state_dict(model.language_model.state_dict())
    return reference


def prompt_of(
    processor: Any, images: list[Image.Image], turns: Any = TURNS, **options: Any
) -> dict[str, Any]:
    """Inputs of a conversation without the segmenter's stream."""
    made = processor(images=images, turns=turns, **options)
    return {
        k: v for k, v in made.items() if k not in ("labels", "original_hw", "resized_hw", "pixel_values_sam")
    }


def expanded(model: Any, ids: Tensor, grid: Tensor) -> Tensor:
    """Ids `[1, L]` with each placeholder repeated as Qwen's processor repeats it, written anew."""
    found, number = [], 0
    for token in ids[0].tolist():
        if token == model.config.image_token_id:
            _, height, width = grid[number].tolist()
            found += [token] * (height // 2 * (width // 2))
            number += 1
        else:
            found.append(token)
    return torch.tensor([found])


def logits_of(qwen: Any, ids: Tensor, made: dict[str, Any]) -> Tensor:
    """Logits `[1, L, V]` of transformers' own forward, which finds the positions by itself."""
    with torch.no_grad():
        found: Tensor = qwen(
            input_ids=ids,
            pixel_values=made["pixel_values"],
            image_grid_thw=made["image_grid_thw"],
            mm_token_type_ids=(ids == qwen.config.image_token_id).int(),
        ).logits
    return found


def test_text_alone_has_qwens_logits(built: Built, qwen: Any) -> None:
    model, _ = built
    ids = torch.tensor([[20, 31, 42, 53, 64]])
    with torch.no_grad():
        ours = model(ids, [0]).logits
        theirs = qwen(input_ids=ids).logits
    assert theirs.std() > 0.05
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("talk", ["one", "three"])
def test_images_have_qwens_logits(built: Built, qwen: Any, talks: dict[str, Any], talk: str) -> None:
    model, processor = built
    made = prompt_of(processor, talks[talk].images(), talks[talk].turns, add_generation_prompt=False)
    with torch.no_grad():
        ours = model(**made).logits
    ids = expanded(model, made["input_ids"], made["image_grid_thw"])
    theirs = logits_of(qwen, ids, made)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    # Without the pictures' deeper features it would be something else: what is equal is not trivially so.
    with torch.no_grad():
        visual = model.encode_images(**made)
    assert visual.extras["deepstack"].abs().mean() > 0.05


def test_a_batch_of_different_images_is_each_conversation_alone(
    built: Built, talks: dict[str, Any], batch_of: Callable[..., dict[str, Any]]
) -> None:
    model, processor = built
    names = ("three", "one", "silent")
    batch = batch_of(processor, *(talks[name] for name in names))
    keep = ("input_ids", "attention_mask", "num_images", "pixel_values", "image_grid_thw")
    with torch.no_grad():
        together = model(**{k: batch[k] for k in keep}).logits
        for row, name in enumerate(names):
            single = batch_of(processor, talks[name])
            alone = model(**{k: single[k] for k in keep}).logits[0]
            torch.testing.assert_close(together[row, : len(alone)], alone, rtol=0, atol=1e-5)


def test_features_in_the_place_of_pixels(built: Built, talks: dict[str, Any]) -> None:
    model, processor = built
    made = prompt_of(processor, talks["three"].images())
    with torch.no_grad():
        whole = model(**made).logits
        # As a session keeps them: each image by itself, joined later.
        parts = []
        for image in talks["three"].images():
            pixels = processor.encode_pixels([image], ("pixel_values",))
            parts.append(model.encode_features(**pixels))
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        text = {k: v for k, v in made.items() if k not in ("pixel_values", "image_grid_thw")}
        torch.testing.assert_close(model(**text, **joined).logits, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("missing", ["pixel_values", "image_grid_thw"])
def test_missing_pictures_are_told(built: Built, talks: dict[str, Any], missing: str) -> None:
    model, processor = built
    made = prompt_of(processor, talks["one"].images())
    made.pop(missing)
    with pytest.raises(AlignmentError, match="no images"):
        model(**made)


def test_turns_over_the_cache_are_qwens_own_and_another_conversation_changes_nothing(
    built: Built, qwen: Any, talks: dict[str, Any]
) -> None:
    # Trap 1: transformers keeps the positions' offset in the module; a conversation in between shifted the
    # second turn's logits by 0.1 without an error.
    model, processor = built
    cache, other = (ConversationCache(model.config.text_config) for _ in range(2))
    options = {"min_new_tokens": 6, "suppress_tokens": [model.config.image_token_id]}
    turns: list[tuple[str, str]] = list(TURNS)
    lengths = []
    hook = model.final_norm.register_forward_hook(lambda m, a, out: lengths.append(out.shape[1]))
    try:
        for _turn in range(3):
            made = prompt_of(processor, talks["three"].images(), turns)
            lengths.clear()
            with torch.no_grad():
                said = model.generate_grounded(
                    **made, max_new_tokens=6, generation_options=options, cache=cache, images="three"
                ).token_ids
            read = sum(lengths)
            whole = expanded(model, made["input_ids"], made["image_grid_thw"])
            assert said.tolist() == greedy(qwen, whole, made, 6, model)
            if _turn:
                # Of the later turns only the new words were read: fewer than the pictures' tokens.
                assert read < whole.shape[1] // 2
            turns += [("assistant", "The mug."), ("user", "And the other one?")]
            between = prompt_of(processor, talks["one"].images())
            model.generate_grounded(**between, max_new_tokens=3, cache=other, images="one")
    finally:
        hook.remove()
    assert model.language_model.model.rope_deltas is None


def greedy(qwen: Any, ids: Tensor, made: dict[str, Any], steps: int, model: Any) -> list[int]:
    """Greedy ids by transformers' own forward over the whole text in every step: no cache, no offset.

    Without the tokens that the other side may not say.
    """
    banned = [model.config.image_token_id, model.language_model.generation_config.eos_token_id]
    for _ in range(steps):
        last = logits_of(qwen, ids, made)[:, -1]
        last[:, banned] = -torch.inf
        ids = torch.cat([ids, last.argmax(-1)[:, None]], dim=1)
    return ids[0, -steps:].tolist()
