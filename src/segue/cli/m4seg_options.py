"""Options of `segue data m4seg`: which annotated images it is built from, and how image sets are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from segue.cli.console import tell
from segue.cli.options import known_folder

if TYPE_CHECKING:
    from segue.datasets.m4seg.images import SourceSpec
    from segue.datasets.m4seg.sampling import SamplingConfig

SAMPLING = "Image sets"
"""Heading in `--help`."""


@dataclass
class SourceOptions:
    """Options that name annotated images."""

    ade20k_part: Annotated[Path | None, typer.Option(help="ADE20K-Part-234 as it was unpacked.")] = None
    pascal_part: Annotated[
        Path | None, typer.Option(help="Pascal-Part: the .mat release, or PascalPart116.")
    ] = None
    paco: Annotated[Path | None, typer.Option(help="PACO-LVIS v1 annotations, beside COCO's images.")] = None
    coco: Annotated[
        Path | None, typer.Option(help="Folder of COCO's images for --paco, if it lies elsewhere.")
    ] = None
    annotated: Annotated[
        list[Path] | None,
        typer.Option(help="Your own: a COCO or PACO-style JSON, or a folder of LabelMe; may be repeated."),
    ] = None
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of the images of --annotated: one for all, or one for each."),
    ] = None
    scenes: Annotated[Path | None, typer.Option(help="Folder that `segue data scenes` wrote.")] = None
    pascal_vocab: Annotated[Literal["93", "116", "raw"], typer.Option(help="Names of Pascal's parts.")] = "93"
    split_lr: Annotated[bool, typer.Option("--split-lr", help="Pascal: left and right parts apart.")] = False

    def specs(self) -> list[SourceSpec]:
        """The sources that the options name, in all splits that are there.

        Raises:
            InputError: A source is not there or not whole, or `--images` does not fit `--annotated`.
        """
        return [*self._published(), *_own(self.annotated or [], self.images or [], self.scenes)]

    def _published(self) -> list[SourceSpec]:
        """The paper's sources."""
        from segue.errors import InputError

        specs: list[SourceSpec] = []
        if self.ade20k_part is not None:
            specs += _splits("ade20k_part", self.ade20k_part)
        if self.pascal_part is not None:
            try:
                options = (("split_lr", self.split_lr), ("vocabulary", self.pascal_vocab))
                specs += _splits("pascal_part", self.pascal_part, options)
            except InputError:
                try:
                    specs += _splits("pascal_part116", self.pascal_part)
                except InputError:
                    # What the .mat release should look like is the better advice.
                    specs += _splits("pascal_part", self.pascal_part, options)
        if self.paco is not None:
            specs += _splits(
                "paco_lvis", self.paco, (("images", self.coco),) if self.coco is not None else ()
            )
        return specs


@dataclass
class SamplingOptions:
    """Options of the drawing of image sets; see `segue.datasets.m4seg.sampling.SamplingConfig`."""

    embedder: Annotated[
        str,
        typer.Option(
            help="segue-scenes (offline), or a DINOv2 by hub name or folder; the paper's is "
            "facebook/dinov2-with-registers-large.",
            rich_help_panel=SAMPLING,
        ),
    ] = "segue-scenes"
    seed: Annotated[int, typer.Option(help="Of every choice.", min=0, rich_help_panel=SAMPLING)] = 0
    split_by: Annotated[
        Literal["image_disjoint", "random_qa", "source"],
        typer.Option(
            help="What is for testing: images of their own, random pairs (as the paper's counts "
            "suggest), or the sources' val and test.",
            rich_help_panel=SAMPLING,
        ),
    ] = "image_disjoint"
    test_share: Annotated[float, typer.Option(min=0.0, max=0.9, rich_help_panel=SAMPLING)] = 0.0218
    max_sets: Annotated[
        int | None, typer.Option(help="Keep so many sets, drawn at random.", min=1, rich_help_panel=SAMPLING)
    ] = None
    per_class: Annotated[
        int,
        typer.Option(
            help="Sets of the second criterion for each class; 0 for none.", min=0, rich_help_panel=SAMPLING
        ),
    ] = 400
    cross_source: Annotated[
        bool, typer.Option("--cross-source", help="Sets may mix sources.", rich_help_panel=SAMPLING)
    ] = False
    relevance: Annotated[
        Path | None, typer.Option(help="Your own table of classes worth comparing.", rich_help_panel=SAMPLING)
    ] = None

    def config(self) -> SamplingConfig:
        """The settings of the stage of the sets."""
        from segue.datasets.m4seg.sampling import SamplingConfig

        return SamplingConfig(
            seed=self.seed,
            split_by=self.split_by,
            test_share=self.test_share,
            max_sets=self.max_sets,
            per_class=self.per_class,
            cross_source=self.cross_source,
        )

    def table(self) -> Path:
        """The table of classes worth comparing."""
        from segue.datasets.m4seg.relevance import DEFAULT_TABLE

        return self.relevance or DEFAULT_TABLE


# ---- where sources lie -------------------------------------------------------------------------------------


def _splits(name: str, root: Path, options: Sequence[tuple[str, object]] = ()) -> list[SourceSpec]:
    """A source in each of its splits; one that the download lacks is passed over and told."""
    from segue.datasets.m4seg.images import SourceSpec
    from segue.datasets.sources import source_class
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
        # One file is COCO's or PACO's, a folder LabelMe's.
        name = "coco" if file.suffix == ".json" else "labelme"
        specs.append(SourceSpec(name, str(file), "train", options))
    if scenes is not None:
        specs += [SourceSpec("scenes", str(scenes), split) for split in _splits_of_scenes(scenes)]
    return specs


def _splits_of_scenes(folder: Path) -> list[str]:
    from segue.records import read_jsonl
    from segue.scenes.build import CONVERSATIONS

    return sorted({record.split for record in read_jsonl(folder / CONVERSATIONS)})
