"""OMG-LLaVA's published files: names of mmdetection, joined projections, LoRA, explicit ids, class texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import segue
from official import llama_pieces, sentencepiece_model
from segue.cli import main
from segue.errors import InputError, ModelError
from segue.models.conversion import convert
from segue.models.conversion.fused import grouped_projections
from segue.models.conversion.omg_llava import BESIDE, GENERAL, convert_omg_llava
from segue.models.conversion.plan import ConversionError
from segue.models.conversion.writing import SHARD_BYTES

WIDTH, TEXT, HEADS, GROUPS, PIECES, QUERIES = 32, 16, 4, 2, 400, 6
TRUNK = (8, 8, 16, 16)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape) * 0.2


def linear(name: str, inside: int, outside: int) -> dict[str, Tensor]:
    return {f"{name}.weight": random(outside, inside), f"{name}.bias": random(outside)}


def norm(name: str, width: int = WIDTH) -> dict[str, Tensor]:
    return {f"{name}.weight": 1 + random(width), f"{name}.bias": random(width)}


def conv(name: str, inside: int, outside: int, side: int = 1, bias: bool = True) -> dict[str, Tensor]:
    found = {f"{name}.weight": random(outside, inside, side, side)}
    return found | ({f"{name}.bias": random(outside)} if bias else {})


def decoder(name: str, masks: str) -> dict[str, Tensor]:
    """mmdetection's transformer decoder of two layers, and the head that codes its masks."""
    found = norm(f"{name}.post_norm")
    for n in range(2):
        layer = f"{name}.layers.{n}"
        for attention in ("self_attn", "cross_attn"):
            found |= {f"{layer}.{attention}.attn.in_proj_weight": random(3 * WIDTH, WIDTH)}
            found |= {f"{layer}.{attention}.attn.in_proj_bias": random(3 * WIDTH)}
            found |= linear(f"{layer}.{attention}.attn.out_proj", WIDTH, WIDTH)
        found |= linear(f"{layer}.ffn.layers.0.0", WIDTH, 40) | linear(f"{layer}.ffn.layers.1", 40, WIDTH)
        for k in range(3):
            found |= norm(f"{layer}.norms.{k}")
    for k in (0, 2, 4):
        found |= linear(f"{masks}.{k}", WIDTH, WIDTH)
    return found


def omg_seg() -> dict[str, Tensor]:
    pixel = "panoptic_head.pixel_decoder"
    found = {f"{pixel}.level_encoding.weight": random(3, WIDTH)}
    for n, width in enumerate(TRUNK[:0:-1]):
        found |= conv(f"{pixel}.input_convs.{n}.conv", width, WIDTH) | norm(f"{pixel}.input_convs.{n}.gn")
    found |= conv(f"{pixel}.lateral_convs.0.conv", TRUNK[0], WIDTH, bias=False)
    found |= conv(f"{pixel}.output_convs.0.conv", WIDTH, WIDTH, 3, bias=False)
    found |= norm(f"{pixel}.lateral_convs.0.gn") | norm(f"{pixel}.output_convs.0.gn")
    found |= conv(f"{pixel}.mask_feature", WIDTH, WIDTH)
    layer = f"{pixel}.encoder.layers.0"
    for name, rows in (
        ("sampling_offsets", 96),
        ("attention_weights", 48),
        ("value_proj", WIDTH),
        ("output_proj", WIDTH),
    ):
        found |= linear(f"{layer}.self_attn.{name}", WIDTH, rows)
    found |= linear(f"{layer}.ffn.layers.0.0", WIDTH, 48) | linear(f"{layer}.ffn.layers.1", 48, WIDTH)
    found |= norm(f"{layer}.norms.0") | norm(f"{layer}.norms.1")
    found |= decoder("panoptic_head.transformer_decoder", "panoptic_head.mask_embed")
    for name, rows in (
        ("query_feat", QUERIES),
        ("query_embed", QUERIES),
        ("level_embed", 3),
        ("mask_tokens", 1),
    ):
        found[f"panoptic_head.{name}.weight"] = random(rows, WIDTH)
    found["panoptic_head.pb_embedding.weight"] = random(2, WIDTH)
    found |= linear("panoptic_head.pos_linear", 2 * WIDTH, WIDTH) | norm("panoptic_head.mask_pooling_proj.0")
    found |= linear("panoptic_head.mask_pooling_proj.1", WIDTH, WIDTH)
    for k, rows in ((0, WIDTH), (2, WIDTH), (4, 12)):
        found |= linear(f"panoptic_head.cls_proj.{k}", WIDTH, rows)
        found |= linear(f"panoptic_head.iou_embed.{k}", WIDTH, WIDTH if k < 4 else 1)
    return found | trunk("backbone.", "layer{}", first=1)


