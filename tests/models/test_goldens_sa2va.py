"""Parity of Sa2VA on Qwen3-VL with the official code, from a published folder through `segue convert`.

The recordings lie in `sa2va` of the folder named by SEGUE_GOLDENS (by default goldens/A in the shared data);
everything here skips without them. Tolerances: float32 sums in another order were measured at 2e-5 (states),
6e-5 (final logits) and 1e-6 (losses, relative) between two compositions of the same modules; mistakes that
are shown below move logits by 0.1 to 12.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from goldens import GOLDENS, needs
from official_sa2va import TOKENS, sa2va_shapes, write_sa2va
from segue.models.auto import ModelBundle, load
from segue.models.conversion import convert_sa2va, open_checkpoint
from segue.models.image_streams import IMAGENET_MEAN, IMAGENET_STD, ImageStream
from segue.models.losses import resize_logits, shrink_masks, text_loss
from segue.models.modeling_grounded import GroundedOutput
from segue.models.point_loss import point_losses
from segue.models.presets import preset
from segue.models.processing_qwen3_vl import Sa2vaProcessor, qwen_processor, sa2va_streams_for
from segue.models.seg_prompts import PromptState
from segue.models.segmenter import MaskPrompts
from segue.models.segmenter_sam import EMBEDDINGS
from segue.models.segmenter_sam2 import FINE, FINEST, Sam2Segmenter
from segue.models.splice import TextInputs

FOLDER = GOLDENS / "sa2va"
pytestmark = needs("sa2va/config.json")
STATES, LOGITS, LOSSES = 1e-5, 1e-4, 1e-5
PICTURES = ("image_one_seg", "image_two_seg", "image_seg_last", "image_no_seg")


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "config.json").read_text())
    return found


@pytest.fixture(scope="module")
def bundle(content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    """The recorded weights, converted like a download, with the recordings' sizes of pictures."""
    state = load_file(FOLDER / "model.safetensors")
    source = write_sa2va(tmp_path_factory.mktemp("hub") / "Sa2VA", content["vlm"], state)
    folder = tmp_path_factory.mktemp("models") / "sa2va"
    folder.mkdir()
    convert_sa2va(open_checkpoint(source), folder, torch.float32, sam=sam_config(content["sam"]))
    made = load(folder, "cpu")
    streams = sa2va_streams_for(made.model.config, content["min_pixels"], content["max_pixels"])
    made.processor = qwen_processor(Sa2vaProcessor, made.processor.tokenizer, streams)
    return made


