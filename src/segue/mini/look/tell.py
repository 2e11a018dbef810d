"""What the seeing half finds in photographs, written down for the talking half to learn from.

python -m segue.mini.look.tell runs/mini/look/final ../shared/data/everyday/train.json ... --out FILE
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from segue.files import write_atomic
from segue.mini.look.evaluation import Looker
from segue.mini.look.measure import eyes_of
from segue.mini.look.objective import Shelf
from segue.mini.look.photographs import source_of
from segue.mini.look.stage import FEATURES, shelf_of
from segue.models.mini.eyes import Eyes
from segue.models.mini.findings import Finding


def told(eyes: Eyes, shelf: Shelf) -> Iterator[tuple[Path, list[Finding]]]:
    """Each photograph's file and its findings, the surest first."""
    looker = Looker(eyes, shelf.photographs, shelf.features)
    for row, photograph in enumerate(tqdm(shelf.photographs, desc="findings", mininterval=10)):
        yield photograph.path, eyes.find(looker.see(row)[0])[0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a line of JSON for each photograph, as `segue.mini.talk.told_lists` reads it.

    Raises:
        InputError: annotations of no known source.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder that stage look made, or a whole model")
    parser.add_argument("annotations", type=Path, nargs="+", help="DATA/everyday/train.json and the like")
    parser.add_argument("--features", type=Path, default=Path(FEATURES))
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines")
    given = parser.parse_args(arguments)
    eyes = eyes_of(given.model)
    lines = []
    for file in given.annotations:
        source = source_of(file, "annotations")
        shelf = shelf_of(file.parent.parent, source, file.stem, given.features)
        for path, findings in told(eyes, shelf):
            numbers = [[f.name, *(round(v, 4) for v in (f.presence, *f.centre_yx, f.area))] for f in findings]
            lines.append(json.dumps({"picture": f"{source}/{path.name}", "findings": numbers}))
    write_atomic(given.out, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
