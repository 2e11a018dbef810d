"""Folders and files of weights that are no model yet: what they are, and the step that is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from segue.file_kind import HEAD_BYTES, FileKind, disguised

_WEIGHTS = (".safetensors", ".bin", ".pth", ".pt")
_DEEPSPEED = FileKind(
    "a DeepSpeed checkpoint, its parameters in shards with the optimiser's states",
    "make weights of it: python zero_to_fp32.py . pytorch_model.bin in this folder; after training with LoRA "
    "merge the adapters next (LISA and GLaMM: merge_lora_weights_and_save_hf_model.py); then give the result "
    "to `segue convert`",
)
_ADAPTERS = FileKind(
    "LoRA adapters alone, without the model that they belong to",
    "merge them into their base model (peft: PeftModel.from_pretrained(base, folder).merge_and_unload(), "
    "then save_pretrained), and give the result",
)
_FOREIGN = FileKind(
    "a checkpoint of another project's format", "convert it first: `segue convert FOLDER --to NEW_FOLDER`"
)


def unfinished(path: Path) -> FileKind | None:
    """Say what a folder or file of weights is, where a step is missing before it can be used.

    Args:
        path: Existing or not.
    """
    if os.path.isfile(path):
        return _of_file(path)
    if not os.path.isdir(path):
        return None
    names = sorted(os.listdir(path))
    # Before anything is told by names: a clone without Git LFS has all the right names, 130 bytes each.
    pointers = (kind for name in names if (kind := _of_file(path / name)) is not None)
    if (found := next(pointers, None)) is not None:
        return found
    if _is_deepspeed(path, names):
        return _DEEPSPEED
    if (run := _of_run(path, names)) is not None:
        return run
    # `adapter_model.safetensors` has the ending of weights, and is none without its base.
    whole = [name for name in names if name.endswith(_WEIGHTS) and not name.startswith("adapter_")]
    if "adapter_config.json" in names and not whole:
        return _ADAPTERS
    return None


def foreign(path: Path) -> FileKind | None:
    """Kind of a folder with weights that are another project's; None for every other folder."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}
    # A config.json that names neither a type nor a class says nothing. No config.json at all is how Segment
    # Anything's `.pth` arrives.
    named = isinstance(config, dict) and bool(config.get("model_type") or config.get("architectures"))
    weights = any(name.endswith(_WEIGHTS) for name in os.listdir(path)) if os.path.isdir(path) else False
    return _FOREIGN if weights and (named or not config) else None


def _of_file(path: Path) -> FileKind | None:
    if path.suffix not in (*_WEIGHTS, ".json", ".model") or not os.path.isfile(path):
        return None
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    kind = disguised(head)
    # Torch files are ZIP archives by themselves.
    return kind if kind is not None and "ZIP" not in kind.name else None


def _is_deepspeed(path: Path, names: list[str]) -> bool:
    if "zero_to_fp32.py" in names:
        return True
    # `global_step500/mp_rank_00_model_states.pt`: the shards lie one level down, or a user names that level.
    inside = [*names, *(name for step in _steps(path, names) for name in os.listdir(step))]
    return any("mp_rank_" in name and name.endswith(".pt") for name in inside)


def _steps(path: Path, names: list[str]) -> Iterator[Path]:
    for name in names:
        if name.startswith("global_step") and os.path.isdir(path / name):
            yield path / name


def _of_run(path: Path, names: list[str]) -> FileKind | None:
    """A run folder of `segue train`: the model lies in `final`, or the run has not come so far."""
    if (path / "final" / "config.json").is_file():
        return FileKind("a run folder of `segue train`", f"name the model in it: {path / 'final'}")
    checkpoints = [name for name in names if name.startswith("checkpoint-")]
    if checkpoints and "config.json" not in names:
        return FileKind(
            f"a run folder without a final model ({', '.join(checkpoints[:3])})",
            "end the run: the same `segue train` command goes on from its last checkpoint and writes final/",
        )
    return None
