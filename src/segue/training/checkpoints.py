"""Read the weights and the checkpoints of earlier runs, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from segue.errors import InputError, ModelError

WEIGHTS_FILE = "model.safetensors"
STATE_FILE = "trainer_state.json"
"""The Trainer writes it last, so a checkpoint without it was cut off."""


def saved_weights(folder: Path, model: PreTrainedModel) -> dict[str, Tensor]:
    """Weights of a saved model under the names that they have in memory.

    transformers writes some parts (DINOv2's attention) under the names of their published checkpoints, so the
    file's names are not those of `state_dict()`; only `from_pretrained` translates them. Names that it does
    not know (heads for training) are taken from the file as they are.

    Args:
        folder: holds `model.safetensors` and `config.json`.
        model: of the class that was saved.

    Returns:
        Name to tensor; names that the file lacks are left out, tied weights are there under each of their
        names.

    Raises:
        InputError: no weights there.
    """
    path = folder / WEIGHTS_FILE
    if not path.exists():
        raise InputError(
            "no weights to start from",
            expected=WEIGHTS_FILE,
            found="nothing",
            where=str(path),
            fix="train the stage before, or mend model.init",
        )
    raw, wanted = load_file(path), model.state_dict()
    weights = {name: value for name, value in raw.items() if name in wanted}
    if len(weights) < len(wanted):
        translated, report = type(model).from_pretrained(folder, dtype="auto", output_loading_info=True)
        lacking = set(report["missing_keys"]) | {key for key, *_ in report["mismatched_keys"]}
        found = translated.state_dict()
        weights |= {n: v for n, v in found.items() if n in wanted and n not in weights and n not in lacking}
    return weights


def restore(model: PreTrainedModel, folder: Path) -> None:
    """Put all weights of a checkpoint into a model.

    Raises:
        ModelError: the checkpoint lacks some of the model's weights, or has them in other shapes.
    """
    weights = saved_weights(folder, model)
    missing = [n for n, p in model.state_dict().items() if n not in weights or weights[n].shape != p.shape]
    if missing:
        raise ModelError(
            "the checkpoint does not fill the model",
            expected="a weight for every parameter",
            found=f"none of the right shape for {len(missing)}: {', '.join(missing[:5])}",
            where=str(folder),
            fix="resume with the recipe that wrote the checkpoint, or train into another folder",
        )
    model.load_state_dict(weights)


def last_checkpoint(out: Path) -> Path | None:
    """The newest checkpoint of a run that was written to its end; None when there is none."""
    complete = [path.parent for path in out.glob(f"checkpoint-*/{STATE_FILE}")]
    return max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
