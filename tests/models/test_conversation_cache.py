"""A later turn reads its own words only, and says what it would say if it read everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from segue.models.conversation_cache import ConversationCache
from segue.models.seg_prompts import NormHook

Shaken = Callable[..., tuple[Any, Any]]
IMAGE = 3


def filled(model: Any, ids: list[int], images: object = "pictures") -> ConversationCache:
    cache = ConversationCache(model.config.text_config)
    cache.begin([*ids, 0], images, IMAGE)
    with torch.no_grad():
        model.language_model.model(input_ids=torch.tensor([ids]), past_key_values=cache.states)
    cache.end([*ids, 9])
    return cache


def test_what_a_prompt_begins_with_is_kept(shaken: Shaken) -> None:
    model, _ = shaken()
    cache = filled(model, [20, IMAGE, IMAGE, 21, 22, 23])
    assert len(cache) == 6
    assert cache.begin([20, IMAGE, IMAGE, 21, 30, 31], "pictures", IMAGE) == 4
    assert cache.states.get_seq_length() == len(cache) == 4


@pytest.mark.parametrize(
    ("prompt", "shown", "length"),
    [
        ([20, IMAGE, IMAGE, 21, 22, 23], "pictures", 5),  # the same again: its last token predicts
        ([20, IMAGE, IMAGE, 21], "pictures", 3),  # after an undo
        ([20, IMAGE, IMAGE, 21, 22, 23, 24], "other pictures", 0),
        ([20, IMAGE, 21, 22], "pictures", 2),  # the prefix happens to hold all placeholders of this prompt
        ([20, IMAGE, IMAGE, IMAGE, 21], "pictures", 0),  # it would end among them
        ([30, 31], "pictures", 0),
    ],
)
def test_what_is_kept(shaken: Shaken, prompt: list[int], shown: str, length: int) -> None:
    model, _ = shaken()
    cache = filled(model, [20, IMAGE, IMAGE, 21, 22, 23])
    assert cache.begin(prompt, shown, IMAGE) == length
    assert cache.states.get_seq_length() == length


@torch.no_grad()
def test_an_interrupted_step_leaves_nothing_behind(shaken: Shaken) -> None:
    model, _ = shaken()
    cache = filled(model, [20, 21, 22])
    fail = model.language_model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.language_model.model(input_ids=torch.tensor([[23, 24]]), past_key_values=cache.states)
    fail.remove()
    # The layer holds five positions by now, of which the conversation knows three.
    assert cache.states.get_seq_length() == 5
    assert cache.begin([20, 21, 22, 25], "pictures", IMAGE) == 3
    again = model.language_model.model(input_ids=torch.tensor([[25]]), past_key_values=cache.states)
    whole = model.language_model.model(input_ids=torch.tensor([[20, 21, 22, 25]]))
    torch.testing.assert_close(again.last_hidden_state[0, -1], whole.last_hidden_state[0, -1])


@pytest.mark.parametrize("module", ["fusion", "square"])
@torch.no_grad()
def test_states_and_answers_are_those_of_a_full_reading(
    shaken: Shaken, talks: dict[str, Any], module: str
) -> None:
    model, processor = shaken(visual_module=module)
    cache, turns, seen = ConversationCache(model.config.text_config), [], []
    for question in ("What is there?", "And the other one?", "Which is larger?"):
        turns.append(("user", question))
        inputs = processor(images=talks["three"].images(), turns=turns)
        kept = {k: v for k, v in inputs.items() if k not in ("labels", "original_hw", "resized_hw")}
        kept.pop("pixel_values_sam")
        with NormHook(model.final_norm, "after", last_only=False) as caught:
            found = model.generate_grounded(**kept, max_new_tokens=6, cache=cache, images="pictures")
        seen.append(caught.lengths[0])
        with NormHook(model.final_norm, "after", last_only=False) as full:
            expected = model.generate_grounded(**kept, max_new_tokens=6)
        assert found.token_ids.tolist() == expected.token_ids.tolist()
        for ours, theirs in zip(caught.states, full.states, strict=True):
            torch.testing.assert_close(ours[:, -1], theirs[:, -1], atol=1e-5, rtol=1e-5)
        turns.append(("assistant", processor.decode_markup(found.token_ids)))
    placeholders = int((inputs["input_ids"] == model.config.image_token_id).sum())
    assert seen[0] > placeholders
    assert max(seen[1:]) < placeholders, "later turns must not read the images again"


@pytest.mark.parametrize(
    ("shown", "prompt", "length"),
    [
        (("a", "b", "c"), [20, IMAGE, IMAGE, IMAGE, 21, 22], 3),
        (("a", "b", "c"), [20, IMAGE, 25, IMAGE, IMAGE, 21], 2),
        (("a", "c", "b"), [20, IMAGE, IMAGE, IMAGE, 21, 22], 0),
        (("a", "b", "c"), [30, IMAGE, IMAGE, IMAGE, 21, 22], 0),  # another prompt ahead of them
        (("a",), [20, IMAGE, 21, 22], 0),
    ],
)
def test_pictures_that_are_added_leave_the_others_as_they_were_read(
    shaken: Shaken, shown: tuple[str, ...], prompt: list[int], length: int
) -> None:
    model, _ = shaken()
    cache = filled(model, [20, IMAGE, IMAGE, 21, 22, 23], ("a", "b"))
    assert cache.begin(prompt, shown, IMAGE) == length
    assert cache.states.get_seq_length() == length
    assert cache.repeated == (length == 0)


@pytest.mark.parametrize("module", ["fusion", "square"])
@torch.no_grad()
def test_answers_after_an_added_picture_are_those_of_a_full_reading(
    shaken: Shaken, talks: dict[str, Any], module: str
) -> None:
    model, processor = shaken(visual_module=module)
    assert model.images_read_together == (module == "square")
    cache, images = ConversationCache(model.config.text_config), talks["three"].images()
    turns, seen, repeated = [("user", "What is there?")], [], []
    for shown in (images[:2], images):
        inputs = processor(images=shown, turns=turns)
        kept = {k: v for k, v in inputs.items() if k not in ("labels", "original_hw", "resized_hw")}
        kept.pop("pixel_values_sam")
        names = tuple(range(len(shown)))
        read = (names,) if model.images_read_together else names
        with NormHook(model.final_norm, "after", last_only=False) as caught:
            found = model.generate_grounded(**kept, max_new_tokens=6, cache=cache, images=read)
        with NormHook(model.final_norm, "after", last_only=False) as full:
            expected = model.generate_grounded(**kept, max_new_tokens=6)
        seen.append((caught.lengths[0], full.lengths[0]))
        repeated.append(cache.repeated)
        assert found.token_ids.tolist() == expected.token_ids.tolist()
        for ours, theirs in zip(caught.states, full.states, strict=True):
            torch.testing.assert_close(ours[:, -1], theirs[:, -1], atol=1e-5, rtol=1e-5)
        turns += [("assistant", processor.decode_markup(found.token_ids)), ("user", "Which is larger?")]
    placeholders = int((inputs["input_ids"] == model.config.image_token_id).sum())
    if module == "square":
        assert seen[1][0] == seen[1][1]
    else:
        assert seen[1][1] - seen[1][0] >= placeholders // 3, "what stands before `and` must not be read again"
    assert repeated == [False, module == "square"]
