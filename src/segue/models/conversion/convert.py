"""`convert`: one public checkpoint to one folder that `segue.load` (or transformers, for parts) opens."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import SamConfig, SamImageProcessorPil, SamModel

from segue.errors import InputError, ModelError
from segue.models.conversion import authors, miras, omg_llava, parts, sa2va
from segue.models.conversion.checkpoints import Checkpoint, open_checkpoint
from segue.models.conversion.families import FAMILIES, Family, identify, lisa_parts, target_shapes
from segue.models.conversion.outputs import whole_folder
from segue.models.conversion.plan import Plan, Shape, plan
from segue.models.conversion.sizes import sam_sizes
from segue.models.conversion.streaming import joined_shapes, write_converted
from segue.models.conversion.templates import SAM_HF, SAM_ORIGINAL
from segue.models.conversion.writing import SHARD_BYTES, ShardWriter
from segue.models.omg_llava.presets_omg_llava import OMG_LLAVA_COMPONENTS
from segue.models.presets_miras import MIRAS_COMPONENTS
from segue.models.processing_grounded import TEMPLATES


@dataclass(frozen=True)
class Report:
    """Account of a conversion.

    Attributes:
        kind: of the checkpoint, see `identify`.
        path: the folder that was written.
        lines: sentences about it.
    """

    kind: str
    path: Path
    lines: tuple[str, ...]


def convert(
    source: str | Path,
    out: str | Path,
    *,
    clip: str | Path | None = None,
    dinov2: str | Path | None = None,
    bert: str | Path | None = None,
    convnext: str | Path | None = None,
    sam: str | Path | None = None,
    omg_seg: str | Path | None = None,
    class_texts: str | Path | None = None,
    internlm: str | Path | None = None,
    template: str | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Report:
    """Convert a public checkpoint; every tensor is accounted for before the first is read.

    Args:
        source: folder or file, or the name of a hub repository that has been downloaded.
        out: folder to write; must not hold anything yet.
        clip: CLIP repository, where a checkpoint leaves it out; looked for among the downloaded
            repositories by default.
        dinov2: DINOv2 for a PRIMA checkpoint that has none.
        bert: repository with the Q-Former's tokenizer, for a PRIMA checkpoint that has none.
        convnext: OpenCLIP's ConvNeXt, for MIRAS and LLaVA; looked for likewise.
        sam: SAM, for LLaVA, which becomes a MIRAS; looked for likewise.
        omg_seg, class_texts, internlm: OMG-Seg's file, the class texts and InternLM2, for OMG-LLaVA; those
            beside the source by default, InternLM2 also among the downloaded repositories.
        template: one of `segue.models.processing_grounded.TEMPLATES`, for LISA, GLaMM, MIRAS and LLaVA.
        seed: of the parts of a MIRAS that no checkpoint has.
        dtype: of the written weights; that of most of the source by default.
        shard_bytes: largest file.

    Raises:
        ConversionError: tensors are left over, missing or of another size; all are named.
        ModelError: nothing that can be converted, or a damaged file.
        InputError: `out` is in use.
    """
    chat = chosen_template(template)
    if omg_llava.is_omg_llava(locate(source)):
        files = {"omg_seg": omg_seg, "class_texts": class_texts, "internlm": internlm}
        lines = _convert_omg_llava(locate(source), Path(out), dtype, shard_bytes, convnext, files)
        return Report("omg-llava", Path(out), tuple(lines))
    checkpoint = open_checkpoint(locate(source))
    kind = identify(checkpoint.shapes, checkpoint.config)
    # As it came: float32 would double 14 GB in silence, float16 would lose bfloat16's range.
    kept = dtype or checkpoint.majority_dtype()
    with whole_folder(Path(out)) as folder:
        if kind in FAMILIES:
            lines = _convert_lisa(FAMILIES[kind], checkpoint, clip, folder, kept, shard_bytes, chat)
        elif kind in ("miras", "llava"):
            beside = _beside_miras(checkpoint, clip=clip, convnext=convnext, sam=sam)
            lines = miras.convert_miras(
                checkpoint, folder, kept, shard_bytes, template=chat, seed=seed, **beside
            )
        elif kind == "sa2va":
            lines = sa2va.convert_sa2va(checkpoint, folder, kept, shard_bytes)
        elif kind in ("sam", "sam-hf"):
            lines = _convert_sam(kind, checkpoint, folder, kept, shard_bytes)
        elif kind == "instructblip":
            lines = parts.keep_vision(checkpoint, folder, kept, shard_bytes)
        else:
            lines = authors.convert_prima(
                checkpoint,
                folder,
                kept,
                shard_bytes,
                dinov2=open_checkpoint(locate(dinov2)) if dinov2 else None,
                bert=locate(bert) if bert else None,
            )
    return Report(kind, Path(out), tuple(lines))


def _convert_omg_llava(
    source: Path,
    out: Path,
    dtype: torch.dtype | None,
    shard_bytes: int,
    convnext: str | Path | None,
    files: dict[str, str | Path | None],
) -> list[str]:
    given: dict[str, Any] = {name: locate(part) if part else None for name, part in files.items()}
    with whole_folder(out) as folder:
        return omg_llava.convert_omg_llava(
            source,
            folder,
            dtype,
            shard_bytes,
            convnext=_beside(convnext, OMG_LLAVA_COMPONENTS["perception.backbone"]),
            downloaded=_downloaded(OMG_LLAVA_COMPONENTS["language_model"]),
            **given,
        )


def _downloaded(name: str) -> Path | None:
    """The folder of a hub repository, if it is here."""
    try:
        return locate(name)
    except ModelError:
        return None


def locate(source: str | Path) -> Path:
    """The folder or file that is meant: a path, or a hub repository among those already downloaded.

    Raises:
        ModelError: neither; nothing is downloaded here.
    """
    if os.path.exists(source):
        return Path(source)
    name = str(source)
    # A hub name is `owner/name`. What looks like a path and does not exist must not become a look-up.
    if name.count("/") == 1 and not name.startswith((".", "/")):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            return Path(snapshot_download(name, local_files_only=True))
        # Not downloaded, or no hub name at all: either way the message below says what to do.
        except (HFValidationError, LocalEntryNotFoundError, OSError):
            pass
    raise ModelError(
        "There is no such checkpoint here.",
        expected="a folder, a file, or a hub repository that has been downloaded",
        found=repr(name),
        where="source",
        fix=f"download it first, for example with `hf download {name}`" if "/" in name else "check the path",
    )


def _convert_lisa(
    family: Family,
    checkpoint: Checkpoint,
    clip: str | Path | None,
    folder: Path,
    dtype: torch.dtype,
    shard_bytes: int,
    template: dict[str, str] | None,
) -> list[str]:
    tower = _clip_of(family, checkpoint, clip)
    config, processor = lisa_parts(family, checkpoint, tower.config, template)
    shapes = target_shapes(family.model, config)
    # Released weights leave CLIP out; a checkpoint that holds one is converted with its own.
    has_tower = any(name.startswith("model.vision_tower.") for name in checkpoint.shapes)
    checkpoints = {"": checkpoint} if has_tower else {"": checkpoint, "clip:": tower}
    planned = plan(joined_shapes(checkpoints), shapes, family.rules, where=str(checkpoint.path))
    _write(checkpoints, planned, shapes, folder, dtype, shard_bytes)
    config.dtype = dtype
    config.save_pretrained(folder)
    processor.save_pretrained(folder)
    return planned.summary()


def _clip_of(family: Family, checkpoint: Checkpoint, clip: str | Path | None) -> Checkpoint:
    """The CLIP repository: as given, else the one that the checkpoint names, else the family's."""
    named = checkpoint.config.get("mm_vision_tower") or checkpoint.config.get("vision_tower")
    return _beside(clip, named, family.clip) or _no_clip(family)


