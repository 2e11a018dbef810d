"""Checkpoints appear whole or not at all, and are read whole or not at all.

A checkpoint is written into a hidden folder, its manifest (size and SHA-256 of every file) last, and then
renamed. Whatever stops the process, a folder `checkpoint-N` was either complete or is not there; one that a
disk or a person damaged later no longer fits its manifest and is passed over for the one before.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from segue.errors import InputError, ModelError

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
STATE_FILE = "trainer_state.json"
MANIFEST = "manifest.json"
"""Written last: a folder without it was never finished."""

log = logging.getLogger(__name__)


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


def restore_trained(model: nn.Module, folder: Path, frozen: str | None, fingerprint: str) -> None:
    """Put the trained weights of a checkpoint into a model that has the frozen ones already.

    Args:
        frozen: `frozen_fingerprint` when the checkpoint was written.
        fingerprint: that of the model now.

    Raises:
        ModelError: the frozen weights are others, or a trained one is missing or has another shape.
    """
    if frozen != fingerprint:
        raise ModelError(
            "The checkpoint belongs to other frozen weights.",
            expected="the weights that the run began with",
            found="a model whose frozen weights differ from them",
            where=str(folder),
            fix="restore the folder that model.start or model.init names, or train into another folder",
        )
    weights, wanted = load_file(folder / WEIGHTS_FILE), trained_state(model)
    wrong = [n for n, p in wanted.items() if n not in weights or weights[n].shape != p.shape]
    if wrong or len(weights) != len(wanted):
        raise ModelError(
            "the checkpoint does not fill the model",
            expected=f"{len(wanted)} trained weights",
            found=f"{len(weights)}, none of the right shape for {', '.join(wrong[:5]) or 'some'}",
            where=str(folder),
            fix="resume with the recipe that wrote the checkpoint, or train into another folder",
        )
    # Not strict, for the frozen ones are not in the file; those that must be there were counted above.
    model.load_state_dict(weights, strict=False)


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Parameters that train, and buffers: all that training changes and that a LoRA run needs to keep."""
    frozen = {id(parameter) for parameter in model.parameters() if not parameter.requires_grad}
    kept: dict[int, tuple[str, Tensor]] = {}
    # Under keep_vars the state holds the parameters themselves, tied ones under each of their names.
    for name, value in model.state_dict(keep_vars=True).items():
        if id(value) not in frozen:
            kept.setdefault(id(value), (name, value.detach()))
    return dict(kept.values())


def frozen_fingerprint(model: nn.Module) -> str:
    """Changes when a frozen weight changes; the same on every machine, for integers are summed.

    Seconds for a 7B model, where a hash of the bytes would take a minute.
    """
    import torch

    kinds = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if not parameter.requires_grad:
            bits = parameter.detach().contiguous().flatten().view(kinds[parameter.element_size()])
            digest.update(f"{name} {tuple(parameter.shape)} {int(bits.sum(dtype=torch.int64))}\n".encode())
    return digest.hexdigest()


def partial_folder(out: Path, step: int) -> Path:
    """The folder that the checkpoint of a step is written into before it has its name."""
    return out / f".checkpoint-{step}.partial"


def sweep(out: Path) -> None:
    """Remove what earlier processes left when they were killed while writing or deleting."""
    for pattern in (".checkpoint-*.partial", ".checkpoint-*.old"):
        for path in out.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def begin_anew(out: Path) -> None:
    """Remove all checkpoints of a run: those of the new one would not be newer."""
    rotate(out, 0)


