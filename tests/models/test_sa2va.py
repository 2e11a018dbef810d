"""What is easy to get wrong in Sa2VA, without recordings: which state, which prompts, which numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from segue.models.build import build_sa2va
from segue.models.presets import preset
from segue.models.seg_prompts import PromptState
from segue.models.segmenter import MaskPrompts

Built = tuple[Any, Any]


@pytest.fixture(scope="module")
def built(tiny_tokenizer: Any, shake: Callable[..., Any]) -> Built:
    model, processor = build_sa2va(tiny_tokenizer)
    return shake(model), processor


def test_a_prompt_is_the_state_at_seg_before_the_norm(
    built: Built, talks: dict[str, Any], batch_of: Callable[..., dict[str, Any]]
) -> None:
    # Traps 1 and 2. By hand: what the last layer gives out, at the places of `[SEG]`.
    model, processor = built
    assert model.prompt_state == PromptState("at", "before")
    layers: list[Tensor] = []
    hook = model.text_model.layers[-1].register_forward_hook(
        lambda m, a, out: layers.append(out[0] if isinstance(out, tuple) else out)
    )
    batch = batch_of(processor, talks["three"])
    try:
        with torch.no_grad():
            output = model(**batch)
    finally:
        hook.remove()
    # Placeholders stand before all `[SEG]`: counted from the end, places are those of the batch.
    after = batch["input_ids"].shape[1] - (batch["input_ids"][0] == model.config.seg_token_id).nonzero()[:, 0]
    with torch.no_grad():
        expected = model.seg_projection(layers[0][0, -after])
        normed = model.seg_projection(model.final_norm(layers[0])[0, -after])
        before = model.seg_projection(layers[0][0, -after - 1])
    assert len(expected) == 4
    torch.testing.assert_close(output.seg_prompts, expected, rtol=0, atol=1e-6)
    assert (output.seg_prompts - normed).abs().max() > 0.05
    assert (output.seg_prompts - before).abs().max() > 0.05


def test_generation_reads_the_same_state_as_training(built: Built, talks: dict[str, Any]) -> None:
    model, processor = built
    made = processor(images=talks["one"].images(), turns=[("user", "What?")])
    for name in ("labels", "original_hw", "resized_hw", "pixel_values_sam"):
        made.pop(name)
    seg = model.config.seg_token_id

    def speak(input_ids: Tensor, scores: Tensor) -> Tensor:
        forced = torch.full_like(scores, -1e4)
        forced[:, [31, seg, 42, 53][input_ids.shape[1]]] = 0
        return forced

    said = model.generate_grounded(**made, max_new_tokens=4, generation_options={"logits_processor": [speak]})
    assert said.token_ids.tolist() == [31, seg, 42, 53]
    ids = torch.cat([made["input_ids"], said.token_ids[None]], 1)
    labels = ids.clone()
    labels[:, : made["input_ids"].shape[1]] = -100
    streams = {name: made[name] for name in ("pixel_values", "image_grid_thw")}
    with torch.no_grad():
        trained = model(ids, [1], labels=labels, **streams).seg_prompts
    torch.testing.assert_close(said.seg_prompts, trained, rtol=0, atol=1e-5)


def test_a_mask_is_drawn_whatever_the_object_score_says(built: Built) -> None:
    # Traps 3 to 5.
    model, _ = built
    assert model.segmenter_options == {"padding_points": 2, "best_of_three": True}
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    prompts = MaskPrompts(torch.ones(1, 16), torch.tensor([0]))
    bias = model.sam.mask_decoder.pred_obj_score_head.proj_out.bias
    drawn = []
    with torch.no_grad():
        features = model.segmenter.encode(pixels)
        for score in (-50.0, 50.0):
            bias.fill_(score)
            drawn.append(model.segmenter.decode(features, prompts))
        bias.zero_()
    assert torch.equal(*drawn)


@pytest.mark.parametrize("name", ["sa2va-2b", "sa2va-4b"])
def test_the_published_numbers(name: str) -> None:
    chosen = preset(name)
    config: Any = chosen.config()
    # Trap 7: a head of its own, and no padding rows.
    assert (config.text_config.vocab_size, config.text_config.tie_word_embeddings) == (151674, False)
    assert not config.vlm_config.tie_word_embeddings
    # Trap 9: 28 squared, in a tower whose merged patches have 32.
    shown = chosen.streams["pixel_values"]
    assert (shown["min_pixels"], shown["max_pixels"]) == (401_408, 1_605_632)
    assert (shown["min_pixels"] // 32**2, shown["max_pixels"] // 32**2) == (392, 1568)
    # Trap 8: squashed, and divided by what bfloat16 makes of ImageNet's numbers.
    drawn = chosen.streams["pixel_values_sam"]
    assert (drawn["size"], drawn["fit"]) == (1024, "stretch")
    rounded = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).bfloat16().tolist()
    assert [list(drawn["mean"]), list(drawn["std"])] == rounded


def test_a_line_break_stands_between_picture_and_question(built: Built) -> None:
    # Traps 10 and 11.
    _, processor = built
    text, _ = processor.render_chat([("user", "Please segment [SEG] the mug.")], 1, 1, True)
    assert text == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>\n"
        "Please segment [ SEG ] the mug.<|im_end|>\n<|im_start|>assistant\n"
    )
