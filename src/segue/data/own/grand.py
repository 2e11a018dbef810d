"""GranD-f (GLaMM): a caption for each image, with masks for phrases of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segue.data.formats.coco_masks import to_rle
from segue.data.formats.image_folder import ImageFolder
from segue.data.formats.image_header import upright_hw
from segue.data.formats.report import ReadReport
from segue.data.formats.text_file import load_json
from segue.data.own import requests
from segue.data.own.sources import OwnData, RecordSource, relative_path
from segue.data.own.usable import is_writable
from segue.errors import ImageError, InputError, RecordError
from segue.masks import RLE
from segue.records import Conversation, ImageRef, Region, Span, Turn
from segue.records.conversation import Split

# reason -> (what is expected, what to do)
_ADVICE: dict[str, tuple[str, str]] = {
    "not a captioned image": ("`file_name`, `caption` and `groundings` (or `refs`)", "complete the record"),
    "image file not found": ("an image file of this name", "pass the folder of the images with --images"),
    "image without size": ("a readable image", "save or download the image again"),
    "caption contains a tag": ("text without tags such as <p> or [SEG]", "take the tags out"),
    "phrase not in the caption": ("a phrase that the caption contains", "write it as it stands there"),
    "phrase overlaps another": ("phrases that stand apart", "keep one of the two"),
    "unusable mask": ("RLE masks or polygons of the image's size", "encode the mask again"),
    "caption without grounded phrase": ("at least one phrase with a mask", "repair what is listed above"),
}


class _Unusable(Exception):
    """A record or a phrase cannot be used: `(reason, found)`."""


@dataclass(frozen=True)
class Phrase:
    """Characters `[start, end)` of the caption, and the masks that it names together."""

    start: int
    end: int
    rles: tuple[RLE, ...]


@dataclass(frozen=True)
class CaptionRecord:
    """One image, its caption, and the grounded phrases in the order of the text."""

    image: ImageRef
    split: Split
    caption: str
    phrases: tuple[Phrase, ...]

    def conversation(self, rng: np.random.Generator) -> Conversation:
        """A request for a description, and the caption."""
        regions: list[Region] = []
        spans: list[Span] = []
        for phrase in self.phrases:
            rids = [f"r{len(regions) + n}" for n in range(1, len(phrase.rles) + 1)]
            name = self.caption[phrase.start : phrase.end]
            regions += [requests.region(rid, name, rle, "object") for rid, rle in zip(rids, phrase.rles)]
            spans.append(Span(start=phrase.start, end=phrase.end, rids=rids, merge="union"))
        return Conversation(
            id=f"{self.image.image_id}/{rng.integers(2**32):08x}",
            task="gcg",
            split=self.split,
            images=[self.image],
            regions=regions,
            turns=[
                requests.request("caption", rng),
                Turn(role="assistant", text=self.caption, spans=spans),
            ],
        )


def read(path: Path, images: Path | None, split: Split) -> OwnData:
    """Read a GCG file: a list of captions with `groundings` (GranD-f, OpenPSG) or `refs` (RefCOCOg).

    Args:
        path: The JSON file.
        images: Folder of the images; by default the file's own.
        split: Written into the records.

    Raises:
        InputError: Not such a file, or nothing usable.
    """
    entries = load_json(path) if path.is_file() else None
    if isinstance(entries, Mapping):
        entries = [entries]
    if not isinstance(entries, list):
        raise InputError(
            "These are no grounded captions.",
            expected="a JSON list of records with `file_name`, `caption` and `groundings`",
            found="a folder" if path.is_dir() else type(entries).__name__,
            where=str(path),
            fix="name the JSON file itself",
        )
    root = images or path.parent
    folder, report, records = ImageFolder(root), ReadReport("grand", path), []
    for number, entry in enumerate(entries):
        try:
            records.append(_read_entry(number, entry, folder, split, report))
        except _Unusable as problem:
            _drop(report, f"record {number}", *problem.args)
    report.images = len({record.image.path for record in records})
    report.conversations = len(records)
    for record in records:
        report.regions += sum(len(phrase.rles) for phrase in record.phrases)
        report.names.update(record.caption[p.start : p.end].lower() for p in record.phrases)
    if not records:
        raise report.nothing_usable("captions with at least one phrase that has a mask, and their images")
    return OwnData("grand", RecordSource(records, root), report, [path])


def _drop(report: ReadReport, record: str, reason: str, found: str) -> None:
    expected, fix = _ADVICE[reason]
    report.drop(record, reason, expected=expected, found=found, fix=fix)


def _read_entry(
    number: int, entry: Any, folder: ImageFolder, split: Split, report: ReadReport
) -> CaptionRecord:
    inner = _unwrapped(entry)
    caption = inner.get("caption")
    file_name = next((inner[key] for key in ("file_name", "img_file_name", "image") if key in inner), None)
    groundings = list(_groundings(inner))
    if not isinstance(caption, str) or not isinstance(file_name, str) or not groundings:
        raise _Unusable("not a captioned image", f"fields {', '.join(map(str, inner)) or repr(entry)[:60]}")
    if not is_writable(caption.replace("\n", " ")):
        raise _Unusable("caption contains a tag", repr(caption)[:120])
    image = folder.find(file_name)
    if image is None:
        raise _Unusable("image file not found", str(folder.folder / file_name))
    try:
        hw = upright_hw(image)
    except ImageError as error:
        raise _Unusable("image without size", error.found) from None
    phrases: list[Phrase] = []
    for phrase, stated, segmentations in groundings:
        try:
            phrases.append(_phrase(caption, phrase, stated, segmentations, hw, phrases))
        except _Unusable as problem:
            _drop(report, f"record {number}, phrase {phrase!r}", *problem.args)
    if not phrases:
        raise _Unusable("caption without grounded phrase", repr(caption)[:120])
    reference = ImageRef(
        image_id=f"grand:{image.stem}", path=relative_path(image, folder.folder), height=hw[0], width=hw[1]
    )
    return CaptionRecord(reference, split, caption, tuple(sorted(phrases, key=lambda p: p.start)))


def _unwrapped(entry: Any) -> Mapping[str, Any]:
    """RefCOCOg's records are `{id: {...}}`, the others are the record itself."""
    if (
        isinstance(entry, Mapping)
        and len(entry) == 1
        and isinstance(inner := next(iter(entry.values())), Mapping)
    ):
        return inner
    return entry if isinstance(entry, Mapping) else {}


