"""MIRAS from its own checkpoints, or composed of LLaVA-1.5, OpenCLIP's ConvNeXt and SAM.

The names decide what is there: MIRAS brings `[SEG]`'s projection, SAM and patch mining (its merging script
loses the ConvNeXt), Mini-Gemini patch mining alone, LLaVA-1.5 neither. What no checkpoint has starts fresh:
region alignment always, for it was never saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, SamConfig

from segue import protocol
from segue.errors import InputError, ModelError
from segue.models.configuration_miras import MirasConfig
from segue.models.conversion.checkpoints import Checkpoint
from segue.models.conversion.families import IMAGE_WRAP, target_shapes
from segue.models.conversion.initialise import fresh_tensors
from segue.models.conversion.plan import Plan, Shape, plan
from segue.models.conversion.rules import Rule, under
from segue.models.conversion.sizes import count, llama_sizes, part_sizes, sam_sizes, strip_prefix
from segue.models.conversion.streaming import joined_shapes, write_converted
from segue.models.conversion.templates import LLAVA_HF, MIRAS, SAM_HF, SAM_ORIGINAL
from segue.models.conversion.tokenizers import added_tokens, load_tokenizer, vocabulary_size
from segue.models.conversion.writing import ShardWriter
from segue.models.image_streams import miras_streams_for
from segue.models.modeling_miras import MirasModel
from segue.models.processing_grounded import MirasProcessor

PUBLISHED_TOKENS = (protocol.SEG_TOKEN, protocol.OBJ_TOKEN, *IMAGE_WRAP, "<im_patch>")
WITHOUT_OBJ = (protocol.SEG_TOKEN, *IMAGE_WRAP, "<im_patch>")
"""Added tokens in the published order, with and without `[OBJ]`. Source: MIRAS's code."""

FRESH = {
    "region_alignment.": "region_alignment",
    "fusion.": "vlm_uni_",
    "seg_projection.": "text_hidden_fcs",
}
"""Parts that a checkpoint may lack as a whole, and the word in its names that says that it has one."""

MINI_GEMINI_WINDOW = 8
"""Cells on a side that Mini-Gemini's patch mining was trained with. Source: its code."""

TABLES = ("embed_tokens.weight", "lm_head.weight")


@dataclass(frozen=True)
class Vocabulary:
    """Fate of the rows of a checkpoint's tables.

    Attributes:
        kept: rows that are taken over.
        added: further tokens in their order.
        known: those of them, and their ids, that the rows taken over stand for.
    """

    kept: int
    added: tuple[str, ...]
    known: Mapping[str, int]

    @property
    def rows(self) -> int:
        """Rows of our tables."""
        return self.kept + len(self.new)

    @property
    def new(self) -> list[str]:
        """Tokens that get rows of their own behind those that are taken over."""
        return [token for token in self.added if token not in self.known]

    def id_of(self, token: str) -> int:
        """The row of an added token."""
        return self.known[token] if token in self.known else self.kept + self.new.index(token)


def vocabulary(names: Mapping[str, Shape], base: int, known: Mapping[str, int]) -> Vocabulary:
    """Plan the tables: LLaVA's own pieces and five new rows, or all of MIRAS's and `[OBJ]` if it has none.

    Args:
        names: names and shapes of the checkpoint.
        base: pieces of the language model's vocabulary.
        known: added tokens that the folder names.
    """
    if not has_masks(names):
        # LLaVA: the first 32000 rows are kept, and [SEG] .. <im_patch> follow as 32000 .. 32004.
        return Vocabulary(base, PUBLISHED_TOKENS, {})
    rows = table_shape(names)[0]
    # Five rows beyond LLaMA's are those with `[OBJ]`, four those without it.
    order = PUBLISHED_TOKENS if rows - base == len(PUBLISHED_TOKENS) else WITHOUT_OBJ
    published = dict(known) or {token: base + place for place, token in enumerate(order)}
    return Vocabulary(rows, (*published, *(t for t in PUBLISHED_TOKENS if t not in published)), published)


def has_masks(names: Mapping[str, Any]) -> bool:
    """Whether a checkpoint brings SAM: MIRAS does, LLaVA and Mini-Gemini do not."""
    return any(name.startswith("model.visual_model.") for name in names)


def is_transformers_llava(names: Mapping[str, Any] | Sequence[str]) -> bool:
    """Whether a LLaVA has the names of transformers rather than its own."""
    return any("multi_modal_projector.linear_1." in name for name in names)


def table_shape(names: Mapping[str, Shape]) -> Shape:
    """Shape of the embedding, under any of the three namings."""
    # The token table is (rows, width).
    return next(shape for name, shape in names.items() if name.endswith(TABLES[0]))


