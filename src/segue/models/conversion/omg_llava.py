"""OMG-LLaVA from its published files: what they hold, on top of InternLM2, OMG-Seg and the class texts.

A folder of the repository holds them all; a file is one of its fine-tuned ones, with the others beside it:

    omg_llava_7b_finetune_8gpus.pth     projections, LoRA, embeddings and head: the general model
    finetuned_refseg.pth, _gcg.pth      the same once more, and a decoder of its own for `[SEG]`
    omg_seg_convl.pth                   OMG-Seg; its trunk may be left out, being OpenCLIP's
    convnext_large_d_320_CocoPanopticOVDataset.pth      the class texts, without which the prior is wrong
    internlm2-chat-7b/                  the language model and its tokenizer
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segue.errors import InputError
from segue.models.conversion.checkpoints import Checkpoint, open_checkpoint
from segue.models.conversion.families import target_shapes
from segue.models.conversion.fused import grouped_projections, thirds, thirds_shapes
from segue.models.conversion.miras import convnext_sizes
from segue.models.conversion.plan import Plan, Shape, plan
from segue.models.conversion.rules import Rule, under
from segue.models.conversion.sizes import count
from segue.models.conversion.streaming import joined_shapes, write_converted
from segue.models.conversion.templates import CONVNEXT_REPOSITORY
from segue.models.conversion.templates_omg_llava import (
    BACKBONE,
    CLASS_TEXTS,
    DRAWING,
    HEAD_APART,
    HEAD_SHARED,
    INTERNLM2,
    PROJECTORS,
)
from segue.models.conversion.tokenizers import internlm2_tokenizer
from segue.models.conversion.writing import ShardWriter
from segue.models.omg_llava.configuration_omg_llava import OmgLlavaConfig
from segue.models.omg_llava.modeling_omg_llava import OmgLlavaModel
from segue.models.omg_llava.presets_omg_llava import ADDED_TOKENS, omg_llava_7b_config
from segue.models.omg_llava.processing_omg_llava import (
    INTERNLM2_TEMPLATE,
    MARK,
    OmgLlavaProcessor,
    most_tokens,
    omg_streams_for,
)

GENERAL = "omg_llava_7b_finetune_8gpus.pth"
BESIDE = {
    "omg_seg": "omg_seg_convl.pth",
    "class_texts": "convnext_large_d_320_CocoPanopticOVDataset.pth",
    "internlm": "internlm2-chat-7b",
}
"""Options -> names of files and folders beside the fine-tuned file."""

LORA_ALPHA = 256
"""A change of the language model counts alpha / rank: 0.5 of the published rank of 512. Source: its code."""

_HEAD = "visual_encoder.panoptic_head."
_ADAPTED = "llm.base_model.model."
"""PEFT's name for the language model."""

IMAGE_SIZE = 1024
"""Side of the square; no tensor says it. Source: OMG-LLaVA's code."""


EXACT = ("perception.", "mask_decoder.")
"""Written in float32, in which they are published and run."""


WORDS = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    *("max_position_embeddings", "rms_norm_eps"),
)
"""Fields that InternLM2's config.json shares with LLaMA's."""


class Derived(Checkpoint):
    """Tensors that are made of those of other checkpoints, one at a time.

    Args:
        path: what messages call it.
        shapes: of what is made.
        make: makes them.
    """

    def __init__(self, path: Path, shapes: Mapping[str, Shape], make: Any) -> None:
        super().__init__(path, shapes=dict(shapes))
        self._make = make

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor once."""
        yield from self._make()


def is_omg_llava(source: Path) -> bool:
    """Whether a source is one of OMG-LLaVA's files, or a folder with the general one."""
    if source.is_dir():
        return (source / GENERAL).is_file()
    if source.suffix not in (".pth", ".pt", ".bin", ".safetensors"):
        return False
    names = open_checkpoint(source).shapes
    return any(name.startswith("projector.model.seperate_embed") for name in names)


