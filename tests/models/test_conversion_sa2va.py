"""`segue convert` on Sa2VA: at full size every tensor has a place, at small size it arrives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from official_sa2va import PREFIX, Shape, random_state, sa2va_shapes, write_sa2va
from segue.cli import main
from segue.errors import ModelError
from segue.models.auto import load
from segue.models.configuration_qwen3_vl import Qwen3VLGroundedConfig
from segue.models.conversion import (
    Checkpoint,
    ConversionError,
    convert_sa2va,
    identify,
    open_checkpoint,
    start_from_sa2va,
    target_shapes,
)
from segue.models.conversion.plan import plan
from segue.models.conversion.sa2va import UNSUPPORTED, check_variant
from segue.models.conversion.templates_sam2 import MEMORY, SA2VA
from segue.models.presets import preset
from segue.models.presets_qwen import TINY_QWEN_TEXT, TINY_QWEN_VISION, TINY_SAM2
from segue.models.qwen3_vl import Sa2vaModel

SMALL_SAM = {
    "hidden": 16, "memory": 8, "memory_ffn": 16, "memory_layers": 1, "decoder_mlp": 32, "iou_hidden": 8,
    "hiera": {"embed_dim": 8, "stages": [1, 1, 2, 1], "window_spec": [4, 4, 4, 2],
              "window_pos_embed_bkg_spatial_size": [4, 4]},
}  # fmt: skip
SMALL_SAM_CONFIG = TINY_SAM2 | {
    "vision_config": TINY_SAM2["vision_config"]
    | {
        "backbone_config": TINY_SAM2["vision_config"]["backbone_config"]
        | {"embed_dim_per_stage": [8, 16, 32, 64], "num_attention_heads_per_stage": [1, 1, 2, 4]},
        "backbone_channel_list": [64, 32, 16, 8],
    },
    # What the published decoder has.
    "prompt_encoder_config": {"hidden_size": 16, "image_size": 64},
}
"""SAM 2 whose stages double, as in the published ones."""
TEXT = TINY_QWEN_TEXT | {"vocab_size": 320, "tie_word_embeddings": True}
VLM = {"text_config": TEXT, "vision_config": TINY_QWEN_VISION, "tie_word_embeddings": True}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shapes = sa2va_shapes(TEXT, TINY_QWEN_VISION, SMALL_SAM)
    return write_sa2va(tmp_path_factory.mktemp("hub") / "Sa2VA-small", VLM, random_state(shapes))


@pytest.fixture(scope="module")
def converted(published: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("models") / "sa2va"
    folder.mkdir()
    return folder, convert_sa2va(open_checkpoint(published), folder, torch.float32, sam=SMALL_SAM_CONFIG)


@pytest.mark.parametrize(
    ("name", "tensors", "numbers"),
    [("sa2va-4b", 1618, 5_057_072_690), ("sa2va-2b", 1530, 2_666_775_090)],
)
def test_at_full_size_every_tensor_has_a_place(name: str, tensors: int, numbers: int) -> None:
    config = preset(name).config()
    shapes = sa2va_shapes(config.text_config.to_dict(), config.vision_config.to_dict())
    assert len(shapes) == tensors
    sizes = {n: torch.Size(shape).numel() for n, shape in shapes.items()}
    assert sum(sizes.values()) == numbers == preset(name).published
    targets = target_shapes(Sa2vaModel, config)
    planned = plan(shapes, targets, SA2VA)
    memory = planned.dropped[MEMORY]
    assert list(planned.dropped) == [MEMORY]
    assert len(memory) == 157
    with torch.device("meta"):
        model = Sa2vaModel(config)
    # Beside the memory one tensor of the files is no parameter: the frequencies of positions.
    fixed = sum(size for n, size in sizes.items() if "gaussian" in n)
    own = numbers - sum(sizes[n] for n in memory) - fixed
    assert sum(p.numel() for p in model.parameters()) == own
    assert identify(shapes) == "sa2va"


def test_every_tensor_arrives(published: Path, converted: tuple[Path, list[str]]) -> None:
    folder, lines = converted
    theirs = random_state(sa2va_shapes(TEXT, TINY_QWEN_VISION, SMALL_SAM))
    assert any("left out: SAM 2's memory of videos" in line for line in lines)
    bundle = load(folder, "cpu")
    model: Any = bundle.model
    ours = model.state_dict()
    one = {n: SA2VA_TARGETS(n) for n in theirs}
    moved = {n: targets for n, targets in one.items() if targets}
    assert {t for targets in moved.values() for t in targets} == set(ours)
    for name, targets in moved.items():
        for target in targets:
            if "point_embeddings" in name:
                assert torch.equal(ours[target][int(name.split(".")[-2])], theirs[name][0]), name
            else:
                assert torch.equal(ours[target], theirs[name]), name
    # Trap 7: the head is a table of its own, whatever the configuration says.
    assert model.language_model.lm_head.weight is not model.get_input_embeddings().weight
    assert not torch.equal(model.language_model.lm_head.weight, model.get_input_embeddings().weight)
    tokenizer = bundle.processor.tokenizer
    assert tokenizer.convert_ids_to_tokens(model.config.seg_token_id) == "[SEG]"
    assert model.language_model.generation_config.eos_token_id == 257


def SA2VA_TARGETS(name: str) -> tuple[str, ...]:
    found = next((t for rule in SA2VA if (t := rule.apply(name)) is not None), None)
    assert found is not None, name
    return found


def test_what_is_missing_or_unknown_is_named(published: Path, tmp_path: Path) -> None:
    def with_shapes(change: Callable[[dict[str, Shape]], Any]) -> str:
        checkpoint = open_checkpoint(published)
        change(checkpoint.shapes)
        with pytest.raises(ConversionError) as caught:
            convert_sa2va(checkpoint, tmp_path, torch.float32, sam=SMALL_SAM_CONFIG)
        return str(caught.value)

    row = f"{PREFIX}sam_prompt_encoder.point_embeddings.3.weight"
    assert "point_embed.weight but for 3 of its 4 parts" in with_shapes(lambda s: s.pop(row))
    assert "surprise" in with_shapes(lambda s: s.update({f"{PREFIX}surprise": (3,)}))
    assert "wrong size" in with_shapes(lambda s: s.update({row: (1, 17)}))
    assert "missing" in with_shapes(lambda s: s.pop("text_hidden_fcs.2.bias"))


VARIANTS: dict[str, dict[str, Shape]] = {
    "InternVL": {"vision_model.embeddings.class_embedding": (1, 1, 8), "mlp1.0.weight": (8,)},
    "LLaVA-1.5": {"model.model.vision_tower.vision_model.embeddings.position_ids": (1, 8)},
    "Qwen2.5-VL": {"model.model.visual.blocks.0.norm1.weight": (8,)},
    "SAM 3": {f"{PREFIX}backbone.vision_backbone.trunk.pos_embed": (1, 8)},
}


@pytest.mark.parametrize("variant", UNSUPPORTED)
def test_other_variants_are_refused_with_the_reason(variant: str) -> None:
    names = VARIANTS[variant] | {f"{PREFIX}no_mem_embed": (1, 1, 256)}
    assert identify(names) == "sa2va"
    with pytest.raises(ModelError) as caught:
        check_variant(Checkpoint(Path("Sa2VA"), shapes=dict(names)))
    assert UNSUPPORTED[variant] in str(caught.value)


def test_a_tokenizer_without_its_tokens_is_refused(published: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(published)
    (tmp_path / "empty").mkdir()
    checkpoint.path = tmp_path / "empty"
    with pytest.raises(ModelError, match="tokenizer"):
        convert_sa2va(checkpoint, tmp_path, torch.float32)


def test_a_start_with_primas_protocol(converted: tuple[Path, list[str]], tmp_path: Path, capsys: Any) -> None:
    folder, _ = converted
    assert main(["init", "segue-4b", "--from", str(folder), "--out", str(tmp_path / "start")]) == 0
    assert "which image" in capsys.readouterr().err
    bundle = load(tmp_path / "start", "cpu")
    assert type(bundle.model.config) is Qwen3VLGroundedConfig
    assert bundle.processor.dialect == "prima"
    # The weights keep what they were trained with: the state, the padding, the choice of a mask.
    assert bundle.model.prompt_state == load(folder, "cpu").model.prompt_state
    assert bundle.model.segmenter_options == {"padding_points": 2, "best_of_three": True}
    # Trained with exact numbers, unlike published inference.
    assert bundle.processor.sam_stream.mean[0] == 0.485
    theirs = load(folder, "cpu").model.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in bundle.model.state_dict().items())
    text, _ = bundle.processor.render_chat([("user", "Which?")], 2, 1, True)
    assert "(IMAGE2)" in text
    with pytest.raises(ModelError, match="sa2va"):
        start_from_sa2va(tmp_path / "start", tmp_path / "again")
