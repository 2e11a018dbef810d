"""refCOCO, refCOCO+, refCOCOg, refCLEF and gRefCOCO: expressions for the instances of a COCO file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segue.data.formats.annotations import AnnotatedImage
from segue.data.formats.coco import CocoReport, read_coco
from segue.data.formats.identifiers import identifier
from segue.data.formats.report import ReadReport
from segue.data.formats.safe_pickle import load_plain
from segue.data.formats.splits import SPLIT_NAMES
from segue.data.formats.text_file import load_json
from segue.data.own import requests
from segue.data.own.sources import OwnData, RecordSource, relative_path
from segue.data.own.usable import is_writable
from segue.errors import InputError
from segue.records import Conversation, ImageRef, Region, Span, Turn
from segue.records.conversation import Split

MAX_TURNS = 3
_DETERMINERS = ("the ", "a ", "an ", "his ", "her ", "their ", "its ", "this ", "that ", "these ", "those ")
# reason -> (what is expected, what to do)
_ADVICE: dict[str, tuple[str, str]] = {
    "not a reference": ("a dict with image_id, ann_id, split and sentences", "download the file again"),
    "image or instance missing": (
        "an image of instances.json whose file exists, and sound annotations in it",
        "pass the folder of the images with --images, and the instances.json of the same data set",
    ),
    "no expression": ("at least one sentence without tags", "nothing"),
}


@dataclass(frozen=True)
class Reference:
    """Expressions that all mean the same instances: one, several, or none (gRefCOCO)."""

    texts: tuple[str, ...]
    rids: tuple[str, ...]


@dataclass(frozen=True)
class ReferredImage:
    """One image with everything that is referred to in it; several expressions become several turns."""

    image: AnnotatedImage
    path: str
    split: Split
    references: tuple[Reference, ...]

    def conversation(self, rng: np.random.Generator) -> Conversation:
        """One to `MAX_TURNS` different references, each in one of its wordings."""
        count = 1 + int(rng.integers(min(MAX_TURNS, len(self.references))))
        regions: dict[str, Region] = {}
        turns: list[Turn] = []
        texts = []
        for i in rng.permutation(len(self.references))[:count]:
            reference = self.references[int(i)]
            text = reference.texts[int(rng.integers(len(reference.texts)))]
            texts.append(text)
            turns.append(requests.request("expression", rng, text))
            turns.append(self._answer(reference, regions))
        return Conversation(
            id=f"refcoco/{self.image.image_id}/{rng.integers(2**32):08x}",
            # Only gRefCOCO has expressions for nothing.
            task="refseg" if regions else "grefseg",
            split=self.split,
            images=[
                ImageRef(
                    image_id=f"coco:{self.image.image_id}",
                    path=self.path,
                    height=self.image.height,
                    width=self.image.width,
                )
            ],
            regions=list(regions.values()),
            turns=turns,
            meta={"texts": texts},
        )

    def _answer(self, reference: Reference, regions: dict[str, Region]) -> Turn:
        found = [region for region in self.image.regions if region.rid in reference.rids]
        if not found:
            return Turn(role="assistant", text="There is nothing like that in the image.")
        for item in found:
            regions[item.rid] = requests.region(item.rid, item.name, item.rle, item.kind)
        text, spans = f"Here {'is' if len(found) == 1 else 'are'} ", []
        for position, item in enumerate(found):
            if position:
                text += " and " if position == len(found) - 1 else ", "
            text += "the "
            spans.append(Span(start=len(text), end=len(text) + len(item.name), rids=[item.rid]))
            text += item.name
        return Turn(role="assistant", text=f"{text}.", spans=spans)


def read(path: Path, images: Path | None, split: Split) -> OwnData:
    """Read the references of one split.

    Args:
        path: `refs(unc).p` and the like, `grefs(unc).json`, or the folder that holds just one of them; the
            COCO file `instances.json` lies beside it.
        images: Folder of the images; by default that of the files.
        split: Which references to take.

    Raises:
        InputError: A file is missing or unreadable, there is more than one, or nothing is usable.
        RecordError: instances.json is not in COCO format.
    """
    file = path if path.is_file() else _choose(path)
    instances = file.parent / "instances.json"
    if not instances.is_file():
        raise InputError(
            "The instances of the references are missing.",
            expected="instances.json beside the references",
            found="nothing",
            where=str(instances),
            fix="put both files of the data set into one folder",
        )
    references = load_json(file) if file.suffix.lower() == ".json" else load_plain(file)
    if not isinstance(references, list):
        raise InputError(
            "These are no references.",
            expected="a list of references, as refs(unc).p holds",
            found=type(references).__name__,
            where=str(file),
            fix="download the file again",
        )
    report = ReadReport("refcoco", file)
    coco = read_coco(instances, images)
    _note(coco.report, report)
    root = images or file.parent
    records = _records(references, {image.image_id: image for image in coco}, root, split, report)
    if not records:
        raise report.nothing_usable(f"references of split {split!r} whose images and instances exist")
    return OwnData("refcoco", RecordSource(records, root), report, sorted([file, instances]))


def _choose(folder: Path) -> Path:
    found = sorted([*folder.glob("refs(*).p"), *folder.glob("grefs(*).p"), *folder.glob("grefs(*).json")])
    if len(found) == 1:
        return found[0]
    raise InputError(
        "It is not clear which file holds the references.",
        expected="one file such as refs(unc).p",
        found=", ".join(file.name for file in found) or "none",
        where=str(folder),
        fix="name the file itself",
    )


def _note(coco: CocoReport, report: ReadReport) -> None:
    """Note what instances.json lacks: it matters only as far as references need it, and is reported there."""
    counts = {reason: n for reason, n in coco.counts().items() if reason != "image without annotation"}
    if counts:
        text = ", ".join(f"{reason} ({count})" for reason, count in counts.items())
        report.notes.append(f"instances.json holds records that cannot be used: {text}")


def _records(
    references: list[Any], images: dict[str, AnnotatedImage], root: Path, split: Split, report: ReadReport
) -> list[ReferredImage]:
    by_image: dict[str, list[Reference]] = defaultdict(list)
    other_splits: dict[str, int] = defaultdict(int)
    for number, entry in enumerate(references):
        record = f"reference {entry.get('ref_id', number) if isinstance(entry, Mapping) else number}"
        problem, found = _problem(entry, images)
        # Before any fault is reported: those of other splits concern nobody who reads this one.
        if isinstance(entry, Mapping) and not _is_of(entry.get("split"), split):
            other_splits[str(entry.get("split"))] += 1
            continue
        texts = () if problem else _texts(entry["sentences"])
        if not problem and not texts:
            problem, found = "no expression", repr(entry["sentences"])
        if problem:
            expected, fix = _ADVICE[problem]
            report.drop(record, problem, expected=expected, found=found, fix=fix)
            continue
        by_image[identifier(entry["image_id"]) or ""].append(Reference(texts, _rids(entry["ann_id"])))
    if other_splits:
        listed = ", ".join(f"{name} {count}" for name, count in sorted(other_splits.items()))
        report.notes.append(f"references of other splits, not asked for: {listed}")
        if not by_image and not report.dropped:
            report.drop("all references", "another split", expected=split, found=listed, fix="name the split")
    records = []
    for image_id, own in by_image.items():
        image = images[image_id]
        records.append(ReferredImage(image, relative_path(image.path, root), split, tuple(own)))
        named = {rid for reference in own for rid in reference.rids}
        report.regions += len(named)
        report.names.update(region.name for region in image.regions if region.rid in named)
    report.images, report.conversations = len(records), len(records)
    if records:
        report.notes.append(f"{sum(len(own) for own in by_image.values())} references")
    return records


def _problem(entry: Any, images: Mapping[str, AnnotatedImage]) -> tuple[str, str]:
    """Fault of a reference, and what was found; two empty strings when there is none."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("sentences"), list):
        return "not a reference", repr(entry)[:80]
    if "image_id" not in entry or "ann_id" not in entry:
        return "not a reference", f"fields {', '.join(sorted(map(str, entry)))}"
    image = images.get(identifier(entry["image_id"]) or "")
    if image is None:
        return "image or instance missing", f"image {entry['image_id']}, file {entry.get('file_name')}"
    known = {region.rid for region in image.regions}
    lost = [rid for rid in _rids(entry["ann_id"]) if rid not in known]
    return ("image or instance missing", f"annotation {', '.join(lost)}") if lost else ("", "")


def _is_of(stated: Any, split: str) -> bool:
    """Whether a reference is of a split, also where that is called "valid" and the like."""
    return str(stated) == split or str(stated).lower() in SPLIT_NAMES.get(split, ())


def _rids(ann_id: Any) -> tuple[str, ...]:
    """One annotation id, or a list of them, in which gRefCOCO writes -1 for none."""
    ids = ann_id if isinstance(ann_id, (list, tuple)) else [ann_id]
    return tuple(identifier(number) or repr(number) for number in ids if identifier(number) != "-1")


def _texts(sentences: list[Any]) -> tuple[str, ...]:
    found = []
    for sentence in sentences:
        text = sentence.get("sent") if isinstance(sentence, Mapping) else sentence
        # Requests put a mark of their own behind it ("Segment {x}.").
        if isinstance(text, str) and is_writable(text := " ".join(text.split()).rstrip(".")):
            # "man in red" becomes "the man in red", which fits into every request.
            found.append(text if text.lower().startswith(_DETERMINERS) else f"the {text}")
    return tuple(found)
