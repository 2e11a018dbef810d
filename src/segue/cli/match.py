"""`segue match`: what is marked in one image, found in the others without words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.ask import Model, Zoom
from segue.cli.export import Format, show_result
from segue.cli.option_groups import LoadingOptions, expand_groups

if TYPE_CHECKING:
    from segue.inference.regions import Region


@expand_groups
def match(
    place: LoadingOptions,
    images: Annotated[
        list[str],
        typer.Argument(
            help="The image with the mark first, then those to look in.", metavar="IMAGE IMAGE..."
        ),
    ],
    mask: Annotated[
        str | None, typer.Option(help="Picture of the mark, of the first image's size, black outside.")
    ] = None,
    box: Annotated[
        str | None, typer.Option(help="Or a box around it, in pixels.", metavar="X0,Y0,X1,Y1")
    ] = None,
    point: Annotated[str | None, typer.Option(help="Or a point in it.", metavar="X,Y")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Score from which it is there.", min=0.0, show_default="the model's own"),
    ] = None,
    model: Model = "segue-mini",
    zoom: Zoom = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for match.json, answer.json, answer.html and the overlays."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print match.json in place of the text.")] = False,
    masks: Annotated[
        Format | None, typer.Option("--masks", help="With --out: the masks in this format too.")
    ] = None,
) -> None:
    """Find a marked thing in other images: segue match A.png --mask a.png B.png C.png --out found/

    By looks alone, with any model, whatever it was trained for: features of what lies under the mark against
    those of the rest of the image. Says for each image whether the thing is there, with a score, and where.
    """
    from segue.files import make_folder
    from segue.inference.inputs import load_images

    region = _region(mask, box, point)
    if masks is not None and out is None:
        raise typer.BadParameter("it needs --out FOLDER to write to", param_hint="--masks")
    # Everything a user can get wrong is looked at before torch is imported, which takes seconds.
    pictures, names = load_images(images)
    if len(pictures) < 2:
        raise typer.BadParameter("name the image with the mark, and one or more to look in")
    region = region.checked([(picture.height, picture.width) for picture in pictures], "the mark")
    if out is not None:
        make_folder(out)
    from segue.cli.growing import loading

    with loading(model):
        loaded = place.load(model)
    answer = loaded.match(pictures, region, names=names, threshold=threshold)
    if zoom:
        answer = loaded.zoom(answer)
    show_result(answer, answer.to_match_json if as_json else None, "match.json", out, masks)


def _region(mask: str | None, box: str | None, point: str | None) -> Region:
    """The mark in the first image."""
    from segue.inference.regions import Region, marked

    given = [(name, text) for name, text in (("box", box), ("point", point)) if text is not None]
    if len(given) + (mask is not None) != 1:
        raise typer.BadParameter("give exactly one of --mask, --box and --point")
    if mask is not None:
        return Region(image_index=0, mask=mask)
    (name, text), *_ = given
    region = marked(0, text, f"--{name}")
    if region.form != name:
        raise typer.BadParameter(
            "four numbers, X0,Y0,X1,Y1" if name == "box" else "two numbers, X,Y", param_hint=f"--{name}"
        )
    return region
