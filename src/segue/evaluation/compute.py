"""Compute of a model for a stated workload: operations by component, visual tokens, parameters, memory.

The model is built on torch's meta device, shapes without numbers, so that 7B cost no memory; torch's own
`FlopCounterMode` counts matrix products, convolutions and attention, 2 for each multiply-add. Norms, softmax
and other element-wise work are not counted, and attention counts the whole square, causal or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel, DynamicCache
from transformers.models.instructblip import InstructBlipQFormerModel
from transformers.models.qwen3_vl import Qwen3VLVisionModel
from transformers.vision_utils import get_vision_interpolation_indices_and_weights, get_vision_position_ids

from segue.errors import InputError
from segue.models.configuration_grounded import GroundedConfig
from segue.models.modeling_grounded import GroundedModel
from segue.models.patch_stream import PatchStream
from segue.models.presets import preset
from segue.models.quantization import quantised_names
from segue.models.requirements import memory
from segue.models.segmenter import MaskPrompts

SEGMENTER_STREAM = "pixel_values_sam"
SPLIT = ("language_model", "sam", "perception")
"""Parts that are told apart further: body and head; encoder, prompts and decoder."""


@dataclass(frozen=True)
class Workload:
    """One question about several images, and its answer.

    Attributes:
        images: shown at once.
        text_tokens: of the prompt in the language model's vocabulary, question and template, no visual ones.
        question_tokens: of the question in the Q-Former's vocabulary; 57.9 tokens an image are 32 queries and
            25.9 of these.
        answer_tokens: generated, the end token included.
        masks: drawn, spread evenly over the images.
        image_hw: height and width of each image in pixels; it matters where larger ones have more tokens.

    Source: images and masks PRIMA sections 3.1 and 5 (pairs and triplets, 6 targets on average); the tokens
    of the text are ours, the paper states no workload; 640 x 480 is the usual size in COCO.
    """

    images: int = 3
    text_tokens: int = 80
    question_tokens: int = 26
    answer_tokens: int = 150
    masks: int = 6
    image_hw: tuple[int, int] = (480, 640)

    def __post_init__(self) -> None:
        numbers = {name: value for name, value in asdict(self).items() if name != "image_hw"}
        numbers |= {"height": self.image_hw[0], "width": self.image_hw[1]}
        wrong = [f"{name} {value}" for name, value in numbers.items() if value < (name != "masks")]
        if wrong:
            raise InputError(
                "This workload cannot be counted.",
                expected="one image, token and answer token or more, and no negative number of masks",
                found=", ".join(wrong),
                where="workload",
                fix="correct the number",
            )


@dataclass
class Compute:
    """Counted compute of one model.

    Attributes:
        model: Name.
        workload: That was counted.
        flops: Component to operations of one answer, generated with a cache; each image encoded once.
        readings: Other ways to count the same answer, see `readings_of`.
        visual_tokens_per_image: That the language model reads.
        prompt_tokens: Text and visual ones.
        parameters: By component; shared ones once.
        bytes: Of the weights: "bf16", "8bit", "4bit"; and "cache_bf16" of keys and values at the end.
    """

    model: str
    workload: Workload
    flops: dict[str, int]
    readings: dict[str, int]
    visual_tokens_per_image: int
    prompt_tokens: int
    parameters: dict[str, int]
    bytes: dict[str, int]
    phases: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Operations of one answer."""
        return sum(self.flops.values())

    def to_json(self) -> dict[str, Any]:
        """Content of the file that `segue bench` writes and `segue table` reads."""
        return asdict(self) | {
            "total_flops": self.total,
            "tflops": self.total / 1e12,
            "parameters_total": sum(self.parameters.values()),
            "flops_per_multiply_add": 2,
        }


