"""Named sizes of the families. The embedded model adds its own when `segue.models.mini` is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from segue.errors import InputError
from segue.models.configuration_grounded import GroundedConfig
from segue.models.image_streams import clip_streams_for, miras_streams_for, streams_for
from segue.models.omg_llava.presets_omg_llava import (
    OMG_LLAVA_COMPONENTS,
    OMG_LLAVA_LICENCES,
    omg_llava_7b_config,
    tiny_omg_llava_config,
)
from segue.models.omg_llava.processing_omg_llava import omg_streams_for
from segue.models.presets_lisa import glamm_7b_config, lisa_7b_config, lisa_13b_config
from segue.models.presets_miras import MIRAS_COMPONENTS, miras_7b_config, tiny_miras_config
from segue.models.presets_prima import PRIMA_VARIANTS, components_of, prima_7b_config, tiny_prima_config
from segue.models.presets_qwen import (
    QWEN_PRESETS,
    SA2VA_PRESETS,
    TINY_AREA,
    qwen_parts,
    sa2va_config,
    segue_config,
    tiny_sa2va_config,
    tiny_segue_config,
)
from segue.models.processing_qwen3_vl import qwen_streams_for, sa2va_streams_for


@dataclass(frozen=True)
class Preset:
    """A named model.

    Attributes:
        name: what users type.
        summary: one line for tables.
        config: builds the configuration.
        components: part to public checkpoint that it starts from (hub names).
        streams_of: of such a configuration, the processor's image streams.
        licences: part to licence of the public weights.
        published: numbers in the published files, where it is one checkpoint; 0 where it is none.
    """

    name: str
    summary: str
    config: Callable[..., GroundedConfig]
    streams_of: Callable[[Any], dict[str, dict[str, Any]]]
    components: dict[str, str] = field(default_factory=dict)
    licences: dict[str, str] = field(default_factory=dict)
    published: int = 0

    @cached_property
    def streams(self) -> dict[str, dict[str, Any]]:
        """Processor image streams, see `segue.models.processing_grounded.ImageStream`."""
        # Made when they are asked for: a full configuration of every preset would delay every import.
        return self.streams_of(self.config())


def _lisa_components(checkpoint: str, clip: str) -> dict[str, str]:
    return {"vision_model": clip, "image_projection, language_model, seg_projection, sam": checkpoint}


def _prima(name: str, summary: str, differs: dict[str, Any]) -> Preset:
    def config(**overrides: Any) -> GroundedConfig:
        # The caller's own word comes last, and wins.
        return prima_7b_config(**(differs | overrides))

    # DINOv2's own configuration says 518, at which its positions were trained; 448 is 32 x 32 patches.
    streams = partial(streams_for, aux_size=448)
    return Preset(name, summary, config, streams, components_of(differs))


def _segue(name: str) -> Preset:
    config = partial(segue_config, name)
    summary = f"{QWEN_PRESETS[name][1]}, PRIMA's protocol; 256 to 1024 tokens an image"
    return Preset(name, summary, config, qwen_streams_for, qwen_parts(name))


def _sa2va(name: str) -> Preset:
    size, hub, numbers = SA2VA_PRESETS[name]
    config = partial(sa2va_config, name)
    summary = f"Sa2VA as published: Qwen3-VL-{size.upper()}, SAM 2 Hiera-L; 392 to 1568 tokens an image"
    parts = {"language_model, seg_projection, sam": hub}
    return Preset(name, summary, config, sa2va_streams_for, parts, published=numbers)


PRESETS: dict[str, Preset] = {
    **{name: _prima(name, *variant) for name, variant in PRIMA_VARIANTS.items()},
    "lisa-7b": Preset(
        "lisa-7b",
        "LISA as published: CLIP-L/14 at 224, LLaVA-Lightning-7B, SAM ViT-H; 256 tokens an image",
        lisa_7b_config,
        clip_streams_for,
        _lisa_components("xinlai/LISA-7B-v1", "openai/clip-vit-large-patch14"),
    ),
    "lisa-13b": Preset(
        "lisa-13b",
        "LISA on LLaMA-2-13B",
        lisa_13b_config,
        clip_streams_for,
        _lisa_components("xinlai/LISA-13B-llama2-v1", "openai/clip-vit-large-patch14"),
    ),
    "glamm-7b": Preset(
        "glamm-7b",
        "GLaMM as published: CLIP-L/14 at 336, Vicuna-7B, SAM ViT-H; 576 tokens an image",
        glamm_7b_config,
        clip_streams_for,
        _lisa_components("MBZUAI/GLaMM-FullScope", "openai/clip-vit-large-patch14-336"),
    ),
    "miras-7b": Preset(
        "miras-7b",
        "MIRAS for several turns: CLIP-L/14 x ConvNeXt-L, LLaVA-1.5-7B, SAM ViT-H; 576 tokens an image",
        miras_7b_config,
        miras_streams_for,
        MIRAS_COMPONENTS,
    ),
    "omg-llava-7b": Preset(
        "omg-llava-7b",
        "OMG-LLaVA: OMG-Seg on ConvNeXt-L at 1024, InternLM2-7B; 257 tokens an image and one an object",
        omg_llava_7b_config,
        omg_streams_for,
        OMG_LLAVA_COMPONENTS,
        OMG_LLAVA_LICENCES,
    ),
    "tiny-prima": Preset(
        "tiny-prima",
        "random weights of PRIMA for tests and dry runs",
        tiny_prima_config,
        streams_for,
    ),
    "tiny-miras": Preset(
        "tiny-miras",
        "random weights of MIRAS for tests and dry runs",
        tiny_miras_config,
        miras_streams_for,
    ),
    "tiny-omg-llava": Preset(
        "tiny-omg-llava",
        "random weights of OMG-LLaVA for tests and dry runs",
        tiny_omg_llava_config,
        omg_streams_for,
    ),
    **{name: _segue(name) for name in QWEN_PRESETS},
    "tiny-segue": Preset(
        "tiny-segue",
        "random weights of a model on Qwen3-VL for tests and dry runs",
        tiny_segue_config,
        lambda config: qwen_streams_for(config, **TINY_AREA),
    ),
    **{name: _sa2va(name) for name in SA2VA_PRESETS},
    "tiny-sa2va": Preset(
        "tiny-sa2va",
        "random weights of Sa2VA on Qwen3-VL for tests and dry runs",
        tiny_sa2va_config,
        lambda config: sa2va_streams_for(config, **TINY_AREA),
    ),
}


def preset(name: str) -> Preset:
    """Look a preset up by name.

    Raises:
        InputError: no such preset.
    """
    if name not in PRESETS:
        raise InputError(
            "no such preset",
            expected=" or ".join(PRESETS),
            found=name,
            where="model name",
            fix="run `segue models` or give a folder",
        )
    return PRESETS[name]
