"""The presets have the sizes that they claim; the full ones are built on torch's meta device."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache

from segue.errors import InputError
from segue.mini.tokenizer import SPECIAL_TOKENS
from segue.models.configuration_qwen3_vl import Qwen3VLGroundedConfig
from segue.models.mini.segmenter_mini import MiniSegmenter
from segue.models.modeling_prima import PrimaModel
from segue.models.omg_llava.configuration_omg_llava import OmgLlavaConfig
from segue.models.presets import PRESETS, Preset, preset, streams_for
from segue.models.requirements import requirements

MILLION = 10**6


def parts_of(chosen: Preset, **overrides: object) -> tuple[PrimaModel, dict[str, int]]:
    with torch.device("meta"):
        model = PrimaModel(chosen.config(**overrides))
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}
    return model, counts


@pytest.mark.parametrize("name", ["prima-7b", "prima-square-7b"])
def test_full_size_has_the_published_parameter_counts(name: str) -> None:
    model, counts = parts_of(preset(name))
    published = {"vision_model": 986, "aux_vision_model": 304, "language_model": 6738, "sam": 641}
    for part, millions in published.items():
        assert counts[part] == pytest.approx(millions * MILLION, rel=0.01), part
    qformer = sum(p.numel() for p in model.reader.qformer.parameters())
    assert qformer == pytest.approx(186 * MILLION, rel=0.01)
    assert (model.reader.relational is not None) == (name == "prima-square-7b")
    assert model.reader.query_tokens.shape == (1, 32, 768)
    assert counts["image_projection"] == 768 * 4096 + 4096
    assert counts["seg_projection"] == 4096 * 4096 + 4096 + 4096 * 256 + 256
    assert all(p.is_meta for p in model.parameters())


PARAMETERS = {
    "prima-plain-7b": {"tower": 986, "qformer": 0, "dino": 0, "projection": 1408 * 4096 + 4096},
    "prima-qformer-7b": {"tower": 986, "qformer": 186, "dino": 0, "projection": 768 * 4096 + 4096},
    "prima-dino-7b": {"tower": 986, "qformer": 0, "dino": 304, "projection": 1408 * 4096 + 4096},
    "prima-pooling-7b": {"tower": 986, "qformer": 0, "dino": 0, "projection": 1408 * 4096 + 4096},
}
"""By hand; millions but for the projection. What is 0 is not there at all."""
FUSION = 2 * (1408 + 1024) + (1408 * 1408 + 2 * 1024 * 1408 + 3 * 1408) + (1408 * 1408 + 1408)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_ablations_differ_in_the_parts_of_table_4_alone(name: str) -> None:
    _, counts = parts_of(preset(name))
    full, whole = parts_of(preset("prima-7b"))
    wanted = PARAMETERS[name]
    assert counts["vision_model"] == pytest.approx(wanted["tower"] * MILLION, rel=0.01)
    assert counts["reader"] == pytest.approx(wanted["qformer"] * MILLION, rel=0.01)
    assert counts.get("aux_vision_model", 0) == pytest.approx(wanted["dino"] * MILLION, rel=0.01)
    assert counts.get("fusion", 0) == (FUSION if wanted["dino"] else 0)
    assert counts["image_projection"] == wanted["projection"]
    for part in ("language_model", "seg_projection", "sam"):
        assert counts[part] == whole[part]
    assert whole["fusion"] == FUSION
    assert full.reader.query_tokens.shape == (1, 32, 768)


@pytest.mark.parametrize("name", PARAMETERS)
def test_an_ablation_names_the_checkpoints_of_the_parts_that_it_has(name: str) -> None:
    parts = PRESETS[name].components
    assert ("aux_vision_model" in parts) == bool(PARAMETERS[name]["dino"])
    assert ("vision_model, reader" in parts) == bool(PARAMETERS[name]["qformer"])
    assert {"language_model", "sam"} < set(parts)
    assert ("pixel_values_aux" in PRESETS[name].streams) == bool(PARAMETERS[name]["dino"])


def test_square_adds_only_the_relational_attention() -> None:
    names = {}
    for name in ("prima-7b", "prima-square-7b"):
        small = {
            "vision_config": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
            "fusion_heads": 2,
            "text_config": {"model_type": "llama", "num_hidden_layers": 1},
        }
        model, _ = parts_of(preset(name), **small)
        names[name] = {n for n, _ in model.named_parameters()}
    assert names["prima-7b"] < names["prima-square-7b"]
    assert all(n.startswith("reader.relational.") for n in names["prima-square-7b"] - names["prima-7b"])


@pytest.mark.parametrize("name", ["segue-scenes", "tiny", "tiny-prima"])
def test_small_presets_know_the_ids_of_their_tokenizer(name: str) -> None:
    config = preset(name).config()
    assert SPECIAL_TOKENS[config.image_token_id] == "<image>"
    assert SPECIAL_TOKENS[config.seg_token_id] == "[SEG]"
    identifiers = [SPECIAL_TOKENS[i] for i in config.identifier_token_ids]
    assert identifiers == [f"(IMAGE{k})" for k in range(1, 10)]
    text = config.text_config
    special = [SPECIAL_TOKENS[i] for i in (text.pad_token_id, text.bos_token_id, text.eos_token_id)]
    assert special == ["<pad>", "<s>", "</s>"]


def test_full_size_puts_its_tokens_where_glamm_has_them() -> None:
    config = preset("prima-7b").config()
    assert (config.seg_token_id, config.image_token_id, config.text_config.vocab_size) == (
        32004,
        32007,
        32008,
    )


def test_the_embedded_model_sees_one_stream() -> None:
    assert {name: stream["size"] for name, stream in preset("segue-mini").streams.items()} == {
        "pixel_values_sam": MiniSegmenter.input_size
    }


@pytest.mark.parametrize("name", sorted(PRESETS.keys() - {"segue-mini"}))
def test_streams_fit_the_encoders(name: str) -> None:
    config, streams = preset(name).config(), preset(name).streams
    if isinstance(config, OmgLlavaConfig):
        # One stream for words and masks, in whole cells of visual tokens.
        perception, stream = config.perception_config, streams["pixel_values_sam"]
        assert (set(streams), stream["fit"]) == ({"pixel_values_sam"}, "square")
        assert stream["size"] == perception.backbone_config.image_size
        assert stream["size"] == perception.cells_per_side * 32 * perception.shuffle
        return
    if isinstance(config, Qwen3VLGroundedConfig):
        # Pictures of any size: what must agree are the patches.
        assert streams["pixel_values"]["patch_size"] == config.vision_config.patch_size
    else:
        assert streams["pixel_values"]["size"] == config.vision_config.image_size
        clip_grid = config.vision_config.image_size // config.vision_config.patch_size
        assert clip_grid * config.vision_config.patch_size == config.vision_config.image_size
    assert streams["pixel_values_sam"]["size"] == config.sam_config.prompt_encoder_config.image_size
    # SAM 2 squashes pictures, SAM pads them.
    fit = "stretch" if config.sam_config.model_type == "sam2" else "pad"
    assert streams["pixel_values_sam"]["fit"] == fit
    if "pixel_values_aux" in streams:
        assert streams["pixel_values_aux"]["size"] % config.aux_vision_config.patch_size == 0


def test_dino_may_see_another_size_than_it_was_trained_with() -> None:
    assert streams_for(preset("prima-7b").config(), aux_size=448)["pixel_values_aux"]["size"] == 448
    assert streams_for(preset("tiny-prima").config())["pixel_values_aux"]["size"] == 56


@pytest.mark.parametrize("name", ["prima-7b", "prima-square-7b"])
def test_full_size_names_its_public_components(name: str) -> None:
    named = set(PRESETS[name].components.values())
    assert named == {
        "Salesforce/instructblip-vicuna-7b",
        "facebook/dinov2-with-registers-large",
        "lmsys/vicuna-7b-v1.5",
        "facebook/sam-vit-huge",
    }


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(InputError) as caught:
        preset("prima-70b")
    assert all(name in str(caught.value) for name in (*PRESETS, "prima-70b"))


@pytest.mark.parametrize(
    ("name", "published", "width", "sa2va"),
    [("segue-2b", 2_127_532_032, 2048, 2_666_775_090), ("segue-4b", 4_437_815_808, 2560, 5_057_072_690)],
)
def test_qwen_has_the_parameters_of_the_published_sizes(
    name: str, published: int, width: int, sa2va: int
) -> None:
    found = requirements(preset(name))
    sam = 73_328_401 if name == "segue-2b" else 216_924_865
    projection = width * width + width + 256 * width + 256
    assert found.parameters == published + sam + projection
    # Sa2VA is the same Qwen3-VL with 151,674 rows for 151,936, a head of its own, the same projection,
    # and SAM 2 with its memory; its sizes are published.
    rows = 151_936 - 151_674
    assert sa2va == published - rows * width + 151_674 * width + 224_430_386 + projection


@pytest.mark.parametrize("name", ["segue-2b", "segue-4b", "segue-8b"])
def test_sessions_on_qwen_can_go_back(name: str) -> None:
    # Qwen3.5's linear attention has a state that cannot be cut back to an earlier turn; every layer here has
    # keys at every position.
    config = preset(name).config()
    layers = DynamicCache(config=config.text_config).layers
    assert not any(getattr(layer, "is_sliding", False) for layer in layers)
    assert set(getattr(config.text_config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
    # SAM 2 must draw the mask that was trained, not the most stable of four.
    assert not config.sam_config.mask_decoder_config.dynamic_multimask_via_stability
