"""`segue init segue-4b`: Qwen3-VL and SAM 2.1 composed; the projection of `[SEG]` between them is fresh."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import AutoTokenizer

from segue.errors import ModelError
from segue.models.configuration_qwen3_vl import Qwen3VLGroundedConfig
from segue.models.conversion.checkpoints import Checkpoint
from segue.models.conversion.families import target_shapes
from segue.models.conversion.initialise import fresh_tensors
from segue.models.conversion.outputs import whole_folder
from segue.models.conversion.plan import Plan, Shape, plan
from segue.models.conversion.rules import Rule, drops
from segue.models.conversion.streaming import joined_shapes, write_converted
from segue.models.conversion.writing import SHARD_BYTES, ShardWriter
from segue.models.presets import preset
from segue.models.presets_qwen import NEW_TOKENS
from segue.models.processing_qwen3_vl import (
    QWEN_TOKENS,
    Qwen3VLGroundedProcessor,
    qwen_processor,
    qwen_streams_for,
)
from segue.models.qwen3_vl import Qwen3VLGroundedModel

FRESH = ("seg_projection.",)
"""Parts that no public checkpoint has."""

HEAD = "language_model.lm_head.weight"

_TOKENIZER_FILES = ("tokenizer*", "vocab.*", "merges.txt", "added_tokens.json", "special_tokens_map.json")

_SAM_FIELDS = ("vision_config", "prompt_encoder_config", "mask_decoder_config")

SEGUE_FROM_PARTS: tuple[Rule, ...] = (
    Rule("qwen:model.{rest}", ("language_model.model.{rest}",)),
    Rule("qwen:lm_head.weight", (HEAD,)),
    *drops(
        "SAM 2's memory of videos",
        "sam:memory_{rest}",
        "sam:mask_downsample.{rest}",
        "sam:object_pointer_proj.{rest}",
        "sam:temporal_positional_encoding_projection_layer.{rest}",
        "sam:no_memory_positional_encoding",
        "sam:no_object_pointer",
        "sam:occlusion_spatial_embedding_parameter",
    ),
    Rule("sam:{rest}", ("sam.{rest}",)),
)
"""Names there to names here; both checkpoints have transformers' own."""

_TIED = drops("the head, which is the embedding table", "qwen:lm_head.weight")