def finish_checkpoint(out: Path, step: int, facts: dict[str, Any]) -> Path:
    """Give the partial checkpoint of a step its manifest and its name.

    Args:
        out: run folder.
        facts: what the manifest says besides the files.
    """
    partial, final = partial_folder(out, step), out / f"checkpoint-{step}"
    files = {}
    for path in sorted(p for p in partial.rglob("*") if p.is_file()):
        files[path.relative_to(partial).as_posix()] = {
            "bytes": path.stat().st_size,
            "sha256": _file_hash(path),
        }
        _to_disk(path)
    manifest = partial / MANIFEST
    manifest.write_text(json.dumps(facts | {"step": step, "files": files}, indent=1), encoding="utf-8")
    _to_disk(manifest)
    # Files, manifest, their folder's list of names, then the new name, then the run folder's list: wherever
    # the power goes, what is called a checkpoint is whole.
    _to_disk(partial)
    # One of this step may lie there, damaged and passed over.
    _set_aside(final)
    os.replace(partial, final)
    _to_disk(out)
    return final


@contextmanager
def whole_model(folder: Path) -> Iterator[Path]:
    """A folder to write a model into; its files move into `folder` when the block ends, `config.json` last.

    A folder without `config.json` is no model to anybody, so a kill half-way leaves none that is mixed from
    two. What else lies in `folder` stays.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        folder.mkdir(exist_ok=True)
        (folder / CONFIG_FILE).unlink(missing_ok=True)
        for path in sorted(partial.iterdir(), key=lambda path: path.name == CONFIG_FILE):
            _set_aside(folder / path.name)
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def rotate(out: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints."""
    for path in _folders(out)[keep:]:
        _set_aside(path)


def problem_with(folder: Path) -> str | None:
    """The reason why a checkpoint cannot be used; None when it is whole."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        expected = {name: (int(f["bytes"]), str(f["sha256"])) for name, f in files.items()}
    except FileNotFoundError:
        return "it has no manifest: it was never finished"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its manifest cannot be read ({type(error).__name__})"
    for name, (size, digest) in expected.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes instead of {size}"
        if _file_hash(path) != digest:
            return f"{name} was changed after it was written"
    return None


def last_checkpoint(out: Path) -> Path | None:
    """The newest checkpoint of a run that is whole; None when there is none. Says what it passes over."""
    for folder in _folders(out):
        problem = problem_with(folder)
        if problem is None:
            return folder
        log.warning("%s is passed over: %s", folder, problem)
    return None


def manifest_of(checkpoint: Path) -> dict[str, Any]:
    """The manifest of a checkpoint that `last_checkpoint` accepted."""
    content: dict[str, Any] = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
    return content


def step_of(checkpoint: Path) -> int:
    """`RUN/checkpoint-12` to 12."""
    return int(checkpoint.name.rpartition("-")[2])


@contextmanager
def told_when_full(out: Path, step: int) -> Iterator[None]:
    """Turn failures of writing a checkpoint into an error that says what is left and what to do.

    Raises:
        ModelError: the disk is full, or takes no files for another reason.
    """
    try:
        yield
    # torch.save reports a full disk as a RuntimeError of its zip writer.
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(partial_folder(out, step), ignore_errors=True)
        # Other RuntimeErrors, of CUDA or of the processes' meeting, are not the disk's.
        if isinstance(error, RuntimeError) and "write" not in str(error).lower():
            raise
        left = _folders(out)
        raise ModelError(
            f"The checkpoint of step {step} could not be written.",
            expected="room for one more checkpoint beside those that are kept",
            found=f"{error} ({shutil.disk_usage(out).free / 2**20:,.0f} MiB are free)",
            where=str(out),
            fix=(f"free some space, then start again: the run goes on from {left[0].name}" if left
                 else "free some space, then start again from the beginning"),
        ) from error  # fmt: skip


def _folders(out: Path) -> list[Path]:
    """`checkpoint-N` folders, newest first."""
    # `checkpoint-12.bak`, or whatever a person puts there, is left alone.
    found = [p for p in out.glob("checkpoint-*") if p.is_dir() and p.name.rpartition("-")[2].isdigit()]
    return sorted(found, key=step_of, reverse=True)


def _set_aside(folder: Path) -> None:
    """Delete a folder such that a kill half-way leaves none with its name; files are replaced as they are."""
    if folder.is_dir():
        aside = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(folder, aside)
        shutil.rmtree(aside, ignore_errors=True)


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    """Flush a file or a folder's list of names, so that a power cut finds them in this order."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
