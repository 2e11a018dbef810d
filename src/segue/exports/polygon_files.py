"""Masks as polygons: LabelMe, YOLO-seg, and a plain list.

Outlines follow the edges of pixels, so masks come back exactly.
"""

from __future__ import annotations

import json
from pathlib import Path

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.formats.labelme_writing import write_labelme as write_labelme_files
from segue.errors import InputError
from segue.exports.coco import empty_ones
from segue.exports.content import PicturedMasks, categories
from segue.files import write_atomic

_DIGITS = 9
"""Of YOLO's fractions: a corner in a picture of 16,384 pixels comes back to a ten-thousandth of one."""


def write_labelme(images: list[PicturedMasks], folder: Path) -> tuple[list[Path], list[str]]:
    """A LabelMe file for each image, named like it; one `group_id` for the polygons of a mask.

    Raises:
        InputError: two images have the same name.
    """
    annotated = [
        AnnotatedImage(
            image_id=image.path,
            path=Path(image.path),
            height=image.hw[0],
            width=image.hw[1],
            regions=tuple(
                # A colon would make a part of the phrase: LabelMe labels here read "object:part".
                AnnotatedRegion(str(n), "object", p.phrase.replace(":", " "), None, p.rle, p.phrase)
                for n, p in enumerate(image.masks)
            ),
        )
        for image in images
    ]
    written = write_labelme_files(annotated, folder)
    lost = ["the text of the answer", "scores", *empty_ones(images)]
    if any(":" in placed.phrase for image in images for placed in image.masks):
        lost.append("colons in phrases")
    return written, lost


def write_yolo(images: list[PicturedMasks], folder: Path) -> tuple[list[Path], list[str]]:
    """YOLO-seg: `labels/NAME.txt`, a line "class x y x y ..." for each piece, and `data.yaml` with the names.

    Source: the published rules of YOLO-seg: class number, then corners as fractions of width and height.

    Raises:
        InputError: two images have the same name.
    """
    numbers = categories(images)
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    written, pieces, several = list[Path](), 0, 0
    for image in images:
        path = folder / "labels" / f"{Path(image.path).stem}.txt"
        if path in written:
            raise InputError(
                "Two images have the same name.",
                expected="file names that differ, apart from their suffix",
                found=path.name,
                where=image.path,
                fix="rename one of them, or export with --format coco",
            )
        lines = []
        for placed in image.masks:
            outlines = masks.polygons(placed.mask)
            several += len(outlines) > 1
            pieces += len(outlines)
            for outline in outlines:
                fractions = [v / image.hw[1 - place % 2] for place, v in enumerate(outline)]
                lines.append(f"{numbers[placed.phrase]} " + " ".join(f"{v:.{_DIGITS}g}" for v in fractions))
        written.append(write_atomic(path, "".join(f"{line}\n" for line in lines)))
    names = "".join(f"  {number}: {json.dumps(phrase)}\n" for phrase, number in numbers.items())
    written.append(write_atomic(folder / "data.yaml", f"names:\n{names}" if names else "names: {}\n"))
    lost = ["the text of the answer", "scores", *empty_ones(images)]
    if several:
        lost.append(f"which pieces belong together, of {several} masks in several pieces")
    return written, lost


def write_polygons(images: list[PicturedMasks], folder: Path) -> tuple[list[Path], list[str]]:
    """`polygons.json`: for each image its masks, with flat lists `x0, y0, x1, y1, ...` in pixels."""
    content = [
        {
            "path": image.path,
            "height": image.hw[0],
            "width": image.hw[1],
            "masks": [
                {"phrase": p.phrase, "score": p.score, "polygons": masks.polygons(p.mask)}
                for p in image.masks
            ],
        }
        for image in images
    ]
    path = write_atomic(folder / "polygons.json", json.dumps(content, ensure_ascii=False))
    return [path], ["the text of the answer"]
