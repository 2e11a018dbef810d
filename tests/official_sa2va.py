"""Sa2VA on Qwen3-VL in the form in which it is published, at any size: names, shapes, a whole folder.

`sa2va_shapes` walks the published module trees; at the sizes of the recorded checkpoint its list is compared
with that one's, at full size it is what a conversion must swallow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from official import linear, norm
from segue.models.processing_qwen3_vl import QWEN_TOKENS

Shape = tuple[int, ...]
PREFIX = "grounding_encoder.sam2_model."
LARGE = {
    "hidden": 256, "memory": 64, "memory_ffn": 2048, "memory_layers": 4, "decoder_mlp": 2048,
    "iou_hidden": 256, "hiera": {"embed_dim": 144, "stages": [2, 6, 36, 4], "window_spec": [8, 4, 16, 8],
                                 "window_pos_embed_bkg_spatial_size": [7, 7]},
}  # fmt: skip
"""SAM 2.0 Hiera-L by the names of the recordings' config.json. Source: Meta's configuration."""


def conv(name: str, out: int, inside: int, side: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (out, inside, side, side)
    yield f"{name}.bias", (out,)


def mlp(name: str, *widths: int) -> Iterator[tuple[str, Shape]]:
    for k, (inside, out) in enumerate(pairwise(widths)):
        yield from linear(f"{name}.layers.{k}", out, inside)


def attention(name: str, width: int, inner: int, keys: int | None = None) -> Iterator[tuple[str, Shape]]:
    for part, inside in (("q", width), ("k", keys or width), ("v", keys or width)):
        yield from linear(f"{name}.{part}_proj", inner, inside)
    yield from linear(f"{name}.out_proj", width, inner)


def hiera_shapes(h: Mapping[str, Any]) -> Iterator[tuple[str, Shape]]:
    width, trunk = h["embed_dim"], "image_encoder.trunk"
    yield f"{trunk}.pos_embed", (1, width, *h["window_pos_embed_bkg_spatial_size"])
    yield f"{trunk}.pos_embed_window", (1, width, *[h["window_spec"][0]] * 2)
    yield from conv(f"{trunk}.patch_embed.proj", width, 3, 7)
    number, inside = 0, width
    for stage, blocks in enumerate(h["stages"]):
        out = width * 2**stage
        for _ in range(blocks):
            block = f"{trunk}.blocks.{number}"
            yield from norm(f"{block}.norm1", inside)
            yield from linear(f"{block}.attn.qkv", 3 * out, inside)
            yield from linear(f"{block}.attn.proj", out, out)
            yield from norm(f"{block}.norm2", out)
            yield from mlp(f"{block}.mlp", out, 4 * out, out)
            if inside != out:
                yield from linear(f"{block}.proj", out, inside)
            number, inside = number + 1, out


def decoder_shapes(s: Mapping[str, Any]) -> Iterator[tuple[str, Shape]]:
    width, decoder = s["hidden"], "sam_mask_decoder"
    for name, rows in (("iou_token", 1), ("mask_tokens", 4), ("obj_score_token", 1)):
        yield f"{decoder}.{name}.weight", (rows, width)
    two_way = f"{decoder}.transformer"
    for n in range(2):
        layer = f"{two_way}.layers.{n}"
        yield from attention(f"{layer}.self_attn", width, width)
        yield from attention(f"{layer}.cross_attn_token_to_image", width, width // 2)
        yield from attention(f"{layer}.cross_attn_image_to_token", width, width // 2)
        yield from mlp(f"{layer}.mlp", width, s["decoder_mlp"], width)
        for k in range(1, 5):
            yield from norm(f"{layer}.norm{k}", width)
    yield from attention(f"{two_way}.final_attn_token_to_image", width, width // 2)
    yield from norm(f"{two_way}.norm_final_attn", width)
    quarter, eighth = width // 4, width // 8
    yield f"{decoder}.output_upscaling.0.weight", (width, quarter, 2, 2)
    yield f"{decoder}.output_upscaling.0.bias", (quarter,)
    yield from norm(f"{decoder}.output_upscaling.1", quarter)
    yield f"{decoder}.output_upscaling.3.weight", (quarter, eighth, 2, 2)
    yield f"{decoder}.output_upscaling.3.bias", (eighth,)
    yield from conv(f"{decoder}.conv_s0", eighth, width, 1)
    yield from conv(f"{decoder}.conv_s1", quarter, width, 1)
    for k in range(4):
        yield from mlp(f"{decoder}.output_hypernetworks_mlps.{k}", width, width, width, eighth)
    yield from mlp(f"{decoder}.iou_prediction_head", width, s["iou_hidden"], s["iou_hidden"], 4)
    yield from mlp(f"{decoder}.pred_obj_score_head", width, width, width, 1)


def prompt_shapes(width: int) -> Iterator[tuple[str, Shape]]:
    prompts = "sam_prompt_encoder"
    yield f"{prompts}.pe_layer.positional_encoding_gaussian_matrix", (2, width // 2)
    for name in ("not_a_point_embed", "no_mask_embed", *(f"point_embeddings.{k}" for k in range(4))):
        yield f"{prompts}.{name}.weight", (1, width)
    masks = f"{prompts}.mask_downscaling"
    yield from conv(f"{masks}.0", 4, 1, 2)
    yield from norm(f"{masks}.1", 4)
    yield from conv(f"{masks}.3", 16, 4, 2)
    yield from norm(f"{masks}.4", 16)
    yield from conv(f"{masks}.6", width, 16, 1)


def memory_shapes(s: Mapping[str, Any]) -> Iterator[tuple[str, Shape]]:
    width, small = s["hidden"], s["memory"]
    yield "maskmem_tpos_enc", (7, 1, 1, small)
    yield "no_mem_pos_enc", (1, 1, width)
    yield "no_obj_ptr", (1, width)
    yield from conv("mask_downsample", 1, 1, 4)
    yield from mlp("obj_ptr_proj", width, width, width, width)
    for n in range(s["memory_layers"]):
        layer = f"memory_attention.layers.{n}"
        yield from attention(f"{layer}.self_attn", width, width)
        yield from attention(f"{layer}.cross_attn_image", width, width, small)
        yield from linear(f"{layer}.linear1", s["memory_ffn"], width)
        yield from linear(f"{layer}.linear2", width, s["memory_ffn"])
        for k in range(1, 4):
            yield from norm(f"{layer}.norm{k}", width)
    yield from norm("memory_attention.norm", width)
    encoder = "memory_encoder"
    channels = [1, 4, 16, 64, 256]
    for k, (inside, out) in enumerate(pairwise(channels)):
        yield from conv(f"{encoder}.mask_downsampler.encoder.{3 * k}", out, inside, 3)
        yield from norm(f"{encoder}.mask_downsampler.encoder.{3 * k + 1}", out)
    yield from conv(f"{encoder}.mask_downsampler.encoder.12", width, 256, 1)
    yield from conv(f"{encoder}.pix_feat_proj", width, width, 1)
    for n in range(2):
        layer = f"{encoder}.fuser.layers.{n}"
        yield from conv(f"{layer}.dwconv", width, 1, 7)
        yield from norm(f"{layer}.norm", width)
        yield from linear(f"{layer}.pwconv1", 4 * width, width)
        yield from linear(f"{layer}.pwconv2", width, 4 * width)
        yield f"{layer}.g_weight", (width,)
    yield from conv(f"{encoder}.out_proj", small, width, 1)


def qwen_shapes(text: Mapping[str, Any], vision: Mapping[str, Any]) -> Iterator[tuple[str, Shape]]:
    width, head = text["hidden_size"], text["head_dim"]
    heads, keys = text["num_attention_heads"] * head, text["num_key_value_heads"] * head
    body = "model.model.language_model"
    yield "model.lm_head.weight", (text["vocab_size"], width)
    yield f"{body}.embed_tokens.weight", (text["vocab_size"], width)
    yield f"{body}.norm.weight", (width,)
    for n in range(text["num_hidden_layers"]):
        layer = f"{body}.layers.{n}"
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{layer}.{name}.weight", (width,)
        yield f"{layer}.self_attn.q_proj.weight", (heads, width)
        yield f"{layer}.self_attn.k_proj.weight", (keys, width)
        yield f"{layer}.self_attn.v_proj.weight", (keys, width)
        yield f"{layer}.self_attn.o_proj.weight", (width, heads)
        for name in ("q_norm", "k_norm"):
            yield f"{layer}.self_attn.{name}.weight", (head,)
        for name in ("gate_proj", "up_proj"):
            yield f"{layer}.mlp.{name}.weight", (text["intermediate_size"], width)
        yield f"{layer}.mlp.down_proj.weight", (width, text["intermediate_size"])
    wide, tower = vision["hidden_size"], "model.model.visual"
    patch, merged = vision["patch_size"], wide * vision.get("spatial_merge_size", 2) ** 2
    yield f"{tower}.patch_embed.proj.weight", (wide, 3, 2, patch, patch)
    yield f"{tower}.patch_embed.proj.bias", (wide,)
    yield f"{tower}.pos_embed.weight", (vision["num_position_embeddings"], wide)
    for n in range(vision["depth"]):
        block = f"{tower}.blocks.{n}"
        yield from linear(f"{block}.attn.qkv", 3 * wide, wide)
        yield from linear(f"{block}.attn.proj", wide, wide)
        yield from linear(f"{block}.mlp.linear_fc1", vision["intermediate_size"], wide)
        yield from linear(f"{block}.mlp.linear_fc2", wide, vision["intermediate_size"])
        yield from norm(f"{block}.norm1", wide)
        yield from norm(f"{block}.norm2", wide)
    mergers = [(f"{tower}.merger", wide)]
    mergers += [(f"{tower}.deepstack_merger_list.{k}", merged)
                for k in range(len(vision["deepstack_visual_indexes"]))]  # fmt: skip
    for name, normed in mergers:
        yield from norm(f"{name}.norm", normed)
        yield from linear(f"{name}.linear_fc1", merged, merged)
        yield from linear(f"{name}.linear_fc2", vision["out_hidden_size"], merged)


def sa2va_shapes(
    text: Mapping[str, Any], vision: Mapping[str, Any], sam: Mapping[str, Any] = LARGE
) -> dict[str, Shape]:
    """All tensors of a published file."""
    width = text["hidden_size"]
    found = dict(qwen_shapes(text, vision))
    found |= dict(linear("text_hidden_fcs.0", width, width))
    found |= dict(linear("text_hidden_fcs.2", sam["hidden"], width))
    parts = (
        hiera_shapes(sam["hiera"]),
        prompt_shapes(sam["hidden"]),
        decoder_shapes(sam),
        memory_shapes(sam),
    )
    for part in parts:
        found |= {PREFIX + name: shape for name, shape in part}
    stages = [sam["hiera"]["embed_dim"] * 2**k for k in range(4)]
    for k, width in enumerate(stages[::-1]):
        found |= {
            PREFIX + name: shape
            for name, shape in conv(f"image_encoder.neck.convs.{k}.conv", sam["hidden"], width, 1)
        }
    return found | {f"{PREFIX}no_mem_embed": (1, 1, sam["hidden"])}


TOKENS = {"<|im_start|>": 256, "<|im_end|>": 257, "[SEG]": 300, "<p>": 301, "</p>": 302, "<vp>": 303,
          "</vp>": 304, "<|image_pad|>": 310, "<|video_pad|>": 311, "<|vision_start|>": 312,
          "<|vision_end|>": 313}  # fmt: skip
"""Special tokens of the recordings; all other ids below 256 are bytes."""


def byte_tokenizer(special: Mapping[str, int] = TOKENS) -> PreTrainedTokenizerFast:
    """A tokenizer whose ids below 256 are the bytes of UTF-8."""
    vocabulary = {letter: byte for byte, letter in bytes_to_unicode().items()}
    for k in range(256, max(special.values()) + 1):
        vocabulary[f"<unused{k}>"] = k
    for token, k in special.items():
        vocabulary = {t: i for t, i in vocabulary.items() if i != k} | {token: k}
    made = Tokenizer(models.BPE(vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    assert set(QWEN_TOKENS) <= set(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|im_end|>", bos_token=None
    )


def write_sa2va(folder: Path, vlm: Mapping[str, Any], state: Mapping[str, Tensor]) -> Path:
    """A repository as it is downloaded; `vlm` has the fields of Qwen3-VL's configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    code = {
        "AutoConfig": "configuration_sa2va_chat.Sa2VAChatConfig",
        "AutoModel": "modeling_sa2va_qwen.Sa2VAChatModelQwen",
    }
    content = {**vlm, "model_type": "sa2va_chat", "template": "qwen_chat", "auto_map": code}
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    byte_tokenizer().save_pretrained(folder)
    # As Qwen's: with a class that transformers has.
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "Qwen2Tokenizer"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def random_state(shapes: Mapping[str, Shape], seed: int = 0) -> dict[str, Tensor]:
    """Weights of these shapes."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}
