"""`segue bench`: what an answer costs: counted on shapes, or measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segue.cli.option_groups import LoadingOptions, expand_groups

if TYPE_CHECKING:
    from segue.evaluation.compute import Compute, Workload

COUNTED = "With --flops"
MEASURED = "Measured"


@dataclass
class CountingOptions:
    """What is counted on shapes."""

    flops: Annotated[
        bool,
        typer.Option(
            "--flops", help="Count operations on shapes, at the published size.", rich_help_panel=COUNTED
        ),
    ] = False
    segmenters: Annotated[
        bool,
        typer.Option(
            "--segmenters", help="Count the published segmenters side by side.", rich_help_panel=COUNTED
        ),
    ] = False
    images: Annotated[int, typer.Option(help="Images of the question.", rich_help_panel=COUNTED)] = 3
    text_tokens: Annotated[
        int, typer.Option(help="Tokens of the prompt's text.", rich_help_panel=COUNTED)
    ] = 80
    question_tokens: Annotated[
        int, typer.Option(help="Tokens of the question for the Q-Former.", rich_help_panel=COUNTED)
    ] = 26
    answer_tokens: Annotated[int, typer.Option(help="Tokens of the answer.", rich_help_panel=COUNTED)] = 150
    masks: Annotated[int, typer.Option(help="Masks of the answer.", rich_help_panel=COUNTED)] = 6

    picture: Annotated[
        str,
        typer.Option(
            help="Size of the images, for families whose tokens follow from it.",
            rich_help_panel=COUNTED,
            metavar="WIDTHxHEIGHT",
        ),
    ] = "640x480"

    def workload(self, images: int | None = None) -> Workload:
        """The workload of one answer; InputError where the size is none."""
        from segue.errors import InputError
        from segue.evaluation.compute import Workload

        sides = [side.strip() for side in self.picture.lower().split("x")]
        if len(sides) != 2 or not all(side.isdecimal() for side in sides):
            raise InputError(
                "The size of the images cannot be read.",
                expected="width and height in pixels, such as 640x480",
                found=repr(self.picture),
                where="--picture",
                fix="write two numbers with an x between them",
            )
        hw = (int(sides[1]), int(sides[0]))
        return Workload(
            images or self.images, self.text_tokens, self.question_tokens, self.answer_tokens, self.masks, hw
        )


@dataclass
class MeasuringOptions:
    """What is measured."""

    size: Annotated[
        int, typer.Option(help="Height and width of the images.", min=64, max=4096, rich_help_panel=MEASURED)
    ] = 448
    max_new_tokens: Annotated[
        int, typer.Option(help="Longest answer, in tokens.", min=1, rich_help_panel=MEASURED)
    ] = 32
    batch_sizes: Annotated[
        str, typer.Option(help="Of the throughput, separated by commas.", rich_help_panel=MEASURED)
    ] = "1,4"

    def sizes(self) -> list[int]:
        """Batch sizes; InputError where one is none."""
        from segue.errors import InputError

        found = [text.strip() for text in self.batch_sizes.split(",")]
        if not all(text.isdecimal() and int(text) > 0 for text in found):
            raise InputError(
                "The batch sizes cannot be read.",
                expected="numbers of 1 or more, separated by commas",
                found=repr(self.batch_sizes),
                where="--batch-sizes",
                fix="write, for example, 1,4,16",
            )
        return [int(text) for text in found]


@expand_groups
def bench(
    counting: CountingOptions,
    measuring: MeasuringOptions,
    place: LoadingOptions,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Name or folder; presets, with commas, for --flops.")
    ] = None,
    conversation: Annotated[
        str | None,
        typer.Option(help="Turns x images of the talk.", show_default="5x3", metavar="TURNSxIMAGES"),
    ] = None,
    train: Annotated[Path | None, typer.Option(help="Measure training steps of this recipe.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Field of the recipe: name=value.", metavar="FIELD=VALUE"),
    ] = None,
    out: Annotated[Path | None, typer.Option("--json", "--out", "-o", help="JSON file.")] = None,
) -> None:
    """Measure a talk: first words, first mask, answers, and the same answers as others would compute them.

    One run measures three ways side by side: ours, a careful peer's (all again every turn), and as published
    (all again every token). With --flops presets are counted at their published size, without weights; with
    --train the steps of a recipe are measured, with kept features of frozen encoders and without.
    """
    from segue.cli.options import make_way
    from segue.errors import InputError

    wishes = [model is not None, train is not None, counting.segmenters]
    if sum(wishes) != 1 or (counting.flops and model is None):
        raise InputError(
            "It is not clear what to measure.",
            expected="--model NAME, --flops --model PRESETS, --segmenters, or --train RECIPE",
            found=f"{sum(wishes)} of them" if any(wishes) else "none",
            where="options",
            fix="see `segue bench --help`",
        )
    if out is not None:
        make_way(out)
    if train is not None:
        from segue.training.bench import bench_training

        content = bench_training(train, set_)
        _show_training(content)
    elif counting.segmenters:
        content = _count_segmenters(counting.workload())
    elif counting.flops:
        content = _count(model or "", counting, conversation)
    else:
        content = _measure(model or "", measuring, conversation or "5x3", place)
    if out is not None:
        from segue.cli.console import show_paths
        from segue.files import write_atomic

        write_atomic(out, json.dumps(content, indent=1) + "\n")
        show_paths([out])


def _count(model: str, counting: CountingOptions, conversation: str | None) -> dict[str, Any]:
    from segue.evaluation.compute import count_preset
    from segue.evaluation.talk_bench import read_talk
    from segue.evaluation.talk_flops import count_talk_of
    from segue.models.presets import preset

    workload = counting.workload()
    names = [name.strip() for name in model.split(",") if name.strip()]
    # All names before the first count, which takes seconds.
    for name in names:
        preset(name)
    talk = None if conversation is None else read_talk(conversation)
    counted = [count_preset(name, workload) for name in names]
    content = content_of(counted)
    _show(counted)
    if talk is not None:
        per_turn = counting.workload(talk.images)
        content["talks"] = [count_talk_of(name, talk.turns, per_turn) for name in names]
        _show_talks(content["talks"])
    return content


def _count_segmenters(workload: Workload) -> dict[str, Any]:
    """Encoder and decoder of each at the workload's number of masks an image."""
    from rich.table import Table

    from segue.cli.console import out
    from segue.evaluation.segmenters import count_segmenters

    masks = -(-workload.masks // workload.images)
    found = count_segmenters(masks)
    out().print(f"TFLOP, 2 for each multiply-add; {masks} masks an image in one call")
    table = Table("segmenter", "parameters (M)", "an image", "its masks", "kept of an image (MB)")
    for cost in found:
        table.add_row(
            cost.name, f"{cost.parameters / 1e6:.1f}", f"{cost.encode_flops / 1e12:.3f}",
            f"{cost.draw_flops / 1e12:.4f}", f"{cost.kept_bytes / 1e6:.1f}",
        )  # fmt: skip
    out().print(table, soft_wrap=False)
    return {"format": "segue-segmenters/1", "masks": masks, "segmenters": [cost.to_json() for cost in found]}


def _measure(
    model: str, options: MeasuringOptions, conversation: str, place: LoadingOptions
) -> dict[str, Any]:
    from segue.cli.console import tell
    from segue.errors import InputError
    from segue.evaluation.talk_bench import measure, read_talk

    sizes = options.sizes()
    talk = read_talk(conversation, size=options.size, max_new_tokens=options.max_new_tokens)
    loaded = place.load(model)
    if not hasattr(loaded.model, "language_model"):
        raise InputError(
            "An agent cannot be measured so: its language model runs elsewhere.",
            expected="a preset with weights, or a folder",
            found=model,
            where="--model",
            fix="see the seconds per turn of `segue eval`",
        )
    content = measure(loaded, talk, sizes, lambda line: tell([line]))
    _show_measured(content)
    return content


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


def _show_talks(talks: list[dict[str, Any]]) -> None:
    from segue.cli.console import out

    for talk in talks:
        flops, ratio = talk["flops"], talk["flops_ratio"]
        out().print(
            f"{talk['model']}, {talk['turns']} turns about {talk['workload']['images']} images: "
            f"{flops['ours'] / 1e12:.1f} TFLOP; {flops['per_turn'] / 1e12:.1f} with all again every turn "
            f"(ours {ratio['per_turn']:.3f} of it), {flops['as_published'] / 1e12:.1f} as published "
            f"({ratio['as_published']:.4f})"
        )


def _show_measured(found: dict[str, Any]) -> None:
    from rich.table import Table

    from segue.cli.console import out

    talk, seconds = found["conversation"], found["seconds"]
    out().print(
        f"{found['model']}, {talk['turns']} turns about {talk['images']} images of {talk['size']} pixels, "
        f"{found['device']}, {found['dtype']}, {found['threads']} thread(s)"
    )
    said = [f"{k.replace('_', ' ')} {v:.2f} s" for k, v in seconds.items() if v is not None]
    out().print("streamed: " + ", ".join(said))
    table = Table("way", "seconds", "speed of ours", "TFLOP", "ours of it")
    for name, path in found["paths"].items():
        speed, ratio = found.get(f"speedup_vs_{name}", 1.0), found["flops_ratio"].get(name, 1.0)
        table.add_row(
            name.replace("_", " "), f"{path['total']:.2f}", f"{speed:.1f} x",
            f"{found['flops'][name] / 1e12:.3f}", f"{ratio:.3f}",
        )  # fmt: skip
    out().print(table, soft_wrap=False)
    for row in found["throughput"]:
        out().print(
            f"batches of {row['batch_size']}: {row['conversations_a_second']:.2f} conversations a second, "
            f"{row['masks_a_second']:.2f} masks a second"
        )
    out().print(f"peak memory {found['peak_memory_bytes'] / 2**30:.2f} GiB")


def _show_training(found: dict[str, Any]) -> None:
    from segue.cli.console import out

    for name in ("without", "with_kept_features"):
        row = found[name]
        label = name.replace("_", " ").replace("without", "without kept features")
        if row is None:
            out().print(f"{label}: {found['reason']}", markup=False)
            continue
        out().print(
            f"{label}: {row['samples_a_second']:.2f} samples a second, {row['seconds_a_step']:.3f} s a step, "
            f"{row['memory_bytes'] / 2**30:.2f} GiB"
        )
    if "speedup" in found:
        out().print(f"kept features: {found['speedup']:.2f} x")
