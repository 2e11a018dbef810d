"""GranD-f (GLaMM): a caption for each image, with masks for phrases of it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segue.data.formats.coco_advice import ADVICE as IMAGE_ADVICE
from segue.data.formats.coco_lists import entry_key
from segue.data.formats.coco_masks import read_outline, upright_rle
from segue.data.formats.coco_report import UnusableRecord
from segue.data.formats.frames import Frame, FrameVotes, UnusableFrame, choose_frame
from segue.data.formats.identifiers import identifier
from segue.data.formats.image_folder import ImageFolder
from segue.data.formats.image_header import ImageHeader, read_header
from segue.data.formats.report import ReadReport
from segue.data.formats.text_file import parse_json
from segue.data.own import requests
from segue.data.own.sources import OwnData, RecordSource, relative_path
from segue.data.own.usable import is_writable
from segue.errors import ImageError, InputError
from segue.masks import RLE
from segue.records import Conversation, ImageRef, Region, Span, Turn
from segue.records.conversation import Split

# reason -> (what is expected, what to do)
_ADVICE: dict[str, tuple[str, str]] = {
    **IMAGE_ADVICE,
    "not a captioned image": ("`file_name`, `caption` and `groundings` (or `refs`)", "complete the record"),
    "caption contains a tag": ("text without tags such as <p> or [SEG]", "take the tags out"),
    "phrase not in the caption": ("a phrase that the caption contains", "write it as it stands there"),
    "phrase overlaps another": ("phrases that stand apart", "keep one of the two"),
    "phrase without a mask": ("at least one sound mask", "encode its masks again"),
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
            # GLaMM sums the masks of a phrase to one, so they are one target.
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
    entries, decoded = parse_json(path) if path.is_file() else (None, None)
    entries = _listed(entries)
    if entries is None:
        raise InputError(
            "These are no grounded captions.",
            expected="a JSON list of records with `file_name`, `caption` and `groundings`",
            found="a folder" if path.is_dir() else "something else",
            where=str(path),
            fix="name the JSON file itself",
        )
    root = images or path.parent
    folder, report, records = ImageFolder.beside(path, images), ReadReport("grand", path), []
    if decoded is not None and decoded.is_guess:
        report.repaired[decoded.wording] += 1
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
    inner = entry if isinstance(entry, Mapping) else {}
    caption = inner.get("caption")
    file_name = next((inner[key] for key in ("file_name", "img_file_name", "image") if key in inner), None)
    groundings = list(_groundings(inner))
    if not isinstance(caption, str) or not isinstance(file_name, str) or not groundings:
        raise _Unusable("not a captioned image", f"fields {', '.join(map(str, inner)) or repr(entry)[:60]}")
    # `is_writable` is made for names, of one line; a caption may have several.
    if not is_writable(caption.replace("\n", " ")):
        raise _Unusable("caption contains a tag", repr(caption)[:120])
    found = folder.look(file_name)
    if found.path is None:
        raise _Unusable(found.reason, found.found(file_name, folder.folder))
    image = found.path
    try:
        header = read_header(image)
    except ImageError as error:
        raise _Unusable("image cannot be read", error.found) from None
    frame = _frame(header, groundings)
    hw = header.hw
    phrases: list[Phrase] = []
    for grounding in groundings:
        record = f"record {number}, phrase {grounding.phrase!r}"
        try:
            rles = _masks(grounding, frame, record, report)
            phrases.append(_phrase(caption, grounding, rles, phrases))
        except _Unusable as problem:
            _drop(report, record, *problem.args)
    if not phrases:
        raise _Unusable("caption without grounded phrase", repr(caption)[:120])
    reference = ImageRef(
        image_id=f"grand:{image.stem}", path=relative_path(image, folder.folder), height=hw[0], width=hw[1]
    )
    return CaptionRecord(reference, split, caption, tuple(sorted(phrases, key=lambda p: p.start)))


def _listed(content: Any) -> list[Any] | None:
    """The records of a file of any of GranD-f's four forms; None for something else.

    A list of records; one record; a dict (or dicts in a list) of records by their ids; and the Flickr form,
    COCO with a `caption` in each image and `tokens_positive` in each annotation.
    """
    if isinstance(content, Mapping) and isinstance(content.get("images"), list):
        return _flickr_records(content)
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        return None
    records: list[Any] = []
    for entry in content:
        inner = list(entry.values()) if isinstance(entry, Mapping) and "caption" not in entry else []
        records += inner if inner and all(isinstance(value, Mapping) for value in inner) else [entry]
    return records


def _flickr_records(content: Mapping[str, Any]) -> list[Any]:
    """Images with their annotations, as records of the list form."""
    by_image: dict[str, list[Any]] = defaultdict(list)
    annotations = content.get("annotations")
    for annotation in annotations if isinstance(annotations, list) else []:
        if isinstance(annotation, Mapping):
            by_image[identifier(annotation.get("image_id")) or ""].append(annotation)
    images = content["images"]
    often = Counter(entry_key(image) for image in images)
    records: list[Any] = [
        # Popped: what is left over belongs to no single image, and is reported.
        {**image, "annotations": by_image.pop(entry_key(image) or "", [])}
        if isinstance(image, Mapping) and often[entry_key(image)] == 1
        else {"image id that several images have, or none": entry_key(image)}
        for image in images
    ]
    return records + [{"annotations of no single image": key} for key, own in by_image.items() for _ in own]


@dataclass(frozen=True)
class Grounding:
    """A phrase and the masks that it names.

    Attributes:
        phrase: As the file has it.
        stated: Its characters in the caption, if the file says.
        masks: Pairs of a segmentation and the record that it stands in.
    """

    phrase: str
    stated: Any
    masks: tuple[tuple[Any, Mapping[str, Any]], ...]


def _groundings(entry: Mapping[str, Any]) -> Iterator[Grounding]:
    """The phrases of a record of any form."""
    groundings, refs, annotations = entry.get("groundings"), entry.get("refs"), entry.get("annotations")
    if isinstance(groundings, Mapping):
        for phrase, value in groundings.items():
            if isinstance(value, Mapping):
                found = value.get("rle_masks")
                listed = found if isinstance(found, list) else []
                # These masks have no bbox or area beside them to be checked against.
                yield Grounding(phrase, value.get("token_positives"), tuple((one, {}) for one in listed))
    elif isinstance(refs, list):
        for value in refs:
            if isinstance(value, Mapping) and isinstance(value.get("sentence"), str):
                # The record itself states bbox and area.
                yield Grounding(value["sentence"], None, ((value.get("segmentation"), value),))
    elif isinstance(annotations, list):
        caption = entry.get("caption")
        by_place: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for annotation in annotations:
            by_place[repr(annotation.get("tokens_positive"))].append(annotation)
        for own in by_place.values():
            stated = _first_pair(own[0].get("tokens_positive"))
            phrase = caption[stated[0] : stated[1]] if isinstance(caption, str) and stated else ""
            masks = tuple((one.get("sam_mask") or one.get("segmentation"), one) for one in own)
            yield Grounding(phrase, stated, masks)


def _first_pair(stated: Any) -> list[int] | None:
    """`[start, end]`, from a pair or a list of pairs."""
    if isinstance(stated, list) and stated and isinstance(stated[0], list):
        stated = stated[0]
    is_pair = isinstance(stated, list) and len(stated) == 2 and all(type(n) is int for n in stated)
    return stated if is_pair else None


def _frame(header: ImageHeader, groundings: Sequence[Grounding]) -> Frame:
    """The frame of a record's masks: records state no size, so the upright one unless the masks tell."""
    reaches = []
    for segmentation, _ in (pair for grounding in groundings for pair in grounding.masks):
        with suppress(UnusableRecord):
            reach = read_outline(segmentation).reach()
            reaches += [reach] if reach is not None else []
    try:
        return choose_frame(None, header, reaches, FrameVotes())
    except UnusableFrame as problem:
        raise _Unusable(*problem.args) from None


