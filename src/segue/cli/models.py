"""`segue models` and `segue info`: what there is, and what it consists of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

PARTS = {
    "vision_model": "vision encoder (CLIP)",
    "perception": "OMG-Seg: ConvNeXt, pixel decoder, queries that find objects",
    "aux_vision_model": "second vision encoder (DINOv2, or ConvNeXt in MIRAS)",
    "fusion": "cross-attention between the two encoders",
    "reader": "instruction-aware Q-Former",
    "image_projection": "projection into the language model",
    "slot_heads": "object slots",
    "label_reader": "label reader (ResNet): what an image shows, spelled to the language model",
    "language_model": "language model",
    "seg_projection": "[SEG] projection",
    "region_alignment": "attention from [SEG] to its phrase",
    "sam": "segmenter: encoder and mask decoder",
}
"""Submodule of the model -> what it is; the order of the table."""


AGENT = (
    "any chat model that sees images, with SAM for the masks and no training: "
    "--model agent:http://localhost:8000/v1?model=NAME (docs/agent.md)"
)


def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List families and presets: what they need, what they are made of, and what is here.

    Memory is that of the weights; in 8 and 4 bits only the language model shrinks. Nothing is downloaded.
    """
    content = survey()
    if as_json:
        typer.echo(json.dumps(content, indent=2))
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from segue.cli.console import out

    # Seven columns have to fit into eighty characters.
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, collapse_padding=True)
    for column in ("model", "family", "weights"):
        table.add_column(column, no_wrap=True)
    for column in ("params", "bf16", "8 bit", "4 bit"):
        table.add_column(column, no_wrap=True, justify="right")
    for model in content["models"]:
        sizes = (_bytes(model["bytes"][kind]) for kind in ("bf16", "8bit", "4bit"))
        table.add_row(model["name"], model["family"], model["weights"], _count(model["parameters"]), *sizes)
    out().print(table, soft_wrap=False)
    for model in content["models"]:
        made = ", ".join(dict.fromkeys(model["parts"].values()))
        out().print(
            Text(model["name"], style="bold") + Text(f": {model['summary']}" + (f" ({made})" if made else ""))
        )
    parts = Table("public checkpoint", "licence", "cached", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    # A very long name goes on in the next line; the others, up to 36 characters, stay whole.
    parts.columns[0].min_width, parts.columns[0].overflow = 36, "fold"
    parts.columns[2].no_wrap = True
    for part in content["parts"]:
        parts.add_row(part["hub"], part["licence"], "yes" if part["cached"] else "no")
    if content["parts"]:
        out().print(parts, soft_wrap=False)
    out().print(Text("agent", style="bold") + Text(f": {content['agent']}"))


def survey() -> dict[str, Any]:
    """Content of `segue models`, as data."""
    from segue.models.auto import presets_with_weights
    from segue.models.presets import PRESETS
    from segue.models.requirements import requirements

    ready = presets_with_weights()
    models: list[dict[str, Any]] = []
    parts: dict[str, dict[str, Any]] = {}
    for name, preset in PRESETS.items():
        needs = requirements(preset)
        state = "installed" if name in ready else "parts" if preset.components else "none"
        models.append(
            {
                "name": name,
                "family": needs.family,
                "summary": preset.summary,
                "weights": state,
                "parameters": needs.parameters,
                "bytes": needs.bytes,
                "parts": {part.names: part.hub for part in needs.parts},
            }
        )
        for part in needs.parts:
            entry = {"hub": part.hub, "licence": part.licence, "cached": part.cached, "used_by": []}
            parts.setdefault(part.hub, entry)["used_by"].append(name)
    return {"models": models, "parts": list(parts.values()), "agent": AGENT}


def _count(number: int) -> str:
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.2f} M"