class ComponentCounter:
    """Operations of a model's parts while it runs inside `counting`.

    What runs outside of every part (projections written as functions) is `other`.
    """

    def __init__(self, model: GroundedModel) -> None:
        self.model = model
        self.flops: dict[str, int] = {}
        self._mode: FlopCounterMode | None = None
        self._before: dict[str, int] = {}

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what runs inside; may be entered several times, numbers add up."""
        with FlopCounterMode(display=False) as mode:
            self._mode = mode
            hooks = [hook for name, part in parts_of(self.model).items() for hook in self._watch(name, part)]
            start = sum(self.flops.values())
            try:
                with torch.no_grad():
                    yield
            finally:
                for hook in hooks:
                    hook.remove()
        rest = mode.get_total_flops() - (sum(self.flops.values()) - start)
        if rest:
            self.flops["other"] = self.flops.get("other", 0) + rest

    def _watch(self, name: str, part: nn.Module) -> list[Any]:
        def enter(*_: Any) -> None:
            assert self._mode is not None
            self._before[name] = self._mode.get_total_flops()

        def leave(*_: Any) -> None:
            assert self._mode is not None
            done = self._mode.get_total_flops() - self._before[name]
            if done:
                self.flops[name] = self.flops.get(name, 0) + done

        return [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]


def parts_of(model: GroundedModel) -> dict[str, nn.Module]:
    """Components by dotted name: the model's children, and those of `SPLIT`."""
    found: dict[str, nn.Module] = {}
    for name, child in model.named_children():
        if name in SPLIT:
            found |= {f"{name}.{inner}": part for inner, part in child.named_children()}
        else:
            found[name] = child
    # Qwen3-VL's language model has its vision tower beside it, one floor further down.
    for name, part in list(found.items()):
        inner = dict(part.named_children())
        if any(child is model.text_model for child in inner.values()):
            del found[name]
            found |= {f"{name}.{n}": child for n, child in inner.items()}
    return found


def count_preset(name: str, workload: Workload) -> Compute:
    """Count a preset at its published size.

    Raises:
        InputError: There is no such preset.
    """
    chosen = preset(name)
    return count(name, chosen.config(), chosen.streams, workload)


def count(
    name: str, config: GroundedConfig, streams: dict[str, dict[str, Any]], workload: Workload
) -> Compute:
    """Count a model of this configuration.

    Args:
        name: For the report.
        config: Of any family whose visual tokens do not depend on what the picture shows.
        streams: Of its processor: name to `ImageStream` fields.
        workload: What is asked.

    Raises:
        InputError: Its number of visual tokens depends on the picture, so that shapes do not say it.
    """
    return _count(name, meta_model(name, config), streams, workload)


def meta_model(name: str, config: GroundedConfig) -> GroundedModel:
    """A model without memory for weights.

    Raises:
        InputError: Its number of visual tokens depends on the picture, so that shapes do not say it.
    """
    with torch.device("meta"):
        # Eager attention has the same two products as the fused one, whose kernels meta does not have.
        model: GroundedModel = AutoModel.from_config(config, attn_implementation="eager").eval()
    model.requires_grad_(False)
    if (model.encodes_together or hasattr(model, "word_table")) and not model.counts_on_shapes:
        raise InputError(
            "This model cannot be counted without a picture: what it reads of it depends on what it shows.",
            expected="a family whose visual tokens follow from a picture's size, such as prima-7b",
            found=name,
            where="--model",
            fix="leave it out",
        )
    for module in model.modules():
        if isinstance(module, InstructBlipQFormerModel):
            module.register_forward_pre_hook(_without_padding, with_kwargs=True)
        if isinstance(module, Qwen3VLVisionModel):
            module.register_forward_pre_hook(_with_places, with_kwargs=True)
    return model