def miras_rules(names: Mapping[str, Shape], kept: int, sam_from_transformers: bool) -> tuple[Rule, ...]:
    """Rules for the names at hand, with the rows of the tables.

    Args:
        names: names and shapes of the checkpoint.
        kept: rows of its tables that are taken over.
        sam_from_transformers: naming of the SAM beside it.
    """
    # The tables' own rules come before those that would take them whole.
    ours = dict(zip(TABLES, ("model.embed_tokens.weight", "lm_head.weight"), strict=True))
    tables = tuple(
        Rule(name, (f"language_model.{target}",), rows=kept)
        for name in names
        for ending, target in ours.items()
        if name.endswith(ending)
    )
    rules = LLAVA_HF if is_transformers_llava(names) else MIRAS
    return (*tables, *rules, *under("sam:", "sam.", SAM_HF if sam_from_transformers else SAM_ORIGINAL))


def miras_config(
    checkpoint: Checkpoint,
    words: Vocabulary,
    clip: Mapping[str, Any],
    convnext: Mapping[str, Shape],
    sam: Checkpoint | None,
) -> MirasConfig:
    """The configuration of what is at hand.

    Args:
        checkpoint: MIRAS, Mini-Gemini or LLaVA.
        words: of `vocabulary`.
        clip: config.json of the CLIP repository (or of a LLaVA in transformers' form, which has it inside).
        convnext: names and shapes that hold the ConvNeXt, in any naming.
        sam: where the checkpoint has none.
    """
    names = checkpoint.shapes
    text = checkpoint.config
    if "text_config" in text:
        # Written as differences to the defaults of its class.
        text = LlamaConfig(**part_sizes(text, "text_config")).to_dict()
    inside = strip_prefix(names, "model.visual_model.")
    if inside:
        sam_config = sam_sizes(inside)
    else:
        assert sam is not None
        sam_config = sam.config if is_transformers_sam(sam) else sam_sizes(sam.shapes)
    # `mm_projector.0` and `.2` with a GELU between them, or one `mm_projector` without a number.
    layers = 2 if any(n.endswith(("mm_projector.2.weight", "linear_2.weight")) for n in names) else 1
    inner = names.get("model.text_hidden_fcs.0.0.weight", (None,))[0]
    config = MirasConfig(
        text_config=llama_sizes(text, words.rows),
        sam_config=SamConfig(**sam_config).to_dict(),
        vision_config=part_sizes(clip, "vision_config"),
        aux_vision_config=convnext_sizes(convnext, int(checkpoint.config.get("image_size_aux") or 768)),
        vision_select_layer=int(
            checkpoint.config.get("mm_vision_select_layer")
            or checkpoint.config.get("vision_feature_layer")
            or -2
        ),
        projector_layers=layers,
        seg_token_id=words.id_of(protocol.SEG_TOKEN),
        phrase_token_id=words.id_of(protocol.OBJ_TOKEN),
        # Beyond the tables: the model can then never write it.
        image_token_id=words.rows,
        seg_projection_hidden_size=None if inner == table_shape(names)[1] else inner,
    )
    grid = config.vision_config.image_size // config.vision_config.patch_size
    # Mining without SAM is Mini-Gemini's own release, trained at 8 x 8 cells; with SAM it is MIRAS's, 2 x 2.
    mining = any("vlm_uni_query_projector" in name for name in names)
    config.aux_grid = grid * (MINI_GEMINI_WINDOW if mining and not inside else 2)
    config.architectures = [MirasModel.__name__]
    return config


def is_transformers_sam(sam: Checkpoint) -> bool:
    """Whether a SAM has the names of transformers."""
    return any(name.startswith("vision_encoder.") for name in sam.shapes)


def convnext_sizes(names: Mapping[str, Shape], side: int) -> dict[str, Any]:
    """Fields of a `ConvNextConfig` from timm's, OpenCLIP's, MIRAS's or transformers' names.

    Raises:
        ModelError: there is no ConvNeXt of four stages.
    """
    # Behind the last `stages.` all namings agree but for the words in `blocks`.
    own = {name.rpartition("stages.")[2]: shape for name, shape in names.items() if "stages." in name}
    blocks = {"blocks": "conv_dw", "layers": "dwconv"}
    kind = next((k for k in blocks if f"0.{k}.0.{blocks[k]}.weight" in own), None)
    # [3, 3, 27, 3] for the large one.
    depths = [count(own, f"{n}.{kind}.#.{blocks[kind]}.weight") for n in range(4)] if kind else [0]
    if not all(depths):
        raise ModelError(
            "There is no ConvNeXt in the checkpoint.",
            expected="four stages of blocks, under OpenCLIP's, timm's or transformers' names",
            found=", ".join(sorted(names)[:3]) or "no tensors",
            where="--convnext",
            fix="give the folder or file of laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup",
        )
    assert kind is not None
    widths = [own[f"{n}.{kind}.0.{blocks[kind]}.weight"][0] for n in range(4)]
    stems = ("stem.0.weight", "patch_embeddings.weight")
    stem = next((shape for name, shape in names.items() if name.endswith(stems)), (0, 3, 4, 4))
    return {"hidden_sizes": widths, "depths": depths, "patch_size": stem[-1], "image_size": side}


