"""Photographs that are seen again, as files beside the records that show them.

The stage of the records notes which there have to be; they are drawn when it is complete, so that a build
whose pictures were lost draws them when it is run again.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from segue.data.pointing.retakes import write_retake
from segue.datasets.m4seg.image_store import ImageStore
from segue.datasets.m4seg.pointing import PICTURES
from segue.datasets.stages.stages import MapFn, StageOutput

_OURS = re.compile(r"[0-9a-f]{20}\.jpg")


@dataclass(frozen=True)
class DrawPicture:
    """Draws a photograph of the build again, unless the file is there.

    Attributes:
        store: The images.
        folder: Of the pictures.
    """

    store: ImageStore
    folder: Path

    def __call__(self, wanted: tuple[str, int, int]) -> str:
        """Draw the file of this name: a retake, by its number, of the image in this row."""
        name, row, retake = wanted
        write_retake(self.store[row].annotated(), retake, self.folder / name)
        return name


def draw_pictures(folder: Path, images: StageOutput, records: StageOutput, map_fn: MapFn = map) -> int:
    """Draw what the records show and is not there, and remove what an earlier build has left.

    Args:
        folder: Of the pictures.
        images, records: The stages.
        map_fn: Runs the work.

    Returns:
        How many pictures there are.

    Raises:
        ImageError: A photograph cannot be opened any more, or has another size than its annotation.
    """
    wanted = {(line["file"], line["row"], line["retake"]) for line in records.lines(PICTURES)}
    names = {name for name, _, _ in wanted}
    for path in folder.glob("*.jpg"):
        if path.name not in names and _OURS.fullmatch(path.name):
            path.unlink()
    missing = sorted(one for one in wanted if not (folder / one[0]).is_file())
    # `maxlen` 0: what the work returns is not kept.
    deque(map_fn(DrawPicture(ImageStore(images), folder), missing), maxlen=0)
    return len(names)
