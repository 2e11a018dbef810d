"""`segue convert` and `segue init`: models of ours from public checkpoints that have been downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Dtype = Annotated[
    Literal["float32", "bfloat16", "float16"] | None,
    typer.Option(help="Of the written weights.", show_default="that of most of the source"),
]
Bert = Annotated[
    str | None,
    typer.Option(help="Repository with the Q-Former's tokenizer, where InstructBLIP's folder has none."),
]

_COMPOSED = ("prima-7b", "prima-square-7b")


def convert(
    source: Annotated[
        str,
        typer.Argument(help="Folder or file of a public checkpoint, or a hub repository that is here."),
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder to write; must be new or empty.")],
    clip: Annotated[
        str | None,
        typer.Option(
            help="CLIP for LISA and GLaMM, whose checkpoints leave it out.",
            show_default="that which the checkpoint names, if it has been downloaded",
        ),
    ] = None,
    dinov2: Annotated[str | None, typer.Option(help="DINOv2 for a PRIMA checkpoint without one.")] = None,
    bert: Bert = None,
    dtype: Dtype = None,
) -> None:
    """Convert GLaMM, LISA, PRIMA, SAM (original or of transformers) or InstructBLIP's seeing half.

    Every tensor is accounted for before the first is read: what is left over, missing or of another size is
    named, and nothing is written. Tensors are copied one by one: memory does not limit the size. Nothing is
    downloaded, and no pickled code is run.
    """
    from segue.cli.console import err, out
    from segue.models.conversion import convert as run

    report = run(source, to, clip=clip, dinov2=dinov2, bert=bert, dtype=_dtype(dtype))
    out().print(f"{report.kind}: {report.path}", markup=False)
    for line in report.lines:
        err().print(line, markup=False)


def init(
    name: Annotated[str, typer.Argument(help="prima-7b or prima-square-7b.", metavar="PRESET")],
    glamm: Annotated[str, typer.Option(help="MBZUAI/GLaMM-FullScope: language model, tokens, [SEG], SAM.")],
    instructblip: Annotated[
        str, typer.Option(help="Salesforce/instructblip-vicuna-7b: EVA-CLIP-g and the Q-Former.")
    ],
    dinov2: Annotated[str, typer.Option(help="facebook/dinov2-with-registers-large.")],
    out_dir: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must be new or empty.")],
    bert: Bert = None,
    seed: Annotated[int, typer.Option(help="Of the parts that no checkpoint has.", min=0)] = 0,
    dtype: Dtype = None,
) -> None:
    """Compose PRIMA from the checkpoints that the paper starts from; what the paper adds starts fresh."""
    from segue.errors import InputError

    if name not in _COMPOSED:
        raise InputError(
            "This preset is not composed of parts.",
            expected=" or ".join(_COMPOSED),
            found=repr(name),
            where="PRESET",
            fix="convert a LISA or GLaMM checkpoint with `segue convert`; segue-mini comes with its weights",
        )
    from segue.cli.console import err, out
    from segue.models.conversion import initialise_prima, locate, open_checkpoint

    lines = initialise_prima(
        open_checkpoint(locate(glamm)),
        open_checkpoint(locate(instructblip)),
        open_checkpoint(locate(dinov2)),
        out_dir,
        name=name,
        seed=seed,
        dtype=_dtype(dtype),
        bert=locate(bert) if bert else None,
    )
    out().print(f"{name}: {out_dir}", markup=False)
    for line in lines:
        err().print(line, markup=False)


def _dtype(name: str | None) -> Any:
    import torch

    return getattr(torch, name) if name else None
