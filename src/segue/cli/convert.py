"""`segue convert` and `segue init`: models of ours from public checkpoints that have been downloaded."""

from __future__ import annotations

from collections.abc import Mapping
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

Convnext = Annotated[
    str | None,
    typer.Option(help="OpenCLIP's ConvNeXt-L, for MIRAS, LLaVA-1.5, OMG-LLaVA: a folder or its .bin file."),
]

_PRIMA = ("glamm", "instructblip", "dinov2")
_SEGUE = ("qwen", "sam")
_COMPOSED = {
    "prima-7b": _PRIMA,
    "prima-square-7b": _PRIMA,
    "prima-plain-7b": _PRIMA,
    "prima-qformer-7b": _PRIMA,
    "prima-dino-7b": _PRIMA,
    "prima-pooling-7b": _PRIMA,
    "miras-7b": ("llava", "convnext", "sam"),
    "segue-2b": _SEGUE,
    "segue-4b": _SEGUE,
    "segue-8b": _SEGUE,
}
"""Preset -> the parts that it is made of, as options."""


def convert(
    source: Annotated[
        str,
        typer.Argument(help="Folder or file of a public checkpoint, or a hub repository that is here."),
    ],
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Folder to write, new or empty; with --probe the file of the report."),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Convert nothing: say what each tensor would become, from config.json, index and headers.",
        ),
    ] = False,
    clip: Annotated[
        str | None,
        typer.Option(
            help="CLIP for LISA, GLaMM, MIRAS and LLaVA, where the checkpoint leaves it out.",
            show_default="that which the checkpoint names, if it has been downloaded",
        ),
    ] = None,
    dinov2: Annotated[str | None, typer.Option(help="DINOv2 for a PRIMA checkpoint without one.")] = None,
    bert: Bert = None,
    convnext: Convnext = None,
    sam: Annotated[
        str | None, typer.Option(help="SAM, for LLaVA-1.5, which becomes a MIRAS with it.")
    ] = None,
    omg_seg: Annotated[
        str | None, typer.Option(help="OMG-LLaVA: omg_seg_convl.pth.", show_default="that beside the source")
    ] = None,
    class_texts: Annotated[
        str | None,
        typer.Option(
            help="OMG-LLaVA: convnext_large_d_320_CocoPanopticOVDataset.pth.",
            show_default="that beside the source",
        ),
    ] = None,
    internlm: Annotated[
        str | None,
        typer.Option(
            help="OMG-LLaVA: internlm/internlm2-chat-7b.",
            show_default="internlm2-chat-7b beside the source, or as downloaded",
        ),
    ] = None,
    template: Annotated[
        Literal["llava_v1", "llava_llama_2"] | None,
        typer.Option(help="Chat template that the checkpoint was trained with.", show_default="llava_v1"),
    ] = None,
    dtype: Dtype = None,
) -> None:
    """Convert GLaMM, LISA, PRIMA, MIRAS, LLaVA-1.5, OMG-LLaVA, Sa2VA (on Qwen3-VL), SAM, InstructBLIP's eyes.

    Every tensor is accounted for before the first is read: what is left over, missing or of another size is
    named, and nothing is written. Tensors are copied one by one: memory does not limit the size. Nothing is
    downloaded, and no pickled code is run.
    """
    if probe:
        _probe(source, to, {"clip": clip, "dinov2": dinov2, "convnext": convnext, "sam": sam})
        return
    from segue.cli.console import err, out
    from segue.models.conversion import convert as run

    if to is None:
        from segue.errors import InputError

        raise InputError(
            "There is no folder to write.",
            expected="--to FOLDER, or --probe",
            found="neither",
            where="options",
            fix="name a new folder, or add --probe to look at names and shapes only",
        )
    report = run(
        source,
        to,
        clip=clip,
        dinov2=dinov2,
        bert=bert,
        convnext=convnext,
        sam=sam,
        omg_seg=omg_seg,
        class_texts=class_texts,
        internlm=internlm,
        template=template,
        dtype=_dtype(dtype),
    )
    out().print(f"{report.kind}: {report.path}", markup=False)
    for line in report.lines:
        err().print(line, markup=False)


def _probe(source: str, to: Path | None, given: Mapping[str, str | None]) -> None:
    """Print what each tensor would become and write the report."""
    from segue.cli.console import err, out, show_paths
    from segue.cli.options import make_way
    from segue.inference.visualize import printable
    from segue.models.conversion import locate, open_checkpoint, open_headers, told, write_report
    from segue.models.conversion import probe as run

    if to is not None:
        make_way(to)
    beside = {option: open_checkpoint(locate(part)) for option, part in given.items() if part}
    # The folder below a cache of the hub has a hash for a name; a report says itself whose it is.
    name = None if source.endswith(".json") else Path(source).name
    found = run(open_headers(locate(source)), beside, name=name)
    for line in told(found):
        # Names and texts of a stranger: no code of a terminal gets through.
        out().print(printable(line), markup=False)
    for line in found.summary():
        err().print(printable(line), markup=False)
    file = to or Path(f"{Path(found.source).stem or 'checkpoint'}.probe.json")
    show_paths([write_report(found, file)])