def trunk(before: str, stage: str, first: int) -> dict[str, Tensor]:
    found = conv(f"{before}stem.0", 3, TRUNK[0], 4) | norm(f"{before}stem.1", TRUNK[0])
    for n, width in enumerate(TRUNK):
        name = before + stage.format(n + first)
        if n:
            found |= norm(f"{name}.downsample.0", TRUNK[n - 1])
            found |= conv(f"{name}.downsample.1", TRUNK[n - 1], width, 2)
        block = f"{name}.blocks.0"
        found |= {f"{block}.gamma": random(width), f"{block}.conv_dw.weight": random(width, 1, 7, 7)}
        found |= {f"{block}.conv_dw.bias": random(width)} | norm(f"{block}.norm", width)
        found |= linear(f"{block}.mlp.fc1", width, 4 * width) | linear(f"{block}.mlp.fc2", 4 * width, width)
    return found


LAYER = {
    "attention.wqkv": ((HEADS + 2 * GROUPS) * 4, TEXT), "attention.wo": (TEXT, TEXT),
    "feed_forward.w1": (24, TEXT), "feed_forward.w3": (24, TEXT), "feed_forward.w2": (TEXT, 24),
}  # fmt: skip
"""Linear layers of InternLM2, heads of 4 numbers."""


def internlm2() -> dict[str, Tensor]:
    found = {"model.tok_embeddings.weight": random(PIECES, TEXT), "output.weight": random(PIECES, TEXT)}
    found |= {"model.norm.weight": 1 + random(TEXT)}
    for name, shape in LAYER.items():
        found[f"model.layers.0.{name}.weight"] = random(*shape)
    return found | {f"model.layers.0.{n}.weight": 1 + random(TEXT) for n in ("attention_norm", "ffn_norm")}


def finetuned(rank: int = 4) -> dict[str, Tensor]:
    cell, adapted = 4 * TRUNK[-1], "llm.base_model.model."
    found = linear("projector.model.query_proj", 2 * WIDTH, cell)
    found |= linear("projector.model.model.0", cell, TEXT) | linear("projector.model.model.2", TEXT, TEXT)
    found |= linear("projector.model.model_feat.0", cell + 2 * WIDTH, TEXT)
    found |= linear("projector.model.model_feat.2", TEXT, TEXT)
    found |= {"projector.model.seperate_embed.weight": random(1, TEXT)}
    found |= linear("projector_text2vision.model.0", TEXT, 2 * WIDTH)
    found |= linear("projector_text2vision.model.2", 2 * WIDTH, 2 * WIDTH)
    found[f"{adapted}model.tok_embeddings.weight"] = random(PIECES + 4, TEXT)
    found[f"{adapted}output.base_layer.weight"] = random(PIECES + 4, TEXT)
    shapes = {f"model.layers.0.{name}": shape for name, shape in LAYER.items()} | {
        "output": (PIECES + 4, TEXT)
    }
    for name, (rows, columns) in shapes.items():
        found[f"{adapted}{name}.lora_A.default.weight"] = random(rank, columns)
        found[f"{adapted}{name}.lora_B.default.weight"] = random(rows, rank) / 64
    return found


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Tensor]]]:
    """The repository's files at a tiny size, and what they hold."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("omg-llava")
    parts = {"general": finetuned(), "omg": omg_seg(), "words": internlm2()}
    texts = torch.nn.functional.normalize(random(5, 2, 12), dim=-1)
    torch.save({"state_dict": parts["general"]}, folder / GENERAL)
    torch.save(parts["omg"], folder / BESIDE["omg_seg"])
    torch.save(texts, folder / BESIDE["class_texts"])
    words = folder / BESIDE["internlm"]
    words.mkdir()
    torch.save(parts["words"], words / "pytorch_model.bin")
    config = {
        "hidden_size": TEXT, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS, "max_position_embeddings": 1024, "rms_norm_eps": 1e-5, "rope_theta":
        1e6,
    }  # fmt: skip
    (words / "config.json").write_text(json.dumps(config))
    # The last six pieces are those that the file calls unused.
    pieces = llama_pieces(["\u2581dog", "\u2581What"], PIECES - 6)
    pieces += [(f"[UNUSED_TOKEN_{n}]", 0.0, 4) for n in range(6)]
    # normalizer_spec (field 3) of three bytes: add_dummy_prefix (field 3) is false.
    (words / "tokenizer.model").write_bytes(sentencepiece_model(pieces) + b"\x1a\x02\x18\x00")
    own = decoder(
        "visual_encoder.panoptic_head.transformer_decoder_llm", "visual_encoder.panoptic_head.mask_embed_llm"
    )
    parts["refseg"] = finetuned() | own
    torch.save(parts["refseg"], folder / "finetuned_refseg.pth")
    return folder, parts | {"texts": {"": texts}}


@pytest.fixture(scope="module")
def general(published: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The general model, converted at a smaller side of the square and loaded."""
    out = tmp_path_factory.mktemp("converted")
    convert_omg_llava(published[0], out, None, SHARD_BYTES, image_size=128)
    return segue.load(out, device="cpu")


