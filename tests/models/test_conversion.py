"""Conversions account for every tensor: full-size lists of official names, damaged files, several shards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    SamConfig,
    SamModel,
)

from authors_layouts import TINY_LLAMA, TINY_SAM, authors_like, labelled
from official import (
    CLIP_LARGE,
    LLAMA_7B,
    SAM_HUGE,
    clip_shapes,
    llama_config,
    official_shapes,
    region_encoder_shapes,
    sam_shapes,
)
from segue.errors import InputError, ModelError
from segue.models.conversion import (
    FAMILIES,
    Checkpoint,
    ConversionError,
    composed_config,
    convert,
    identify,
    lisa_config,
    open_checkpoint,
    plan,
    plan_composition,
    target_shapes,
)
from segue.models.conversion.authors import prima_config, prima_rules
from segue.models.conversion.rules import Rule, renames, under
from segue.models.conversion.sizes import sam_sizes
from segue.models.conversion.templates import DINOV2, QFORMER_ORIGINAL, SAM_HF, SAM_ORIGINAL
from segue.models.conversion.writing import ShardWriter
from segue.models.modeling_prima import PrimaModel
from segue.models.presets import preset

Shape = tuple[int, ...]
LLAMA_13B = LLAMA_7B | {
    "hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40,
}  # fmt: skip
FULL = {
    "glamm-7b": ("glamm", LLAMA_7B, 336, 32004),
    "lisa-7b": ("lisa", LLAMA_7B | {"vocab_size": 32003, "max_position_embeddings": 2048}, 224, 32000),
    "lisa-13b": ("lisa", LLAMA_13B | {"vocab_size": 32004}, 224, 32003),
}  # fmt: skip


# ---- full size, on the meta device ---------------------------------------------------------------------


@pytest.mark.parametrize("name", FULL)
def test_full_size_checkpoints_fit_name_by_name(name: str) -> None:
    which, llm, side, seg = FULL[name]
    family = FAMILIES[which]
    source = official_shapes(which, llm, SAM_HUGE, CLIP_LARGE["hidden_size"])
    if which == "glamm":
        source |= region_encoder_shapes()
    assert identify(source) == which
    tower = CLIP_LARGE | {"image_size": side}
    config = lisa_config(family, source, llama_config(llm), tower, seg, llm["vocab_size"])
    shapes = target_shapes(family.model, config)
    clip = dict(clip_shapes(tower)) | {"text_model.final_layer_norm.bias": (768,), "logit_scale": ()}
    done = plan(source | labelled("clip:", clip), shapes, family.rules)
    assert not done.fresh
    moved = [target for move in done.moves for target in move.targets]
    assert sorted(moved) == sorted(shapes), "each parameter exactly once"
    assert len(done.moves) == len(source) + len(clip)
    # The preset of that name is the same model.
    assert target_shapes(family.model, preset(name).config()) == shapes
    assert preset(name).config().seg_token_id == config.seg_token_id
    assert preset(name).config().image_token_id == config.image_token_id


def part(shapes: dict[str, Shape], config: dict[str, Any]) -> Checkpoint:
    return Checkpoint(Path("nowhere"), config, shapes, dict.fromkeys(shapes, torch.float32))


def instructblip_full() -> Checkpoint:
    """InstructBLIP's names at full size, from transformers' own class; two layers of its language model."""
    config = InstructBlipConfig(
        qformer_config={"vocab_size": 30523},
        text_config={"model_type": "llama", "num_hidden_layers": 2, "vocab_size": 32001},
        num_query_tokens=32,
    )
    with torch.device("meta"):
        model = InstructBlipForConditionalGeneration(config)
    shapes = {n: tuple(t.shape) for n, t in model.state_dict().items()}
    shapes["qformer.embeddings.position_ids"] = (1, 512)
    return part(shapes, json.loads(json.dumps(config.to_dict(), default=str)))


def dinov2_full() -> Checkpoint:
    """DINOv2-L's names as its files have them."""
    config = Dinov2WithRegistersConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, image_size=518, patch_size=14
    )
    old = {
        "attention.q_proj": "attention.attention.query",
        "attention.k_proj": "attention.attention.key",
        "attention.v_proj": "attention.attention.value",
        "attention.o_proj": "attention.output.dense",
    }
    shapes = {}
    for name, shape in target_shapes(Dinov2WithRegistersModel, config).items():
        for new, published in old.items():
            name = name.replace(new, published)
        shapes[name] = shape
    return part(shapes, config.to_dict())


