"""Sa2VA on Qwen3-VL as published, to a model of ours; the other variants are refused with the reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoProcessor

from segue.errors import ModelError
from segue.models.auto import load_config, weight_files
from segue.models.configuration_qwen3_vl import Qwen3VLGroundedConfig, Sa2vaConfig
from segue.models.conversion.checkpoints import Checkpoint
from segue.models.conversion.families import target_shapes
from segue.models.conversion.outputs import whole_folder
from segue.models.conversion.plan import Target, plan
from segue.models.conversion.qwen3_vl import load_qwen_tokenizer, unfit_part
from segue.models.conversion.streaming import write_converted
from segue.models.conversion.templates_sam2 import SA2VA, SAM2_PREFIX
from segue.models.conversion.writing import SHARD_BYTES, ShardWriter
from segue.models.presets_qwen import NEW_TOKENS, SAM2_LARGE
from segue.models.processing_qwen3_vl import (
    QWEN_TOKENS,
    Qwen3VLGroundedProcessor,
    Sa2vaProcessor,
    qwen_processor,
    qwen_streams_for,
    sa2va_streams_for,
)
from segue.models.qwen3_vl import Qwen3VLGroundedModel, Sa2vaModel

UNSUPPORTED: dict[str, str] = {
    "InternVL": "its language models and tiles of 448 pixels are not composed here (1B to 26B, InternVL3-*)",
    "Qwen2.5-VL": "its vision tower attends in windows and its states are normed otherwise (Qwen2_5-VL-*)",
    "LLaVA-1.5": "its language model and picture tower are not composed with SAM 2 here (LLaVA-1.5-7B)",
    "SAM 3": "it draws with SAM 3's tracker, and no mask where that finds nothing (Qwen3-VL-4B-SAM3)",
}
"""Other published variants -> why they are not converted."""


def convert_sa2va(
    checkpoint: Checkpoint,
    folder: Path,
    dtype: torch.dtype,
    shard_bytes: int = SHARD_BYTES,
    *,
    sam: Mapping[str, Any] = SAM2_LARGE,
) -> list[str]:
    """Write Sa2VA on Qwen3-VL as a folder of ours.

    Args:
        checkpoint: the repository, tokenizer included.
        folder: empty.
        dtype: of the written weights.
        shard_bytes: largest file.
        sam: sizes of its SAM 2, which are in its code, not in its config.json.

    Returns:
        Sentences about what was taken over and what was left out.

    Raises:
        ModelError: another variant, with the reason; or the tokenizer or its tokens are missing.
        ConversionError: tensors are left over, missing or of another size; all are named.
    """
    tokenizer = load_qwen_tokenizer(checkpoint.path)
    target = sa2va_target(checkpoint, token_ids(checkpoint, tokenizer), sam)
    config, shapes = target.config, dict(target.shapes)
    planned = plan(checkpoint.shapes, shapes, target.rules, where=str(checkpoint.path))
    with ShardWriter(folder, shapes, dtype, shard_bytes) as writer:
        write_converted({"": checkpoint}, planned, shapes, writer)
    config.architectures, config.dtype = [Sa2vaModel.__name__], dtype
    config.save_pretrained(folder)
    qwen_processor(Sa2vaProcessor, tokenizer, sa2va_streams_for(config)).save_pretrained(folder)
    _note_origin(folder, checkpoint.path)
    return planned.summary()


def check_variant(checkpoint: Checkpoint) -> None:
    """Refuse the variants of `UNSUPPORTED` with a ModelError."""
    names = checkpoint.shapes
    found = None
    if any(name.startswith(f"{SAM2_PREFIX}backbone.") for name in names):
        found = "SAM 3"
    elif any(name.startswith(("vision_model.", "mlp1.")) for name in names):
        found = "InternVL"
    elif any("vision_tower." in name for name in names):
        found = "LLaVA-1.5"
    elif not any(name.endswith(".self_attn.q_norm.weight") for name in names):
        # Qwen3's queries and keys have norms of their own, Qwen2.5's have none.
        found = "Qwen2.5-VL"
    if found is not None:
        raise ModelError(
            "This variant of Sa2VA cannot be converted.",
            expected="Sa2VA on Qwen3-VL with SAM 2: ByteDance/Sa2VA-Qwen3-VL-4B or -2B",
            found=f"Sa2VA on {found}: {UNSUPPORTED[found]}" if found != "SAM 3" else UNSUPPORTED[found],
            where=str(checkpoint.path),
            fix="download one of the two",
        )


def token_ids(checkpoint: Checkpoint, tokenizer: Any) -> dict[str, int]:
    """Fields of the configuration that are ids, asked by name: the published ones are nowhere written down.

    Raises:
        ModelError: a token is missing.
    """
    vocabulary = tokenizer.get_vocab()
    unknown = [token for token in NEW_TOKENS if token not in vocabulary]
    if unknown:
        raise unfit_part(checkpoint.path, "Sa2VA's tokenizer", f"none of its tokens {', '.join(unknown)}")
    start, end, image = (vocabulary[token] for token in QWEN_TOKENS[2:])
    return {
        "seg_token_id": vocabulary[NEW_TOKENS[0]],
        "phrase_token_id": vocabulary[NEW_TOKENS[1]],
        "vision_start_token_id": start,
        "vision_end_token_id": end,
        "image_token_id": image,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def sa2va_target(
    checkpoint: Checkpoint, ids: Mapping[str, int] | None = None, sam: Mapping[str, Any] = SAM2_LARGE
) -> Target:
    """The model that a Sa2VA becomes, from its config.json and shapes.

    Args:
        checkpoint: or its headers alone.
        ids: see `token_ids`; no shape depends on them.
        sam: see `convert_sa2va`.

    Raises:
        ModelError: another variant, or its config.json does not describe Qwen3-VL.
    """
    check_variant(checkpoint)
    absent = [part for part in ("text_config", "vision_config") if part not in checkpoint.config]
    if absent:
        raise unfit_part(checkpoint.path, "the config.json of Sa2VA", f"none of {', '.join(absent)}")
    known = dict(ids or {})
    text = dict(checkpoint.config["text_config"])
    text |= {name: known.pop(name) for name in ("eos_token_id", "pad_token_id") if name in known}
    text |= {
        # From the table: the number in config.json may be that from before tokens were added.
        "vocab_size": checkpoint.shapes.get("model.model.language_model.embed_tokens.weight", (0,))[0],
        # Head and embeddings were trained apart, whatever Qwen's own configuration says.
        "tie_word_embeddings": False,
    }
    config = Sa2vaConfig(
        text_config=text,
        vision_config=dict(checkpoint.config["vision_config"]),
        sam_config=dict(sam),
        pixel_loss="bce",
        mask_loss_resolution="points",
        **known,
    )
    return Target(config, target_shapes(Sa2vaModel, config), SA2VA)


def start_from_sa2va(source: Path, out: Path) -> list[str]:
    """Write a `segue` that starts from a converted Sa2VA: its weights, PRIMA's protocol.

    What a prompt is read from and how a mask is chosen stays as the weights were trained; pictures for masks
    are normalised as in Sa2VA's training, with exact numbers.

    Args:
        source: folder that `convert_sa2va` wrote.
        out: folder to write; must not hold anything yet.

    Raises:
        ModelError: `source` is no Sa2VA. InputError: `out` is in use.
    """
    theirs = load_config(source)
    if not isinstance(theirs, Sa2vaConfig):
        raise ModelError(
            "Only a converted Sa2VA can be started from.",
            expected="a folder with model_type 'sa2va'",
            found=repr(theirs.model_type),
            where=str(source),
            fix="convert it first: `segue convert ByteDance/Sa2VA-Qwen3-VL-4B --to models/sa2va-4b`",
        )
    fields = {name: value for name, value in theirs.to_dict().items() if name != "model_type"}
    config = Qwen3VLGroundedConfig(**fields)
    config.architectures = [Qwen3VLGroundedModel.__name__]
    tokenizer = AutoProcessor.from_pretrained(str(source), local_files_only=True).tokenizer
    with whole_folder(out) as partial:
        # The names are the same, so that the files are, too.
        for path in (*weight_files(source), *source.glob("*.safetensors.index.json")):
            shutil.copyfile(path, partial / path.name)
        config.save_pretrained(partial)
        processor = qwen_processor(Qwen3VLGroundedProcessor, tokenizer, qwen_streams_for(config))
        processor.save_pretrained(partial)
        _note_origin(partial, source)
    return ["all weights of Sa2VA taken over; it has yet to learn which image a [SEG] is in"]


def _note_origin(folder: Path, source: Path) -> None:
    # A folder's name, not its path: the file travels with the weights.
    origin = {"converted_from": [source.name], "format": 1}
    (folder / "conversion.json").write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