def sam_config(s: dict[str, Any]) -> dict[str, Any]:
    h, side = s["hiera"], s["image_size"] // 4
    widths = [h["embed_dim"] * 2**k for k in range(4)]
    return {
        "model_type": "sam2",
        "vision_config": {
            "backbone_config": {
                "model_type": "sam2_hiera_det_model", "hidden_size": widths[0],
                "num_attention_heads": h["num_heads"], "image_size": [s["image_size"]] * 2,
                "num_attention_heads_per_stage": [h["num_heads"] * 2**k for k in range(4)],
                "embed_dim_per_stage": widths, "blocks_per_stage": h["stages"],
                "global_attention_blocks": h["global_att_blocks"],
                "window_size_per_stage": h["window_spec"],
                "window_positional_embedding_background_size": h["window_pos_embed_bkg_spatial_size"],
            },
            "backbone_channel_list": widths[::-1], "fpn_hidden_size": s["hidden"],
            "backbone_feature_sizes": [[side] * 2, [side // 2] * 2, [side // 4] * 2],
        },
        "prompt_encoder_config": {"hidden_size": s["hidden"], "image_size": s["image_size"]},
        "mask_decoder_config": {
            "hidden_size": s["hidden"], "mlp_dim": s["decoder_mlp"], "iou_head_hidden_dim": s["iou_hidden"],
            "num_attention_heads": s["decoder_heads"], "dynamic_multimask_via_stability": False,
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def recorded(bundle: ModelBundle) -> Callable[[str], dict[str, Tensor]]:
    """A recording; the language model's pixels are made here where the recording has the picture instead."""

    def read(name: str) -> dict[str, Tensor]:
        found = load_file(FOLDER / f"{name}.safetensors")
        if "rgb_after_vision_info.0" in found:
            shown = pictures(found, "rgb_after_vision_info")
            made = bundle.processor.encode_pixels(shown, ("pixel_values",))
            assert torch.equal(made["image_grid_thw"], found["image_grid_thw"])
            if "pixel_values" in found:
                torch.testing.assert_close(made["pixel_values"], found["pixel_values"], rtol=0, atol=1e-6)
            found["pixel_values"] = made["pixel_values"]
        return found

    return read


def pictures(recording: dict[str, Tensor], name: str = "rgb") -> list[Image.Image]:
    number = sum(key.startswith(f"{name}.") for key in recording)
    return [Image.fromarray(recording[f"{name}.{k}"].numpy()) for k in range(number)]


def compact(ids: Tensor, grid: Tensor) -> Tensor:
    """Ids with one placeholder for each picture, as the processor writes them."""
    found, kept = [], ids[0].tolist()
    counts = (grid.prod(1) // 4).tolist()
    while kept:
        token = kept[0]
        found.append(token)
        kept = kept[counts.pop(0) :] if token == TOKENS["<|image_pad|>"] else kept[1:]
    return torch.tensor([found])


def states_of(bundle: ModelBundle, t: dict[str, Tensor], ids: Tensor) -> tuple[Tensor, Tensor]:
    """States `[1, L, D]` that words and mask prompts are read from, and expanded ids `[1, L]`."""
    model = bundle.model
    text = TextInputs(compact(ids, t["image_grid_thw"]), None, None)
    with torch.no_grad():
        embeds, visual = model.embed(
            text, [len(t["image_grid_thw"])], pixel_values=t["pixel_values"],
            image_grid_thw=t["image_grid_thw"],
        )  # fmt: skip
        _, states = model.hidden_states(embeds, text.attention_mask, **model.reading(text, visual))
    return states, text.input_ids


class Forced(LogitsProcessor):
    """The recorded answer, token by token."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        forced = torch.full_like(scores, -1e4)
        forced[:, self.ids[input_ids.shape[1]]] = 0
        return forced


def test_the_list_of_names_is_that_of_the_recorded_file(content: dict[str, Any]) -> None:
    state = load_file(FOLDER / "model.safetensors")
    vlm = content["vlm"]
    shapes = sa2va_shapes(vlm["text_config"], vlm["vision_config"], content["sam"])
    assert shapes == {name: tuple(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize("name", [*PICTURES, "frames_three"])
def test_states_and_prompts(bundle: ModelBundle, recorded: Any, name: str) -> None:
    # Traps 1 and 2: the state before the last norm, at `[SEG]`.
    t = recorded(name)
    ids = torch.cat([t["prompt_ids"], t["answer_ids"]], 1)[:, :-1]
    states, expanded = states_of(bundle, t, ids)
    assert torch.equal(expanded, ids)
    torch.testing.assert_close(states[0], t["last_hidden"], rtol=0, atol=2 * STATES)
    at = ids[0] == TOKENS["[SEG]"]
    torch.testing.assert_close(states[0][at], t["seg_hidden"], rtol=0, atol=STATES)
    with torch.no_grad():
        prompts = bundle.model.seg_projection(states[0][at])
        normed = bundle.model.final_norm(states)
    torch.testing.assert_close(prompts, t["seg_prompts"], rtol=0, atol=STATES)
    if at.any():
        assert (normed[0][at] - t["seg_hidden"]).abs().max() > 0.5
        assert (states[0][at.roll(-1)] - t["seg_hidden"]).abs().max() > 0.5
    assert bundle.model.prompt_state == PromptState("at", "before")


@pytest.mark.parametrize("name", ["image_one_seg", "image_two_seg", "image_no_seg"])
def test_generation_reads_the_same_prompts(bundle: ModelBundle, recorded: Any, name: str) -> None:
    t = recorded(name)
    made = bundle.model.generate_grounded(
        compact(t["prompt_ids"], t["image_grid_thw"]), [1], max_new_tokens=t["answer_ids"].shape[1],
        generation_options={"logits_processor": LogitsProcessorList([Forced(t["answer_ids"][0].tolist())])},
        pixel_values=t["pixel_values"], image_grid_thw=t["image_grid_thw"],
    )  # fmt: skip
    assert made.token_ids.tolist() == t["answer_ids"][0].tolist()
    torch.testing.assert_close(made.seg_prompts, t["seg_prompts"], rtol=0, atol=STATES)


def test_a_seg_at_the_end_of_a_cut_answer_is_read_too(bundle: ModelBundle, recorded: Any) -> None:
    # Trap 11, on purpose otherwise: the official code forgets a `[SEG]` that is the last token (and draws one
    # that the user typed, which here is plain text).
    t = recorded("image_seg_last")
    ids = torch.cat([t["prompt_ids"], t["answer_ids"]], 1)
    assert (ids == TOKENS["[SEG]"]).sum() == 2
    assert len(t["seg_prompts"]) == 1
    options = {"logits_processor": LogitsProcessorList([Forced(t["answer_ids"][0].tolist())])}
    made = bundle.model.generate_grounded(
        compact(t["prompt_ids"], t["image_grid_thw"]), [1], max_new_tokens=t["answer_ids"].shape[1],
        generation_options=options, pixel_values=t["pixel_values"], image_grid_thw=t["image_grid_thw"],
    )  # fmt: skip
    states, _ = states_of(bundle, t, ids)
    with torch.no_grad():
        expected = bundle.model.seg_projection(states[0, -1:])
    torch.testing.assert_close(made.seg_prompts, expected, rtol=0, atol=STATES)
    prompt, _ = bundle.processor.render_chat([("user", "Please segment [SEG] dog.")], 1, 1, True)
    assert TOKENS["[SEG]"] not in bundle.processor.tokenizer(prompt)["input_ids"]


@pytest.mark.parametrize("name", ["image_one_seg", "image_two_seg", "image_seg_last", "frames_three"])
def test_masks(bundle: ModelBundle, recorded: Any, name: str) -> None:
    # Traps 3, 4, 5, 6: padding, the best of three, no gate; the decoder of the checkpoint. Trap 12: a prompt
    # may be drawn in any picture.
    t = recorded(name)
    segmenter: Any = bundle.model.segmenter
    shown = pictures(t)
    pixels = bundle.processor.encode_pixels(shown, ("pixel_values_sam",))["pixel_values_sam"]
    if "sam_pixels_crop" in t:
        torch.testing.assert_close(pixels[:1, :, 100:116, 40:56], t["sam_pixels_crop"], rtol=0, atol=1e-6)
    prompts = t["seg_prompts"]
    index = torch.arange(len(shown)).repeat_interleave(len(prompts))
    with torch.no_grad():
        features = segmenter.encode(pixels)
        low = segmenter.decode(features, MaskPrompts(prompts.repeat(len(shown), 1), index))
    for f in range(len(shown)):
        for key, ours in (("fpn0", FINEST), ("fpn1", FINE), ("fpn2", EMBEDDINGS)):
            if f"sam_{key}.{f}" in t:
                found = features[ours][f : f + 1]
                torch.testing.assert_close(found, t[f"sam_{key}.{f}"], rtol=0, atol=STATES)
        for s in range(len(prompts)):
            ours_low = low[f * len(prompts) + s]
            best = int(t[f"best.{s}.{f}"][0])
            assert best == int(t[f"ious.{s}.{f}"].argmax())
            torch.testing.assert_close(ours_low, t[f"low_res_multi.{s}.{f}"][0, best], rtol=0, atol=LOGITS)
            hw, side = (shown[f].height, shown[f].width), segmenter.input_size
            logits = resize_logits(ours_low[None], (side, side), hw, side)[0]
            torch.testing.assert_close(logits, t[f"mask_logits.{s}"][f], rtol=0, atol=LOGITS)
            assert torch.equal(logits > 0, t[f"masks.{s}"][f].bool())


@pytest.mark.parametrize(
    ("wrong", "least"),
    [
        ({"padding_points": 0, "best_of_three": True}, 1.0),
        ({"padding_points": 1, "best_of_three": True}, 0.1),
        ({"padding_points": 2, "best_of_three": False}, 0.5),
    ],
)
def test_each_mistake_would_show(
    bundle: ModelBundle, recorded: Any, wrong: dict[str, Any], least: float
) -> None:
    t = recorded("image_one_seg")
    pixels = bundle.processor.encode_pixels(pictures(t), ("pixel_values_sam",))["pixel_values_sam"]
    prompts = MaskPrompts(t["seg_prompts"], torch.tensor([0]))
    with torch.no_grad():
        right: Any = bundle.model.segmenter
        features = right.encode(pixels)
        other = Sam2Segmenter(bundle.model.sam, **wrong).decode(features, prompts)
        assert (other - right.decode(features, prompts)).abs().max() > least


def test_rounded_mean_and_deviation_matter(bundle: ModelBundle, recorded: Any) -> None:
    # Trap 8. By hand: what bfloat16 makes of ImageNet's numbers.
    stream = bundle.processor.sam_stream
    for ours, exact in ((stream.mean, IMAGENET_MEAN), (stream.std, IMAGENET_STD)):
        assert list(ours) == torch.tensor(exact).bfloat16().float().tolist()
    t = recorded("image_one_seg")
    exact_stream = ImageStream(stream.size, "stretch", tuple(IMAGENET_MEAN), tuple(IMAGENET_STD))
    prompts = MaskPrompts(t["seg_prompts"], torch.tensor([0]))
    segmenter = bundle.model.segmenter
    with torch.no_grad():
        drawn = [segmenter.decode(segmenter.encode(s(pictures(t)[0])[None]), prompts)
                 for s in (stream, exact_stream)]  # fmt: skip
    assert (drawn[0] - drawn[1]).abs().max() > 0.05


def test_preprocessing_at_real_sizes(bundle: ModelBundle) -> None:
    # Trap 9: the limits are written for patches of 28 pixels. Ours resizes once, as training did.
    streams = preset("sa2va-4b").streams
    stream = qwen_processor(Sa2vaProcessor, bundle.processor.tokenizer, streams).streams["pixel_values"]
    cases = json.loads((FOLDER / "preprocess.json").read_text())
    twice = 0
    for case in cases:
        (width, height), (_, rows, columns) = case["size_wh"], case["training_grid_thw"]
        assert stream.resized_hw((height, width)) == (16 * rows, 16 * columns)
        assert 392 <= stream.num_tokens((height, width)) <= 1568
        twice += case["inference_grid_thw"] != case["training_grid_thw"]
    # The official inference resizes twice, which gives another grid here and there.
    assert 0 < twice < len(cases)


def test_prompts_are_those_of_training(bundle: ModelBundle, recorded: Any) -> None:
    # Trap 10: a line break between picture and question; the recorded inference had one where it was typed.
    t = recorded("image_one_seg")
    turns = [("user", "Can you segment the dog in this image?")]
    made = bundle.processor(images=pictures(t), turns=turns)
    assert torch.equal(made["input_ids"], compact(t["prompt_ids"], t["image_grid_thw"]))


@pytest.mark.parametrize("name", ["train_refseg", "train_gcg_seven", "train_frames", "train_no_mask"])
def test_training_reads_the_same_text_and_draws_the_same_masks(
    bundle: ModelBundle, recorded: Any, name: str
) -> None:
    t = recorded(name)
    shown = pictures(t)
    output = trained(bundle, t)
    assert output.loss_terms is not None
    torch.testing.assert_close(output.loss_terms["text"], t["llm_loss"], rtol=LOSSES, atol=0)
    if name == "train_no_mask":
        assert float(output.loss_terms["pixel"]) == float(output.loss_terms["dice"]) == 0
        return
    assert output.mask_logits is not None
    low = output.mask_logits.detach().reshape(len(shown), -1, 64, 64)
    chosen = chosen_prompts(t, low.shape[1])
    torch.testing.assert_close(low[:, chosen], t["pred_low_res"], rtol=0, atol=LOGITS)


@pytest.mark.parametrize("name", ["train_refseg", "train_gcg_seven", "train_frames"])
def test_losses_at_points_and_their_gradients(bundle: ModelBundle, recorded: Any, name: str) -> None:
    t = recorded(name)
    shown, model = pictures(t), bundle.model
    model.zero_grad()
    output = trained(bundle, t)
    assert output.mask_logits is not None
    low = output.mask_logits.reshape(len(shown), -1, 64, 64)
    number = low.shape[1]
    chosen = chosen_prompts(t, number)
    # Object by object, each in every frame.
    masks = t["gt_masks"].reshape(-1, len(shown), *t["gt_masks"].shape[-2:])[chosen].transpose(0, 1)
    side = model.segmenter.input_size
    targets = shrink_masks(masks.flatten(0, 1), (side, side), 64, side, mode="nearest")
    dice, pixel = point_losses(low[:, chosen].flatten(0, 1), targets, t["points"])
    # The official sums divide by a little more than the number of masks.
    many, points = len(dice), t["points"].shape[1]
    terms = {
        "loss_dice": 0.5 * dice.sum() / (many + 1e-4),
        "loss_mask": 2.0 * pixel.sum() * points / (many * points + 1e-4),
    }
    for key, term in terms.items():
        torch.testing.assert_close(term, t[key], rtol=LOSSES, atol=0)
    (text_term(output, t) + terms["loss_dice"] + terms["loss_mask"]).backward()
    decoder, theirs = model.sam.mask_decoder, "grounding_encoder.sam2_model.sam_mask_decoder"
    parameters = {
        "text_hidden_fcs.0.weight": model.seg_projection[0].weight,
        "text_hidden_fcs.2.weight": model.seg_projection[2].weight,
        f"{theirs}.mask_tokens.weight": decoder.mask_tokens.weight,
        f"{theirs}.conv_s0.weight": decoder.conv_s0.weight,
        "mllm.model.lm_head.weight": model.language_model.lm_head.weight,
    }
    compared = 0
    for key, parameter in parameters.items():
        if f"grad.{key}" in t:
            wanted = t[f"grad.{key}"]
            assert (parameter.grad - wanted).abs().max() < 5e-5 * wanted.abs().max(), key
            compared += 1
    assert compared >= 4


def chosen_prompts(t: dict[str, Tensor], number: int) -> Tensor:
    """Which of a sample's prompts the official training takes: five, repeated or drawn at random."""
    return t["randperm"][:5] if number > 5 else torch.arange(5) % number


def text_term(output: GroundedOutput, t: dict[str, Tensor]) -> Tensor:
    """The text loss with its gradient."""
    assert output.logits is not None
    return text_loss(output.logits, t["labels"])


def trained(bundle: ModelBundle, t: dict[str, Tensor]) -> GroundedOutput:
    """The forward pass of training: pictures with exact mean and deviation, each `[SEG]` in every picture."""
    shown = pictures(t)
    stream = bundle.processor.sam_stream
    exact = ImageStream(stream.size, "stretch", tuple(IMAGENET_MEAN), tuple(IMAGENET_STD))
    ids, labels = compact(t["input_ids"], t["image_grid_thw"]), t["labels"]
    # The labels of a picture's tokens are all ignored: one of them stands for the placeholder.
    missing = labels.shape[1] - ids.shape[1]
    first = int((ids[0] == TOKENS["<|image_pad|>"]).nonzero()[0, 0])
    labels = torch.cat([labels[:, :first], labels[:, first + missing :]], 1)
    assert bool((labels[:, : first + len(shown)] == -100).all())
    model = bundle.model.train()
    try:
        features = model.segmenter.encode(torch.stack([exact(picture) for picture in shown]))
        if len(shown) == 1:
            masks = t.get("gt_masks", torch.zeros(0, shown[0].height, shown[0].width)).bool()
            index = torch.zeros(len(masks), dtype=torch.long)
            return model(ids, [1], labels=labels, segmenter_features=features, seg_image_index=index,
                         mask_labels=[masks], pixel_values=t["pixel_values"],
                         image_grid_thw=t["image_grid_thw"])  # fmt: skip
        # Ours asks for one mask a `[SEG]`; the official code draws each in all frames: picture by picture.
        outputs = [
            model(ids, [len(shown)], labels=labels, segmenter_features=features,
                  seg_image_index=torch.full((int((labels == TOKENS["[SEG]"]).sum()),), f),
                  pixel_values=t["pixel_values"], image_grid_thw=t["image_grid_thw"])
            for f in range(len(shown))
        ]  # fmt: skip
        outputs[0].mask_logits = torch.stack([output.mask_logits for output in outputs])
        return outputs[0]
    finally:
        model.eval()
