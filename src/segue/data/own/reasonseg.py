"""ReasonSeg (LISA): an image and a JSON of the same name with a question and polygons of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segue import masks
from segue.data.formats.image_folder import IMAGE_SUFFIXES, ImageFolder
from segue.data.formats.image_header import upright_hw
from segue.data.formats.report import ReadReport
from segue.data.formats.shapes import UnusableShape, shape_area, shape_mask
from segue.data.formats.splits import json_files
from segue.data.formats.text_file import load_json
from segue.data.own import requests
from segue.data.own.sources import OwnData, RecordSource, relative_path
from segue.data.own.usable import is_writable
from segue.errors import ImageError, InputError
from segue.masks import RLE
from segue.records import Conversation, IgnoredArea, ImageRef
from segue.records.conversation import Split

TARGET = "target"
_IGNORED = "ignore"
# reason -> (what is expected, what to do)
_ADVICE: dict[str, tuple[str, str]] = {
    "not a ReasonSeg file": ("a JSON object with `text` and `shapes`", "keep other JSON files elsewhere"),
    "image file not found": ("an image named like the JSON", "pass the folder of the images with --images"),
    "image without size": ("a readable image", "save or download the image again"),
    "no question": ("`text`: one or more sentences or phrases", "write the question"),
    "text contains a tag": ("text without tags such as [SEG]", "take the tag out"),
    "no target": ("a shape with the label `target` that covers a pixel", "outline the answer"),
    "shape with unknown label": ("`target` or `ignore`", "nothing, or rename it"),
    "unusable shape": ("at least 3 points x, y, all finite", "draw it again"),
}


class _Unusable(Exception):
    """A file gives no record: `(reason, found)`."""


@dataclass(frozen=True)
class ReasonRecord:
    """One image with its question in one or more wordings.

    Attributes:
        image: The image.
        split: Written into the record.
        texts: The question or the expression, as the file words it.
        is_sentence: Whether the texts are sentences rather than expressions ("the dog's nose").
        target: What is asked for.
        ignored: Pixels that count neither way.
    """

    image: ImageRef
    split: Split
    texts: tuple[str, ...]
    is_sentence: bool
    target: RLE
    ignored: RLE | None

    def conversation(self, rng: np.random.Generator) -> Conversation:
        """One question, one answer."""
        text = self.texts[int(rng.integers(len(self.texts)))]
        turn = requests.request("sentence" if self.is_sentence else "expression", rng, text)
        return Conversation(
            id=f"{self.image.image_id}/{rng.integers(2**32):08x}",
            task="reasonseg",
            split=self.split,
            images=[self.image],
            regions=[requests.region("r1", TARGET, self.target)],
            turns=[turn, requests.answer("Here is the ", TARGET, ".", ["r1"])],
            ignore=[] if self.ignored is None else [IgnoredArea(image_index=0, mask=self.ignored)],
            meta={"is_sentence": self.is_sentence, "text": text},
        )


def read(path: Path, images: Path | None, split: Split) -> OwnData:
    """Read a folder of ReasonSeg pairs.

    Args:
        path: The folder (only `path/split` where there is one), or one JSON file.
        images: Where the images lie, if not beside the JSON files.
        split: Which subfolder to read; written into the records.

    Raises:
        InputError: Nothing usable.
    """
    files = [path] if path.is_file() else json_files(path, split)
    report = ReadReport("reasonseg", path)
    root = images or (path.parent if path.is_file() else path)
    folder = ImageFolder(images) if images is not None else None
    records = []
    for file in files:
        try:
            record = _read_file(file, root, folder, split, report)
        except _Unusable as problem:
            reason, found = problem.args
            _drop(report, file.name, reason, found, file)
            continue
        records.append(record)
        report.images += 1
        report.regions += 1
        report.names[TARGET] += 1
    report.conversations = len(records)
    if not records:
        raise report.nothing_usable("pairs of image and JSON with `text` and shapes labelled `target`")
    return OwnData("reasonseg", RecordSource(records, root), report, files)


def _drop(report: ReadReport, record: str, reason: str, found: str, file: Path) -> None:
    expected, fix = _ADVICE[reason]
    report.drop(record, reason, expected=expected, found=found, where=str(file), fix=fix)


def _read_file(
    file: Path, root: Path, folder: ImageFolder | None, split: Split, report: ReadReport
) -> ReasonRecord:
    try:
        data = load_json(file)
    except InputError as error:
        raise _Unusable("not a ReasonSeg file", error.found) from None
    if not isinstance(data, Mapping) or "text" not in data or not isinstance(data.get("shapes"), list):
        raise _Unusable("not a ReasonSeg file", f"{type(data).__name__} without `text` or `shapes`")
    texts = _texts(data["text"])
    image = _image(file, folder)
    try:
        hw = upright_hw(image)
    except ImageError as error:
        raise _Unusable("image without size", error.found) from None
    target, ignored = _paint(data["shapes"], hw, file, report)
    written = relative_path(image, root)
    return ReasonRecord(
        ImageRef(image_id=f"reasonseg:{file.stem}", path=written, height=hw[0], width=hw[1]),
        split,
        texts,
        bool(data.get("is_sentence", True)),
        target,
        ignored,
    )


def _texts(text: Any) -> tuple[str, ...]:
    options = [text] if isinstance(text, str) else text if isinstance(text, list) else []
    texts = [" ".join(option.split()) for option in options if isinstance(option, str) and option.strip()]
    if not texts:
        raise _Unusable("no question", repr(text)[:80])
    sound = tuple(option for option in texts if is_writable(option))
    if not sound:
        raise _Unusable("text contains a tag", repr(texts[0])[:80])
    return sound


def _image(file: Path, folder: ImageFolder | None) -> Path:
    for suffix in IMAGE_SUFFIXES:
        for candidate in (suffix, suffix.upper()):
            beside = file.with_suffix(candidate)
            if beside.is_file():
                return beside
            if folder is not None and (found := folder.find(beside.name)):
                return found
    raise _Unusable("image file not found", f"{file.stem}{{{', '.join(IMAGE_SUFFIXES)}}}")


def _paint(shapes: list[Any], hw: tuple[int, int], file: Path, report: ReadReport) -> tuple[RLE, RLE | None]:
    """Paint the polygons, the largest first, so that a small one on a large one counts.

    Source: LISA's own reading of the data set.
    """
    painted = np.zeros(hw, dtype=np.uint8)
    numbered = [(n, shape) for n, shape in enumerate(shapes) if isinstance(shape, Mapping)]
    for number, shape in sorted(numbered, key=lambda pair: -shape_area(pair[1].get("points"))):
        record, label = f"{file.name}, shape {number}", str(shape.get("label")).lower()
        if label == "flag":  # a mark of the annotators, no area
            continue
        if label not in (TARGET, _IGNORED):
            _drop(report, record, "shape with unknown label", repr(shape.get("label")), file)
            continue
        try:
            mask = shape_mask(shape, hw)
        except UnusableShape as problem:
            _drop(report, record, "unusable shape", f"{problem.args[0]}: {problem.args[1]}", file)
            continue
        painted[mask] = 1 if label == TARGET else 2
    if not (painted == 1).any():
        raise _Unusable("no target", f"{len(shapes)} shapes")
    ignored = masks.encode(painted == 2) if (painted == 2).any() else None
    return masks.encode(painted == 1), ignored
