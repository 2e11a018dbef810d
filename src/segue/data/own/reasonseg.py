"""ReasonSeg (LISA): an image and a JSON of the same name with a question and polygons of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segue import masks
from segue.data.formats.coco_advice import ADVICE as IMAGE_ADVICE
from segue.data.formats.coco_masks import FRACTIONS
from segue.data.formats.frames import Frame, FrameVotes, UnusableFrame, choose_frame
from segue.data.formats.image_folder import IMAGE_SUFFIXES, ImageFolder
from segue.data.formats.image_header import read_header, turned_upright
from segue.data.formats.report import ReadReport
from segue.data.formats.shapes import Shape, UnusableShape, read_shape, shape_area
from segue.data.formats.splits import json_files
from segue.data.formats.text_file import parse_json
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
    **IMAGE_ADVICE,
    "image file not found": ("an image named like the JSON", "pass the folder of the images with --images"),
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
    given = [ImageFolder(images)] if images is not None else []
    beside: dict[Path, ImageFolder] = {}  # one look-up for each folder of files: it lists what lies there
    records = []
    for file in files:
        try:
            own = beside.setdefault(file.parent, ImageFolder.beside(file))
            record = _read_file(file, root, [own, *given], split, report)
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
    file: Path, root: Path, look_ups: Sequence[ImageFolder], split: Split, report: ReadReport
) -> ReasonRecord:
    try:
        data, decoded = parse_json(file)
    except InputError as error:
        raise _Unusable("not a ReasonSeg file", error.found) from None
    if not isinstance(data, Mapping) or "text" not in data or not isinstance(data.get("shapes"), list):
        raise _Unusable("not a ReasonSeg file", f"{type(data).__name__} without `text` or `shapes`")
    if decoded.is_guess:
        report.repaired[decoded.wording] += 1
    texts = _texts(data["text"])
    image = _image(file, look_ups)
    try:
        header = read_header(image)
    except ImageError as error:
        raise _Unusable("image cannot be read", error.found) from None
    outlines = _outlines(data["shapes"], file, report)
    reaches = [reach for _, outline in outlines if (reach := outline.reach()) is not None]
    try:
        frame = choose_frame(None, header, reaches, FrameVotes())
    except UnusableFrame as problem:
        raise _Unusable(*problem.args) from None
    target, ignored = _paint(outlines, frame, file, report)
    hw = header.hw
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


def _image(file: Path, look_ups: Sequence[ImageFolder]) -> Path:
    """The image named like the JSON, in the first of these places that has it."""
    for place in look_ups:
        found = place.look(file.stem)
        if found.path is not None:
            return found.path
        if found.candidates:
            raise _Unusable(found.reason, found.found(file.stem, place.folder))
    raise _Unusable("image file not found", f"{file.stem}{{{', '.join(IMAGE_SUFFIXES)}}}")


def _outlines(shapes: list[Any], file: Path, report: ReadReport) -> list[tuple[int, Shape]]:
    """List what each sound shape paints (1 target, 2 ignored), the largest first: small ones lie on top."""
    found = []
    for number, shape in enumerate(shapes):
        record = f"{file.name}, shape {number}"
        label = str(shape.get("label")).lower() if isinstance(shape, Mapping) else ""
        if label == "flag":  # a mark of the annotators, no area
            continue
        if label not in (TARGET, _IGNORED):
            _drop(report, record, "shape with unknown label", repr(shape)[:80], file)
            continue
        try:
            found.append((1 if label == TARGET else 2, read_shape(shape)))
        except UnusableShape as problem:
            _drop(report, record, "unusable shape", f"{problem.args[0]}: {problem.args[1]}", file)
    return sorted(found, key=lambda pair: -shape_area(pair[1].points))


def _paint(
    outlines: Sequence[tuple[int, Shape]], frame: Frame, file: Path, report: ReadReport
) -> tuple[RLE, RLE | None]:
    """The target, and what is ignored.

    Source: LISA's own reading of the data set.
    """
    painted = np.zeros(frame.hw, dtype=np.uint8)
    for value, outline in outlines:
        try:
            painted[outline.draw(frame.hw)] = value
        except UnusableShape as problem:
            found = f"{problem.args[0]}: {problem.args[1]}"
            _drop(report, f"{file.name}, a {outline.kind}", "unusable shape", found, file)
            continue
        if outline.is_fractions:
            report.repaired[FRACTIONS] += 1
    if not (painted == 1).any():
        raise _Unusable("no target", f"{len(outlines)} sound shapes")
    # Painted in the frame of the file, and turned only then: the order of painting must not depend on EXIF.
    target, ignored = (turned_upright(painted == value, frame.orientation) for value in (1, 2))
    return masks.encode(target), masks.encode(ignored) if ignored.any() else None
