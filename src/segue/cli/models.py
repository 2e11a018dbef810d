"""`segue models` and `segue info`: what there is, and what it consists of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

PARTS = {
    "vision_model": "vision encoder (EVA-CLIP)",
    "aux_vision_model": "second vision encoder (DINOv2)",
    "fusion": "CLIP x DINO cross-attention",
    "reader": "instruction-aware Q-Former",
    "image_projection": "projection into the language model",
    "slot_heads": "object slots (training only)",
    "language_model": "language model",
    "seg_projection": "[SEG] projection",
    "sam": "SAM: encoder and mask decoder",
}
"""Submodule of the model -> what it is; the order of the table."""


def list_models() -> None:
    """List the presets, and which of them can be used as they are."""
    from rich.table import Table

    from segue.cli.console import out
    from segue.models.auto import presets_with_weights
    from segue.models.presets import PRESETS

    ready = presets_with_weights()
    table = Table("model", "weights", "what it is")
    for name, preset in PRESETS.items():
        state = "installed" if name in ready else "public parts" if preset.components else "none"
        table.add_row(name, state, preset.summary)
    out().print(table, soft_wrap=False)


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
    for stream in content["streams"]:
        out().print(Text(f"image stream {stream['name']}: {stream['size']} px, {stream['fit']}"))
    for file in content["files"]:
        out().print(Text(f"file {file['path']}: {file['bytes']:,} bytes"))
    if not content["files"]:
        out().print("no weights are installed for this preset", style="yellow")


def describe(model: str) -> dict[str, Any]:
    """What `segue info` shows, as data.

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
    counts = count_parameters(config)
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
        "streams": _streams(folder, preset.streams if preset else {}),
        "files": [
            {"path": str(path), "bytes": path.stat().st_size}
            for path in sorted(folder.rglob("*") if folder else [])
            if path.is_file()
        ],
    }


def count_parameters(config: Any) -> dict[str, int]:
    """Parameters of each part, counted on torch's meta device, where a 7B model takes no memory."""
    import torch
    from transformers import AutoModel

    import segue.models  # noqa: F401  registers the families

    with torch.device("meta"):
        model = AutoModel.from_config(config)
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
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
    return [{"name": name, "size": fields["size"], "fit": fields["fit"]} for name, fields in streams.items()]
