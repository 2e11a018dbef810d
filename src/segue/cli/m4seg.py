"""`segue data m4seg`: multi-image questions and answers with masks, from annotated images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from segue.cli.console import tell
from segue.cli.options import known_folder, make_way

if TYPE_CHECKING:
    from segue.chat_model import Budget
    from segue.datasets.m4seg.build import Asking
    from segue.datasets.m4seg.images import SourceSpec
    from segue.datasets.stages.stages import MapFn

Stage = Literal["images", "features", "sets", "pairs", "records"]
Folders = Annotated[list[Path] | None, typer.Option(metavar="DIR")]

GENERATION = "Chat model"
SAMPLING = "Image sets"


def m4seg(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into; run again to go on.")],
    ade20k_part: Annotated[Path | None, typer.Option(help="ADE20K-Part-234 as it was unpacked.")] = None,
    pascal_part: Annotated[
        Path | None, typer.Option(help="Pascal-Part: the .mat release, or PascalPart116.")
    ] = None,
    paco: Annotated[Path | None, typer.Option(help="PACO-LVIS v1 annotations, beside COCO's images.")] = None,
    coco: Annotated[
        Path | None, typer.Option(help="Folder of COCO's images for --paco, if it lies elsewhere.")
    ] = None,
    annotated: Annotated[
        list[Path] | None,
        typer.Option(help="Your own: a COCO or PACO-style JSON, or a folder of LabelMe; may be repeated."),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of the images of --annotated: one for all, or one for each."),
    ] = None,
    scenes: Annotated[Path | None, typer.Option(help="Folder that `segue data scenes` wrote.")] = None,
    pascal_vocab: Annotated[
        Literal["93", "116", "raw"], typer.Option(help="Names of Pascal's parts.")
    ] = "93",
    split_lr: Annotated[bool, typer.Option("--split-lr", help="Pascal: left and right parts apart.")] = False,
    generator: Annotated[
        str,
        typer.Option(help="template (offline, by rule), or openai:MODEL such as openai:gpt-4o-2024-08-06."),
    ] = "template",
    url: Annotated[
        str | None,
        typer.Option(
            help="Base address of an OpenAI-compatible server, ending in /v1.", rich_help_panel=GENERATION
        ),
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0, rich_help_panel=GENERATION)] = 1.0,
    attempts: Annotated[
        int, typer.Option(help="Replies before a set is given up.", min=1, rich_help_panel=GENERATION)
    ] = 3,
    concurrency: Annotated[
        int, typer.Option(help="Requests at the same time.", min=1, max=256, rich_help_panel=GENERATION)
    ] = 4,
    rate: Annotated[
        float | None, typer.Option(help="Requests per minute at most.", rich_help_panel=GENERATION)
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds for one request.", min=0.1, rich_help_panel=GENERATION)
    ] = 120.0,
    retries: Annotated[
        int, typer.Option(help="After a failure on the way.", min=0, rich_help_panel=GENERATION)
    ] = 4,
    max_requests: Annotated[int | None, typer.Option(rich_help_panel=GENERATION)] = None,
    max_money: Annotated[
        float | None, typer.Option(help="Needs --prices.", rich_help_panel=GENERATION)
    ] = None,
    max_hours: Annotated[float | None, typer.Option(rich_help_panel=GENERATION)] = None,
    prices: Annotated[
        str | None,
        typer.Option(help="Of a million prompt and completion tokens: 2.5,10", rich_help_panel=GENERATION),
    ] = None,
    embedder: Annotated[
        str,
        typer.Option(
            help="segue-mini (offline), or a DINOv2 by hub name or folder; the paper's is "
            "facebook/dinov2-with-registers-large.",
            rich_help_panel=SAMPLING,
        ),
    ] = "segue-mini",
    seed: Annotated[int, typer.Option(help="Of every choice.", min=0, rich_help_panel=SAMPLING)] = 0,
    split_by: Annotated[
        Literal["image_disjoint", "random_qa", "source"],
        typer.Option(
            help="What is for testing: images of their own, random pairs (as the paper's counts "
            "suggest), or the sources' val and test.",
            rich_help_panel=SAMPLING,
        ),
    ] = "image_disjoint",
    test_share: Annotated[float, typer.Option(min=0.0, max=0.9, rich_help_panel=SAMPLING)] = 0.0218,
    max_sets: Annotated[
        int | None, typer.Option(help="Keep so many sets, drawn at random.", min=1, rich_help_panel=SAMPLING)
    ] = None,
    per_class: Annotated[
        int,
        typer.Option(
            help="Sets of the second criterion for each class; 0 for none.", min=0, rich_help_panel=SAMPLING
        ),
    ] = 400,
    cross_source: Annotated[
        bool, typer.Option("--cross-source", help="Sets may mix sources.", rich_help_panel=SAMPLING)
    ] = False,
    relevance: Annotated[
        Path | None, typer.Option(help="Your own table of classes worth comparing.", rich_help_panel=SAMPLING)
    ] = None,
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
    from segue.datasets.m4seg.relevance import DEFAULT_TABLE
    from segue.datasets.m4seg.sampling import SamplingConfig
    from segue.files import make_folder

    specs = [
        *_known(ade20k_part, pascal_part, paco, coco, pascal_vocab, split_lr),
        *_own(annotated or [], images or [], scenes),
    ]
    sampling = SamplingConfig(
        seed=seed,
        split_by=split_by,
        test_share=test_share,
        max_sets=max_sets,
        per_class=per_class,
        cross_source=cross_source,
    )
    config = BuildConfig(specs, embedder, sampling, relevance or DEFAULT_TABLE, temperature, masks)
    from segue.cli.spending import spending_budget

    budget = spending_budget(max_requests, None, max_money, max_hours, prices)
    asking = _asking(generator, url, (attempts, concurrency, rate), (timeout, retries), budget, dry_run)
    _plan(specs, sampling.per_class)
    if dry_run and asking is None:
        return
    make_folder(out)
    build = Build(out, config, asking=asking, map_fn=_engine(engine, ray_address))
    done = build.run_alone(only) if only is not None else build.run(until)
    for stage, counts in build.counts().items():
        tell([f"{stage}: " + ", ".join(f"{what} {count}" for what, count in counts.items())])
    if done is not None and (only or until) == STAGES[-1]:
        from segue.cli.console import show_paths

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
    from segue.cli.console import show_paths
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
    from segue.cli.console import show_paths
    from segue.datasets.m4seg.parquet import is_ours, read_parquet
    from segue.datasets.m4seg.release import read_release
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


def _known(
    ade20k: Path | None,
    pascal: Path | None,
    paco: Path | None,
    coco: Path | None,
    vocabulary: str,
    split_lr: bool,
) -> list[SourceSpec]:
    """The paper's sources, in all splits that are there."""
    from segue.errors import InputError

    specs: list[SourceSpec] = []
    if ade20k is not None:
        specs += _splits("ade20k_part", ade20k)
    if pascal is not None:
        try:
            options = (("split_lr", split_lr), ("vocabulary", vocabulary))
            specs += _splits("pascal_part", pascal, options)
        except InputError:
            try:
                specs += _splits("pascal_part116", pascal)
            except InputError:
                # What the .mat release should look like is the better advice.
                specs += _splits("pascal_part", pascal, options)
    if paco is not None:
        specs += _splits("paco_lvis", paco, (("images", coco),) if coco is not None else ())
    return specs