def init(
    name: Annotated[
        str,
        typer.Argument(help="prima-7b or a variant of it, miras-7b, segue-2b, 4b or 8b.", metavar="PRESET"),
    ],
    out_dir: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must be new or empty.")],
    glamm: Annotated[
        str | None,
        typer.Option(help="PRIMA: MBZUAI/GLaMM-FullScope, for language model, tokens, [SEG] and SAM."),
    ] = None,
    instructblip: Annotated[
        str | None,
        typer.Option(help="PRIMA: Salesforce/instructblip-vicuna-7b, for EVA-CLIP-g and the Q-Former."),
    ] = None,
    dinov2: Annotated[str | None, typer.Option(help="PRIMA: facebook/dinov2-with-registers-large.")] = None,
    llava: Annotated[
        str | None, typer.Option(help="MIRAS: liuhaotian/llava-v1.5-7b or llava-hf/llava-1.5-7b-hf.")
    ] = None,
    convnext: Convnext = None,
    sam: Annotated[
        str | None,
        typer.Option(
            help="MIRAS: sam_vit_h_4b8939.pth, or facebook/sam-vit-huge. Segue: facebook/sam2.1-hiera-large."
        ),
    ] = None,
    qwen: Annotated[
        str | None, typer.Option(help="Segue: Qwen/Qwen3-VL-4B-Instruct, or its 2B or 8B.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Segue, in place of its parts: a Sa2VA that `segue convert` wrote, with its weights.",
        ),
    ] = None,
    clip: Annotated[
        str | None,
        typer.Option(help="MIRAS: openai/clip-vit-large-patch14-336, where LLaVA's folder leaves it out."),
    ] = None,
    bert: Bert = None,
    seed: Annotated[int, typer.Option(help="Of the parts that no checkpoint has.", min=0)] = 0,
    dtype: Dtype = None,
) -> None:
    """Compose PRIMA, MIRAS or Segue from the checkpoints that they start from; what they add starts fresh."""
    given = {
        "glamm": glamm, "instructblip": instructblip, "dinov2": dinov2, "llava": llava, "convnext": convnext,
        "sam": sam, "qwen": qwen,
    }  # fmt: skip
    parts = [] if start and _COMPOSED.get(name) is _SEGUE else _parts_of(name, given)
    from segue.cli.console import err, out
    from segue.models.conversion import convert as run
    from segue.models.conversion import (
        initialise_prima,
        initialise_segue,
        locate,
        open_checkpoint,
        start_from_sa2va,
    )

    options: dict[str, Any] = {"seed": seed, "dtype": _dtype(dtype)}
    if name == "miras-7b":
        lines = list(run(parts[0], out_dir, clip=clip, convnext=convnext, sam=sam, **options).lines)
    elif start and not parts:
        lines = start_from_sa2va(locate(start), out_dir)
    elif _COMPOSED[name] is _SEGUE:
        language, segmenter = (open_checkpoint(locate(part)) for part in parts)
        lines = initialise_segue(language, segmenter, out_dir, name=name, **options)
    else:
        first, second, third = (open_checkpoint(locate(part)) for part in parts)
        options["bert"] = locate(bert) if bert else None
        lines = initialise_prima(first, second, third, out_dir, name=name, **options)
    out().print(f"{name}: {out_dir}", markup=False)
    for line in lines:
        err().print(line, markup=False)


def _parts_of(name: str, given: Mapping[str, str | None]) -> list[str]:
    """The checkpoints that a preset is made of, in their order.

    Raises:
        InputError: No preset that is composed, or one of its parts is not given.
    """
    from segue.errors import InputError

    if name not in _COMPOSED:
        raise InputError(
            "This preset is not composed of parts.",
            expected=" or ".join(_COMPOSED),
            found=repr(name),
            where="PRESET",
            fix="convert a LISA or GLaMM checkpoint with `segue convert`; segue-mini comes with its weights",
        )
    absent = [f"--{part}" for part in _COMPOSED[name] if not given[part]]
    if absent:
        raise InputError(
            f"Parts of {name} are missing.",
            expected=", ".join(f"--{part}" for part in _COMPOSED[name]),
            found="no " + " and no ".join(absent),
            where="options",
            fix="download them and give their folders",
        )
    return [str(given[part]) for part in _COMPOSED[name]]


def _dtype(name: str | None) -> Any:
    import torch

    return getattr(torch, name) if name else None