def _groundings(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any, list[Any]]]:
    """(phrase, stated characters or None, segmentations) of a record of either form."""
    groundings, refs = entry.get("groundings"), entry.get("refs")
    if isinstance(groundings, Mapping):
        for phrase, value in groundings.items():
            if isinstance(value, Mapping):
                found = value.get("rle_masks")
                yield phrase, value.get("token_positives"), found if isinstance(found, list) else []
    elif isinstance(refs, list):
        for value in refs:
            if isinstance(value, Mapping) and isinstance(value.get("sentence"), str):
                yield value["sentence"], None, [value.get("segmentation")]


def _phrase(
    caption: str, phrase: str, stated: Any, segmentations: list[Any], hw: tuple[int, int], taken: list[Phrase]
) -> Phrase:
    """Locate a phrase and check its masks."""
    rles = []
    for segmentation in segmentations:
        try:
            rles.append(to_rle(segmentation, hw))
        except RecordError as error:
            raise _Unusable("unusable mask", f"{error.summary}; {error.found}") from None
    if not rles:
        raise _Unusable("unusable mask", "no mask")
    places = _places(caption, phrase, stated)
    if not places:
        raise _Unusable("phrase not in the caption", f"{stated} in {caption!r}")
    for start, end in places:
        if all(end <= other.start or start >= other.end for other in taken):
            return Phrase(start, end, tuple(rles))
    raise _Unusable("phrase overlaps another", f"{phrase!r} in {caption!r}")


def _places(caption: str, phrase: str, stated: Any) -> list[tuple[int, int]]:
    """Where the phrase stands: as stated if that is true, else wherever it is found as whole words.

    `token_positives` counts characters; GLaMM's files hold some that are shifted, or lists of pairs.
    """
    wanted = " ".join(phrase.lower().split())
    if isinstance(stated, list) and stated and isinstance(stated[0], list):
        stated = stated[0]
    if isinstance(stated, list) and len(stated) == 2 and all(type(n) is int for n in stated):
        start, end = stated
        if 0 <= start < end <= len(caption) and caption[start:end].lower().strip() == wanted:
            start += len(caption[start:end]) - len(caption[start:end].lstrip())
            return [(start, start + len(wanted))]
    pattern = r"(?<!\w)" + re.escape(wanted).replace(r"\ ", r"\s+") + r"(?!\w)"
    found = re.finditer(pattern, caption, re.IGNORECASE) if wanted else ()
    return [match.span() for match in found]
