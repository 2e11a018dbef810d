"""`segue init segue-4b` on tiny checkpoints as transformers saves them: nothing is lost, step 0 is Qwen's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken
from transformers import (
    AutoModel,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Sam2VideoConfig,
    Sam2VideoModel,
)

from segue.cli import main
from segue.errors import ModelError
from segue.mini.tokenizer import train_tokenizer
from segue.models.auto import load
from segue.models.conversion import ConversionError, initialise_segue, open_checkpoint
from segue.models.presets import preset
from segue.models.presets_qwen import TINY_QWEN_TEXT, TINY_QWEN_VISION, TINY_SAM2
from segue.models.processing_qwen3_vl import QWEN_TOKENS
from segue.models.segmenter_sam2 import Sam2Segmenter

ROWS = 420
"""Of the embedding: more than tokens, as in Qwen's files."""


def save_qwen(folder: Path, *, tied: bool, rows: int | None = ROWS) -> Qwen3VLForConditionalGeneration:
    """A tiny Qwen3-VL with random weights, saved as the published ones are."""
    tokenizer = train_tokenizer(["What can you drink from? The red mug."] * 4, 400)
    # Only Qwen's own tokens: the tags of the mini's tokenizer would be found where new ones belong.
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in content["added_tokens"]:
        token["content"] = (
            token["content"].replace("[SEG]", "[A]").replace("<p>", "[B]").replace("</p>", "[C]")
        )
    for old, new in (("[SEG]", "[A]"), ("<p>", "[B]"), ("</p>", "[C]")):
        content["model"]["vocab"][new] = content["model"]["vocab"].pop(old)
    tokenizer = type(tokenizer)(
        tokenizer_object=type(tokenizer.backend_tokenizer).from_str(json.dumps(content))
    )
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=True) for t in QWEN_TOKENS], True)
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|im_end|>"
    config = Qwen3VLConfig(
        text_config=TINY_QWEN_TEXT | {"vocab_size": rows or len(tokenizer), "tie_word_embeddings": tied},
        vision_config=TINY_QWEN_VISION,
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        tie_word_embeddings=tied,
    )
    torch.manual_seed(1)
    model = Qwen3VLForConditionalGeneration(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAM 2.1 as it is published: with the memory of videos."""
    folder = tmp_path_factory.mktemp("sam")
    torch.manual_seed(2)
    fields = {name: value for name, value in TINY_SAM2.items() if name != "model_type"}
    Sam2VideoModel(Sam2VideoConfig(**fields, **MEMORY)).save_pretrained(folder)
    return folder


MEMORY = {
    "memory_attention_hidden_size": 16,
    "memory_attention_num_layers": 1,
    "memory_attention_num_attention_heads": 1,
    "memory_attention_feed_forward_hidden_size": 16,
    "memory_encoder_hidden_size": 16,
    "memory_encoder_output_channels": 8,
    "memory_fuser_embed_dim": 16,
    "memory_fuser_intermediate_dim": 16,
    "memory_fuser_num_layers": 1,
    "mask_downsampler_embed_dim": 16,
    "image_size": 64,
}


@pytest.mark.parametrize("tied", [True, False])
def test_at_step_0_its_words_are_qwens(tmp_path: Path, sam: Path, tied: bool) -> None:
    qwen = save_qwen(tmp_path / "qwen", tied=tied)
    lines = initialise_segue(open_checkpoint(tmp_path / "qwen"), open_checkpoint(sam), tmp_path / "out")
    assert any("SAM 2's memory of videos" in line for line in lines)
    assert lines[-1] == "4 fresh: seg_projection"
    bundle = load(tmp_path / "out", "cpu")
    model: Any = bundle.model
    ids = torch.tensor([[20, 31, 42]])
    with torch.no_grad():
        torch.testing.assert_close(model(ids, [0]).logits, qwen(input_ids=ids).logits, rtol=0, atol=1e-5)
    head, table = model.language_model.lm_head.weight, model.get_input_embeddings().weight
    assert (head is table) == tied
    ours, theirs = model.state_dict(), AutoModel.from_pretrained(sam).state_dict()
    drawn = {name for name in ours if name.startswith("sam.")}
    assert len(drawn) > 100
    for name in drawn:
        assert torch.equal(ours[name], theirs[name.removeprefix("sam.")]), name
    assert not model.config.sam_config.mask_decoder_config.dynamic_multimask_via_stability
    assert isinstance(model.segmenter, Sam2Segmenter)
    tokenizer = bundle.processor.tokenizer
    assert tokenizer.convert_ids_to_tokens(model.config.seg_token_id) == "[SEG]"
    assert len(tokenizer) <= ROWS == len(table)
    assert model.language_model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_a_table_without_free_rows_and_a_wrong_part_are_told(tmp_path: Path, sam: Path) -> None:
    save_qwen(tmp_path / "full", tied=True, rows=None)
    with pytest.raises(ModelError, match="rows of the embedding"):
        initialise_segue(open_checkpoint(tmp_path / "full"), open_checkpoint(sam), tmp_path / "out")
    save_qwen(tmp_path / "qwen", tied=True)
    parts = open_checkpoint(tmp_path / "qwen"), open_checkpoint(sam)
    with pytest.raises(ModelError, match=r"config\.json of SAM 2"):
        initialise_segue(parts[0], parts[0], tmp_path / "out")
    parts[1].shapes["vision_encoder.surprise"] = (3,)
    with pytest.raises(ConversionError, match="surprise"):
        initialise_segue(*parts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_command(tmp_path: Path, sam: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_qwen(tmp_path / "qwen", tied=True)
    given = ["--qwen", str(tmp_path / "qwen"), "--out", str(tmp_path / "out")]
    assert main(["init", "segue-4b", *given]) == 2
    assert "--sam" in capsys.readouterr().err
    assert main(["init", "segue-4b", *given, "--sam", str(sam)]) == 0
    assert "4 fresh: seg_projection" in capsys.readouterr().err
    assert main(["info", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "ratio kept" in printed
    assert "masks are drawn by SAM 2 (Hiera, 5 blocks, 64 px)" in printed


def test_the_published_form_of_the_configuration_is_understood() -> None:
    # As Qwen3-VL-4B's config.json says it: older names of the positions' fields, an older type of the tower.
    text = preset("segue-4b").config().text_config.to_dict()
    rope = text.pop("rope_parameters")
    theta = rope.pop("rope_theta")
    vision = preset("segue-4b").config().vision_config.to_dict() | {"model_type": "qwen3_vl"}
    config = preset("segue-4b").config(
        text_config=text | {"rope_scaling": rope, "rope_theta": theta}, vision_config=vision
    )
    inner = config.vlm_config
    assert inner.text_config.rope_parameters["rope_theta"] == 5_000_000
    assert inner.text_config.rope_parameters["mrope_section"] == [24, 20, 20]
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    assert sum(p.numel() for p in model.language_model.parameters()) == 4_437_815_808
