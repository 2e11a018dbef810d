"""Everything of a conversation as one archive."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segue.errors import SegueError

if TYPE_CHECKING:
    from segue.inference.answer import SessionAnswer

FORMATS = ("index-png", "png", "coco", "labelme", "yolo")
"""Of `segue.exports.FORMATS`, each in a folder of its own beside `answer.json`."""


def archive_of(answers: Sequence[SessionAnswer]) -> bytes:
    """A zip file with a folder `turn_N` for each answer.

    In it: `answer.json`, `answer.html` and overlays, then the masks in each of `FORMATS`. What a format
    cannot hold stands in `lost.txt` of its folder.

    Args:
        answers: Oldest first.
    """
    buffer = io.BytesIO()
    with (
        tempfile.TemporaryDirectory() as temporary,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out,
    ):
        for number, answer in enumerate(answers, 1):
            folder = Path(temporary) / f"turn_{number}"
            answer.save(folder)
            for form in FORMATS:
                _export(answer, form, folder / form)
        for path in sorted(Path(temporary).rglob("*")):
            if path.is_file():
                out.write(path, path.relative_to(temporary))
    return buffer.getvalue()


def _export(answer: SessionAnswer, form: str, folder: Path) -> None:
    try:
        lost = answer.export(form, folder).lost
    except SegueError as error:
        lost = [str(error)]
    if lost:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lost.txt").write_text("\n".join(lost) + "\n", encoding="utf-8")
