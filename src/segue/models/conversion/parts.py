"""InstructBLIP's seeing half: its vision tower, Q-Former and queries, without its language model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import InstructBlipQFormerConfig, InstructBlipVisionConfig, InstructBlipVisionModel
from transformers.models.instructblip import InstructBlipQFormerModel

from segue.errors import ModelError
from segue.models.conversion.checkpoints import Checkpoint
from segue.models.conversion.families import target_shapes
from segue.models.conversion.plan import Shape, Target, plan
from segue.models.conversion.rules import drops, renames
from segue.models.conversion.sizes import part_sizes
from segue.models.conversion.streaming import write_converted
from segue.models.conversion.templates import INSTRUCTBLIP_LANGUAGE
from segue.models.conversion.writing import ShardWriter

_KEPT = (
    *renames(("vision_model.{rest}", "vision_model.{rest}")),
    *drops("computed from the configuration", "qformer.embeddings.position_ids"),
    *renames(("qformer.{rest}", "qformer.{rest}"), ("query_tokens", "query_tokens")),
    *INSTRUCTBLIP_LANGUAGE,
)


def instructblip_sizes(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Fields of the vision tower's and the Q-Former's configurations, and the number of queries.

    Raises:
        ModelError: the config.json is not InstructBLIP's.
    """
    missing = [name for name in ("vision_config", "qformer_config") if not isinstance(config.get(name), dict)]
    if missing:
        raise ModelError(
            "The config.json is not InstructBLIP's.",
            expected="vision_config and qformer_config",
            found=f"no {' and no '.join(missing)}",
            where="config.json",
            fix="give the folder of the whole repository",
        )
    vision, qformer = part_sizes(config, "vision_config"), part_sizes(config, "qformer_config")
    return vision, qformer, int(config.get("num_query_tokens") or 32)


def instructblip_target(checkpoint: Checkpoint) -> Target:
    """What is kept of an InstructBLIP repository, under its own names.

    Raises:
        ModelError: the config.json is not InstructBLIP's.
    """
    vision, qformer, queries = instructblip_sizes(checkpoint.config)
    reader = InstructBlipQFormerConfig(**qformer)
    tower = InstructBlipVisionConfig(**vision)
    shapes: dict[str, Shape] = {
        f"vision_model.{n}": s for n, s in target_shapes(InstructBlipVisionModel, tower).items()
    }
    shapes |= {f"qformer.{n}": s for n, s in target_shapes(InstructBlipQFormerModel, reader).items()}
    shapes["query_tokens"] = (1, queries, reader.hidden_size)
    return Target(checkpoint.config, shapes, _KEPT)


def keep_vision(checkpoint: Checkpoint, folder: Path, dtype: torch.dtype, shard_bytes: int) -> list[str]:
    """Write what `segue init` needs of an InstructBLIP repository: 2 GB in place of 31.

    The names stay InstructBLIP's own; the Q-Former's tokenizer and config.json are copied.
    """
    target = instructblip_target(checkpoint)
    shapes = target.shapes
    planned = plan(checkpoint.shapes, shapes, target.rules, where=str(checkpoint.path))
    with ShardWriter(folder, shapes, dtype, shard_bytes) as writer:
        write_converted({"": checkpoint}, planned, shapes, writer)
    (folder / "config.json").write_text(json.dumps(checkpoint.config, indent=2) + "\n", encoding="utf-8")
    # `segue init` looks for it beside the weights, and the repository may be deleted by then.
    tokenizer = checkpoint.path / "qformer_tokenizer"
    if tokenizer.is_dir():
        shutil.copytree(tokenizer, folder / "qformer_tokenizer")
    return planned.summary()
