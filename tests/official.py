"""Repositories in the form in which LISA, GLaMM, CLIP and others publish them, at any size.

`official_shapes` lists the names of a checkpoint by walking the published module trees; at the sizes of the
recorded checkpoints its list is compared with theirs, at full size it is what a conversion must swallow.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Shape = tuple[int, ...]
TOKEN_TEXT = {"im_start": "<im_start>", "im_end": "<im_end>", "bbox": "<bbox>", "point": "<point>",
              "SEG": "[SEG]", "p": "<p>", "/p": "</p>"}  # fmt: skip

SAM_HUGE = {
    "image_size": 1024, "patch_size": 16, "hidden_size": 1280, "num_hidden_layers": 32,
    "num_attention_heads": 16, "mlp_ratio": 4, "global_attn_indexes": [7, 15, 23, 31], "window_size": 14,
    "prompt_dim": 256, "num_pos_feats": 128, "mask_in_chans": 16, "decoder_depth": 2, "decoder_mlp_dim": 2048,
    "attention_downsample_rate": 2, "num_multimask_outputs": 3, "iou_head_depth": 3,
    "iou_head_hidden_dim": 256,
}  # fmt: skip
TINY_SAM = SAM_HUGE | {
    "image_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "prompt_dim": 32,
    "global_attn_indexes": [1], "window_size": 2, "num_pos_feats": 16, "decoder_mlp_dim": 32,
    "iou_head_hidden_dim": 24,
}  # fmt: skip
CLIP_LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "patch_size": 14,
              "num_attention_heads": 16}  # fmt: skip
LLAMA_7B = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "vocab_size": 32007,
            "num_attention_heads": 32, "rms_norm_eps": 1e-5, "max_position_embeddings": 4096}  # fmt: skip


# ---- names and shapes -------------------------------------------------------------------------------


def linear(name: str, out: int, inside: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (out, inside)
    yield f"{name}.bias", (out,)


def norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def sam_shapes(s: dict[str, Any]) -> Iterator[tuple[str, Shape]]:
    """Segment Anything: image encoder, prompt encoder, mask decoder."""
    width, prompt, grid = s["hidden_size"], s["prompt_dim"], s["image_size"] // s["patch_size"]
    encoder = "image_encoder"
    yield f"{encoder}.pos_embed", (1, grid, grid, width)
    yield f"{encoder}.patch_embed.proj.weight", (width, 3, s["patch_size"], s["patch_size"])
    yield f"{encoder}.patch_embed.proj.bias", (width,)
    for n in range(s["num_hidden_layers"]):
        block = f"{encoder}.blocks.{n}"
        side = grid if n in s["global_attn_indexes"] else s["window_size"]
        for axis in "hw":
            yield f"{block}.attn.rel_pos_{axis}", (2 * side - 1, width // s["num_attention_heads"])
        yield from norm(f"{block}.norm1", width)
        yield from norm(f"{block}.norm2", width)
        yield from linear(f"{block}.attn.qkv", 3 * width, width)
        yield from linear(f"{block}.attn.proj", width, width)
        yield from linear(f"{block}.mlp.lin1", s["mlp_ratio"] * width, width)
        yield from linear(f"{block}.mlp.lin2", width, s["mlp_ratio"] * width)
    yield f"{encoder}.neck.0.weight", (prompt, width, 1, 1)
    yield f"{encoder}.neck.2.weight", (prompt, prompt, 3, 3)
    yield from norm(f"{encoder}.neck.1", prompt)
    yield from norm(f"{encoder}.neck.3", prompt)
    yield from sam_prompt_shapes(s)
    yield from sam_decoder_shapes(s)


def sam_prompt_shapes(s: dict[str, Any]) -> Iterator[tuple[str, Shape]]:
    prompt, inner = s["prompt_dim"], s["mask_in_chans"]
    yield "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", (2, s["num_pos_feats"])
    for n in range(4):
        yield f"prompt_encoder.point_embeddings.{n}.weight", (1, prompt)
    yield "prompt_encoder.not_a_point_embed.weight", (1, prompt)
    yield "prompt_encoder.no_mask_embed.weight", (1, prompt)
    down = "prompt_encoder.mask_downscaling"
    yield f"{down}.0.weight", (inner // 4, 1, 2, 2)
    yield f"{down}.0.bias", (inner // 4,)
    yield from norm(f"{down}.1", inner // 4)
    yield f"{down}.3.weight", (inner, inner // 4, 2, 2)
    yield f"{down}.3.bias", (inner,)
    yield from norm(f"{down}.4", inner)
    yield f"{down}.6.weight", (prompt, inner, 1, 1)
    yield f"{down}.6.bias", (prompt,)


def sam_decoder_shapes(s: dict[str, Any]) -> Iterator[tuple[str, Shape]]:
    prompt, outputs = s["prompt_dim"], s["num_multimask_outputs"] + 1
    decoder = "mask_decoder"

    def attention(name: str, inner: int) -> Iterator[tuple[str, Shape]]:
        for part in ("q_proj", "k_proj", "v_proj"):
            yield from linear(f"{name}.{part}", inner, prompt)
        yield from linear(f"{name}.out_proj", prompt, inner)

    small = prompt // s["attention_downsample_rate"]
    for n in range(s["decoder_depth"]):
        layer = f"{decoder}.transformer.layers.{n}"
        yield from attention(f"{layer}.self_attn", prompt)
        yield from attention(f"{layer}.cross_attn_token_to_image", small)
        yield from attention(f"{layer}.cross_attn_image_to_token", small)
        yield from linear(f"{layer}.mlp.lin1", s["decoder_mlp_dim"], prompt)
        yield from linear(f"{layer}.mlp.lin2", prompt, s["decoder_mlp_dim"])
        for k in range(1, 5):
            yield from norm(f"{layer}.norm{k}", prompt)
    yield from attention(f"{decoder}.transformer.final_attn_token_to_image", small)
    yield from norm(f"{decoder}.transformer.norm_final_attn", prompt)
    yield f"{decoder}.iou_token.weight", (1, prompt)
    yield f"{decoder}.mask_tokens.weight", (outputs, prompt)
    yield f"{decoder}.output_upscaling.0.weight", (prompt, prompt // 4, 2, 2)
    yield f"{decoder}.output_upscaling.0.bias", (prompt // 4,)
    yield from norm(f"{decoder}.output_upscaling.1", prompt // 4)
    yield f"{decoder}.output_upscaling.3.weight", (prompt // 4, prompt // 8, 2, 2)
    yield f"{decoder}.output_upscaling.3.bias", (prompt // 8,)
    for n in range(outputs):
        widths = [prompt, prompt, prompt, prompt // 8]
        for k in range(3):
            name = f"{decoder}.output_hypernetworks_mlps.{n}.layers.{k}"
            yield from linear(name, widths[k + 1], widths[k])
    widths = [prompt, *[s["iou_head_hidden_dim"]] * (s["iou_head_depth"] - 1), outputs]
    for k in range(s["iou_head_depth"]):
        yield from linear(f"{decoder}.iou_prediction_head.layers.{k}", widths[k + 1], widths[k])


def llama_shapes(s: dict[str, Any], *, buffers: bool = True) -> Iterator[tuple[str, Shape]]:
    width, inner = s["hidden_size"], s["intermediate_size"]
    yield "lm_head.weight", (s["vocab_size"], width)
    yield "model.embed_tokens.weight", (s["vocab_size"], width)
    yield "model.norm.weight", (width,)
    for n in range(s["num_hidden_layers"]):
        layer = f"model.layers.{n}"
        for part in ("q_proj", "k_proj", "v_proj", "o_proj"):
            yield f"{layer}.self_attn.{part}.weight", (width, width)
        if buffers:
            yield f"{layer}.self_attn.rotary_emb.inv_freq", (width // s["num_attention_heads"] // 2,)
        yield f"{layer}.mlp.gate_proj.weight", (inner, width)
        yield f"{layer}.mlp.up_proj.weight", (inner, width)
        yield f"{layer}.mlp.down_proj.weight", (width, inner)
        yield f"{layer}.input_layernorm.weight", (width,)
        yield f"{layer}.post_attention_layernorm.weight", (width,)


def clip_shapes(s: dict[str, Any]) -> Iterator[tuple[str, Shape]]:
    """A CLIP vision tower as its files name it."""
    width, inner = s["hidden_size"], s["intermediate_size"]
    length = (s["image_size"] // s["patch_size"]) ** 2 + 1
    yield "vision_model.embeddings.class_embedding", (width,)
    yield "vision_model.embeddings.patch_embedding.weight", (width, 3, s["patch_size"], s["patch_size"])
    yield "vision_model.embeddings.position_embedding.weight", (length, width)
    yield "vision_model.embeddings.position_ids", (1, length)
    yield from norm("vision_model.pre_layrnorm", width)
    yield from norm("vision_model.post_layernorm", width)
    for n in range(s["num_hidden_layers"]):
        layer = f"vision_model.encoder.layers.{n}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from linear(f"{layer}.self_attn.{part}", width, width)
        yield from norm(f"{layer}.layer_norm1", width)
        yield from norm(f"{layer}.layer_norm2", width)
        yield from linear(f"{layer}.mlp.fc1", inner, width)
        yield from linear(f"{layer}.mlp.fc2", width, inner)


def official_shapes(
    which: str, llm: dict[str, Any], sam: dict[str, Any], clip_width: int
) -> dict[str, Shape]:
    """Names and shapes of a LISA or GLaMM checkpoint, without the region encoder of GLaMM."""
    width = llm["hidden_size"]
    shapes = dict(llama_shapes(llm))
    attribute = {"glamm": "grounding_encoder", "lisa": "visual_model"}[which]
    shapes |= {f"model.{attribute}.{name}": shape for name, shape in sam_shapes(sam)}
    shapes |= dict(linear("model.text_hidden_fcs.0.0", width, width))
    shapes |= dict(linear("model.text_hidden_fcs.0.2", sam["prompt_dim"], width))
    if which == "lisa":
        return shapes | dict(linear("model.mm_projector", width, clip_width))
    shapes |= dict(linear("model.mm_projector.0", width, clip_width))
    return shapes | dict(linear("model.mm_projector.2", width, width))


CONVNEXT_L = {"widths": (192, 384, 768, 1536), "depths": (3, 3, 27, 3)}
"""The trunk of OpenCLIP's `convnext_large_d_320`."""


