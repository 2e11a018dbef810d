"""MIRAS: patch mining, its published size, and several turns over several images, trained and answered."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModel, AutoProcessor, LogitsProcessor, LogitsProcessorList

from segue.errors import AlignmentError, ModelError
from segue.models.build import build_miras
from segue.models.image_streams import CLIP_MEAN, CLIP_STD, ImageStream
from segue.models.modeling_miras import MirasModel, PatchMining
from segue.models.presets import preset
from segue.models.presets_miras import tiny_miras_config
from segue.models.processing_grounded import MirasProcessor

Pair = tuple[MirasModel, MirasProcessor]

TALK = [
    ("user", "What is there?"),
    ("assistant", "A [OBJ]blue chair[SEG] (IMAGE2) and a mug."),
    ("user", "Which of them holds coffee?"),
    ("assistant", "You can drink coffee from the mug."),
    ("user", "Show it."),
    ("assistant", "It is [OBJ]the red mug[SEG] (IMAGE1)[SEG] (IMAGE3)."),
]
"""Three images, three turns, masks in the first and the last."""
ADDRESSED = [1, 0, 2]


def pictures(count: int = 3, seed: int = 0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    sizes = [(30, 50), (44, 44), (60, 25)][:count]
    return [Image.fromarray(rng.integers(0, 256, (*hw, 3), dtype=np.uint8)) for hw in sizes]


def batch_for(processor: MirasProcessor, turns: list[tuple[str, str]], addressed: list[int]) -> Any:
    images = pictures()
    item: dict[str, Any] = dict(processor.encode_turns(turns, len(images)))
    hws = [(i.height, i.width) for i in images]
    masks = [torch.zeros((addressed.count(k), *hw), dtype=torch.bool) for k, hw in enumerate(hws)]
    for stack in masks:
        stack[:, 5:20, 4:18] = True
    item |= processor.encode_pixels(images) | {
        "num_images": len(images),
        "seg_image_index": addressed,
        "mask_labels": masks,
        "original_hw": torch.tensor(hws),
        "resized_hw": torch.tensor([processor.sam_stream.resized_hw(hw) for hw in hws]),
    }
    return item


@pytest.fixture(scope="module")
def build(tiny_tokenizer: Any) -> Callable[..., Pair]:
    """A new tiny MIRAS in which every weight matters."""

    def make(**overrides: Any) -> Pair:
        model, processor = build_miras(tiny_tokenizer, **overrides)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                if name.endswith("proj_out.weight") and "hypernetworks" in name:
                    parameter.copy_(noise * 3)
                elif parameter.ndim > 1:
                    parameter.copy_(noise * min(0.3, parameter[0].numel() ** -0.5))
                else:
                    parameter.copy_((0 if name.endswith("bias") else 1) + noise * 0.1)
        return model, processor

    return make


@pytest.fixture(scope="module")
def miras(build: Callable[..., Pair]) -> Pair:
    """Shared: do not change its weights."""
    return build()


# ---- patch mining ----


@torch.no_grad()
def test_each_patch_looks_into_its_own_cells() -> None:
    config = tiny_miras_config(aux_grid=12)  # 4 x 4 patches, 3 x 3 cells each
    mining = PatchMining(config)
    patches, cells = torch.randn(2, 16, 16), torch.randn(2, 48, 12, 12)
    found = mining(patches, cells)
    for row in range(4):
        for column in range(4):
            own = cells[:, :, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3].flatten(2).transpose(1, 2)
            patch = patches[:, 4 * row + column]
            query, keys, values = mining.query(patch), mining.key(own), mining.value(own)
            weights = (torch.einsum("nc,nkc->nk", query, keys) / 16**0.5).softmax(-1)
            expected = patch + torch.einsum("nk,nkc->nc", weights, values)
            torch.testing.assert_close(found[:, 4 * row + column], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_it_starts_as_clip_alone(tiny_tokenizer: Any) -> None:
    model, processor = build_miras(tiny_tokenizer)
    pixels = processor.encode_pixels(pictures(), ("pixel_values", "pixel_values_aux"))
    features = model.encode_features(**pixels)
    assert features["aux_features"].shape == (3, 48, 8, 8)
    mined = model.fusion(features["vision_features"], features["aux_features"])
    assert torch.equal(mined, features["vision_features"])
    assert not model.region_alignment.output.weight.any()


def test_grids_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match="a multiple of 4"):
        PatchMining(tiny_miras_config(aux_grid=10))


# ---- the published size ----


def test_full_size_has_the_published_parameter_counts() -> None:
    with torch.device("meta"):
        model = MirasModel(preset("miras-7b").config())
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}
    # OpenCLIP's trunk without last norm and head, by hand: a block of width c has 8 c^2 + 58 c numbers
    # (7 x 7 depth-wise with bias, norm, c -> 4c -> c with biases, layer scale).
    widths, depths = (192, 384, 768, 1536), (3, 3, 27, 3)
    trunk = 4 * 4 * 3 * 192 + 192 + 2 * 192
    trunk += sum(d * (8 * c * c + 58 * c) for c, d in zip(widths, depths, strict=True))
    trunk += sum(2 * a + 4 * a * b + b for a, b in itertools.pairwise(widths))
    fused = 2 * 1024 + 1024 * 1024 + 1024 + 2 * (2 * 2880 + 2880 * 1024 + 1024)
    assert counts == {
        "language_model": 6_738_415_616 + 2 * 5 * 4096,  # Vicuna-7B and five more rows of both tables
        "vision_model": 303_507_456,
        "aux_vision_model": trunk,
        "fusion": fused,
        "image_projection": 1024 * 4096 + 4096 + 4096 * 4096 + 4096,
        "seg_projection": 4096 * 4096 + 4096 + 4096 * 256 + 256,
        "region_alignment": 328_960,
        "sam": 641_090_608 + 2 * 128,  # transformers also counts the frequencies of positions
    }
    assert fused == pytest.approx(7.0e6, rel=0.01)
    assert trunk == pytest.approx(196.2e6, rel=0.001)
    assert model.config.tokens_per_image == 576
    assert (model.fusion.grid, model.fusion.window) == (24, 2)


def test_the_papers_loss() -> None:
    config = preset("miras-7b").config()
    assert (config.text_loss_weight, config.pixel_loss_weight, config.dice_loss_weight) == (1.0, 2.0, 0.5)
    assert config.pixel_loss == "bce"
    assert config.region_alignment


# ---- what the processor shows ----


def test_the_whole_picture_is_seen_in_the_middle() -> None:
    white = Image.new("RGB", (60, 30), (255, 255, 255))
    shown = ImageStream(40, "letterbox", tuple(CLIP_MEAN), tuple(CLIP_STD))(white)
    assert shown.shape == (3, 40, 40)
    seen = shown.abs().sum(0) > 0
    assert seen[10:30].all()
    assert not seen[:10].any()
    assert not seen[30:].any()
    tall = ImageStream(40, "letterbox", tuple(CLIP_MEAN), tuple(CLIP_STD))(white.rotate(90, expand=True))
    assert torch.equal(tall.abs().sum(0) > 0, seen.T)


@pytest.mark.parametrize(
    "answer",
    [
        "It is [OBJ]the red mug[SEG] (IMAGE1).",
        "[OBJ]mug[SEG] (IMAGE2) is larger than [OBJ]the blue chair[SEG] (IMAGE1).",
        "Sure, it is [SEG] (IMAGE1).",
        "No [OBJ]mug at all",
    ],
)
def test_answers_come_back_from_their_tokens(miras: Pair, answer: str) -> None:
    _, processor = miras
    encoded = processor.encode_turns([("user", "What?"), ("assistant", answer)], 2)
    assert processor.decode_markup([i for i in encoded["labels"] if i >= 0]) == answer


def test_one_image_is_shown_as_published(miras: Pair) -> None:
    text, _ = miras[1].render_chat([("user", "What?")], 1, 1, True)
    assert text.startswith(" USER: <image>\nWhat?")


# ---- training ----


@torch.no_grad()
def test_masks_at_any_turn_and_nothing_in_the_batch_disturbs(miras: Pair) -> None:
    model, processor = miras
    items = [
        batch_for(processor, TALK, ADDRESSED),
        batch_for(processor, TALK[:2], ADDRESSED[:1]),
        batch_for(processor, TALK[2:4], []),
    ]
    both = model(**processor.collate(items))
    alone = [model(**processor.collate([item])) for item in items]
    assert both.seg_prompts.shape == (4, 16)
    for name in ("seg_prompts", "mask_logits"):
        expected = torch.cat([getattr(output, name) for output in alone])
        torch.testing.assert_close(getattr(both, name), expected, atol=5e-5, rtol=1e-4)
    assert set(both.loss_terms) == {"text", "dice", "pixel"}


def test_every_part_gets_a_gradient(build: Callable[..., Pair]) -> None:
    model, processor = build()
    model(**processor.collate([batch_for(processor, TALK, ADDRESSED)])).loss.backward()
    unreached = (
        "vision_model.post_layernorm",  # of CLIP's pooled output
        "vision_model.encoder.layers.1.",  # the feature is the state before the last layer
        "sam.mask_decoder.iou_prediction_head",
        "sam.mask_decoder.output_hypernetworks_mlps.1",
        "sam.prompt_encoder.point_embed",
        "sam.prompt_encoder.not_a_point_embed",
        "sam.prompt_encoder.mask_embed",
    )
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [n for n in dead if not n.startswith(unreached)] == []


@torch.no_grad()
def test_kept_features_stand_for_pixels(miras: Pair) -> None:
    model, processor = miras
    batch = processor.collate([batch_for(processor, TALK, ADDRESSED)])
    features = model.encode_features(
        pixel_values=batch["pixel_values"], pixel_values_aux=batch["pixel_values_aux"]
    )
    kept = {k: v for k, v in batch.items() if k not in ("pixel_values", "pixel_values_aux")}
    assert torch.equal(model(**kept, **features).logits, model(**batch).logits)
    with pytest.raises(AlignmentError, match="no images"):
        model(**kept)


@torch.no_grad()
def test_the_prompt_hears_the_dialogue_and_nothing_after_it(miras: Pair) -> None:
    model, processor = miras

    def prompts(turns: list[tuple[str, str]], addressed: list[int]) -> Tensor:
        return model(**processor.collate([batch_for(processor, turns, addressed)])).seg_prompts

    whole = prompts(TALK, ADDRESSED)
    other = [("user", "What is blue?"), *TALK[1:]]
    changed = prompts(other, ADDRESSED)
    assert ((changed - whole).abs().amax(1) > 1e-3).all(), "an earlier question changes every later mask"
    later = [*TALK[:4], ("user", "Show the blue chair."), TALK[5]]
    torch.testing.assert_close(prompts(later, ADDRESSED)[0], whole[0], atol=1e-5, rtol=1e-5)
    assert (prompts(later, ADDRESSED)[1] - whole[1]).abs().max() > 1e-3


# ---- answering ----


class Say(LogitsProcessor):
    """Makes generation say these ids."""

    def __init__(self, ids: list[int]) -> None:
        self.ids, self.step = ids, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self.ids[self.step]] = 0
        self.step += 1
        return forced


@pytest.mark.parametrize("turn", [1, 3, 5])
@torch.no_grad()
def test_generated_prompts_are_the_trained_ones_at_every_turn(miras: Pair, turn: int) -> None:
    model, processor = miras
    turns, images = TALK[: turn + 1], pictures()
    whole = processor(images=images, turns=turns, add_generation_prompt=False)
    prompt = processor(images=images, turns=turns[:-1])
    ids = whole["input_ids"][0, prompt["input_ids"].shape[1] :].tolist()
    names = ("input_ids", "attention_mask", "num_images", "pixel_values", "pixel_values_aux")
    found = model.generate_grounded(
        **{name: prompt[name] for name in names},
        max_new_tokens=len(ids),
        generation_options={"logits_processor": LogitsProcessorList([Say(ids)])},
    )
    assert processor.decode_markup(found.token_ids) == turns[-1][1].replace(")[SEG]", ") [SEG]")
    own = turns[-1][1].count("[SEG]")
    assert found.seg_prompts.shape == (own, 16)
    expected = model(**whole).seg_prompts
    torch.testing.assert_close(found.seg_prompts, expected[len(expected) - own :], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_session_keeps_its_history_over_several_images(
    miras: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segue.inference.loaded_model import LoadedModel

    model, processor = miras
    session = LoadedModel(model, processor, "tiny-miras").session(pictures())
    generate = model.generate_grounded
    for place in (0, 2, 4):
        answer = processor.encode_turns(TALK[place : place + 2], 3)
        ids = [i for i in answer["labels"] if i >= 0]

        def forced(*args: Any, ids: list[int] = ids, **options: Any) -> Any:
            options["generation_options"] = {"logits_processor": LogitsProcessorList([Say(ids)])}
            return generate(*args, **(options | {"max_new_tokens": len(ids)}))

        monkeypatch.setattr(model, "generate_grounded", forced)
        session.ask(TALK[place][1])
    texts = [answer.text for answer in session.history]
    assert texts[0] == "A blue chair and a mug."
    assert texts[2] == "It is the red mug."
    drawn = [[(g.phrase, g.image_index) for g in answer.groundings] for answer in session.history]
    assert drawn == [[("blue chair", 1)], [], [("the red mug", 0), ("the red mug", 2)]]
    assert session._past_turns() == TALK
    expected = model(**processor.collate([batch_for(processor, TALK, ADDRESSED)]))
    sizes = [(i.height, i.width) for i in pictures()]
    last = processor.post_process_masks(
        expected.mask_logits,
        ADDRESSED,
        torch.tensor(sizes),
        torch.tensor([processor.sam_stream.resized_hw(hw) for hw in sizes]),
    )
    found = [g.mask for answer in session.history for g in answer.groundings]
    agreement = [float((a == b).mean()) for a, (b, _) in zip(found, last, strict=True)]
    assert min(agreement) > 0.999, "masks of the session are those of training"


# ---- files ----


@torch.no_grad()
def test_saved_models_come_back_identical(miras: Pair, tmp_path: Path) -> None:
    model, processor = miras
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert isinstance(again, MirasModel)
    assert {name: found for name, found in report.items() if found} == {}
    read = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(read, MirasProcessor)
    batch = read.collate([batch_for(read, TALK, ADDRESSED)])
    expected = model(**processor.collate([batch_for(processor, TALK, ADDRESSED)]))
    found = again.eval()(**batch)
    for name in ("logits", "mask_logits", "seg_prompts", "loss"):
        assert torch.equal(getattr(expected, name), getattr(found, name)), name


def test_a_default_configuration_can_be_made() -> None:
    from segue.models.configuration_miras import MirasConfig

    config = MirasConfig()
    assert config.aux_vision_config.model_type == "convnext"
    assert MirasConfig(**config.to_dict()).to_dict() == config.to_dict()
