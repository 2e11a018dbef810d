"""`segue data`: make conversations to train on and to evaluate with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from segue.cli import data_sources, data_stats, label_studio, m4seg, prist
from segue.cli.console import show_paths, tell
from segue.cli.options import known_folder, known_split, make_way

if TYPE_CHECKING:
    from segue.data.own import OwnData
    from segue.data.own.pointing import PointingSource
    from segue.records import Conversation

app = typer.Typer(help="Make grounded conversations (gconv/1 JSONL).", no_args_is_help=True)
app.add_typer(prist.app, name="prist")
app.command()(data_sources.check)
app.command()(data_stats.stats)
app.command()(data_stats.preview)
app.command("label-studio")(label_studio.convert)
app.command()(m4seg.m4seg)
app.command()(m4seg.m4seg_export)
app.command()(m4seg.m4seg_import)
app.command()(m4seg.m4seg_bench)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write into.")]
Seed = Annotated[int, typer.Option(help="Of every choice: the same seed gives the same data.", min=0)]
Count = Annotated[int, typer.Option(help="Number of conversations.", min=1)]


@app.command()
def scenes(
    out: Out,
    seed: Seed = 0,
    count: Count = 100,
    split: Annotated[
        str, typer.Option(help="train, val, test or heldout (colour and kind pairs never trained).")
    ] = "test",
    size: Annotated[int, typer.Option(help="Side of the images in pixels.", min=64, max=2048)] = 224,
    wording: Annotated[
        Literal["seen", "unseen", "all"],
        typer.Option(help="Ways of asking: those of the training, those kept out, or both."),
    ] = "seen",
) -> None:
    """Draw scenes with exact masks and write questions and answers about them."""
    from segue.files import make_folder
    from segue.scenes.build import build

    make_folder(out)
    build(out_dir=out, seed=seed, count=count, split=split, size=size, wording=wording)
    show_paths([out / "conversations.jsonl"])


@app.command()
def photos(
    coco: Annotated[Path, typer.Option(help="PACO-style annotations of dressed persons.")],
    out: Out,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the photographs; that of --coco by default.")
    ] = None,
    seed: Seed = 0,
    count: Count = 100,
    split: Annotated[str, typer.Option(help="Written into the records.")] = "val",
    copy_images: Annotated[
        bool, typer.Option("--copy-images", help="Copy the photographs beside the records.")
    ] = False,
) -> None:
    """Write questions and answers about annotated photographs of dressed persons."""
    from segue.files import make_folder
    from segue.mini.photos.build import build

    known = known_split(split)
    known_folder(images)
    make_folder(out)
    build(coco, images, out, seed=seed, count=count, split=known, copy_images=copy_images)
    show_paths([out / "conversations.jsonl"])


@app.command()
def own(
    path: Annotated[Path, typer.Argument(help="Annotations: a file or folder that `segue train` reads.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file of records to write.")],
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images; that of the annotations by default.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="Name of the format, when it is not recognised.")] = None,
    split: Annotated[
        str, typer.Option(help="Part of data that are divided; written into the records.")
    ] = "val",
    seed: Seed = 0,
    count: Count = 100,
    keep_crowds: Annotated[
        bool, typer.Option("--keep-crowds", help="COCO: keep what is marked iscrowd 1, each as one object.")
    ] = False,
    regions: Annotated[
        float, typer.Option(help="Share of the conversations that point at a region.", min=0.0, max=1.0)
    ] = 0.0,
) -> None:
    """Write fixed conversations about your own annotations, for `segue eval`."""
    from segue.data.own import read_own_data
    from segue.records import write_jsonl

    make_way(out)
    read = read_own_data(path, images=images, format=format, split=split, keep_crowds=keep_crowds)
    tell(read.report.lines())
    conversations = (
        _pointing(read, regions, out).drawn(count, seed) if regions else read.source.fixed(count, seed)
    )
    drawn = (_moved(c, read.source.root, out.parent) for c in conversations)
    # The note keeps a folder of annotations from being taken for finished conversations afterwards.
    written = write_jsonl(
        out, (c.model_copy(update={"meta": {**c.meta, "drawn_from": path.name}}) for c in drawn)
    )
    tell([f"{written} conversations"])
    show_paths([out])


def _pointing(read: OwnData, share: float, out: Path) -> PointingSource:
    """The data with questions that point; photographs that are shown again are written beside the file."""
    from segue.data.own.pointing import PointingSource
    from segue.data.own.sources import AnnotationSource
    from segue.errors import InputError

    if not isinstance(read.source, AnnotationSource):
        raise InputError(
            "These data bring their own questions.",
            expected="masks and names, of which questions can be made (COCO, LabelMe and the like)",
            found=read.format,
            where="--regions",
            fix="leave out --regions",
        )
    return PointingSource(read.source, share, out.parent / f"{out.stem}_pictures")


def _moved(conversation: Conversation, root: Path, folder: Path) -> Conversation:
    """The conversation with its image paths relative to another folder, as `segue eval` reads them."""
    import os

    def path(name: str) -> str:
        try:
            return Path(os.path.relpath(root / name, folder)).as_posix()
        except ValueError:  # another drive
            return str((root / name).resolve())

    images = [image.model_copy(update={"path": path(image.path)}) for image in conversation.images]
    return conversation.model_copy(update={"images": images})