def convnext_shapes(s: dict[str, Any], stem: str, stages: str) -> Iterator[tuple[str, Shape]]:
    """timm's ConvNeXt without norm and head; MIRAS calls its two parts `vision_stem` and `vision_stages`."""
    widths = s["widths"]
    yield f"{stem}.0.weight", (widths[0], 3, 4, 4)
    yield f"{stem}.0.bias", (widths[0],)
    yield from norm(f"{stem}.1", widths[0])
    for n, (width, depth) in enumerate(zip(widths, s["depths"], strict=True)):
        if n:
            yield from norm(f"{stages}.{n}.downsample.0", widths[n - 1])
            yield f"{stages}.{n}.downsample.1.weight", (width, widths[n - 1], 2, 2)
            yield f"{stages}.{n}.downsample.1.bias", (width,)
        for k in range(depth):
            block = f"{stages}.{n}.blocks.{k}"
            yield f"{block}.gamma", (width,)
            yield f"{block}.conv_dw.weight", (width, 1, 7, 7)
            yield f"{block}.conv_dw.bias", (width,)
            yield from norm(f"{block}.norm", width)
            yield from linear(f"{block}.mlp.fc1", 4 * width, width)
            yield from linear(f"{block}.mlp.fc2", width, 4 * width)


def open_clip_shapes(s: dict[str, Any]) -> dict[str, Shape]:
    """OpenCLIP's file: the trunk, its head, and some of the text half."""
    shapes = dict(convnext_shapes(s, "visual.trunk.stem", "visual.trunk.stages"))
    shapes |= dict(norm("visual.trunk.head.norm", s["widths"][-1]))
    shapes |= {"visual.head.proj.weight": (7, 5), "token_embedding.weight": (9, 5), "logit_scale": ()}
    shapes |= {"positional_embedding": (4, 5), "text_projection": (5, 5), "ln_final.weight": (5,)}
    return shapes | {"transformer.resblocks.0.ln_1.weight": (5,)}