def _beside_miras(
    checkpoint: Checkpoint,
    *,
    clip: str | Path | None,
    convnext: str | Path | None,
    sam: str | Path | None,
) -> dict[str, Checkpoint | None]:
    """The repositories that a checkpoint of MIRAS or LLaVA leaves out, as given or as downloaded."""
    named = checkpoint.config.get("mm_vision_tower") or checkpoint.config.get("vision_tower")
    return {
        "clip": _beside(clip, named, MIRAS_COMPONENTS["vision_model"]),
        "convnext": _beside(convnext, MIRAS_COMPONENTS["aux_vision_model"]),
        "sam": _beside(sam, MIRAS_COMPONENTS["sam"]),
    }


def _beside(given: str | Path | None, *named: str | None) -> Checkpoint | None:
    """A repository as given, else the first of those that has been downloaded; None without any.

    Raises:
        ModelError: what is given is not there.
    """
    if given:
        return open_checkpoint(locate(given))
    for name in named:
        try:
            if name:
                return open_checkpoint(locate(name))
        except ModelError:
            continue
    return None


def chosen_template(name: str | None) -> dict[str, str] | None:
    """A chat template by name; None leaves the family's own.

    Raises:
        InputError: there is none of that name.
    """
    if name is not None and name not in TEMPLATES:
        raise InputError(
            "There is no such chat template.",
            expected=" or ".join(TEMPLATES),
            found=repr(name),
            where="--template",
            fix="choose the one that the checkpoint was trained with",
        )
    return None if name is None else dict(TEMPLATES[name])


def _no_clip(family: Family) -> Checkpoint:
    raise InputError(
        "The vision tower is missing: the checkpoint leaves CLIP out.",
        expected=f"{family.clip}, downloaded",
        found="none",
        where="--clip",
        fix=f"download it (`hf download {family.clip}`) and give its folder with --clip",
    )


def _convert_sam(
    kind: str, checkpoint: Checkpoint, folder: Path, dtype: torch.dtype, shard_bytes: int
) -> list[str]:
    if kind == "sam":
        # The original file is weights alone, so that its size must be read from shapes.
        config, rules = SamConfig(**sam_sizes(checkpoint.shapes)), SAM_ORIGINAL
    else:
        config, rules = SamConfig(**checkpoint.config), SAM_HF
    shapes = target_shapes(SamModel, config)
    planned = plan(checkpoint.shapes, shapes, rules, where=str(checkpoint.path))
    _write({"": checkpoint}, planned, shapes, folder, dtype, shard_bytes)
    config.architectures, config.dtype = ["SamModel"], dtype
    config.save_pretrained(folder)
    side = int(config.vision_config.image_size)
    SamImageProcessorPil(
        size={"longest_edge": side}, pad_size={"height": side, "width": side}
    ).save_pretrained(folder)
    return planned.summary()


def _write(
    checkpoints: dict[str, Checkpoint],
    planned: Plan,
    shapes: dict[str, Shape],
    folder: Path,
    dtype: torch.dtype,
    shard_bytes: int,
) -> None:
    with ShardWriter(folder, shapes, dtype, shard_bytes) as writer:
        write_converted(checkpoints, planned, shapes, writer)
    # Folder names, not paths: the file travels with the weights, and a path would tell of one machine.
    origin = {"converted_from": [c.path.name for c in checkpoints.values()], "format": 1}
    (folder / "conversion.json").write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