def convert_omg_llava(
    source: Path,
    folder: Path,
    dtype: torch.dtype | None,
    shard_bytes: int,
    *,
    omg_seg: Path | None = None,
    class_texts: Path | None = None,
    internlm: Path | None = None,
    convnext: Checkpoint | None = None,
    downloaded: Path | None = None,
    image_size: int = IMAGE_SIZE,
) -> list[str]:
    """Write an OMG-LLaVA; see `segue.models.conversion.convert`.

    Args:
        source: folder of the repository, or one of its fine-tuned files.
        folder: exists.
        dtype: of the written weights; that of InternLM2 by default.
        shard_bytes: largest file.
        omg_seg, class_texts, internlm: the other parts; those beside the source by default.
        downloaded: InternLM2 where it is neither given nor beside the source.
        convnext: OpenCLIP's, where the file of OMG-Seg leaves the trunk out.
        image_size: side of the square.

    Raises:
        InputError: a part is missing.
        ConversionError: tensors are left over, missing or of another size; all are named.
    """
    tuned, home = (source / GENERAL, source) if source.is_dir() else (source, source.parent)
    given = {"omg_seg": omg_seg, "class_texts": class_texts, "internlm": internlm}
    if internlm is None and not (home / BESIDE["internlm"]).is_dir():
        given["internlm"] = downloaded
    found = {name: part or _beside(home, name) for name, part in given.items()}
    small = _overlaid(tuned, home)
    words = open_checkpoint(found["internlm"])
    seeing = _unfused(open_checkpoint(found["omg_seg"]))
    texts = _class_texts(found["class_texts"])
    checkpoints: dict[str, Checkpoint] = {
        "": _unfused(_without(small, _ADAPTED)),
        "omg:": seeing,
        "texts:": texts,
        "llm:": adapted_internlm2(words, small),
    }
    if not any(name.startswith("backbone.") for name in seeing.shapes):
        checkpoints["convnext:"] = convnext or _no_convnext()
    config = omg_llava_config(checkpoints, words.config, image_size)
    planned = plan_omg_llava(config, checkpoints, str(source))
    shapes = target_shapes(OmgLlavaModel, config)
    kept = dtype or words.majority_dtype()
    tokenizer = internlm2_tokenizer(words.path, ADDED_TOKENS, MARK, _rows(checkpoints))
    _take_ids(config, tokenizer)
    with ShardWriter(folder, shapes, kept, shard_bytes, EXACT) as writer:
        write_converted(checkpoints, planned, shapes, writer)
    config.architectures, config.dtype = [OmgLlavaModel.__name__], kept
    config.save_pretrained(folder)
    OmgLlavaProcessor(
        tokenizer,
        image_streams=omg_streams_for(config),
        num_query_tokens=most_tokens(config),
        template=dict(INTERNLM2_TEMPLATE),
    ).save_pretrained(folder)
    origin = {"converted_from": [tuned.name, *(path.name for path in found.values())], "format": 1}
    (folder / "conversion.json").write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
    return planned.summary()


def plan_omg_llava(config: OmgLlavaConfig, checkpoints: Mapping[str, Checkpoint], where: str = "") -> Plan:
    """The place of every tensor; labels are "" (fine-tuned), "omg:", "texts:", "llm:" and "convnext:".

    Raises:
        ConversionError: tensors are left over, missing or of another size; all are named.
    """
    own_decoder = any(name.startswith(f"{_HEAD}transformer_decoder_llm.") for name in checkpoints[""].shapes)
    rules: tuple[Rule, ...] = (
        *PROJECTORS,
        *under(_HEAD, "", DRAWING),
        *under("omg:panoptic_head.", "", HEAD_APART if own_decoder else HEAD_SHARED),
        *under("omg:", "", BACKBONE),
        *under("texts:", "", CLASS_TEXTS),
        *under("llm:", "", INTERNLM2),
        *under("convnext:", "perception.backbone.", CONVNEXT_REPOSITORY),
    )
    return plan(joined_shapes(checkpoints), target_shapes(OmgLlavaModel, config), rules, where=where)