def llava_shapes(llm: dict[str, Any], clip: dict[str, Any], *, tower: bool) -> dict[str, Shape]:
    """LLaVA-1.5 as its authors name it; its vision tower may be left out."""
    width = llm["hidden_size"]
    shapes = dict(llama_shapes(llm))
    shapes |= dict(linear("model.mm_projector.0", width, clip["hidden_size"]))
    shapes |= dict(linear("model.mm_projector.2", width, width))
    inside = dict(clip_shapes(clip)) if tower else {}
    return shapes | {f"model.vision_tower.vision_tower.{name}": shape for name, shape in inside.items()}


def llava_hf_shapes(llm: dict[str, Any], clip: dict[str, Any], *, renamed: bool) -> dict[str, Shape]:
    """The same as transformers names it, before and since its version 4.52."""
    width = llm["hidden_size"]
    before = {"language": "language_model.", "tower": "vision_tower.", "projector": "multi_modal_projector"}
    since = {"language": "", "tower": "model.vision_tower.", "projector": "model.multi_modal_projector"}
    where = since if renamed else before
    shapes = {}
    for name, shape in llama_shapes(llm, buffers=False):
        if renamed and name.startswith("model."):
            name = "model.language_model." + name.removeprefix("model.")
        shapes[where["language"] + name] = shape
    shapes |= dict(linear(f"{where['projector']}.linear_1", width, clip["hidden_size"]))
    shapes |= dict(linear(f"{where['projector']}.linear_2", width, width))
    tower = {name: shape for name, shape in clip_shapes(clip) if "position_ids" not in name}
    return shapes | {where["tower"] + name: shape for name, shape in tower.items()}