def test_prima_is_composed_of_its_parts_name_by_name() -> None:
    glamm = part(
        official_shapes("glamm", LLAMA_7B, SAM_HUGE, 1024) | region_encoder_shapes(), llama_config(LLAMA_7B)
    )
    blip, dino = instructblip_full(), dinov2_full()
    for name, fresh in (
        ("prima-7b", {"fusion", "image_projection"}),
        ("prima-qformer-7b", {"image_projection"}),
        ("prima-dino-7b", {"fusion", "image_projection"}),
        ("prima-plain-7b", {"image_projection"}),
        ("prima-pooling-7b", {"image_projection"}),
        ("prima-square-7b", {"fusion", "image_projection", "reader.relational"}),
    ):
        config = composed_config(name, glamm, blip, dino, seg_token_id=32004, image_token_id=32007)
        done = plan_composition(config, glamm, blip, dino)
        parts = {".".join(n.split(".")[: 2 if n.startswith("reader") else 1]) for n in done.fresh}
        assert parts == fresh
        assert config.text_config.vocab_size == 32007
        moved = [t for move in done.moves for t in move.targets]
        assert sorted([*moved, *done.fresh]) == sorted(target_shapes(PrimaModel, config))
        left_out = " ".join(done.summary())
        assert ("DINOv2, which" in left_out) == (not config.aux_vision)
        assert ("Q-Former, which" in left_out) == (not config.has_queries)


@pytest.mark.parametrize("rename", [False, True])
def test_an_authors_like_checkpoint_is_routed_and_the_rest_is_named(rename: bool) -> None:
    shapes = authors_like(rename)
    assert identify(shapes) == "prima"
    checkpoint = part(shapes, llama_config(TINY_LLAMA))
    config = prima_config(checkpoint, None)
    assert (config.visual_module, config.num_query_tokens) == ("square", 8)
    assert config.vision_config.num_attention_heads == 2
    assert config.vision_config.image_size == 56
    target = target_shapes(PrimaModel, config)
    rules = prima_rules(shapes, 32, 64)
    dino = labelled("dinov2:", target_shapes(Dinov2WithRegistersModel, config.aux_vision_config))
    rules += under("dinov2:", "aux_vision_model.", DINOV2)
    done = plan(shapes | dino, target, rules, fresh=("fusion.",))
    assert all(name.startswith("fusion.") for name in done.fresh)
    biases = [m for m in done.moves if m.part is not None]
    assert [m.part for m in biases] == [0, 2]
    with pytest.raises(ConversionError) as caught:
        plan(shapes | dino | {"model.novelty.weight": (3, 5)}, target, rules, fresh=("fusion.",))
    assert "left over  model.novelty.weight [3, 5]" in str(caught.value)
    with pytest.raises(ConversionError) as caught:
        plan(shapes, target, rules, fresh=("fusion.",))
    assert "missing    aux_vision_model.embeddings.cls_token [1, 1, 1024]" in str(caught.value)


# ---- the plan ------------------------------------------------------------------------------------------

RULES = (*renames(("a.{n}.{leaf}", "b.{n}.{leaf}")), Rule("junk.{rest}", reason="not wanted"))


def test_every_problem_is_named_with_its_shape() -> None:
    source = {"a.0.weight": (2, 3), "a.1.weight": (9, 9), "a.7.bias": (1,), "odd": (4,), "junk.x": (1,)}
    with pytest.raises(ConversionError) as caught:
        plan(source, {"b.0.weight": (2, 3), "b.1.weight": (2, 3), "b.2.weight": (5,)}, RULES, where="here")
    assert caught.value.lines == [
        "left over  a.7.bias [1] (would be b.7.bias)",
        "left over  odd [4]",
        "missing    b.2.weight [5]",
        "wrong size a.1.weight [9, 9] for b.1.weight [2, 3]",
    ]
    assert "2 left over, 1 missing, 1 wrong size" in str(caught.value)
    assert "where:    here" in str(caught.value)


def test_one_parameter_takes_one_tensor() -> None:
    rules = (*RULES, *renames(("c", "b.0.weight")))
    with pytest.raises(ConversionError, match=r"twice      b\.0\.weight from a\.0\.weight and c"):
        plan({"a.0.weight": (2,), "c": (2,)}, {"b.0.weight": (2,)}, rules)


def test_fields_of_a_pattern() -> None:
    rule = Rule("x.{n}.norm{k}.{leaf}", ("y.{n}.layer_norm{k}.{leaf}",))
    assert rule.apply("x.12.norm1.bias") == ("y.12.layer_norm1.bias",)
    assert rule.apply("x.12.norm1.other") is None
    assert rule.apply("x.12.norm1.bias.more") is None
    assert under("p.", "q.", [rule])[0].apply("p.x.0.norm2.weight") == ("q.y.0.layer_norm2.weight",)
    assert Rule("a.{rest}", reason="r").apply("a.b.c") == ()


# ---- files ---------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_sam() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {n: torch.randn(s, generator=generator) for n, s in sam_shapes(TINY_SAM)}


