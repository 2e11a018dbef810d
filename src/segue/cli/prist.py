"""`segue data prist`: conversations about one image whose target becomes clear over turns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from segue.cli.console import show_paths, tell
from segue.cli.option_groups import GenerationOptions, expand_groups
from segue.cli.options import known_folder, known_split, make_way

if TYPE_CHECKING:
    from PIL import Image

    from segue.agent.box_masks import MaskMaker
    from segue.data.formats.annotations import AnnotatedImage
    from segue.datasets.prist.build import PristSource
    from segue.masks import RLE

app = typer.Typer(
    help="Dialogues of PRIST's kind: the target becomes clear over turns.", no_args_is_help=True
)

Split = Annotated[str, typer.Option(help="Written into the records.")]
Images = Annotated[Path | None, typer.Option(help="Folder of the images.")]
Annotations = Annotated[
    Path | None, typer.Option(help="Outlines in a format of `segue train` (COCO, LabelMe, ...).")
]


@app.command()
def load(
    file: Annotated[Path, typer.Argument(help="PRIST's released JSON.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file of records to write.")],
    images: Images = None,
    labels: Annotated[Path | None, typer.Option(help="Folder with a LabelMe file per image.")] = None,
    split: Split = "test",
    matching: Annotated[
        Literal["exact", "substring"],
        typer.Option(help="Labels that are the focus, or (as released) that contain it."),
    ] = "exact",
    answers: Annotated[
        Literal["named", "plain"], typer.Option(help="The last answer names the focus, or is as published.")
    ] = "named",
) -> None:
    """Turn the released file into gconv/1, and say what it lacks."""
    from segue.datasets.prist.released import read_released
    from segue.records import write_jsonl

    make_way(out)
    known_folder(images)
    read = read_released(
        file, images=images, labels=labels, split=known_split(split), matching=matching, answers=answers
    )
    tell(read.report.lines())
    write_jsonl(out, read.conversations)
    show_paths([out])


@app.command()
@expand_groups
def build(
    images: Annotated[Path, typer.Argument(help="Folder of images, subfolders included.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into; run again to go on.")],
    url: Annotated[str, typer.Option(help="Base address of an OpenAI-compatible server, ending in /v1.")],
    asking: GenerationOptions,
    model: Annotated[str | None, typer.Option(help="Its model; by default the only one it lists.")] = None,
    annotations: Annotations = None,
    sam: Annotated[
        str | None,
        typer.Option(help="SAM that draws masks from the model's boxes; 'none' fills the boxes."),
    ] = None,
    captions: Annotated[Path | None, typer.Option(help='JSON {"image name": "caption"}.')] = None,
    split: Split = "train",
    seed: Annotated[int, typer.Option(help="Of the wordings of the last turn.", min=0)] = 0,
    paths: Annotated[int, typer.Option(help="Dialogues per image.", min=1, max=12)] = 3,
    fewest: Annotated[int, typer.Option(help="Rounds at least, without the one with the mask.", min=1)] = 2,
    most: Annotated[int, typer.Option(help="Rounds at most.", min=1, max=20)] = 8,
    temperature: Annotated[float, typer.Option(min=0.0, max=2.0)] = 0.7,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it will cost, and stop.")] = False,
) -> None:
    """Let a chat model write dialogues about images: elements, a reasoning tree, a dialogue per path."""
    from segue.datasets.generation import Generation, model_of_report
    from segue.datasets.prist.build import PristSettings, prist_job

    settings = PristSettings(
        paths=paths,
        fewest_turns=fewest,
        most_turns=most,
        split=known_split(split),
        seed=seed,
        temperature=temperature,
    )
    job = prist_job(_source(images, out, annotations, sam, captions), settings)
    # What a dry run estimates needs no server, only the name that finished items were made with.
    known = model or (model_of_report(out) or "the only model of the server" if dry_run else None)
    asked = asking.chat_model(url, known)
    with Generation(job, asked, out, settings=asking.settings(), budget=asking.budget()) as generation:
        tell(generation.estimate().lines())
        if dry_run:
            return
        report = generation.run()
    tell(report.lines())
    report.check()
    show_paths([report.records])


@app.command()
def template(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into; run again to go on.")],
    scenes: Annotated[int | None, typer.Option(help="So many scenes are drawn.", min=1)] = None,
    annotations: Annotations = None,
    images: Images = None,
    split: Split = "train",
    seed: Annotated[int, typer.Option(help="The same seed gives the same dialogues.", min=0)] = 0,
    paths: Annotated[int, typer.Option(help="Dialogues per image, at most.", min=1, max=12)] = 3,
    masks: Annotated[
        Literal["final", "every"],
        typer.Option(help="Masks in the last answer, as in PRIST, or wherever things are named."),
    ] = "final",
    size: Annotated[int, typer.Option(help="Side of the scenes in pixels.", min=64, max=2048)] = 224,
) -> None:
    """Write dialogues by rule, without a model: about scenes, or about annotated images."""
    from segue.datasets.prist.offline.build import OfflineSettings, build_offline
    from segue.datasets.prist.offline.pictures import annotated_pictures, scene_pictures
    from segue.errors import InputError
    from segue.files import make_folder

    if (scenes is None) == (annotations is None):
        raise InputError(
            "It is not clear what the dialogues shall be about.",
            expected="--scenes NUMBER or --annotations PATH",
            found="both" if scenes is not None else "neither",
            where="segue data prist template",
            fix="give one of the two",
        )
    settings = OfflineSettings(paths=paths, masks=masks, split=known_split(split), seed=seed)
    make_folder(out)
    if annotations is not None:
        annotated = list(_annotated(annotations, images).values())
        pictures, total = annotated_pictures(annotated, out), len(annotated)
    else:
        total = scenes or 0
        pictures = scene_pictures(out, total, seed=seed, split=split, size=size)
    report = build_offline(pictures, out, settings, total=total)
    tell(report.lines())
    show_paths([report.records])


@app.command()
def stats(
    file: Annotated[Path, typer.Argument(help="A file of records, or the folder that holds it.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="HTML page; stats.html beside the file by default.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder that image paths are relative to; that of the file by default."),
    ] = None,
) -> None:
    """Count what dialogues consist of, and show some, on one page."""
    import json

    from segue.cli.console import out as console
    from segue.datasets.prist.statistics import report_beside, write_page
    from segue.records import read_jsonl

    file = file / "conversations.jsonl" if file.is_dir() else file
    page = file.with_name("stats.html") if out is None else out
    make_way(page)
    known_folder(images)
    found = write_page(page, read_jsonl(file), images or file.parent, report_beside(file))
    console().print(json.dumps(found.to_json(), indent=2))
    show_paths([page])


# ---- what the commands are made of -------------------------------------------------------------------------


def _source(
    images: Path, out: Path, annotations: Path | None, sam: str | None, captions: Path | None
) -> PristSource:
    from segue.datasets.prist.build import PristSource, images_in

    annotated = {} if annotations is None else _annotated(annotations, images)
    listed = [(name, image.path) for name, image in annotated.items()] or images_in(images)
    masks, maker = None, ""
    if sam is not None and not annotated:
        from segue.agent.box_masks import load_mask_maker

        masks, maker = BoxMasks(load_mask_maker(sam)), "box filling" if sam == "none" else Path(sam).name
    elif sam is not None:
        tell(["--sam is not used: the masks are those of --annotations"])
    return PristSource(listed, out, annotated, _captions(captions), masks, maker)


def _annotated(path: Path, images: Path | None) -> dict[str, AnnotatedImage]:
    from segue.data.own import read_own_data
    from segue.data.own.sources import AnnotationSource
    from segue.errors import InputError

    read = read_own_data(path, images=images)
    tell(read.report.lines())
    if not isinstance(read.source, AnnotationSource):
        raise InputError(
            "These annotations are texts, not outlined things.",
            expected="COCO, PACO or LabelMe",
            found=read.format,
            where=str(path),
            fix="give a file or folder of outlines",
        )
    return {image.image_id: image for image in read.source.images}


def _captions(path: Path | None) -> dict[str, str]:
    """Captions by image name, with or without its suffix."""
    from segue.data.formats.text_file import load_json
    from segue.errors import InputError

    if path is None:
        return {}
    content = load_json(path)
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise InputError(
            "The captions cannot be read.",
            expected='a JSON object {"image name": "caption"}',
            found=type(content).__name__,
            where=str(path),
            fix="write one caption for each image",
        )
    return {Path(name).with_suffix("").as_posix(): text for name, text in content.items()}


class BoxMasks:
    """Masks for boxes, one at a time; the picture that was asked about last stays encoded."""

    def __init__(self, maker: MaskMaker) -> None:
        import threading

        self._maker, self._lock = maker, threading.Lock()
        self._last: tuple[Image.Image, Any] | None = None

    def __call__(self, picture: Image.Image, box: tuple[float, float, float, float]) -> RLE:
        """The mask as run lengths."""
        from segue import masks

        # Requests to the chat model run side by side, and one picture at a time is kept encoded.
        with self._lock:
            if self._last is None or self._last[0] is not picture:
                self._last = picture, self._maker.encode(picture)
            [(mask, _)] = self._maker.draw(self._last[1], [box], (picture.height, picture.width))
        return masks.encode(mask)