def mining_shapes(width: int, aux_width: int) -> dict[str, Shape]:
    """Mini-Gemini's patch info mining."""
    shapes: dict[str, Shape] = {}
    for part, inside in (("query", width), ("aux", aux_width), ("val", aux_width)):
        shapes |= dict(norm(f"model.vlm_uni_{part}_projector.0", inside))
        shapes |= dict(linear(f"model.vlm_uni_{part}_projector.1", width, inside))
    return shapes


def miras_shapes(
    llm: dict[str, Any], sam: dict[str, Any], clip: dict[str, Any], convnext: dict[str, Any] | None
) -> dict[str, Shape]:
    """MIRAS's checkpoint; its merging script loses the ConvNeXt, None here."""
    width = llm["hidden_size"]
    shapes = llava_shapes(llm, clip, tower=True)
    widths = (convnext or CONVNEXT_L)["widths"]
    shapes |= mining_shapes(clip["hidden_size"], sum(widths))
    shapes |= {f"model.visual_model.{name}": shape for name, shape in sam_shapes(sam)}
    shapes |= dict(linear("model.text_hidden_fcs.0.0", width, width))
    shapes |= dict(linear("model.text_hidden_fcs.0.2", sam["prompt_dim"], width))
    if convnext is None:
        return shapes
    tower = "model.vision_tower_aux.vision_"
    return shapes | dict(convnext_shapes(convnext, f"{tower}stem", f"{tower}stages"))


def region_encoder_shapes() -> dict[str, Shape]:
    """A part of GLaMM's region encoder, whose names a conversion must know in order to leave them out."""
    names = ("mlvl_fuse.input_conv.0", "mlvl_fuse.fuse_convs.4.conv", "roi_align.flatten_linear")
    return {f"model.region_encoder.{n}.{leaf}": (4,) for n in names for leaf in ("weight", "bias")}


# ---- files ------------------------------------------------------------------------------------------


