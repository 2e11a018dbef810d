"""`segue data m4seg`: multi-image questions and answers with masks, from annotated images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from segue.cli.console import show_paths, tell
from segue.cli.m4seg_options import SamplingOptions, SourceOptions
from segue.cli.option_groups import CHAT_MODEL, GenerationOptions, expand_groups
from segue.cli.options import make_way

if TYPE_CHECKING:
    from segue.datasets.m4seg.build import Asking
    from segue.datasets.m4seg.images import SourceSpec
    from segue.datasets.stages.stages import MapFn

Stage = Literal["images", "features", "sets", "pairs", "records"]


@expand_groups
def m4seg(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into; run again to go on.")],
    sources: SourceOptions,
    generator: Annotated[
        str,
        typer.Option(help="template (offline, by rule), or openai:MODEL such as openai:gpt-4o-2024-08-06."),
    ] = "template",
    url: Annotated[
        str | None,
        typer.Option(
            help="Base address of an OpenAI-compatible server, ending in /v1.", rich_help_panel=CHAT_MODEL
        ),
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, rich_help_panel=CHAT_MODEL)] = 1.0,
    asking: GenerationOptions,
    sampling: SamplingOptions,
    regions: Annotated[
        float,
        typer.Option(
            help="Share of the conversations that point at a region; the template generator's only.",
            min=0.0,
            max=1.0,
        ),
    ] = 0.0,
    masks: Annotated[
        Literal["inline", "store"],
        typer.Option(help="In every record, or once in the build's region store."),
    ] = "inline",
    engine: Annotated[
        Literal["plain", "ray"], typer.Option(help="Where the stages run; the result is the same.")
    ] = "plain",
    ray_address: Annotated[str | None, typer.Option(help="Of a Ray cluster; else this machine.")] = None,
    until: Annotated[Stage, typer.Option(help="Last stage to run.")] = "records",
    only: Annotated[Stage | None, typer.Option(help="Run this stage alone, on what is there.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what there is to do, and what it will cost, and stop.")
    ] = False,
) -> None:
    """Build M4SEG from its three sources, or the like of it from your own annotated images."""
    from segue.datasets.m4seg.build import STAGES, Build, BuildConfig
    from segue.errors import InputError
    from segue.files import make_folder

    specs = sources.specs()
    config = BuildConfig(
        specs, sampling.embedder, sampling.config(), sampling.table(), temperature, masks, regions
    )
    asked = _asking(generator, url, asking, dry_run)
    if regions and asked is not None:
        raise InputError(
            "A chat model writes no questions that point.",
            expected="--regions with --generator template, which is the default",
            found=f"--generator {generator}",
            where=f"--regions {regions}",
            fix="leave out one of the two",
        )
    _plan(specs, sampling.per_class)
    if dry_run and asked is None:
        return
    make_folder(out)
    build = Build(out, config, asking=asked, map_fn=_engine(engine, ray_address))
    done = build.run_alone(only) if only is not None else build.run(until)
    for stage, counts in build.counts().items():
        tell([f"{stage}: " + ", ".join(f"{what} {count}" for what, count in counts.items())])
    if done is not None and (only or until) == STAGES[-1]:
        show_paths([out / name for name in ("train.jsonl", "test.jsonl", "rejected.jsonl", "report.json")])


def m4seg_export(
    file: Annotated[Path, typer.Argument(help="A gconv/1 file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A .parquet file, or a .jsonl with inline masks.")],
    build: Annotated[
        Path | None,
        typer.Option(help="The build whose region store holds the masks, if they are not inline."),
    ] = None,
) -> None:
    """Write records as Parquet for Hugging Face datasets, or fetch their masks from a region store."""
    from segue.datasets.m4seg.parquet import write_parquet
    from segue.datasets.m4seg.region_store import RegionStore
    from segue.records import read_jsonl, write_jsonl

    make_way(out)
    records = read_jsonl(file)
    filled = records if build is None else RegionStore(build).inline(records)
    written = write_parquet(out, filled) if out.suffix == ".parquet" else write_jsonl(out, filled)
    tell([f"{written} conversations"])
    show_paths([out])


def m4seg_import(
    files: Annotated[
        list[Path], typer.Argument(help="Parquet files: our own, or those of an M4SEG release.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file of records to write.")],
    split: Annotated[str, typer.Option(help="Of a release that does not say it.")] = "train",
) -> None:
    """Read Parquet back into gconv/1; of a release by others, say what its columns are and what they lack."""
    from segue.data.own.m4seg_release import read_release
    from segue.datasets.m4seg.parquet import is_ours, read_parquet
    from segue.records import write_jsonl

    make_way(out)
    if is_ours(files):
        written = write_jsonl(out, read_parquet(files))
    else:
        release = read_release(files, split=split)
        tell(release.lines())
        written = write_jsonl(out, release)
        tell(release.dropped_lines())
    tell([f"{written} conversations"])
    show_paths([out])


def m4seg_bench(
    out: Annotated[Path, typer.Option("--out", "-o", help="An empty folder; some hundred megabytes.")],
    scenes: Annotated[int, typer.Option(help="Sets of scenes to draw.", min=4)] = 40,
    vectors: Annotated[int, typer.Option(help="Random vectors to search.", min=100)] = 100_000,
    dim: Annotated[int, typer.Option(help="Length of a vector.", min=2)] = 1024,
    records: Annotated[
        list[int] | None, typer.Option(help="Pairs to filter when memory is measured; may be repeated.")
    ] = None,
    ray: Annotated[bool, typer.Option("--ray", help="Build on Ray too, and compare the hash.")] = False,
) -> None:
    """Measure the stages on this machine: speed, memory, and Ray against plain."""
    import json

    from segue.cli.console import out as stdout
    from segue.datasets.m4seg import measure
    from segue.files import make_folder

    make_folder(out)
    found = {"build": measure.rounded(measure.measure_build(out / "plain", scenes))}
    found["neighbours"] = measure.rounded(measure.measure_neighbours(out / "vectors", vectors, dim))
    filtered = {
        f"filtering {count} pairs": measure.measure_memory(
            out / "plain" / "build", out / f"memory-{count}", count
        )
        for count in records or []
    }
    found |= filtered
    if len(filtered) > 1:
        found["memory"] = measure.growth(list(filtered.values()))
    if ray:
        from segue.datasets.m4seg.build import Build, BuildConfig
        from segue.datasets.m4seg.images import SourceSpec
        from segue.datasets.m4seg.sampling import SamplingConfig

        # In a folder of the same name and depth, since image paths are relative to it.
        config = BuildConfig(
            [SourceSpec("scenes", str(out / "plain" / "scenes"))], sampling=SamplingConfig(per_class=50)
        )
        Build(out / "plain" / "build_ray", config, map_fn=_engine("ray", None), progress=False).run()
        same = all(
            (out / "plain" / "build_ray" / name).read_bytes() == (out / "plain" / "build" / name).read_bytes()
            for name in ("train.jsonl", "test.jsonl", "rejected.jsonl", "report.json")
        )
        found["ray"] = {"same bytes as plain": same}
    stdout().print(json.dumps(found, indent=1))


# ---- what the commands are made of -------------------------------------------------------------------------


def _plan(specs: Sequence[SourceSpec], per_class: int) -> None:
    """Say how much there is to do, before it is done."""
    from segue.errors import InputError

    if not specs:
        raise InputError(
            "There is nothing to build from.",
            expected="at least one of --ade20k-part, --pascal-part, --paco, --annotated, --scenes",
            found="none",
            where="segue data m4seg",
            fix="segue data m4seg --annotated my_coco.json --images DIR --out OUT",
        )
    total = 0
    for spec in specs:
        count = len(spec.open())
        total += count
        tell([f"{spec.name} ({spec.split}): {count} images in {spec.root}"])
    most = f" and up to {per_class} for each class" if per_class else ""
    tell([f"{total} images, so about {total} sets{most}, with 3 to 5 pairs each"])


def _engine(name: str, address: str | None) -> MapFn:
    if name == "plain":
        return map
    from segue.apps.scale import ray_map

    return ray_map(address)


def _asking(generator: str, url: str | None, options: GenerationOptions, dry_run: bool) -> Asking | None:
    """The chat model of `--generator`; None for the template."""
    from segue.errors import InputError

    if generator == "template":
        return None
    kind, _, model = generator.partition(":")
    if kind != "openai" or not model:
        raise InputError(
            "There is no such generator.",
            expected="template, or openai:MODEL",
            found=repr(generator),
            where="--generator",
            fix="choose one of the two; openai: goes with --url and serves every OpenAI-compatible server",
        )
    if url is None:
        raise InputError(
            "It is not said which server to ask.",
            expected="--url with the base address of an OpenAI-compatible server, ending in /v1",
            found="no --url",
            where=f"--generator {generator}",
            fix="add --url",
        )
    from segue.datasets.m4seg.build import Asking

    def confirm(lines: Sequence[str]) -> bool:
        tell(lines)
        return not dry_run

    return Asking(options.chat_model(url, model), options.settings(), options.budget(), confirm, tell)
