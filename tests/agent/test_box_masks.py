"""Boxes to masks with a small random SAM and SAM 2: sizes, coordinates, one call per image, loud failures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Sam2Config, Sam2Model, SamConfig, SamModel

from segue.agent.box_masks import BoxFiller, SamMaskMaker, load_mask_maker
from segue.errors import ModelError
from tiny_model import picture

DECODER = {"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 8}
BOXES = [(2.0, 3.0, 30.0, 20.0), (10.0, 10.0, 59.0, 39.0)]


def tiny_sam() -> SamModel:
    return SamModel(
        SamConfig(
            vision_config={
                "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                "image_size": 48, "patch_size": 12, "window_size": 2, "global_attn_indexes": [0],
                "num_pos_feats": 8, "initializer_range": 0.2,
            },
            prompt_encoder_config={"hidden_size": 16, "image_size": 48, "patch_size": 12},
            mask_decoder_config=DECODER,
        )
    )  # fmt: skip


def tiny_sam2() -> Sam2Model:
    return Sam2Model(
        Sam2Config(
            vision_config={
                "backbone_config": {
                    "model_type": "sam2_hiera_det_model", "hidden_size": 8, "num_attention_heads": 1,
                    "image_size": [64, 64], "blocks_per_stage": [1, 1, 2, 1],
                    "embed_dim_per_stage": [8, 16, 32, 64], "num_attention_heads_per_stage": [1, 1, 2, 2],
                    "window_size_per_stage": [4, 2, 2, 2], "global_attention_blocks": [3],
                    "window_positional_embedding_background_size": [4, 4],
                },
                "backbone_channel_list": [64, 32, 16, 8], "fpn_hidden_size": 16,
                "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            },
            prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16},
            mask_decoder_config=DECODER,
        )
    )  # fmt: skip


def drawing(sam: SamModel | Sam2Model) -> SamModel | Sam2Model:
    """The model with weights large enough for masks that depend on picture and box."""
    for parameter in sam.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return sam.eval()


@pytest.fixture(scope="module", params=["sam", "sam2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("sams") / request.param
    drawing(tiny_sam() if request.param == "sam" else tiny_sam2()).save_pretrained(path)
    return path


def test_masks_have_the_size_of_the_original_and_follow_their_boxes(folder: Path) -> None:
    maker = load_mask_maker(str(folder), "cpu")
    assert isinstance(maker, SamMaskMaker)
    assert maker.stream.fit == {"sam": "pad", "sam2": "stretch"}[folder.name]
    for hw in ((40, 60), (90, 31)):
        encoded = maker.encode(picture(*hw))
        drawn = maker.draw(encoded, BOXES, hw)
        assert [mask.shape for mask, _ in drawn] == [hw, hw]
        assert all(mask.dtype == bool and 0.0 <= score <= 1.0 for mask, score in drawn)
        assert (drawn[0][0] != drawn[1][0]).any()
        # All boxes of an image in one call give what each gives alone.
        alone = [maker.draw(encoded, [box], hw)[0] for box in BOXES]
        assert all((a[0] == b[0]).mean() == 1.0 for a, b in zip(drawn, alone, strict=True))
        assert maker.draw(encoded, [], hw) == []


def test_boxes_reach_sam_in_its_own_pixels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = load_mask_maker(str(folder), "cpu")
    assert isinstance(maker, SamMaskMaker)
    seen: list[torch.Tensor] = []
    forward = maker.sam.forward
    monkeypatch.setattr(
        maker.sam, "forward", lambda **named: seen.append(named["input_boxes"]) or forward(**named)
    )
    maker.draw(maker.encode(picture(40, 80)), [(10.0, 20.0, 80.0, 40.0)], (40, 80))
    # 80 x 40 becomes 48 x 24 where the longest side is fitted, 64 x 64 where it is stretched.
    expected = {"sam": [6.0, 12.0, 48.0, 24.0], "sam2": [8.0, 32.0, 64.0, 64.0]}[folder.name]
    assert seen[0].shape == (1, 1, 4)
    assert seen[0][0, 0].tolist() == pytest.approx(expected)


def test_sam_agrees_with_its_own_processing(tmp_path: Path) -> None:
    """Against transformers' processor for SAM; both resize with PIL, so few border pixels may differ."""
    from transformers import SamImageProcessorPil

    torch.manual_seed(0)
    sam = drawing(tiny_sam())
    hw, image = (40, 60), picture(40, 60)
    processor = SamImageProcessorPil(
        size={"longest_edge": 48}, pad_size={"height": 48, "width": 48}, mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    )  # fmt: skip
    inputs = processor(image, return_tensors="pt")
    boxes = torch.tensor([BOXES]) * (48 / 60)
    with torch.no_grad():
        output = sam(inputs["pixel_values"], input_boxes=boxes, multimask_output=False)
    theirs = processor.post_process_masks(
        output.pred_masks,
        inputs["original_sizes"],
        inputs["reshaped_input_sizes"],
        pad_size={"height": 48, "width": 48},
    )[0][:, 0]
    maker = SamMaskMaker(sam)
    for (ours, _), mask in zip(maker.draw(maker.encode(image), BOXES, hw), theirs, strict=True):
        assert (ours == np.asarray(mask)).mean() > 0.98


def test_boxes_may_be_their_own_masks() -> None:
    maker = load_mask_maker("none")
    assert isinstance(maker, BoxFiller)
    (mask, score), (speck, _) = maker.draw(None, [(2.0, 3.0, 30.0, 20.0), (5.2, 5.2, 5.4, 5.4)], (40, 60))
    assert (mask.sum(), score, speck.sum()) == (28 * 17, 1.0, 1)
    assert mask[3:20, 2:30].all()


def test_what_is_no_sam_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *names: None)
    with pytest.raises(ModelError, match="sam=facebook/sam2"):
        load_mask_maker("")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_mask_maker(str(tmp_path / "nothing"))
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
        )
    ).save_pretrained(tmp_path / "llama")
    with pytest.raises(ModelError, match="'llama'") as caught:
        load_mask_maker(str(tmp_path / "llama"))
    assert str(tmp_path) not in str(caught.value)


def test_a_sam_with_missing_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    gone = next(name for name in weights if name.startswith("mask_decoder.transformer"))
    save_file(
        {k: v for k, v in weights.items() if k != gone},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(ModelError, match=r"1 without: mask_decoder\.transformer"):
        load_mask_maker(str(tmp_path), "cpu")
