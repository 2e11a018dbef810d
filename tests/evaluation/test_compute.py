"""Counted compute against counts by hand, and against the same model run on numbers."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from segue.cli import main
from segue.errors import InputError
from segue.evaluation.compute import ComponentCounter, Compute, Workload, count, count_preset
from segue.models.build import build_prima, build_segue
from segue.models.generation import generate
from segue.models.presets import preset
from segue.models.splice import TextInputs

SMALL = Workload(images=2, text_tokens=10, question_tokens=7, answer_tokens=5, masks=3)
LLAMA = {"hidden": 16, "inner": 32, "vocabulary": 1536}
"""Of the tiny presets: one layer, two heads of 8, embeddings shared with the head."""


@cache
def tiny(**overrides: Any) -> Compute:
    chosen = preset("tiny-prima")
    config = chosen.config(**overrides)
    streams = {n: s for n, s in chosen.streams.items() if config.aux_vision or n != "pixel_values_aux"}
    return count("tiny", config, streams, SMALL)


def llama(new: int, before: int) -> int:
    """A Llama layer by hand, 2 for each multiply-add: q, k, v, o, three of the MLP, two of attention."""
    d, inner = LLAMA["hidden"], LLAMA["inner"]
    return 2 * new * (4 * d * d + 3 * d * inner) + 2 * 2 * new * (before + new) * d


def test_the_language_model_by_hand() -> None:
    found = tiny()
    each = 5 + 7  # queries, and the question's outputs
    prompt = 10 + 2 * each
    assert found.visual_tokens_per_image == each
    assert found.prompt_tokens == prompt
    steps = [llama(1, prompt + k) for k in range(5 - 1)]
    assert found.flops["language_model.model"] == llama(prompt, 0) + sum(steps)
    assert found.flops["language_model.lm_head"] == 5 * 2 * 16 * 1536
    # Two layers a state: 16 to 16, and 16 to the width of SAM's prompt, which is 16 too.
    assert found.flops["seg_projection"] == 3 * 2 * (16 * 16 + 16 * 16)
    assert found.flops["image_projection"] == 2 * each * 2 * 16 * 16


def test_the_vision_encoder_by_hand() -> None:
    places, width, inner, patch = 4 * 4 + 1, 16, 32, 14
    convolution = 2 * 16 * (3 * patch * patch) * width
    layer = 2 * places * (4 * width * width + 2 * width * inner) + 2 * 2 * places * places * width
    assert tiny().flops["vision_model"] == 2 * (convolution + layer)


def test_fusion_by_hand() -> None:
    clip, dino, width = 17, 1 + 2 + 16, 16
    assert tiny().flops["fusion"] == 2 * (
        2 * width * width * (2 * clip + 2 * dino) + 2 * 2 * clip * dino * width
    )


@pytest.mark.parametrize(
    ("overrides", "tokens", "absent"),
    [
        ({"visual_module": "projection", "aux_vision": False}, 16, {"aux_vision_model", "fusion", "reader"}),
        ({"aux_vision": False}, 12, {"aux_vision_model", "fusion"}),
        ({"visual_module": "projection"}, 16, {"reader"}),
        ({"visual_module": "pooling", "aux_vision": False}, 5, {"aux_vision_model", "fusion", "reader"}),
        ({"visual_module": "square"}, 12, set()),
    ],
)
def test_a_variant_saves_what_it_lacks(overrides: dict[str, Any], tokens: int, absent: set[str]) -> None:
    full, found = tiny(), tiny(**overrides)
    assert found.visual_tokens_per_image == tokens
    assert not absent & found.flops.keys()
    assert found.flops["vision_model"] == full.flops["vision_model"]
    assert found.flops["sam.vision_encoder"] == full.flops["sam.vision_encoder"]
    prompt = 10 + 2 * tokens
    assert found.flops["language_model.model"] == llama(prompt, 0) + sum(
        llama(1, prompt + k) for k in range(4)
    )
    if overrides.get("visual_module") == "square":
        # Five queries attend to both images' 2 x 17 features: projections of queries, keys, values, outputs.
        relational = 2 * 16 * 16 * (2 * 5 + 2 * 34) + 2 * 2 * 5 * 34 * 16
        assert found.flops["reader"] == full.flops["reader"] + relational


def test_the_steps_of_an_answer_are_those_of_a_real_one(tiny_tokenizer: Any) -> None:
    model, _ = build_prima(tiny_tokenizer)
    model.requires_grad_(False)
    text = TextInputs(torch.full((1, 30), 40), torch.ones(1, 30, dtype=torch.long))
    model.embed = lambda *_, **__: (torch.randn(1, 30, 16), None)  # type: ignore[method-assign]
    options = {"min_new_tokens": 6}
    counter = ComponentCounter(model)
    with sdpa_kernel(SDPBackend.MATH), counter.counting():
        said = generate(model, text, [1], max_new_tokens=6, generation_options=options)
    assert len(said.token_ids) == 6
    by_hand = llama(30, 0) + sum(llama(1, 30 + k) for k in range(5))
    assert counter.flops["language_model.model"] == by_hand


def test_every_operation_belongs_to_a_component() -> None:
    found = tiny()
    assert found.total == sum(found.flops.values()) == sum(found.phases.values())
    assert found.flops.get("other", 0) == 0
    assert found.readings["multiply_adds"] == found.total // 2
    assert found.readings["without_segmenter"] < found.total
    encoder = found.flops["sam.vision_encoder"]
    assert found.readings["segmenter_per_mask"] == found.total + encoder // 2  # three masks, two images
    whole = 10 + 2 * 12 + 5
    text = llama(whole, 0) + whole * 2 * 16 * 1536
    said = found.flops["language_model.model"] + found.flops["language_model.lm_head"]
    assert found.readings["teacher_forced"] == found.total - said + text


def test_more_images_cost_as_many_encoders() -> None:
    chosen = preset("tiny-miras")
    one, three = (
        count("tiny-miras", chosen.config(), chosen.streams, Workload(n, 10, 7, 5, 3)) for n in (1, 3)
    )
    for part in ("vision_model", "aux_vision_model", "fusion", "sam.vision_encoder"):
        assert three.flops[part] == 3 * one.flops[part] > 0
    assert one.visual_tokens_per_image == 16


def test_meta_counts_what_numbers_cost(tiny_tokenizer: Any) -> None:
    model, _ = build_prima(tiny_tokenizer)
    pixels = {"pixel_values": torch.randn(2, 3, 56, 56), "pixel_values_aux": torch.randn(2, 3, 56, 56)}
    ids = torch.ones(1, 7, dtype=torch.long)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.encode_images([2], qformer_input_ids=ids, qformer_attention_mask=ids, **pixels)
    found = tiny()
    parts = ("vision_model", "aux_vision_model", "fusion", "reader", "image_projection")
    assert counter.get_total_flops() == sum(found.flops[part] for part in parts)


def test_tokens_that_follow_from_the_size_of_a_picture(tiny_tokenizer: Any) -> None:
    chosen, work = preset("tiny-segue"), Workload(2, 10, 7, 5, 3, (50, 30))
    found = count("tiny-segue", chosen.config(), chosen.streams, work)
    model, processor = build_segue(tiny_tokenizer, attn_implementation="eager")
    pixels = processor.encode_pixels([Image.new("RGB", (30, 50))] * 2)
    drawn = pixels.pop("pixel_values_sam")
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as counter:
            visual = model.encode_images([2], **pixels)
        assert counter.get_total_flops() == found.flops["language_model.model.visual"] > 0
        with FlopCounterMode(display=False) as counter:
            model.segmenter.encode(drawn)
        assert counter.get_total_flops() == found.phases["segmenter's encoder"]
    assert found.visual_tokens_per_image == visual.tokens.shape[1]
    assert found.prompt_tokens == 10 + 2 * found.visual_tokens_per_image
    wider = count("tiny-segue", chosen.config(), chosen.streams, Workload(2, 10, 7, 5, 3, (20, 20)))
    assert wider.visual_tokens_per_image < found.visual_tokens_per_image
    assert wider.flops["language_model.model.visual"] < found.flops["language_model.model.visual"]
    assert wider.phases["segmenter's encoder"] == found.phases["segmenter's encoder"]


def test_memory_and_parameters() -> None:
    found = tiny()
    model_parameters = sum(found.parameters.values())
    assert found.bytes["bf16"] == 2 * model_parameters
    assert found.bytes["4bit"] < found.bytes["8bit"] < found.bytes["bf16"]
    assert found.bytes["cache_bf16"] == 2 * 16 * (34 + 5) * 2
    assert found.parameters["language_model.model"] > 1536 * 16
    assert "language_model.lm_head" not in found.parameters, "it shares the embeddings"


@pytest.mark.parametrize(
    "wrong", [{"images": 0}, {"answer_tokens": 0}, {"masks": -1}, {"text_tokens": 0}, {"question_tokens": -2}]
)
def test_an_impossible_workload(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Workload(**wrong)
    assert Workload(masks=0).masks == 0


def test_no_masks() -> None:
    chosen = preset("tiny-prima")
    found = count("tiny", chosen.config(), chosen.streams, Workload(2, 10, 7, 5, 0))
    assert found.phases["masks"] == 0
    assert "sam.mask_decoder" not in found.flops


@pytest.mark.slow
def test_the_published_sizes() -> None:
    """Parts counted on their own, in TFLOP an image: EVA-g 0.521, DINOv2-L at 448 0.727, SAM 5.961."""
    found = count_preset("prima-7b", Workload(images=2))
    each = {"vision_model": 0.521, "aux_vision_model": 0.727, "sam.vision_encoder": 5.961, "fusion": 0.0095}
    for part, tera in each.items():
        assert found.flops[part] / 2e12 == pytest.approx(tera, rel=0.01), part
    assert found.visual_tokens_per_image == 58


def test_command(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench" / "compute.json"
    options = ["--images", "2", "--answer-tokens", "4", "--masks", "2", "--out", str(file)]
    assert main(["bench", "--flops", "--model", "tiny-prima,tiny-miras", *options]) == 0
    said = capsys.readouterr().out
    assert "tiny-prima" in said
    assert "published" in said
    content = json.loads(file.read_text())
    assert [model["model"] for model in content["models"]] == ["tiny-prima", "tiny-miras"]
    assert content["models"][0]["workload"]["images"] == 2
    assert content["published"]["PRIMA"]["tflops"] == 62.0
    assert main(["bench", "--flops", "--model", "tiny-segue", "--picture", "large"]) == 2
    assert "640x480" in capsys.readouterr().err
    assert main(["bench", "--flops"]) == 2
    assert "not clear what to measure" in capsys.readouterr().err
    assert main(["bench", "--flops", "--model", "prima-9b"]) == 2
    assert main(["bench", "--flops", "--model", "segue-mini"]) == 2
    assert "depends on what it shows" in capsys.readouterr().err