def test_sam_from_its_own_file_and_back(tiny_sam: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(tiny_sam, tmp_path / "sam_vit_h.pth")
    report = convert(tmp_path / "sam_vit_h.pth", tmp_path / "out", shard_bytes=100_000)
    assert report.kind == "sam"
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    model, info = SamModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.config.mask_decoder_config.layer_norm_eps == 1e-5
    state = model.state_dict()
    for rule in SAM_ORIGINAL[:3]:
        for name, tensor in tiny_sam.items():
            for target in rule.apply(name) or ():
                assert torch.equal(state[target], tensor)
    again = convert(tmp_path / "out", tmp_path / "again")
    assert again.kind == "sam-hf"
    second = SamModel.from_pretrained(tmp_path / "again").state_dict()
    assert all(torch.equal(state[n], second[n]) for n in state)


def test_sizes_of_published_sams() -> None:
    huge = SamConfig(**sam_sizes(dict(sam_shapes(SAM_HUGE))))
    assert target_shapes(SamModel, huge) == target_shapes(SamModel, preset("prima-7b").config().sam_config)
    assert huge.vision_config.global_attn_indexes == [7, 15, 23, 31]
    assert (huge.vision_config.window_size, huge.vision_config.image_size) == (14, 1024)
    base = SAM_HUGE | {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
                       "global_attn_indexes": [2, 5, 8, 11]}  # fmt: skip
    assert target_shapes(SamModel, SamConfig(**sam_sizes(dict(sam_shapes(base))))) == target_shapes(
        SamModel, SamConfig()
    )


def test_hf_names_need_no_second_copy() -> None:
    shapes = target_shapes(SamModel, SamConfig(**sam_sizes(dict(sam_shapes(TINY_SAM)))))
    for source in (shapes, {n: s for n, s in shapes.items() if "shared_embedding" not in n}):
        assert not plan(source, shapes, SAM_HF).fresh


class Payload:
    """Runs when unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("pickled code has run",))


def damaged(folder: Path) -> Iterator[tuple[str, str]]:
    """File name -> what the message must say."""
    torch.save({"a": Payload()}, folder / "code.pth")
    yield "code.pth", "weights_only"
    (folder / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    yield "cut.safetensors", "a whole safetensors file"
    (folder / "words.bin").write_text("no tensors here")
    yield "words.bin", "cannot be read"
    torch.save([1, 2], folder / "list.pt")
    yield "list.pt", "a dictionary of tensors"
    (folder / "notes.txt").write_text("")
    yield "notes.txt", "a file named notes.txt"
    (folder / "empty").mkdir()
    yield "empty", "weights (*.safetensors"
    save_file({"a": torch.zeros(1)}, folder / "strange.safetensors")
    yield "strange.safetensors", "of no kind that can be converted"
    yield "nowhere/at/all", "There is no such checkpoint"


def test_files_that_cannot_be_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, said in damaged(tmp_path):
        with pytest.raises(ModelError) as caught:
            convert(tmp_path / name, tmp_path / "out")
        assert said in str(caught.value), name
        assert not (tmp_path / "out").exists()
        assert not list(tmp_path.glob("*.partial"))
    assert "pickled code has run" not in capsys.readouterr().out


def test_an_index_that_names_a_missing_shard(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "x-1.safetensors")
    index = {"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"no x-2\.safetensors"):
        open_checkpoint(tmp_path)


def test_an_output_folder_in_use(tmp_path: Path, tiny_sam: dict[str, torch.Tensor]) -> None:
    torch.save(tiny_sam, tmp_path / "sam.pth")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "keep.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        convert(tmp_path / "sam.pth", tmp_path / "out")
    assert (tmp_path / "out" / "keep.txt").read_text() == "mine"


def test_prefixes_of_training_frameworks_are_taken_off(tmp_path: Path) -> None:
    torch.save({"state_dict": {"module.a": torch.ones(2), "module.b": torch.ones(3)}}, tmp_path / "x.pth")
    checkpoint = open_checkpoint(tmp_path / "x.pth")
    assert checkpoint.shapes == {"a": (2,), "b": (3,)}
    assert {name: float(t.sum()) for name, t in checkpoint.tensors()} == {"a": 2.0, "b": 3.0}


def test_the_writer_keeps_types_and_order(tmp_path: Path) -> None:
    shapes = {"a": (2, 3), "b": (), "c": (0, 4), "d": (5,)}
    tensors = {n: torch.randn(s) for n, s in shapes.items()}
    with ShardWriter(tmp_path, shapes, torch.bfloat16, shard_bytes=20) as writer:
        for name in reversed(shapes):
            writer.write(name, tensors[name])
    found: dict[str, torch.Tensor] = {}
    for file in sorted(tmp_path.glob("*.safetensors")):
        found |= load_file(file)
    assert {n: tuple(t.shape) for n, t in found.items()} == shapes
    assert all(torch.equal(found[n], tensors[n].bfloat16()) for n in shapes)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(shapes)


def test_lavis_names_of_the_qformer() -> None:
    names = ["bert.embeddings.LayerNorm.weight", "bert.encoder.layer.0.crossattention.self.key.bias",
             "bert.encoder.layer.3.output_query.dense.weight", "cls.predictions.bias"]  # fmt: skip
    routed = [next(t for r in QFORMER_ORIGINAL if (t := r.apply(n)) is not None) for n in names]
    assert routed == [
        ("embeddings.layernorm.weight",),
        ("encoder.layer.0.crossattention.attention.key.bias",),
        ("encoder.layer.3.output_query.dense.weight",),
        (),
    ]
