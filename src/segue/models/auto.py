"""From a name or a folder to a model that is ready to answer."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoProcessor
from transformers.utils import logging as transformers_logging

from segue.errors import ModelError
from segue.models.folder_kind import foreign, unfinished
from segue.models.modeling_grounded import GroundedModel
from segue.models.presets import PRESETS
from segue.models.processing_grounded import GroundedProcessor
from segue.models.quantization import quantization_config
from segue.models.registry import FAMILIES
from segue.records.presence import FILE_NAME, Calibration, read_calibration

WEIGHTS_FOLDER = Path(__file__).resolve().parents[1] / "weights"
"""Embedded weights, one folder per preset that ships some."""

_LARGE = 2**30
"""Weight files above this many bytes stay in half precision on an accelerator."""


@dataclass
class ModelBundle:
    """A model, the processor that prepares its inputs, and where they come from.

    Attributes:
        model: In eval mode, on its device.
        processor: Agrees with the model in sizes, tokens and template.
        name: What the user typed, or the folder's name.
        path: The folder of the weights; None for a model built in memory.
        calibration: Of its presence scores; None leaves them uncalibrated, which they say.
    """

    model: GroundedModel
    processor: GroundedProcessor
    name: str
    path: Path | None = None
    calibration: Calibration | None = None


def load(
    name_or_path: str | Path,
    device: str | torch.device | None = None,
    dtype: torch.dtype | str | None = None,
    quantize: str | None = None,
) -> ModelBundle:
    """Load a preset that ships weights, or a folder written by `save_pretrained`. Nothing is downloaded.

    Args:
        name_or_path: `segue-mini`, or a folder with `config.json`, the processor's files and safetensors.
        device: Where to run; the first CUDA device if there is one, else the CPU.
        dtype: `torch.dtype` or its name. By default float32, save for weights above 1 GiB on an accelerator,
            which run in bfloat16. (The embedded weights are stored in float16, which CPUs compute slowly.)
        quantize: "8bit" or "4bit" shrinks the language model, see `segue.models.quantization`.

    Returns:
        The bundle, in eval mode.

    Raises:
        ModelError: No such model, no weights for it, a damaged folder, or weights that do not fill the model.
    """
    folder = weights_folder(name_or_path)
    # Before any weight is read: a wrong device or dtype fails at once, not after gigabytes.
    place = _device(device)
    kind = _dtype(dtype) if dtype is not None else _default_dtype(folder, place)
    options = _quantized(folder, quantize, kind, place) if quantize is not None else {}
    model = load_model(folder, kind, **options)
    processor = _load_part("processor", AutoProcessor.from_pretrained, folder)
    if not isinstance(processor, GroundedProcessor):
        raise _damaged(folder, "a processor written by Segue", type(processor).__name__)
    try:
        # A quantised model was put in its place while it was loaded, and refuses to be moved.
        model = (model if quantize is not None else model.to(place)).eval()
    # A torch without CUDA says so with an AssertionError.
    except (RuntimeError, AssertionError) as error:
        raise _unusable_device(place, error) from None
    beside = folder / FILE_NAME
    calibration = read_calibration(beside) if beside.is_file() else None
    return ModelBundle(model, processor, _display_name(name_or_path), folder, calibration)


def weights_folder(name_or_path: str | Path) -> Path:
    """Find the folder that holds a model's weights.

    Args:
        name_or_path: A preset's name or a folder; a folder of that name wins over a preset.

    Returns:
        An existing folder with a `config.json` of a family that Segue knows.

    Raises:
        ModelError: There is none; the message says how to come by one.
    """
    name = str(name_or_path)
    folder = Path(name)
    # os.path answers False where pathlib raises: names too long, with a NUL, in unreadable folders.
    # And an empty name would be the current folder: Path("") is Path(".").
    if name and os.path.isdir(folder):
        kind = unfinished(folder)
        if kind is not None:
            raise _damaged(folder, "a folder that save_pretrained wrote", kind.name, kind.fix)
        return _checked(folder)
    if name in PRESETS:
        embedded = WEIGHTS_FOLDER / name
        if (embedded / "config.json").is_file():
            return _checked(embedded)
        raise _without_weights(name)
    raise ModelError(
        "There is no such model.",
        expected="a preset with weights ("
        + ", ".join(presets_with_weights() or ["none here"])
        + ") or a folder",
        found=repr(name) + (", which is a file" if os.path.isfile(folder) else ""),
        where="model name",
        fix=_way_to(name),
    )


def _way_to(name: str) -> str:
    """Advice about a name that is neither a preset nor a folder."""
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return (
            f"a hub repository is converted first: `hf download {name}`, `segue convert {name} --to FOLDER`"
        )
    return "run `segue models` for the presets, or give a folder that save_pretrained wrote"


def presets_with_weights() -> list[str]:
    """Names of the presets whose weights are installed."""
    return [name for name in PRESETS if (WEIGHTS_FOLDER / name / "config.json").is_file()]


def load_config(folder: Path) -> Any:
    """Read the configuration of a checked folder.

    This is the one place that reads folders from before the embedded model had a `model_type` of its own:
    their config.json says `prima`, and `GroundedConfig.claims` of each family tells whose it is.

    Raises:
        ModelError: It is damaged.
    """
    return _load_part("configuration", _read_config, folder)


def _read_config(folder: str, **options: Any) -> Any:
    content = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    # Asked before AutoConfig, which would go by the `model_type` of the file and build the wrong family.
    for name, family in FAMILIES.items():
        if family.config.claims(content):
            return family.config.from_dict(content | {"model_type": name})
    return AutoConfig.from_pretrained(folder, **options)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, sorted by name."""
    return sorted(folder.glob("*.safetensors"))