def _splits(name: str, root: Path, options: Sequence[tuple[str, object]] = ()) -> list[SourceSpec]:
    """A source in each of its splits; one that the download lacks is passed over and told."""
    from segue.data.sources import source_class
    from segue.datasets.m4seg.images import SourceSpec
    from segue.errors import InputError

    found, first = [], None
    for split in source_class(name).splits:
        spec = SourceSpec(name, str(root), split, tuple(options))
        try:
            spec.open()
        except InputError as error:
            first = first or error
        else:
            found.append(spec)
    if not found and first is not None:
        raise first
    if first is not None:
        tell([f"{name}: only {', '.join(spec.split for spec in found)} found in {root}"])
    return found


def _own(files: Sequence[Path], images: Sequence[Path], scenes: Path | None) -> list[SourceSpec]:
    from segue.datasets.m4seg.images import SourceSpec
    from segue.errors import InputError

    if len(images) not in ((0, 1, len(files)) if files else (0,)):
        raise InputError(
            "--images does not fit --annotated.",
            expected=f"one folder for all, or {len(files)}" if files else "none, without --annotated",
            found=str(len(images)),
            where="--images",
            fix="give --images once, or once for each --annotated in the same order",
        )
    for folder in images:
        known_folder(folder)
    specs = []
    for number, file in enumerate(files):
        chosen = images[number if len(images) > 1 else 0] if images else None
        options: tuple[tuple[str, object], ...] = () if chosen is None else (("images", chosen),)
        name = "coco" if file.suffix == ".json" else "labelme"
        specs.append(SourceSpec(name, str(file), "train", options))
    if scenes is not None:
        specs += [SourceSpec("scenes", str(scenes), split) for split in _splits_of_scenes(scenes)]
    return specs


def _splits_of_scenes(folder: Path) -> list[str]:
    from segue.records import read_jsonl
    from segue.scenes.build import CONVERSATIONS

    return sorted({record.split for record in read_jsonl(folder / CONVERSATIONS)})


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


def _asking(
    generator: str,
    url: str | None,
    pace: tuple[int, int, float | None],
    patience: tuple[float, int],
    budget: Budget,
    dry_run: bool,
) -> Asking | None:
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
    from segue.chat_model import OpenAIChatModel, Patience
    from segue.datasets.generation import GenerationSettings
    from segue.datasets.m4seg.build import Asking

    def confirm(lines: Sequence[str]) -> bool:
        tell(lines)
        return not dry_run

    attempts, concurrency, rate = pace
    asked = OpenAIChatModel(url, model, patience=Patience(retries=patience[1], timeout=patience[0]))
    settings = GenerationSettings(attempts=attempts, concurrency=concurrency, requests_per_minute=rate)
    return Asking(asked, settings, budget, confirm)