def plan_miras(
    config: MirasConfig, checkpoints: Mapping[str, Checkpoint], kept: int, where: str = ""
) -> Plan:
    """The place of every tensor; the checkpoint has the label "", others "clip:", "convnext:", "sam:".

    Raises:
        ConversionError: tensors are left over, missing or of another size; all are named.
    """
    names = checkpoints[""].shapes
    # As a whole or not at all: where a checkpoint has one tensor of a part, a missing second one is an error.
    lacking = tuple(part for part, word in FRESH.items() if not any(word in name for name in names))
    from_transformers = "sam:" in checkpoints and is_transformers_sam(checkpoints["sam:"])
    rules = miras_rules(names, kept, from_transformers)
    shapes = target_shapes(MirasModel, config)
    return plan(joined_shapes(checkpoints), shapes, rules, fresh=lacking, where=where)


def parts_beside(
    checkpoint: Checkpoint, clip: Checkpoint | None, convnext: Checkpoint | None, sam: Checkpoint | None
) -> dict[str, Checkpoint]:
    """The repositories that a checkpoint needs, by label; those that it holds itself are not among them.

    Raises:
        InputError: one is needed and not given.
    """
    names = checkpoint.shapes
    needed: dict[str, tuple[bool, Checkpoint | None, str]] = {
        "clip:": (not any("vision_tower." in n for n in names), clip, "openai/clip-vit-large-patch14-336"),
        "convnext:": (
            not any("vision_tower_aux." in n for n in names),
            convnext,
            "laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup",
        ),
        "sam:": (not has_masks(names), sam, "sam_vit_h_4b8939.pth, or facebook/sam-vit-huge"),
    }
    found = {"": checkpoint}
    for label, (wanted, given, public) in needed.items():
        if wanted and given is None:
            raise InputError(
                "A part of MIRAS is missing: this checkpoint leaves it out.",
                expected=f"{public}, downloaded",
                found="none",
                where=f"--{label[:-1]}",
                fix=f"download it and give its folder or file with --{label[:-1]}",
            )
        if wanted and given is not None:
            found[label] = given
    return found


def convert_miras(
    checkpoint: Checkpoint,
    folder: Path,
    dtype: torch.dtype,
    shard_bytes: int,
    *,
    clip: Checkpoint | None = None,
    convnext: Checkpoint | None = None,
    sam: Checkpoint | None = None,
    template: dict[str, str] | None = None,
    seed: int = 0,
) -> list[str]:
    """Write a MIRAS; see `segue.models.conversion.convert`."""
    checkpoints = parts_beside(checkpoint, clip, convnext, sam)
    base = checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent
    is_llava = not has_masks(checkpoint.shapes)
    words = vocabulary(
        checkpoint.shapes, vocabulary_size(base), {} if is_llava else _published(added_tokens(base))
    )
    # LLaVA in transformers' form describes its CLIP itself.
    tower = checkpoint.config if "vision_config" in checkpoint.config else (clip.config if clip else {})
    source = checkpoints.get("convnext:", checkpoint).shapes
    config = miras_config(checkpoint, words, tower, source, checkpoints.get("sam:"))
    longest = int(config.text_config.max_position_embeddings)
    tokenizer = load_tokenizer(base, words.added, words.rows, longest, known=dict(words.known))
    tokens = [protocol.SEG_TOKEN, protocol.OBJ_TOKEN, protocol.IMAGE_TOKEN]
    ids = [int(i) for i in tokenizer.convert_tokens_to_ids(tokens)]
    config.seg_token_id, config.phrase_token_id, config.image_token_id = ids
    planned = plan_miras(config, checkpoints, words.kept, str(checkpoint.path))
    shapes = target_shapes(MirasModel, config)
    fresh = fresh_tensors(config, planned.fresh, seed, MirasModel, tuple(FRESH))
    with ShardWriter(folder, shapes, dtype, shard_bytes) as writer:
        write_converted(checkpoints, planned, shapes, writer, fresh)
    config.dtype = dtype
    config.save_pretrained(folder)
    MirasProcessor(
        tokenizer,
        image_streams=miras_streams_for(config),
        num_query_tokens=config.tokens_per_image,
        image_wrap=list(IMAGE_WRAP),
        template=template,
    ).save_pretrained(folder)
    return planned.summary()


def _published(known: Mapping[str, int]) -> dict[str, int]:
    """The tokens that MIRAS added, in the order of their ids; LLaMA's own are known without them."""
    return {t: i for t, i in sorted(known.items(), key=lambda item: item[1]) if t in PUBLISHED_TOKENS}