def _masks(grounding: Grounding, frame: Frame, record: str, report: ReadReport) -> tuple[RLE, ...]:
    """The sound masks of a phrase; those that are not are reported one by one."""
    rles = []
    for segmentation, own in grounding.masks:
        try:
            rle, repair = upright_rle(read_outline(segmentation), own, frame)
        except UnusableRecord as problem:
            _drop(report, record, "unusable mask", ": ".join(problem.args))
            continue
        rles.append(rle)
        if repair:
            report.repaired[repair] += 1
    if not rles:
        raise _Unusable("phrase without a mask", f"{len(grounding.masks)} masks, none sound")
    return tuple(rles)


def _phrase(caption: str, grounding: Grounding, rles: tuple[RLE, ...], taken: list[Phrase]) -> Phrase:
    """Locate a phrase."""
    places = _places(caption, grounding.phrase, grounding.stated)
    if not places:
        raise _Unusable("phrase not in the caption", f"{grounding.stated} in {caption!r}")
    # A caption that names "a man" twice: the second grounding gets the second place.
    for start, end in places:
        if all(end <= other.start or start >= other.end for other in taken):
            return Phrase(start, end, rles)
    raise _Unusable("phrase overlaps another", f"{grounding.phrase!r} in {caption!r}")


def _places(caption: str, phrase: str, stated: Any) -> list[tuple[int, int]]:
    """Where the phrase stands: as stated if that is true, else wherever it is found as whole words.

    `token_positives` counts characters; GLaMM's files hold some that are shifted, or lists of pairs.
    """
    wanted = " ".join(phrase.lower().split())
    pair = _first_pair(stated)
    if pair is not None:
        start, end = pair
        if 0 <= start < end <= len(caption) and caption[start:end].lower().strip() == wanted:
            # The stated range may begin with the blank before the phrase.
            start += len(caption[start:end]) - len(caption[start:end].lstrip())
            return [(start, start + len(wanted))]
    pattern = r"(?<!\w)" + re.escape(wanted).replace(r"\ ", r"\s+") + r"(?!\w)"
    found = re.finditer(pattern, caption, re.IGNORECASE) if wanted else ()
    return [match.span() for match in found]