def _without_weights(name: str) -> ModelError:
    if name == "segue-mini":
        return ModelError(
            "The embedded weights of segue-mini are missing from this installation.",
            expected=str(WEIGHTS_FOLDER / name / "config.json"),
            found="no such file",
            where="model name",
            fix="install Segue again from a complete checkout, or make them: recipes/reproduce_mini.sh",
        )
    parts = sorted(set(PRESETS[name].components.values()))
    if not parts:
        return ModelError(
            f"The preset {name} has no weights: its parameters are random, for tests and dry runs.",
            expected="a preset with weights, or a folder",
            found=repr(name),
            where="model name",
            fix="use segue-mini, or give a folder that save_pretrained wrote",
        )
    how = "`segue convert`"
    # A checkpoint of its own for SAM: no public checkpoint holds the whole model.
    if "sam" in PRESETS[name].components:
        how = f"`segue init {name}` and train it"
    return ModelError(
        f"The preset {name} comes without weights: a folder is made from public checkpoints.",
        expected="a folder with weights",
        found="a preset made of " + ", ".join(parts),
        where="model name",
        fix=f"make one with {how}, or use segue-mini",
    )


def _checked(folder: Path) -> Path:
    """The folder, if its config.json is one of ours and there are weights beside it."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        other = foreign(folder)
        if other is not None:
            raise _damaged(folder, "a config.json", other.name, other.fix) from None
        raise _damaged(folder, "a config.json", error.strerror or str(error)) from None
    except ValueError as error:
        raise _damaged(folder, "config.json with a JSON object", str(error)) from None
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind not in FAMILIES:
        other = foreign(folder)
        found = f"{kind!r}: {other.name}" if other is not None else repr(kind)
        expected = f"model_type {' or '.join(sorted(FAMILIES))} in config.json"
        raise _damaged(folder, expected, found, other.fix if other is not None else "")
    if not weight_files(folder):
        raise _damaged(folder, "weights (*.safetensors)", "none")
    if not (folder / "processor_config.json").is_file():
        raise _damaged(folder, "processor_config.json", "no such file")
    return folder


def _quantized(folder: Path, quantize: str, dtype: torch.dtype, place: torch.device) -> dict[str, Any]:
    """Further options of `from_pretrained` for a quantised model."""
    config = load_config(folder)
    chosen = quantization_config(AutoModel.from_config, config, quantize, dtype, place.type)
    # The empty name stands for the whole model: it goes to one device, no layer to another.
    return {"quantization_config": chosen, "device_map": {"": place}}


def load_model(folder: Path, dtype: torch.dtype, **options: Any) -> GroundedModel:
    """The model of a folder; random initialisation of what a file lacks is refused instead of warned about.

    Args:
        folder: written by `save_pretrained`.
        dtype: of the parameters.
        **options: further ones of `from_pretrained`.

    Raises:
        ModelError: A damaged folder, or weights that do not fill the model.
    """
    config = load_config(folder)
    # Both switches are global to transformers: what a caller had set is put back even when loading fails.
    bar, chatter = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        # Mismatched sizes are let through to the report, which names them; the library's own error does not.
        model, report = _load_part(
            "model", AutoModel.from_pretrained, folder,
            config=config, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **options,
        )  # fmt: skip
    finally:
        transformers_logging.set_verbosity(chatter)
        if bar:
            transformers_logging.enable_progress_bar()
    if not isinstance(model, GroundedModel):
        raise _damaged(folder, "a grounded model", type(model).__name__)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if report.get(kind):
            names = sorted(map(str, report[kind]))
            found = f"{len(names)} {kind.replace('_', ' ')}: {', '.join(names[:5])}"
            raise _damaged(folder, "weights that fill every parameter and no other", found)
    return model


def _load_part(what: str, loader: Any, folder: Path, **options: Any) -> Any:
    """Call a `from_pretrained` offline and turn what it raises about a damaged folder into a ModelError."""
    try:
        return loader(str(folder), local_files_only=True, **options)
    except ModelError:
        raise
    # The libraries below raise whatever a damaged file happens to trip over, KeyError to SafetensorError.
    except Exception as error:
        raise _damaged(folder, f"a readable {what}", f"{type(error).__name__}: {error}") from error


def _damaged(folder: Path, expected: str, found: str, fix: str = "") -> ModelError:
    return ModelError(
        "The folder does not hold a model that Segue can load.",
        expected=expected,
        found=found,
        where=str(folder),
        fix=fix or "give a folder that save_pretrained wrote for the model and for its processor",
    )


def _default_dtype(folder: Path, place: torch.device) -> torch.dtype:
    large = sum(path.stat().st_size for path in weight_files(folder)) > _LARGE
    return torch.bfloat16 if large and place.type != "cpu" else torch.float32


def _device(device: str | torch.device | None) -> torch.device:
    try:
        return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise _unusable_device(device, error) from None


def _unusable_device(device: object, error: Exception) -> ModelError:
    return ModelError(
        "The model cannot be moved to this device.",
        expected="a device that this installation of torch can use and that has room",
        found=f"{device}: {error}",
        where="device",
        fix="choose the device cpu, or free memory on the device",
    )


def _dtype(dtype: torch.dtype | str) -> torch.dtype:
    chosen = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(chosen, torch.dtype) or not chosen.is_floating_point:
        raise ModelError(
            "Unknown dtype.",
            expected="float32, bfloat16 or float16",
            found=repr(dtype),
            where="dtype",
            fix="choose one of the three",
        )
    return chosen


def _display_name(name_or_path: str | Path) -> str:
    """The preset's name, or the folder's last part, so that answers do not carry one machine's paths."""
    name = str(name_or_path)
    return name if name in PRESETS else Path(name).resolve().name