def initialise_segue(
    qwen: Checkpoint,
    sam: Checkpoint,
    out: Path,
    *,
    name: str = "segue-4b",
    seed: int = 0,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> list[str]:
    """Compose a model of Qwen3-VL and SAM 2.1.

    At step 0 its words are Qwen3-VL's own: the three new tokens take rows that Qwen's table has free.

    Args:
        qwen: Qwen3-VL with its tokenizer.
        sam: SAM 2 or 2.1 as transformers saves it (`facebook/sam2.1-hiera-large`).
        out: folder to write; must not hold anything yet.
        name: a preset of the family.
        seed: of the fresh projection.
        dtype: of the written weights; that of Qwen3-VL by default.
        shard_bytes: largest file.

    Returns:
        Sentences about what was taken over and what is fresh.

    Raises:
        ConversionError: a part does not fit; every tensor is named.
        ModelError: the tokenizer or a config.json is missing, or the table has no free rows.
    """
    kept = dtype or qwen.majority_dtype()
    tokenizer = qwen_tokenizer(qwen)
    config = composed_segue_config(name, qwen, sam, tokenizer)
    planned, shapes = plan_segue(config, qwen, sam)
    processor = qwen_processor(Qwen3VLGroundedProcessor, tokenizer, qwen_streams_for(config))
    config.architectures, config.dtype = [Qwen3VLGroundedModel.__name__], kept
    checkpoints = {"qwen:": qwen, "sam:": sam}
    fresh = fresh_tensors(config, planned.fresh, seed, Qwen3VLGroundedModel, FRESH)
    with whole_folder(out) as partial:
        with ShardWriter(partial, shapes, kept, shard_bytes) as writer:
            write_converted(checkpoints, planned, shapes, writer, fresh)
        config.save_pretrained(partial)
        processor.save_pretrained(partial)
        origin = {"converted_from": [c.path.name for c in checkpoints.values()], "seed": seed, "format": 1}
        (partial / "conversion.json").write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
    return planned.summary()


def load_qwen_tokenizer(path: Path) -> Any:
    """Qwen3-VL's tokenizer, of a folder or beside a file; ModelError where it is missing."""
    folder = path if path.is_dir() else path.parent
    try:
        tokenizer = _tokenizer_alone(folder)
    except (OSError, ValueError) as error:
        raise unfit_part(folder, "a tokenizer in Qwen3-VL's folder", str(error).splitlines()[0]) from None
    absent = [token for token in QWEN_TOKENS if token not in tokenizer.get_vocab()]
    if absent:
        raise unfit_part(folder, "Qwen3-VL's tokenizer", f"none of its tokens {', '.join(absent)}")
    # A turn ends with this token, whatever the tokenizer's files call the end of a text.
    tokenizer.eos_token = "<|im_end|>"
    return tokenizer


def _tokenizer_alone(folder: Path) -> Any:
    """The tokenizer of a folder, read without its config.json.

    Sa2VA's names code of its own there, for which transformers would ask whether to run it.
    """
    with TemporaryDirectory() as bare:
        for pattern in _TOKENIZER_FILES:
            for path in folder.glob(pattern):
                shutil.copyfile(path, Path(bare) / path.name)
        return AutoTokenizer.from_pretrained(bare, local_files_only=True, trust_remote_code=False)


def qwen_tokenizer(qwen: Checkpoint) -> Any:
    """Qwen3-VL's tokenizer with the new tokens; ModelError where it is missing or the table is full."""
    tokenizer = load_qwen_tokenizer(qwen.path)
    # Tags take the blank before them: the state that predicts `[SEG]` is then the one at `</p>`.
    added = [AddedToken(token, lstrip=True, normalized=False, special=True) for token in NEW_TOKENS]
    tokenizer.add_tokens(added, special_tokens=True)
    rows = qwen.shapes.get("model.language_model.embed_tokens.weight", (0,))[0]
    if len(tokenizer) > rows:
        expected = f"at least {len(tokenizer)} rows of the embedding, one per token"
        raise unfit_part(qwen.path, expected, str(rows))
    return tokenizer


def composed_segue_config(
    name: str, qwen: Checkpoint, sam: Checkpoint, tokenizer: Any
) -> Qwen3VLGroundedConfig:
    """The preset's configuration with the sizes of the parts at hand.

    Raises:
        ModelError: a config.json does not describe its part.
    """
    for part, fields, what in (
        (qwen, ("text_config", "vision_config"), "Qwen3-VL"),
        (sam, _SAM_FIELDS, "SAM 2"),
    ):
        absent = [field for field in fields if field not in part.config]
        if absent:
            raise unfit_part(part.path, f"the config.json of {what}", f"none of {', '.join(absent)}")
    text = dict(qwen.config["text_config"])
    tied = qwen.config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
    text |= {"tie_word_embeddings": bool(tied), "eos_token_id": tokenizer.eos_token_id}
    text |= {"pad_token_id": tokenizer.pad_token_id}
    segmenter: dict[str, Any] = {field: dict(sam.config[field]) for field in _SAM_FIELDS}
    segmenter["model_type"] = "sam2"
    segmenter["mask_decoder_config"]["dynamic_multimask_via_stability"] = False
    seg, phrase = tokenizer.convert_tokens_to_ids(list(NEW_TOKENS[:2]))
    start, end, image = tokenizer.convert_tokens_to_ids(list(QWEN_TOKENS[2:]))
    config = preset(name).config(
        text_config=text,
        vision_config=dict(qwen.config["vision_config"]),
        sam_config=segmenter,
        seg_token_id=seg,
        phrase_token_id=phrase,
        vision_start_token_id=start,
        vision_end_token_id=end,
        image_token_id=image,
    )
    assert isinstance(config, Qwen3VLGroundedConfig)
    return config


def plan_segue(
    config: Qwen3VLGroundedConfig, qwen: Checkpoint, sam: Checkpoint
) -> tuple[Plan, dict[str, Shape]]:
    """The place of every tensor, and the shapes that are written; ConversionError when they do not fit."""
    shapes = target_shapes(Qwen3VLGroundedModel, config)
    tied = bool(config.text_config.tie_word_embeddings)
    if tied:
        # One table under two names: it is written once, as `save_pretrained` does.
        del shapes[HEAD]
    rules = (*(_TIED if tied else ()), *SEGUE_FROM_PARTS)
    sources = joined_shapes({"qwen:": qwen, "sam:": sam})
    where = f"{qwen.path}, {sam.path}"
    return plan(sources, shapes, rules, fresh=FRESH, where=where), shapes


def unfit_part(where: Path, expected: str, found: str) -> ModelError:
    """Error about a part that lacks something."""
    return ModelError(
        "A part of the model cannot be used.",
        expected=expected,
        found=found,
        where=str(where),
        fix="download the whole repository, such as Qwen/Qwen3-VL-4B-Instruct or facebook/sam2.1-hiera-large",
    )
