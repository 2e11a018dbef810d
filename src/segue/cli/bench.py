"""`segue bench`: what an answer costs, counted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from segue.evaluation.compute import Compute


def bench(
    model: Annotated[str, typer.Option(help="Presets, separated by commas.")],
    flops: Annotated[bool, typer.Option("--flops", help="Count floating point operations.")] = False,
    images: Annotated[int, typer.Option(help="Images of the question.")] = 3,
    text_tokens: Annotated[int, typer.Option(help="Tokens of the prompt's text.")] = 80,
    question_tokens: Annotated[int, typer.Option(help="Tokens of the question for the Q-Former.")] = 26,
    answer_tokens: Annotated[int, typer.Option(help="Tokens of the answer.")] = 150,
    masks: Annotated[int, typer.Option(help="Masks of the answer.")] = 6,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file, for `segue table`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Count the operations of one answer by component, visual tokens, parameters and memory.

    Models are built without memory for weights, at their published size; nothing is downloaded and nothing
    runs. How long answers take is measured by `segue eval`.
    """
    from segue.errors import InputError

    if not flops:
        raise InputError(
            "There is nothing to count.",
            expected="--flops",
            found="no such flag",
            where="options",
            fix="add --flops; seconds per turn are in the metrics.json of `segue eval`",
        )
    import json

    from segue.cli.console import show_paths
    from segue.cli.options import make_way
    from segue.evaluation.compute import Workload, count_preset
    from segue.files import write_atomic
    from segue.models.presets import preset

    workload = Workload(images, text_tokens, question_tokens, answer_tokens, masks)
    names = [name.strip() for name in model.split(",") if name.strip()]
    # All names before the first count, which takes seconds.
    for name in names:
        preset(name)
    if out is not None:
        make_way(out)
    counted = [count_preset(name, workload) for name in names]
    content = content_of(counted)
    if out is not None:
        write_atomic(out, json.dumps(content, indent=1) + "\n")
        show_paths([out])
    if as_json:
        typer.echo(json.dumps(content, indent=2))
    else:
        _show(counted)


def content_of(counted: list[Compute]) -> dict[str, Any]:
    """The file of a count: models, and what the paper prints."""
    from segue.evaluation.published import COMPUTE_NOTE, M4SEG, TOKENS_PER_IMAGE

    published = {
        row.model: {"tflops": row.scores["tflops"], "visual_tokens_per_image": TOKENS_PER_IMAGE[row.model]}
        for row in M4SEG
    }
    return {
        "format": "segue-bench/1",
        "models": [found.to_json() for found in counted],
        "published": published,
        "published_note": COMPUTE_NOTE,
    }


def _show(counted: list[Compute]) -> None:
    """Components as rows, models as columns, and the paper's totals below."""
    from rich.table import Table

    from segue.cli.console import out
    from segue.evaluation.published import COMPUTE_NOTE, M4SEG, TOKENS_PER_IMAGE

    work = counted[0].workload
    out().print(
        f"TFLOP of one answer, 2 for each multiply-add: {work.images} images, {work.text_tokens} + "
        f"{work.answer_tokens} tokens of text, {work.masks} masks"
    )
    table = Table("", *(found.model for found in counted))

    def add(label: str, values: list[float | None], form: str) -> None:
        table.add_row(label, *("-" if value is None else format(value, form) for value in values))

    def tera(number: int | None) -> float | None:
        return None if number is None else number / 1e12

    for part in dict.fromkeys(part for found in counted for part in found.flops):
        add(part, [tera(found.flops.get(part)) for found in counted], ".3f")
    add("all", [tera(found.total) for found in counted], ".2f")
    for reading in counted[0].readings:
        add(reading.replace("_", " "), [tera(found.readings[reading]) for found in counted], ".2f")
    add("visual tokens an image", [found.visual_tokens_per_image for found in counted], "d")
    add("parameters (B)", [sum(found.parameters.values()) / 1e9 for found in counted], ".2f")
    for kind in counted[0].bytes:
        add(f"{kind.replace('_', ' ')} (GB)", [found.bytes[kind] / 1e9 for found in counted], ".1f")
    out().print(table, soft_wrap=False)
    printed = (f"{r.model} {r.scores['tflops']} ({TOKENS_PER_IMAGE[r.model]:g} tokens)" for r in M4SEG)
    out().print("published: " + ", ".join(printed))
    out().print(COMPUTE_NOTE)