def omg_llava_config(
    checkpoints: Mapping[str, Checkpoint], internlm: Mapping[str, Any], image_size: int = IMAGE_SIZE
) -> OmgLlavaConfig:
    """The configuration of what is at hand: sizes from shapes, of words from InternLM2's config.json."""
    head = {n.removeprefix("panoptic_head."): s for n, s in checkpoints["omg:"].shapes.items()}
    trunk = checkpoints.get("convnext:", checkpoints["omg:"]).shapes
    encoder, decoder = "pixel_decoder.encoder.layers", "transformer_decoder.layers"
    queries, width = head["query_feat.weight"]
    classes, prompts, class_width = checkpoints["texts:"].shapes["class_text_embeddings"]
    text = {name: internlm[name] for name in WORDS if name in internlm}
    text |= {"model_type": "llama", "vocab_size": _rows(checkpoints), "tie_word_embeddings": False}
    theta = float(internlm.get("rope_theta", 1000000.0))
    text |= {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    return omg_llava_7b_config(
        text_config=text,
        perception_config={
            "backbone_config": convnext_sizes(_stages_from_0(trunk), image_size) | {"model_type": "convnext"},
            "feature_size": width,
            "mask_feature_size": head["pixel_decoder.mask_feature.weight"][0],
            "hidden_dim": width,
            "encoder_layers": count(head, f"{encoder}.#.norms.0.weight"),
            "encoder_feedforward_dim": head[f"{encoder}.0.ffn.layers.0.0.weight"][0],
            # Predictions: one more than layers.
            "decoder_layers": count(head, f"{decoder}.#.norms.0.weight") + 1,
            "dim_feedforward": head[f"{decoder}.0.ffn.layers.0.0.weight"][0],
            # Of each head two numbers for 4 points in 3 levels.
            "num_attention_heads": head[f"{encoder}.0.self_attn.sampling_offsets.weight"][0] // 24,
            "num_queries": queries,
            "num_classes": classes,
            "prompts_per_class": prompts,
            "class_width": class_width,
        },
        seg_projection_hidden_size=checkpoints[""].shapes["projector_text2vision.model.0.weight"][0],
    )


def adapted_internlm2(words: Checkpoint, small: Checkpoint) -> Checkpoint:
    """InternLM2 with what was trained folded in, its joined projections taken apart.

    Changes first, parts after: `wqkv` was adapted as a whole.

    Args:
        words: InternLM2.
        small: the fine-tuned file: LoRA, embeddings and head.
    """
    heads = int(words.config["num_attention_heads"])
    groups = int(words.config.get("num_key_value_heads", heads))

    def parts(name: str) -> tuple[str, ...]:
        stem = name.removesuffix("wqkv.weight")
        return tuple(f"{stem}{part}_proj.weight" for part in "qkv") if stem != name else (name,)

    shapes: dict[str, Shape] = {}
    for name, shape in words.shapes.items():
        trained = small.shapes.get(_whole_name(name, small), shape)
        names = parts(name)
        rows = trained[0] // (heads + 2 * groups)
        lengths = (heads * rows, groups * rows, groups * rows) if len(names) == 3 else (trained[0],)
        shapes |= {part: (length, *trained[1:]) for part, length in zip(names, lengths, strict=True)}

    def make() -> Iterator[tuple[str, Tensor]]:
        # Mapped into memory, so that only what is read costs any.
        trained = dict(small.tensors())
        for name, tensor in words.tensors():
            weight = trained.get(_whole_name(name, small), tensor)
            stem = _ADAPTED + name.removesuffix(".weight")
            a, b = (trained.get(f"{stem}.lora_{x}.default.weight") for x in "AB")
            if a is not None and b is not None:
                # In float32: half precision would lose small changes of large weights.
                change = (b.float() @ a.float()) * (LORA_ALPHA / len(a))
                weight = (weight.float() + change).to(weight.dtype)
            pieces = grouped_projections(weight, heads, groups) if len(parts(name)) == 3 else (weight,)
            yield from zip(parts(name), pieces, strict=True)

    return Derived(words.path, shapes, make)


def _whole_name(name: str, small: Checkpoint) -> str:
    """The name under which a tensor of InternLM2 was trained in full, if it was."""
    plain = _ADAPTED + name
    beneath = plain.removesuffix(".weight") + ".base_layer.weight"
    return beneath if beneath in small.shapes else plain


def _overlaid(tuned: Path, home: Path) -> Checkpoint:
    """A fine-tuned file over the general one, which fills what it lacks."""
    own = open_checkpoint(tuned)
    general = home / GENERAL
    if tuned == general or not general.is_file():
        return own
    under_it = open_checkpoint(general)
    shapes = under_it.shapes | own.shapes

    def make() -> Iterator[tuple[str, Tensor]]:
        yield from own.tensors()
        yield from ((name, tensor) for name, tensor in under_it.tensors() if name not in own.shapes)

    return Derived(tuned, shapes, make)


def _without(checkpoint: Checkpoint, prefix: str) -> Checkpoint:
    """A checkpoint but for the names with a prefix."""
    shapes = {name: shape for name, shape in checkpoint.shapes.items() if not name.startswith(prefix)}
    return Derived(
        checkpoint.path, shapes, lambda: (entry for entry in checkpoint.tensors() if entry[0] in shapes)
    )


def _unfused(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint whose joined attention is taken apart."""
    shapes = dict(part for entry in checkpoint.shapes.items() for part in thirds_shapes(*entry))
    return Derived(
        checkpoint.path, shapes, lambda: (part for entry in checkpoint.tensors() for part in thirds(*entry))
    )


def _class_texts(path: Path) -> Checkpoint:
    """The file of class texts: one tensor `[classes, prompts, D]` alone.

    Raises:
        InputError: it holds something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises whatever it happens to trip over
        raise _wrong_texts(path, f"{type(error).__name__}: {str(error).splitlines()[0]}") from None
    if not isinstance(content, Tensor) or content.ndim != 3:
        raise _wrong_texts(path, f"{type(content).__name__} {list(getattr(content, 'shape', []))}")
    name = "class_text_embeddings"
    return Derived(path, {name: tuple(content.shape)}, lambda: iter([(name, content)]))


def _stages_from_0(names: Mapping[str, Shape]) -> dict[str, Shape]:
    """Names of a trunk whose stages mmdetection counts as `layer1` to `layer4`, as timm has them."""
    found = {}
    for name, shape in names.items():
        for number in range(4):
            name = name.replace(f"backbone.layer{number + 1}.", f"stages.{number}.")
        found[name] = shape
    return found


def _rows(checkpoints: Mapping[str, Checkpoint]) -> int:
    return int(checkpoints["llm:"].shapes["model.tok_embeddings.weight"][0])


def _take_ids(config: OmgLlavaConfig, tokenizer: Any) -> None:
    names = (*ADDED_TOKENS, MARK, "<image>", "<|im_end|>")
    ids = dict(zip(names, tokenizer.convert_tokens_to_ids(list(names)), strict=True))
    config.seg_token_id, config.phrase_token_id = ids["[SEG]"], ids["<p>"]
    config.region_token_id = ids["<region>"]
    config.mark_token_id, config.image_token_id = ids[MARK], ids["<image>"]
    config.text_config.bos_token_id = tokenizer.bos_token_id
    config.text_config.eos_token_id, config.text_config.pad_token_id = (
        ids["<|im_end|>"],
        tokenizer.pad_token_id,
    )


def _beside(home: Path, option: str) -> Path:
    path = home / BESIDE[option]
    if path.exists():
        return path
    raise InputError(
        "A part of OMG-LLaVA is missing.",
        expected=f"{BESIDE[option]} beside the source",
        found="no such file or folder",
        where=str(home),
        fix=f"download it from the published repositories, or give it with --{option.replace('_', '-')}",
    )


def _no_convnext() -> Checkpoint:
    raise InputError(
        "The trunk of OMG-Seg is missing: its file leaves it out.",
        expected="laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup, downloaded",
        found="none",
        where="--convnext",
        fix="download it and give its folder or file with --convnext",
    )


def _wrong_texts(path: Path, found: str) -> InputError:
    return InputError(
        "This is no file of class texts.",
        expected="one tensor of classes, prompts and features",
        found=found,
        where=str(path),
        fix=f"give {BESIDE['class_texts']} of OMG-LLaVA's repository with --class-texts",
    )
