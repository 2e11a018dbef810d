"""Needs of a preset: memory for its weights, the public checkpoints it starts from, and their licences.

Memory is computed from the parameters of the preset's own model, built on torch's meta device. It is that of
the weights; activations and the cache of a conversation come on top (one or two GB at 7B).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

import segue.models  # noqa: F401  registers the families
from segue.models.auto import WEIGHTS_FOLDER, load_config
from segue.models.presets import Preset
from segue.models.quantization import BYTES_PER_WEIGHT, quantised_names

# Bytes.
_BF16 = 2

LICENCES: dict[str, str] = {
    "facebook/dinov2-with-registers-large": "Apache-2.0",
    "facebook/sam-vit-base": "Apache-2.0",
    "facebook/sam-vit-large": "Apache-2.0",
    "facebook/sam-vit-huge": "Apache-2.0",
    "ByteDance/Sa2VA-Qwen3-VL-2B": "Apache-2.0",
    "ByteDance/Sa2VA-Qwen3-VL-4B": "Apache-2.0",
    "facebook/sam2.1-hiera-base-plus": "Apache-2.0",
    "facebook/sam2.1-hiera-large": "Apache-2.0",
    "Qwen/Qwen3-VL-2B-Instruct": "Apache-2.0",
    "Qwen/Qwen3-VL-4B-Instruct": "Apache-2.0",
    "Qwen/Qwen3-VL-8B-Instruct": "Apache-2.0",
    "lmsys/vicuna-7b-v1.5": "Llama 2 Community License",
    "lmsys/vicuna-13b-v1.5": "Llama 2 Community License",
    "Salesforce/instructblip-vicuna-7b": "BSD-3-Clause code; weights: see its model card (Vicuna)",
}
"""Hub name -> licence, as their model cards state it. A preset's own `licences` come first."""

UNKNOWN_LICENCE = "see its model card"


@dataclass(frozen=True)
class Part:
    """A public checkpoint that a preset starts from.

    Attributes:
        names: Parts of the model that it fills.
        hub: Its name on the hub.
        licence: Of its weights.
        cached: Whether its weights are in the Hugging Face cache of this machine.
    """

    names: str
    hub: str
    licence: str
    cached: bool


@dataclass(frozen=True)
class Requirements:
    """The needs of one preset.

    Attributes:
        name: The preset.
        family: Its `model_type`.
        parameters: All of them, shared ones once.
        quantised: Those that 8 and 4 bits shrink.
        bytes: Memory of the weights: "bf16", "8bit", "4bit".
        parts: Public checkpoints.
    """

    name: str
    family: str
    parameters: int
    quantised: int
    bytes: dict[str, int]
    parts: tuple[Part, ...]


def requirements(preset: Preset) -> Requirements:
    """Compute what a preset needs; takes a second at 7B, and no memory.

    Where its weights are installed the model is built as they are, names that it was taught included.
    """
    installed = WEIGHTS_FOLDER / preset.name
    config = load_config(installed) if (installed / "config.json").is_file() else preset.config()
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    # `parameters` gives a shared tensor once; `state_dict` would count tied tables twice.
    everything = sum(p.numel() for p in model.parameters())
    modules = dict(model.named_modules())
    shrinking = sum(modules[name].weight.numel() for name in quantised_names(model))
    return Requirements(
        preset.name,
        config.model_type,
        everything,
        shrinking,
        memory(everything, shrinking),
        tuple(
            Part(names, hub, _licence(preset, names, hub), is_cached(hub))
            for names, hub in preset.components.items()
        ),
    )


def memory(parameters: int, quantised: int) -> dict[str, int]:
    """Bytes of the weights in bfloat16, and with the quantised ones in 8 or 4 bits."""
    kept = _BF16 * (parameters - quantised)
    shrunk = {name: round(kept + each * quantised) for name, each in BYTES_PER_WEIGHT.items()}
    return {"bf16": _BF16 * parameters, **shrunk}


def is_cached(hub: str) -> bool:
    """Whether weights of a hub name lie in the Hugging Face cache. Asks nobody."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(hub, "config.json")
    if not isinstance(config, str):
        return False
    # A cached config.json proves nothing: libraries fetch it alone, to look at a model.
    folder = Path(config).parent
    return any(any(folder.glob(pattern)) for pattern in ("*.safetensors", "*.bin"))


def _licence(preset: Preset, names: str, hub: str) -> str:
    of_parts: dict[str, Any] = preset.licences
    given = [of_parts[key] for key in (names, hub, *names.split(", ")) if key in of_parts]
    return str(given[0]) if given else LICENCES.get(hub, UNKNOWN_LICENCE)
