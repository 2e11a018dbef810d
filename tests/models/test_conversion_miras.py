"""MIRAS and LLaVA-1.5 become MIRAS models: full-size lists of names, tables that grow, tiny repositories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPVisionConfig, LlavaConfig

import segue
from official import (
    CLIP_LARGE,
    CONVNEXT_L,
    LLAMA_7B,
    SAM_HUGE,
    TINY_SAM,
    clip_shapes,
    convnext_shapes,
    llama_config,
    llava_hf_shapes,
    llava_shapes,
    mining_shapes,
    miras_shapes,
    open_clip_shapes,
    sam_shapes,
    write_tokenizer,
)
from segue.cli import main
from segue.models.conversion import Checkpoint, ConversionError, identify, target_shapes
from segue.models.conversion.miras import (
    PUBLISHED_TOKENS,
    WITHOUT_OBJ,
    Vocabulary,
    convnext_sizes,
    miras_config,
    parts_beside,
    plan_miras,
    vocabulary,
)
from segue.models.modeling_miras import MirasModel
from segue.models.presets import preset
from tiny_model import QUESTIONS, picture

Shape = tuple[int, ...]
TOWER = CLIP_LARGE | {"image_size": 336}
LLAMA = {n: LLAMA_7B | {"vocab_size": n} for n in (32000, 32004, 32005, 32064)}


def part(shapes: dict[str, Shape], config: dict[str, Any] | None = None) -> Checkpoint:
    return Checkpoint(Path("nowhere"), config or {}, shapes, dict.fromkeys(shapes, torch.float32))


CLIP = part(dict(clip_shapes(TOWER)) | {"logit_scale": ()}, TOWER)
CONVNEXT = part(open_clip_shapes(CONVNEXT_L))
SAM = part(dict(sam_shapes(SAM_HUGE)))
HF_CONFIG = json.loads(
    json.dumps(
        LlavaConfig(
            text_config={"model_type": "llama", "rms_norm_eps": 1e-5, "max_position_embeddings": 4096},
            vision_config=CLIPVisionConfig(**TOWER).to_dict(),
        ).to_diff_dict(),
        default=str,
    )
) | {"vision_config": CLIPVisionConfig(**TOWER).to_dict()}
LLAVA_CONFIG = llama_config(LLAMA_7B) | {"mm_vision_select_layer": -2}

FULL: dict[str, tuple[Checkpoint, str, set[str]]] = {
    "llava": (part(llava_shapes(LLAMA[32000], TOWER, tower=False), LLAVA_CONFIG), "llava", {"clip:"}),
    "llava with its tower": (
        part(llava_shapes(LLAMA[32000], TOWER, tower=True), LLAVA_CONFIG),
        "llava",
        set(),
    ),
    "llava-hf": (part(llava_hf_shapes(LLAMA[32064], TOWER, renamed=False), HF_CONFIG), "llava", set()),
    "llava-hf, newer": (part(llava_hf_shapes(LLAMA[32064], TOWER, renamed=True), HF_CONFIG), "llava", set()),
    "miras": (part(miras_shapes(LLAMA[32005], SAM_HUGE, TOWER, CONVNEXT_L), LLAVA_CONFIG), "miras", set()),
    "miras as merged": (
        part(miras_shapes(LLAMA[32004], SAM_HUGE, TOWER, None), LLAVA_CONFIG),
        "miras",
        {"convnext:"},
    ),
}
"""Checkpoint, kind, and what it needs beside it (LLaVA also needs ConvNeXt and SAM)."""


def composed(name: str) -> tuple[Any, dict[str, Checkpoint], Vocabulary]:
    checkpoint, kind, beside = FULL[name]
    checkpoints = parts_beside(checkpoint, CLIP, CONVNEXT, SAM)
    assert set(checkpoints) == {""} | beside | ({"convnext:", "sam:"} if kind == "llava" else set())
    words = vocabulary(checkpoint.shapes, 32000, {})
    source = checkpoints.get("convnext:", checkpoint).shapes
    tower = checkpoint.config if "vision_config" in checkpoint.config else TOWER
    config = miras_config(checkpoint, words, tower, source, checkpoints.get("sam:"))
    return config, checkpoints, words


@pytest.mark.parametrize("name", FULL)
def test_full_size_checkpoints_fit_name_by_name(name: str) -> None:
    checkpoint, kind, _ = FULL[name]
    assert identify(checkpoint.shapes, checkpoint.config) == kind
    config, checkpoints, words = composed(name)
    done = plan_miras(config, checkpoints, words.kept)
    shapes = target_shapes(MirasModel, config)
    moved = [target for move in done.moves for target in move.targets]
    assert sorted([*moved, *done.fresh]) == sorted(shapes), "each parameter exactly once"
    assert len(done.moves) == sum(len(c.shapes) for c in checkpoints.values())
    fresh = {"region_alignment"} | ({"fusion", "seg_projection"} if kind == "llava" else set())
    assert {name.split(".")[0] for name in done.fresh} == fresh
    # The preset is the same model.
    assert shapes == target_shapes(MirasModel, preset("miras-7b").config())
    expected = preset("miras-7b").config()
    assert config.aux_grid == expected.aux_grid
    ids = ("seg_token_id", "phrase_token_id", "image_token_id")
    if name != "miras as merged":  # its [OBJ] comes last
        assert all(getattr(config, i) == getattr(expected, i) for i in ids)


def test_every_key_that_is_over_or_missing_is_named() -> None:
    config, checkpoints, words = composed("miras")
    names = dict(checkpoints[""].shapes) | {"model.novelty.weight": (3, 5)}
    del names["model.vlm_uni_val_projector.1.bias"]
    del names["model.vision_tower_aux.vision_stages.2.blocks.26.gamma"]
    with pytest.raises(ConversionError) as caught:
        plan_miras(config, {"": part(names)}, words.kept)
    assert caught.value.lines == [
        "left over  model.novelty.weight [3, 5]",
        "missing    aux_vision_model.encoder.stages.2.layers.26.layer_scale_parameter [768]",
        "missing    fusion.value.1.bias [1024]",
    ]


def test_mini_gemini_brings_its_patch_mining_and_its_grid() -> None:
    names = llava_shapes(LLAMA[32000], TOWER, tower=True) | mining_shapes(1024, 2880)
    checkpoint = part(names, LLAVA_CONFIG)
    assert identify(names) == "llava"
    checkpoints = parts_beside(checkpoint, None, CONVNEXT, SAM)
    words = vocabulary(names, 32000, {})
    config = miras_config(checkpoint, words, TOWER, CONVNEXT.shapes, SAM)
    assert config.aux_grid == 192
    done = plan_miras(config, checkpoints, words.kept)
    assert {name.split(".")[0] for name in done.fresh} == {"region_alignment", "seg_projection"}


def test_the_tokens_of_every_kind_stand_where_its_weights_know_them() -> None:
    llava = vocabulary(FULL["llava-hf"][0].shapes, 32000, {"<image>": 32000, "<pad>": 32001})
    assert (llava.kept, llava.rows, llava.added) == (32000, 32005, PUBLISHED_TOKENS)
    miras = vocabulary(FULL["miras"][0].shapes, 32000, {})
    assert (miras.kept, miras.rows) == (32005, 32005)
    assert miras.known["[OBJ]"] == 32001
    merged = vocabulary(FULL["miras as merged"][0].shapes, 32000, {})
    assert (merged.kept, merged.rows) == (32004, 32005)
    assert merged.added == (*WITHOUT_OBJ, "[OBJ]")
    assert merged.known == {t: 32000 + k for k, t in enumerate(WITHOUT_OBJ)}


@pytest.mark.parametrize("stem", ["stem", "visual.trunk.stem", "model.vision_tower_aux.vision_stem"])
def test_sizes_of_a_convnext(stem: str) -> None:
    names = dict(convnext_shapes(CONVNEXT_L, stem, stem.replace("stem", "stages")))
    sizes = convnext_sizes(names, 768)
    assert sizes == {
        "hidden_sizes": [192, 384, 768, 1536], "depths": [3, 3, 27, 3], "patch_size": 4, "image_size": 768,
    }  # fmt: skip
    ours = target_shapes(MirasModel, preset("miras-7b").config())
    tower = {n.removeprefix("aux_vision_model."): s for n, s in ours.items() if n.startswith("aux_vision")}
    assert convnext_sizes(tower, 768) == sizes


# ---- tiny repositories, through the front door ----------------------------------------------------------

BASE = 420
WORDS = ("A red mug is in it.", "What is there? Which is larger? USER ASSISTANT: The")
TINY_LLAMA = LLAMA_7B | {
    "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
    "max_position_embeddings": 768, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
TINY_CLIP = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
             "image_size": 28, "patch_size": 14}  # fmt: skip
TINY_CONVNEXT = {"widths": (8, 8, 16, 16), "depths": (1, 1, 2, 1)}


def drawn(shapes: dict[str, Shape]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    made = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        made[name] = noise * min(0.5, noise[0].numel() ** -0.5) if len(shape) > 1 else 1 + 0.1 * noise
    return made


def repository(
    folder: Path, shapes: dict[str, Shape], config: dict[str, Any] | None = None
) -> dict[str, Tensor]:
    folder.mkdir(parents=True)
    tensors = drawn(shapes)
    save_file(tensors, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return tensors


@pytest.fixture
def parts(tmp_path: Path) -> list[str]:
    """The options for CLIP, ConvNeXt (a torch file, as OpenCLIP's) and SAM."""
    tower = {n: s for n, s in clip_shapes(TINY_CLIP) if "position_ids" not in n}
    repository(tmp_path / "clip", tower, CLIPVisionConfig(**TINY_CLIP).to_dict())
    torch.save(drawn(open_clip_shapes(TINY_CONVNEXT)), tmp_path / "open_clip_pytorch_model.bin")
    torch.save(drawn(dict(sam_shapes(TINY_SAM))), tmp_path / "sam.pth")
    return [
        "--clip", str(tmp_path / "clip"), "--convnext", str(tmp_path / "open_clip_pytorch_model.bin"),
        "--sam", str(tmp_path / "sam.pth"),
    ]  # fmt: skip


def timm_convnext(tensors: dict[str, Tensor], pixels: Tensor) -> list[Tensor]:
    """timm's ConvNeXt by hand: the outputs of its stages."""

    def channels_last_norm(x: Tensor, name: str) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"], 1e-6)
        return x.permute(0, 3, 1, 2)

    trunk, outputs = "visual.trunk", []
    x = F.conv2d(pixels, tensors[f"{trunk}.stem.0.weight"], tensors[f"{trunk}.stem.0.bias"], stride=4)
    x = channels_last_norm(x, f"{trunk}.stem.1")
    for n, depth in enumerate(TINY_CONVNEXT["depths"]):
        stage = f"{trunk}.stages.{n}"
        if n:
            x = channels_last_norm(x, f"{stage}.downsample.0")
            down = f"{stage}.downsample.1"
            x = F.conv2d(x, tensors[f"{down}.weight"], tensors[f"{down}.bias"], stride=2)
        for k in range(depth):
            block = f"{stage}.blocks.{k}"
            dw = tensors[f"{block}.conv_dw.weight"]
            y = F.conv2d(x, dw, tensors[f"{block}.conv_dw.bias"], padding=3, groups=len(dw))
            y = channels_last_norm(y, f"{block}.norm").permute(0, 2, 3, 1)
            y = F.linear(y, tensors[f"{block}.mlp.fc1.weight"], tensors[f"{block}.mlp.fc1.bias"])
            y = F.linear(F.gelu(y), tensors[f"{block}.mlp.fc2.weight"], tensors[f"{block}.mlp.fc2.bias"])
            x = x + (y * tensors[f"{block}.gamma"]).permute(0, 3, 1, 2)
        outputs.append(x)
    return outputs


@torch.no_grad()
def test_llava_becomes_a_miras_that_answers(
    parts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    llava, llm = tmp_path / "llava", TINY_LLAMA | {"vocab_size": BASE}
    tensors = repository(
        llava, llava_shapes(llm, TINY_CLIP, tower=False), llama_config(llm, image_size_aux=64)
    )
    write_tokenizer(llava, BASE, {}, WORDS)
    assert main(["convert", str(llava), "--to", str(tmp_path / "no")]) == 2
    assert "--clip" in capsys.readouterr().err
    assert main(["init", "miras-7b", "--llava", str(llava), *parts, "--out", str(tmp_path / "miras")]) == 0
    said = capsys.readouterr().err
    assert "fresh: fusion, region_alignment, seg_projection" in said
    assert "2 tables of the vocabulary fitted" in said
    bundle = segue.load(tmp_path / "miras", device="cpu")
    model, tokenizer = bundle.model, bundle.processor.tokenizer
    assert tokenizer.convert_tokens_to_ids(["[SEG]", "[OBJ]", "<im_start>"]) == [BASE, BASE + 1, BASE + 2]
    assert (model.config.seg_token_id, model.config.phrase_token_id) == (BASE, BASE + 1)
    table, source = model.get_input_embeddings().weight, tensors["model.embed_tokens.weight"]
    assert table.shape[0] == BASE + 5
    assert torch.equal(table[:BASE], source)
    torch.testing.assert_close(table[BASE:], source.mean(0, keepdim=True).expand(5, -1))
    pixels = torch.randn(1, 3, 64, 64)
    trunk = torch.load(tmp_path / "open_clip_pytorch_model.bin", weights_only=True)
    states = model.aux_vision_model(pixels, output_hidden_states=True).hidden_states[-4:]
    for found, expected in zip(states, timm_convnext(trunk, pixels), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    patches = torch.randn(1, 4, 32)
    assert torch.equal(model.fusion(patches, torch.randn(1, 48, 4, 4)), patches), "LLaVA's features at first"
    assert not model.region_alignment.output.weight.any()
    assert float(model.seg_projection[0].weight.std()) > 0
    session = bundle.session([picture(shade=60), picture(shade=200)])
    session.ask(QUESTIONS[0], max_new_tokens=4)
    session.ask(QUESTIONS[1], max_new_tokens=4)
    assert len(session.history) == 2


@torch.no_grad()
def test_llava_of_transformers_becomes_the_same_miras(parts: list[str], tmp_path: Path) -> None:
    llm = TINY_LLAMA | {"vocab_size": BASE}
    names = llava_shapes(llm, TINY_CLIP, tower=True)
    tensors = repository(tmp_path / "llava", names, llama_config(llm, image_size_aux=64))
    write_tokenizer(tmp_path / "llava", BASE, {}, WORDS)
    (tmp_path / "hf").mkdir()
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in (
            ("model.mm_projector.0.", "multi_modal_projector.linear_1."),
            ("model.mm_projector.2.", "multi_modal_projector.linear_2."),
            ("model.vision_tower.vision_tower.", "vision_tower."),
            ("model.", "language_model.model."),
            ("lm_head.", "language_model.lm_head."),
        ):
            if name.startswith(old):
                name = new + name.removeprefix(old)
                break
        # Rows behind LLaMA's own: <image>, <pad> and filling.
        grown = torch.full((64, 48), 9.0)
        renamed[name] = (
            torch.cat([tensor, grown]) if len(tensor.shape) == 2 and len(tensor) == BASE else tensor
        )
    save_file(renamed, tmp_path / "hf" / "model.safetensors")
    text = {k: v for k, v in llama_config(llm).items() if k in TINY_LLAMA} | {"model_type": "llama"}
    config = {"text_config": text, "vision_config": CLIPVisionConfig(**TINY_CLIP).to_dict(),
              "image_size_aux": 64, "vision_feature_layer": -2}  # fmt: skip
    (tmp_path / "hf" / "config.json").write_text(json.dumps(config))
    write_tokenizer(tmp_path / "hf", BASE, {"<image>": BASE, "<pad>": BASE + 1}, WORDS)
    for source in ("llava", "hf"):
        assert (
            main(["convert", str(tmp_path / source), "--to", str(tmp_path / f"from_{source}"), *parts]) == 0
        )
    first, second = (load_file(tmp_path / f"from_{s}" / "model.safetensors") for s in ("llava", "hf"))
    assert set(first) == set(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    ids = [
        segue.load(tmp_path / f"from_{s}", device="cpu")
        .processor.tokenizer("A red mug [OBJ]mug[SEG]")
        .input_ids
        for s in ("llava", "hf")
    ]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("has_obj", [True, False])
@torch.no_grad()
def test_a_miras_checkpoint_is_taken_over_whole(parts: list[str], tmp_path: Path, has_obj: bool) -> None:
    tokens = PUBLISHED_TOKENS if has_obj else WITHOUT_OBJ
    llm = TINY_LLAMA | {"vocab_size": BASE + len(tokens)}
    names = miras_shapes(llm, TINY_SAM, TINY_CLIP, TINY_CONVNEXT)
    tensors = repository(tmp_path / "published", names, llama_config(llm, image_size_aux=64))
    write_tokenizer(tmp_path / "published", BASE, {t: BASE + k for k, t in enumerate(tokens)}, WORDS)
    arguments = ["convert", str(tmp_path / "published"), "--to", str(tmp_path / "out"), *parts[:2]]
    assert main([*arguments, "--template", "llava_v1"]) == 0
    bundle = segue.load(tmp_path / "out", device="cpu")
    state, config = bundle.model.state_dict(), bundle.model.config
    for ours, theirs in (
        ("seg_projection.2.weight", "model.text_hidden_fcs.0.2.weight"),
        ("fusion.key.1.weight", "model.vlm_uni_aux_projector.1.weight"),
        ("image_projection.2.bias", "model.mm_projector.2.bias"),
        ("aux_vision_model.encoder.stages.1.downsampling_layer.1.weight",
         "model.vision_tower_aux.vision_stages.1.downsample.1.weight"),
        ("sam.mask_decoder.upscale_conv1.bias", "model.visual_model.mask_decoder.output_upscaling.0.bias"),
    ):  # fmt: skip
        assert torch.equal(state[ours], tensors[theirs]), ours
    rows = tensors["lm_head.weight"]
    assert torch.equal(state["language_model.lm_head.weight"][: len(rows)], rows)
    assert config.text_config.vocab_size == BASE + 5
    assert config.phrase_token_id == (BASE + 1 if has_obj else BASE + 4)
    assert config.aux_grid == 4
    text, _ = bundle.processor.render_chat([("user", "Q?")], 1, 1, True)
    assert text.endswith(" USER: <im_start><image><im_end>\nQ? ASSISTANT:")


def test_llama_2_chat_is_written_as_llava_writes_it(tiny_tokenizer: Any) -> None:
    from segue.models.processing_grounded import TEMPLATES, LisaProcessor

    processor = LisaProcessor(tiny_tokenizer, {}, 4, TEMPLATES["llava_llama_2"])
    turns = [("user", "Q?"), ("assistant", "A."), ("user", "R?")]
    text, answers = processor.render_chat(turns, 1, 1, True)
    assert text == (
        "[INST] <<SYS>>\nYou are a helpful language and vision assistant. You are able to understand the "
        "visual content that the user provides, and assist the user with a variety of tasks using natural "
        "language.\n"
        "<</SYS>>\n\n<image>\nQ? [/INST] A. </s><s>[INST] R? [/INST]"
    )
    assert text[slice(*answers[0])] == " A. </s>"


def test_an_unknown_template_and_a_missing_part_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from segue.errors import InputError
    from segue.models.conversion import convert

    with pytest.raises(InputError, match="llava_llama_2"):
        convert(tmp_path, tmp_path / "x", template="chatml")
    assert main(["init", "miras-7b", "--llava", "a", "--out", str(tmp_path / "x")]) == 2
    said = capsys.readouterr().err
    assert "no --convnext and no --sam" in said
