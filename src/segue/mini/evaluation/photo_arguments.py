"""What commands that measure a model on annotated photographs ask for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from segue.mini.photos.facts import PhotoRecord, as_annotated, load_photo_facts


def photo_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with `--coco`, `--images`, `--model` and `--as-annotated`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--coco", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--model", default="segue-scenes")
    parser.add_argument("--as-annotated", action="store_true", help="doubt nothing that is annotated")
    return parser


def photo_records(arguments: argparse.Namespace) -> Sequence[PhotoRecord]:
    """The photographs that the arguments of a `photo_parser` name."""
    records = load_photo_facts(arguments.coco, arguments.images)
    return as_annotated(records) if arguments.as_annotated else records