def test_the_published_layers_compute_the_same(published: Any, general: Any) -> None:
    parts = published[1]
    layer, x = general.model.language_model.model.layers[0], torch.randn(3, TEXT)

    def adapted(name: str) -> Tensor:
        stem = f"llm.base_model.model.{name}"
        change = (
            parts["general"][f"{stem}.lora_B.default.weight"]
            @ parts["general"][f"{stem}.lora_A.default.weight"]
        )
        base = parts["general"].get(f"{stem}.base_layer.weight", parts["words"].get(f"{name}.weight"))
        # alpha 256 over a rank of 4.
        return base + 64 * change

    # As InternLM2's code reads its joined projection: groups of heads, then the group's key and value.
    joined = (x @ adapted("model.layers.0.attention.wqkv").T).reshape(3, GROUPS, HEADS // GROUPS + 2, 4)
    attention = layer.self_attn
    with torch.no_grad():
        close = torch.testing.assert_close
        close(attention.q_proj(x), joined[:, :, :-2].reshape(3, -1), atol=1e-5, rtol=1e-5)
        close(attention.k_proj(x), joined[:, :, -2].reshape(3, -1), atol=1e-5, rtol=1e-5)
        close(attention.v_proj(x), joined[:, :, -1].reshape(3, -1), atol=1e-5, rtol=1e-5)
        close(attention.o_proj.weight, adapted("model.layers.0.attention.wo"), atol=1e-5, rtol=1e-5)
        for ours, theirs in (("gate", "w1"), ("up", "w3"), ("down", "w2")):
            found = getattr(layer.mlp, f"{ours}_proj").weight
            close(found, adapted(f"model.layers.0.feed_forward.{theirs}"), atol=1e-5, rtol=1e-5)
        close(general.model.language_model.lm_head.weight, adapted("output"), atol=1e-5, rtol=1e-5)
    tables = parts["general"]["llm.base_model.model.model.tok_embeddings.weight"]
    assert torch.equal(general.model.get_input_embeddings().weight, tables)
    assert torch.equal(
        layer.post_attention_layernorm.weight, parts["words"]["model.layers.0.ffn_norm.weight"]
    )


def test_perception_and_class_texts(published: Any, general: Any) -> None:
    parts, perception = published[1], general.model.perception
    joined = parts["omg"]["panoptic_head.transformer_decoder.layers.1.self_attn.attn.in_proj_weight"]
    for seeing in (perception.transformer_module.decoder, general.model.mask_decoder):
        found = [getattr(seeing.layers[1].self_attn, f"{k}_proj").weight for k in "qkv"]
        assert torch.equal(torch.cat(found), joined)
    assert torch.equal(perception.class_texts, parts["texts"][""])
    stage = perception.backbone.encoder.stages[2]
    assert torch.equal(
        stage.downsampling_layer[1].weight, parts["omg"]["backbone.layer3.downsample.1.weight"]
    )
    queries = parts["omg"]["panoptic_head.query_feat.weight"]
    assert torch.equal(perception.transformer_module.queries_features.weight, queries)


def test_ids_are_those_of_the_weights(general: Any) -> None:
    tokenizer, config = general.processor.tokenizer, general.model.config
    tokens = ["<|im_end|>", "<|im_start|>", "[SEG]", "<p>", "</p>", "<region>", "<mark>", "<image>"]
    assert tokenizer.convert_tokens_to_ids(tokens) == list(range(PIECES - 2, PIECES + 6))
    assert (config.seg_token_id, config.region_token_id, config.mark_token_id) == (
        PIECES,
        PIECES + 3,
        PIECES + 4,
    )
    assert config.text_config.vocab_size == PIECES + 4
    assert config.text_config.eos_token_id == tokenizer.eos_token_id == PIECES - 2
    # No boundary before the first word, as the file says: `user` begins with the byte of its first letter.
    ids = general.processor.encode_turns([("user", "dog")], 1, True)["input_ids"]
    words = tokenizer.convert_ids_to_tokens(ids)
    assert words[:2] == ["<s>", "<|im_start|>"]
    assert words[2] == "<0x75>"
    assert words.count("<image>") == 1


def test_it_answers(general: Any) -> None:
    from PIL import Image

    answer = general.session([Image.new("RGB", (40, 30)), Image.new("RGB", (20, 50), "red")]).ask(
        "What?", max_new_tokens=4
    )
    assert "2 images: this model was trained on sets of up to 1" in answer.notes
    assert general.model.config.perception_config.cells_per_side == 2


def test_a_model_for_one_task_has_a_decoder_of_its_own(
    published: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, parts = published
    out = str(tmp_path / "out")
    assert main(["convert", str(folder / "finetuned_refseg.pth"), "--to", out]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("omg-llava: ")
    assert "6 left out: a score that nothing reads" in said.err
    model: Any = segue.load(tmp_path / "out", device="cpu").model
    name = "layers.0.cross_attn.attn.out_proj.weight"
    drawing = parts["refseg"][f"visual_encoder.panoptic_head.transformer_decoder_llm.{name}"]
    assert torch.equal(model.mask_decoder.layers[0].cross_attn.out_proj.weight, drawing)
    seeing = parts["omg"][f"panoptic_head.transformer_decoder.{name}"]
    assert torch.equal(
        model.perception.transformer_module.decoder.layers[0].cross_attn.out_proj.weight, seeing
    )


def copied(folder: Path, to: Path, leave_out: str = "") -> Path:
    to.mkdir()
    for part in folder.iterdir():
        if part.name != leave_out:
            (to / part.name).symlink_to(part)
    return to


def test_the_class_texts_are_needed(published: Any, tmp_path: Path) -> None:
    folder = copied(published[0], tmp_path / "in", BESIDE["class_texts"])
    with pytest.raises(InputError, match="CocoPanopticOVDataset"):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    torch.save({"a": torch.zeros(1)}, folder / BESIDE["class_texts"])
    with pytest.raises(InputError, match="no file of class texts"):
        convert(folder, tmp_path / "out")


def test_a_trunk_from_openclip(published: Any, tmp_path: Path) -> None:
    folder, parts = published
    home = copied(folder, tmp_path / "in", BESIDE["omg_seg"])
    torch.save(
        {n: t for n, t in parts["omg"].items() if not n.startswith("backbone.")}, home / BESIDE["omg_seg"]
    )
    with pytest.raises(InputError, match="--convnext"):
        convert(home, tmp_path / "out")
    tower = trunk("visual.trunk.", "stages.{}", first=0)
    torch.save(tower, tmp_path / "open_clip.bin")
    convert(home, tmp_path / "out", convnext=tmp_path / "open_clip.bin", dtype=torch.bfloat16)
    loaded: Any = segue.load(tmp_path / "out", device="cpu", dtype="bfloat16").model
    # Exact although the words are not.
    assert torch.equal(
        loaded.perception.backbone.embeddings.patch_embeddings.weight, tower["visual.trunk.stem.0.weight"]
    )
    assert loaded.language_model.dtype == torch.bfloat16


def test_what_is_left_over_is_named(published: Any, tmp_path: Path) -> None:
    folder, parts = published
    home = copied(folder, tmp_path / "in", GENERAL)
    torch.save(parts["general"] | {"projector.model.surprise": torch.zeros(2)}, home / GENERAL)
    with pytest.raises(ConversionError, match=r"left over  projector\.model\.surprise"):
        convert(home, tmp_path / "out")


def test_a_tokenizer_that_does_not_fit_is_refused(published: Any, tmp_path: Path) -> None:
    folder, _ = published
    home = copied(folder, tmp_path / "in", BESIDE["internlm"])
    words = copied(folder / BESIDE["internlm"], home / BESIDE["internlm"], "tokenizer.model")
    pieces = llama_pieces([], PIECES - 7) + [(f"[UNUSED_TOKEN_{n}]", 0.0, 4) for n in range(6)]
    (words / "tokenizer.model").write_bytes(sentencepiece_model(pieces))
    with pytest.raises(ModelError, match="one per row of the embedding"):
        convert(home, tmp_path / "out")


def test_groups_of_heads() -> None:
    """Rows of 4 heads in 2 groups: query, query, key, value of the first group, then of the second."""
    rows = torch.arange(8.0)[:, None]
    queries, keys, values = grouped_projections(rows, 4, 2)
    assert queries.flatten().tolist() == [0, 1, 4, 5]
    assert (keys.flatten().tolist(), values.flatten().tolist()) == ([2, 6], [3, 7])