def _bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def info(
    model: Annotated[str, typer.Argument(help="A preset, or a folder that save_pretrained wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show a model's parts, parameters and files. Builds it without memory for weights; downloads nothing."""
    content = describe(model)
    if as_json:
        typer.echo(json.dumps(content, indent=2))
        return
    from rich.table import Table
    from rich.text import Text

    from segue.cli.console import out

    out().print(Text(content["name"], style="bold") + Text(f"  {content['summary']}"))
    table = Table("part", "what it is", "public checkpoint", "parameters")
    table.columns[-1].justify = "right"
    for part in content["parts"]:
        table.add_row(part["part"], part["what"], part["checkpoint"] or "", f"{part['parameters']:,}")
    table.add_section()
    table.add_row("all", "", "", f"{content['parameters']:,}", style="bold")
    out().print(table, soft_wrap=False)
    if content["published"]:
        out().print(Text(f"its published files hold {content['published']:,} numbers; what they have beyond"))
        out().print(Text("the parameters above is a segmenter's memory of videos, and left out"))
    out().print(Text(f"masks are drawn by {content['segmenter']}"))
    for stream in content["streams"]:
        out().print(Text(f"image stream {stream['name']}: {stream['size']} px, {stream['fit']}"))
    for file in content["files"]:
        out().print(Text(f"file {file['path']}: {file['bytes']:,} bytes"))
    if not content["files"]:
        out().print("no weights are installed for this preset", style="yellow")


def describe(model: str) -> dict[str, Any]:
    """Content of `segue info`, as data.

    Args:
        model: A preset's name or a folder; a preset without weights is described from its configuration.

    Raises:
        ModelError: Neither; or a folder without a model.
    """
    from segue.models.auto import WEIGHTS_FOLDER, load_config, weights_folder
    from segue.models.presets import PRESETS

    preset = None if Path(model).is_dir() else PRESETS.get(model)
    installed = preset is None or (WEIGHTS_FOLDER / model / "config.json").is_file()
    folder = weights_folder(model) if installed else None
    if folder is not None:
        config = load_config(folder)
    else:
        assert preset is not None
        config = preset.config()
    built = on_meta(config)
    counts = count_parameters(built)
    checkpoints = _checkpoints(preset.components) if preset else {}
    order = [*(part for part in PARTS if part in counts), *sorted(set(counts) - set(PARTS))]
    return {
        "name": model,
        "summary": preset.summary if preset else f"model of the family {config.model_type}",
        "parameters": sum(counts.values()),
        "parts": [
            {"part": p, "what": PARTS.get(p, ""), "checkpoint": checkpoints.get(p), "parameters": counts[p]}
            for p in order
        ],
        "published": preset.published if preset else 0,
        "segmenter": built.segmenter.name,
        "streams": _streams(folder, preset.streams if preset else {}),
        "files": [
            {"path": str(path), "bytes": path.stat().st_size}
            for path in sorted(folder.rglob("*") if folder else [])
            if path.is_file()
        ],
    }


def on_meta(config: Any) -> Any:
    """A model on torch's meta device, where 7B take no memory."""
    import torch
    from transformers import AutoModel

    import segue.models  # noqa: F401  registers the families

    with torch.device("meta"):
        return AutoModel.from_config(config)


def count_parameters(model: Any) -> dict[str, int]:
    """Parameters of each part of a model."""
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    # What belongs to no part, so that the sum of the rows is the whole.
    loose = sum(p.numel() for p in model.parameters(recurse=False))
    return {name: count for name, count in (counts | {"(own)": loose}).items() if count}


def _checkpoints(components: dict[str, str]) -> dict[str, str]:
    """`{"vision_model, reader": hub}` to one entry per part."""
    return {part.strip(): hub for parts, hub in components.items() for part in parts.split(",")}


def _streams(folder: Path | None, of_preset: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    streams = of_preset
    if folder is not None:
        content = json.loads((folder / "processor_config.json").read_text(encoding="utf-8"))
        streams = content.get("image_streams", {})
    return [{"name": name, **_stream(fields)} for name, fields in streams.items()]


def _stream(fields: dict[str, Any]) -> dict[str, Any]:
    """Size and fit of a stream; one whose pictures keep their ratio has limits of area in place of a side."""
    if "size" in fields:
        return {"size": fields["size"], "fit": fields["fit"]}
    least, most = (round(fields[name] ** 0.5) for name in ("min_pixels", "max_pixels"))
    return {"size": f"{least} to {most} squared", "fit": "ratio kept"}