def sentencepiece_model(pieces: list[tuple[str, float, int]]) -> bytes:
    """The bytes of a `tokenizer.model`: (text, score, kind) of each piece in the protobuf form."""

    def field(number: int, kind: int, value: bytes) -> bytes:
        return bytes([number << 3 | kind]) + value

    def varint(value: int) -> bytes:
        out = b""
        while True:
            out += bytes([value & 127 | (128 if value > 127 else 0)])
            value >>= 7
            if not value:
                return out

    content = b""
    for text, score, kind in pieces:
        raw = text.encode()
        piece = field(1, 2, varint(len(raw)) + raw) + field(2, 5, struct.pack("<f", score))
        piece += field(3, 0, varint(kind))
        content += field(1, 2, varint(len(piece)) + piece)
    # trainer_spec, which a reader of pieces skips
    return content + field(2, 2, varint(3) + b"\x18\x02\x20")


def llama_pieces(words: list[str], size: int) -> list[tuple[str, float, int]]:
    """A tiny LLaMA vocabulary: specials, bytes, letters, and pieces that merge up to the words."""
    pieces: list[tuple[str, float, int]] = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    pieces += [(f"<0x{b:02X}>", 0.0, 6) for b in range(256)]
    grown: dict[str, None] = {}
    for word in words:
        for end in range(2, len(word) + 1):
            grown.setdefault(word[:end])
    letters = dict.fromkeys("".join(grown) + "\u2581")
    texts = [*letters, *grown]
    pieces += [(text, -float(rank), 1) for rank, text in enumerate(texts)]
    known = {text for text, _, _ in pieces}
    filler = (f"\u2582{n}" for n in range(size))
    while len(pieces) < size:
        text = next(filler)
        if text not in known:
            pieces.append((text, -1e4, 1))
    return pieces[:size]


def write_tokenizer(folder: Path, base: int, added: dict[str, int], words: tuple[str, ...] = ()) -> None:
    pieces = llama_pieces([f"\u2581{w}" for w in words], base)
    (folder / "tokenizer.model").write_bytes(sentencepiece_model(pieces))
    (folder / "added_tokens.json").write_text(json.dumps(added))


def llama_config(llm: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The config.json of a LISA or GLaMM repository."""
    return {
        "architectures": ["Published"], "model_type": "llava", "torch_dtype": "float32",
        "transformers_version": "4.31.0", "rope_scaling": None, "pretraining_tp": 1,
        "mm_use_im_start_end": True, "mm_vision_select_layer": -2,
    } | {k: v for k, v in llm.items() if k != "model_type"} | more  # fmt: skip


def golden_repository(golden: Path, folder: Path) -> tuple[Path, Path]:
    """A recorded checkpoint as two repositories, the model's (torch shards) and CLIP's (safetensors)."""
    recorded = json.loads((golden / "config.json").read_text())
    model, clip = folder / "model", folder / "clip"
    model.mkdir(parents=True)
    clip.mkdir()
    tensors: dict[str, Tensor] = load_file(golden / "model.safetensors")
    names = sorted(tensors)
    half = len(names) // 2
    shards = {
        "pytorch_model-00001-of-00002.bin": names[:half],
        "pytorch_model-00002-of-00002.bin": names[half:],
    }
    for file, members in shards.items():
        torch.save({name: tensors[name] for name in members}, model / file)
    index = {"weight_map": {name: file for file, members in shards.items() for name in members}}
    (model / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    select = recorded["clip"].get("select_layer", -2)
    (model / "config.json").write_text(
        json.dumps(llama_config(recorded["llm"], mm_vision_select_layer=select))
    )
    special = {TOKEN_TEXT[name]: index for name, index in recorded["special_tokens"].items()}
    write_tokenizer(model, recorded["llm"]["vocab_size"] - len(special), special)
    save_file(load_file(golden / "clip.safetensors"), clip / "model.safetensors")
    tower = {
        k: v for k, v in recorded["clip"].items() if k not in ("select_layer", "drop_cls", "num_image_tokens")
    }
    (clip / "config.json").write_text(json.dumps(tower))
    return model, clip