def _without_padding(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    # The Q-Former would look whether the mask's values are all ones, and meta has no values.
    return args, kwargs | {"attention_mask": None}


def _with_places(tower: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    # Places of patches are worked out from the grid, which has values; the tables that they index have none.
    grid, config = kwargs["grid_thw"], cast(Qwen3VLVisionModel, tower).config
    merge = config.spatial_merge_size
    indices, weights = get_vision_interpolation_indices_and_weights(
        grid,
        num_grid_per_side=int(config.num_position_embeddings**0.5),
        spatial_merge_size=merge,
    )
    places = get_vision_position_ids(grid, merge)
    found = {"interp_indices": indices, "interp_weights": weights, "position_ids": places}
    return args, kwargs | {name: value.to("meta") for name, value in found.items()}


def _count(
    name: str, model: GroundedModel, streams: dict[str, dict[str, Any]], workload: Workload
) -> Compute:
    total, phases = ComponentCounter(model), {}
    taken = 0

    @contextmanager
    def phase(label: str) -> Iterator[None]:
        nonlocal taken
        with total.counting():
            yield
        phases[label] = sum(total.flops.values()) - taken
        taken += phases[label]

    pixels = pixels_on_meta(streams, workload)
    with phase("segmenter's encoder"):
        seen, features = encode_for_masks(model, pixels)
    with phase("vision encoders"):
        seen = seen or model.encode_features(**pixels)
    with phase("visual tokens"):
        visual = model.encode_images([workload.images], **seen, **instruction_on_meta(workload))
    each = int(visual.tokens.shape[1])
    length = workload.text_tokens + workload.images * each
    with phase("prompt"):
        cache = read_prompt(model, length)
    with phase("masks"):
        draw_on_meta(model, features, workload)
    decoding = decoding_flops(model, cache, length, workload.answer_tokens)
    phases["answer"] = sum(decoding.values())
    for part, flops in decoding.items():
        total.flops[part] = total.flops.get(part, 0) + flops
    parameters = parameters_of(model)
    return Compute(
        name,
        workload,
        total.flops,
        readings_of(model, phases, length, workload),
        each,
        length,
        parameters,
        memory_of(model, sum(parameters.values()), length + workload.answer_tokens),
        phases,
    )


def pixels_on_meta(streams: dict[str, dict[str, Any]], workload: Workload) -> dict[str, Tensor]:
    """The images for the encoders, shapes alone; of patches the grids, too, which have values.

    Args:
        streams: name to fields of `ImageStream`, or of `PatchStream`, which have no `size`.
        workload: says how many images, and how large.
    """
    found: dict[str, Tensor] = {}
    for name, fields in streams.items():
        if "size" in fields:
            found[name] = torch.empty(workload.images, 3, fields["size"], fields["size"], device="meta")
            continue
        stream = PatchStream(**fields)
        height, width = (side // stream.patch_size for side in stream.resized_hw(workload.image_hw))
        numbers = 3 * stream.temporal_patch_size * stream.patch_size**2
        found[name] = torch.empty(workload.images * height * width, numbers, device="meta")
        found["image_grid_thw"] = torch.tensor([[1, height, width]] * workload.images)
    return found


def encode_for_masks(
    model: GroundedModel, pixels: dict[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Features for words, where one trunk gives both, and for masks; the masks' stream is taken out."""
    shown = pixels.pop(SEGMENTER_STREAM)
    if model.encodes_together:
        return model.encode({SEGMENTER_STREAM: shown})
    return {}, model.segmenter.encode(shown)


def instruction_on_meta(workload: Workload) -> dict[str, Tensor]:
    """The question for the Q-Former, shapes alone."""
    ids = torch.zeros(1, workload.question_tokens, dtype=torch.long, device="meta")
    return {"qformer_input_ids": ids, "qformer_attention_mask": torch.ones_like(ids)}


def read_prompt(model: GroundedModel, length: int) -> DynamicCache:
    """Run the language model over a prompt, its head at the last place alone; returns the filled cache."""
    cache = DynamicCache(config=model.config.text_config)
    hidden = read_places(model, length, 0, cache)
    model.language_model.lm_head(hidden[:, -1:])
    return cache


def read_places(model: GroundedModel, length: int, before: int, cache: DynamicCache | None) -> Tensor:
    """States `[1, L, D]` of `length` new places behind `before` cached ones."""
    width = model.config.text_config.hidden_size
    embeds = torch.empty(1, length, width, device="meta", dtype=next(model.parameters()).dtype)
    # A mask of four dimensions is taken as it is; a missing one would be made from values: meta has none.
    mask = torch.ones(1, 1, length, before + length, dtype=torch.bool, device="meta")
    hidden: Tensor = model.text_model(
        inputs_embeds=embeds, attention_mask=mask, past_key_values=cache, use_cache=cache is not None
    ).last_hidden_state
    return hidden


def decoding_flops(model: GroundedModel, cache: DynamicCache, length: int, answer: int) -> dict[str, int]:
    """Operations by part of all steps of an answer whose first token the prompt has predicted.

    The last token is never fed, so there are `answer - 1` steps. The cost of a step is a line in the number
    of cached places: the first and the last step give the mean of all.
    """
    steps = answer - 1
    if steps < 1:
        return {}
    ends = []
    for before in (length, length + steps - 1):
        grow(cache, before - cache.get_seq_length())
        counter = ComponentCounter(model)
        with counter.counting():
            hidden = read_places(model, 1, before, cache)
            model.language_model.lm_head(hidden)
        ends.append(counter.flops)
    return {part: (ends[0][part] + ends[1][part]) * steps // 2 for part in ends[0]}


def grow(cache: DynamicCache, places: int) -> None:
    """Add places without running the model; a negative number takes some away."""
    if places < 0:
        cache.crop(places)
    elif places > 0:
        for number, layer in enumerate(cache.layers):
            assert layer.keys is not None
            shape = list(layer.keys.shape)
            shape[2] = places
            more = layer.keys.new_empty(shape)
            cache.update(more, more, number)


def draw_on_meta(model: GroundedModel, features: dict[str, Tensor], workload: Workload) -> None:
    """Draw the workload's masks, spread evenly over the images."""
    if workload.masks == 0:
        return
    states = torch.empty(workload.masks, model.config.text_config.hidden_size, device="meta")
    prompts = model.seg_projection(states)
    # Addresses have values, unlike everything else: how many masks share an image decides the calls.
    address = torch.arange(workload.masks) % workload.images
    model.segmenter.decode(features, MaskPrompts(prompts, address.sort().values, None))


def readings_of(
    model: GroundedModel, phases: dict[str, int], length: int, workload: Workload
) -> dict[str, int]:
    """The same answer counted in other ways, none of which a paper has named as its own.

    - `teacher_forced`: prompt and answer in one pass, as a loss is computed.
    - `segmenter_per_mask`: SAM's encoder once for every mask in place of once for every image.
    - `without_segmenter`: the language model's side alone.
    - `multiply_adds`: one for each multiply-add in place of two.
    """
    whole = ComponentCounter(model)
    with whole.counting():
        hidden = read_places(model, length + workload.answer_tokens, 0, None)
        model.language_model.lm_head(hidden)
    total, encoder = sum(phases.values()), phases["segmenter's encoder"]
    return {
        "teacher_forced": total - phases["prompt"] - phases["answer"] + sum(whole.flops.values()),
        "segmenter_per_mask": total - encoder + encoder * workload.masks // workload.images,
        "without_segmenter": total - encoder - phases["masks"],
        "multiply_adds": total // 2,
    }


def parameters_of(model: GroundedModel) -> dict[str, int]:
    """Parameters by component, those of none under `other`; shared ones count once, where first seen."""
    seen: set[int] = set()
    found: dict[str, int] = {}
    everything: list[tuple[str, nn.Module]] = [*parts_of(model).items(), ("other", model)]
    for name, part in everything:
        new = [p for p in part.parameters() if id(p) not in seen]
        seen |= {id(p) for p in new}
        if new:
            found[name] = sum(p.numel() for p in new)
    return found


def memory_of(model: GroundedModel, parameters: int, places: int) -> dict[str, int]:
    """Bytes of the weights by precision, and of keys and values of so many places in bfloat16."""
    modules = dict(model.named_modules())
    shrinking = sum(modules[name].weight.numel() for name in quantised_names(model))
    text = model.config.text_config
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    cache = 2 * text.num_hidden_layers * heads * head * places * 2
    return memory(parameters, shrinking) | {"cache_bf16": cache}
