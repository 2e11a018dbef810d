"""The rows of the papers' tables at small size: one trunk, and on it each row's way from features to tokens.

    python -m segue.mini.small_rows --trunk segue-scenes --out runs/small/starts

Both image encoders, SAM and the language model are the trunk's; findings and heat maps are left out. LISA,
GLaMM and MIRAS stand here for what their designs do with an image's features (patches through one layer;
through two; patches that look into a second encoder, and prompts that ask their phrase), not for their own
encoders, which cannot be shared. So the rows compare designs at equal cost of training, and say nothing of
the papers.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from segue.errors import InputError
from segue.models.auto import ModelBundle, load
from segue.models.build import start_prompt_positions
from segue.models.configuration_grounded import PrimaConfig
from segue.models.image_streams import streams_for
from segue.models.modeling_prima import PrimaModel
from segue.models.processing_grounded import GlammProcessor, GroundedProcessor, LisaProcessor, PrimaProcessor

SHARED = ("vision_model.", "aux_vision_model.", "sam.", "language_model.")
"""Parts that every row takes from the trunk, those that it has."""

FROM_TRUNK = (
    "text_config", "sam_config", "vision_config", "aux_vision_config", "qformer_config", "image_token_id",
    "seg_token_id", "phrase_token_id", "identifier_token_ids", "fusion_heads", "mask_loss_resolution",
)  # fmt: skip
"""Fields of its configuration that hold for all rows."""


@dataclass(frozen=True)
class SmallRow:
    """One row.

    Attributes:
        title: In the tables.
        fields: Of its configuration.
        processor: Whose dialect it speaks.
    """

    title: str
    fields: dict[str, Any] = field(default_factory=dict)
    processor: type[GroundedProcessor] = PrimaProcessor


_PATCHES = {"visual_module": "projection"}
ROWS: dict[str, SmallRow] = {
    "prima_plain": SmallRow("PRIMA, neither", _PATCHES | {"aux_vision": False}),
    "prima_qformer": SmallRow("PRIMA, Q-Former only", {"aux_vision": False}),
    "prima_dino": SmallRow("PRIMA, DINOv2 only", _PATCHES),
    "prima": SmallRow("PRIMA"),
    "prima_square": SmallRow("PRIMA with SQuARE", {"visual_module": "square"}),
    "lisa": SmallRow("LISA", _PATCHES | {"aux_vision": False}, LisaProcessor),
    "glamm": SmallRow("GLaMM", _PATCHES | {"aux_vision": False, "projector_layers": 2}, GlammProcessor),
    "miras": SmallRow("MIRAS", _PATCHES | {"projector_layers": 2, "region_alignment": True}),
}
"""Rows in the order of the tables."""


def start_row(name: str, trunk: ModelBundle, seed: int = 0) -> ModelBundle:
    """A row before its training: the trunk's parts, the rest fresh.

    Args:
        name: A key of `ROWS`.
        trunk: A model of PRIMA's family.
        seed: Of what is fresh; equal parts of two rows start equal.

    Raises:
        InputError: There is no such row, or the trunk is of another family.
    """
    if name not in ROWS:
        raise _wrong("There is no such row.", " or ".join(ROWS), name)
    if not isinstance(trunk.model.config, PrimaConfig):
        raise _wrong(
            "The trunk cannot be shared.", "a model of PRIMA's family", trunk.model.config.model_type
        )
    row = ROWS[name]
    kept = {key: copy.deepcopy(getattr(trunk.model.config, key)) for key in FROM_TRUNK}
    alignment = {"region_alignment_heads": 1} if row.fields.get("region_alignment") else {}
    config = PrimaConfig(**(kept | {"num_query_tokens": 16} | alignment | row.fields))
    torch.manual_seed(seed)
    model = PrimaModel(config).eval()
    start_prompt_positions(model)
    own = model.state_dict()
    taken = {
        key: value
        for key, value in trunk.model.state_dict().items()
        if key.startswith(SHARED) and key in own and own[key].shape == value.shape
    }
    model.load_state_dict(taken, strict=False)
    missing = [key for key in own if key.startswith(SHARED) and key not in taken]
    if missing:
        raise _wrong("The trunk does not fill the parts that rows share.", ", ".join(SHARED), missing[0])
    return ModelBundle(model, _processor(row, config, trunk.processor), name)


def _processor(row: SmallRow, config: PrimaConfig, of_trunk: GroundedProcessor) -> GroundedProcessor:
    streams = streams_for(config)
    for stream, fields in of_trunk.image_streams.items():
        if stream in streams:
            streams[stream] = dict(fields)
    shared: dict[str, Any] = {
        "image_streams": streams,
        "num_query_tokens": config.tokens_per_image,
        "template": dict(of_trunk.template),
    }
    if row.processor is PrimaProcessor:
        reader = of_trunk.qformer_tokenizer or of_trunk.tokenizer
        shared |= {"keep_text_outputs": config.keeps_text, "max_instruction_tokens": 48}
        return PrimaProcessor(of_trunk.tokenizer, reader, **shared)
    return row.processor(of_trunk.tokenizer, **shared)


def _wrong(summary: str, expected: str, found: str) -> InputError:
    return InputError(
        summary, expected=expected, found=found, where="small rows", fix="run with --help for what there is"
    )


def main(argv: list[str] | None = None) -> None:
    """Write the start of every row into a folder of its name; folders that are there are left alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trunk", default="segue-scenes", help="a model of PRIMA's family")
    parser.add_argument("--out", type=Path, required=True, help="folder of the rows' folders")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--names", action="store_true", help="print row and title, and stop")
    options = parser.parse_args(argv)
    if options.names:
        print("\n".join(f"{name}\t{row.title}" for name, row in ROWS.items()))
        return
    trunk = load(options.trunk, "cpu")
    for name in ROWS:
        folder = options.out / name
        if (folder / "processor_config.json").is_file():
            continue
        bundle = start_row(name, trunk, options.seed)
        bundle.model.save_pretrained(folder)
        # Last: a folder that has it is whole.
        bundle.processor.save_pretrained(folder)


if __name__ == "__main__":
    main()
