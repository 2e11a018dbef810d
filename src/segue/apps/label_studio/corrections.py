"""What annotators corrected, as own data: a project's export, or annotations kept as they came, to COCO."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from segue import masks
from segue.apps.label_studio.label_config import LabelConfig
from segue.apps.label_studio.regions import PIECE, UnusableRegion, region_mask
from segue.data.formats.image_folder import IMAGE_SUFFIXES
from segue.data.formats.report import ReadReport
from segue.data.formats.text_file import load_json
from segue.errors import InputError
from segue.exports.coco import coco_instances
from segue.exports.content import PicturedMasks, PlacedMask
from segue.files import make_folder, write_atomic
from segue.masks import Mask

_KEPT = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")
_GONE = ("ANNOTATION_DELETED", "ANNOTATIONS_DELETED")
_LABELLED = ("brushlabels", "polygonlabels", "labels")


class Corrections:
    """Keeps annotations that Label Studio tells of, a file each, as `read_export` reads them.

    Args:
        folder: For the files; None keeps none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def take(self, event: Mapping[str, Any]) -> str | None:
        """Keep what an event brings, or delete what it says is gone; None for an event of another kind."""
        action, task, annotation = event.get("action"), event.get("task"), event.get("annotation")
        if action not in (*_KEPT, *_GONE):
            return None
        if self._folder is None:
            return "not kept: start the backend with --corrections"
        if action in _GONE:
            gone = event.get("annotations")
            for entry in gone if isinstance(gone, list) else [annotation]:
                self._file(entry).unlink(missing_ok=True)
            return "deleted"
        if not isinstance(task, Mapping) or not isinstance(annotation, Mapping):
            raise _not_usable("an event without task or annotation", "webhook")
        path = self._file(annotation)
        kept = {"id": task.get("id"), "data": task.get("data"), "annotations": [annotation]}
        make_folder(self._folder)
        write_atomic(path, json.dumps(kept, ensure_ascii=False))
        return f"kept as {path.name}"

    def _file(self, annotation: Any) -> Path:
        number = annotation.get("id") if isinstance(annotation, Mapping) else None
        # Part of a file's name, from whoever reaches the port.
        if type(number) is not int or self._folder is None:
            raise _not_usable(f"an annotation of id {number!r:.80}", "webhook")
        return self._folder / f"annotation-{number}.json"


@dataclass
class _Picture:
    """A picture of a task, and what is drawn on it: label, mask."""

    address: str
    hw: tuple[int, int] | None = None
    drawn: list[tuple[str, Mask]] = field(default_factory=list)


def read_export(path: Path, config: LabelConfig | None = None) -> tuple[dict[str, Any], ReadReport]:
    """Read a project's export (JSON), or a folder of such files, as COCO instances.

    Of each task one annotation counts: the ground truth, or that which was saved last. Pictures without a
    region are listed too.

    Args:
        path: File or folder.
        config: Says which field holds which picture; needed where a task has several fields of pictures.

    Returns:
        The content of a COCO instances file, and what was left out.

    Raises:
        InputError: It is no export, or nothing in it can be used.
    """
    report = ReadReport("label-studio", path)
    pictures: dict[str, _Picture] = {}
    for task in _tasks(path):
        annotation = _chosen(task, report)
        if annotation is not None:
            for picture in _read(task, annotation, config, report):
                known = pictures.setdefault(picture.address, picture)
                if known is not picture:
                    _merge(known, picture, report)
    if not any(picture.drawn for picture in pictures.values()):
        raise InputError(
            "The export has no mask.",
            expected="annotations with brush or polygon regions",
            found="; ".join(f"{count}: {reason}" for reason, count in report.dropped.items()) or "no task",
            where=str(path),
            fix="export the project as JSON (not JSON-MIN or CSV), after annotations were submitted",
        )
    return _as_coco(list(pictures.values()), report), report


def _tasks(path: Path) -> Iterator[dict[str, Any]]:
    """Tasks with all their annotations, also where files hold one annotation of a task each."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not path.exists():
        raise _not_usable("nothing", str(path))
    found: dict[Any, dict[str, Any]] = {}
    for file in files:
        content = load_json(file)
        for entry in content if isinstance(content, list) else [content]:
            if isinstance(entry, dict) and isinstance(entry.get("task"), dict) and "result" in entry:
                # Label Studio's target storages: an annotation with its task inside.
                entry = {**entry["task"], "annotations": [entry]}
            if not isinstance(entry, dict) or not isinstance(entry.get("data"), dict):
                raise _not_usable("entries without `data`", str(file))
            key = entry.get("id", (file, len(found)))
            known = found.setdefault(key, {**entry, "annotations": []})
            known["annotations"] += [a for a in entry.get("annotations") or () if isinstance(a, dict)]
    yield from found.values()


def _chosen(task: Mapping[str, Any], report: ReadReport) -> dict[str, Any] | None:
    name = f"task {task.get('id')}"
    annotations: list[dict[str, Any]] = task["annotations"]
    valid = [a for a in annotations if not a.get("was_cancelled") and isinstance(a.get("result"), list)]
    if not valid:
        reason = "task without annotation" if not annotations else "skipped task"
        report.drop(name, reason, expected="a submitted annotation", fix="annotate the task, or leave it out")
        return None
    valid.sort(key=lambda a: (bool(a.get("ground_truth")), str(a.get("updated_at") or "")))
    for other in valid[:-1]:
        report.drop(
            f"annotation {other.get('id')} of {name}",
            "another annotation of a task",
            found=f"annotation {valid[-1].get('id')} is the ground truth, or was saved later",
            fix="mark the right one as ground truth",
        )
    return valid[-1]


def _read(
    task: Mapping[str, Any], annotation: Mapping[str, Any], config: LabelConfig | None, report: ReadReport
) -> list[_Picture]:
    addresses = _addresses(task["data"], config)
    found = {address: _Picture(address) for address in addresses.values()}
    results = [r for r in annotation["result"] if isinstance(r, dict)]
    labels = _labels(results)
    pieces: dict[tuple[str, str, str], Mask] = {}
    for result in results:
        value = result.get("value")
        drawn = isinstance(value, dict) and ("rle" in value or "points" in value)
        if not drawn and not labels.get(str(result.get("id"))):
            continue  # a choice, a text, a relation: nothing on the picture
        if not drawn and result.get("type") == "labels":
            continue  # names a region that stands beside it
        name = f"region {result.get('id')} of task {task.get('id')}"
        try:
            address = _address_of(result, addresses)
            mask, own = region_mask(result), labels.get(str(result.get("id"))) or []
            if not own:
                raise UnusableRegion("region without label", "no label")
            picture = found[address]
            if picture.hw not in (None, mask.shape):
                raise UnusableRegion("another size than that of the picture's other regions", str(mask.shape))
        except UnusableRegion as error:
            report.drop(name, str(error.args[0]), found=str(error.args[1]), fix="correct it in Label Studio")
            continue
        picture.hw = (mask.shape[0], mask.shape[1])
        piece = PIECE.fullmatch(str(result.get("id")))
        for label in own:
            key = (address, label, piece[1] if piece else f"{result.get('id')}/{len(pieces)}")
            pieces[key] = np.logical_or(pieces[key], mask) if key in pieces else mask
    for (address, label, _), mask in pieces.items():
        found[address].drawn.append((label, mask))
    return list(found.values())


def _labels(results: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Id of a region -> its labels, which may stand in a result of their own."""
    found: dict[str, list[str]] = {}
    for result in results:
        value = result.get("value")
        for key in (*_LABELLED, "rectanglelabels", "ellipselabels", "keypointlabels"):
            names = value.get(key) if isinstance(value, dict) else None
            own = found.setdefault(str(result.get("id")), [])
            own += [
                n for n in (names if isinstance(names, list) else ()) if isinstance(n, str) and n not in own
            ]
    return found


def _addresses(data: Mapping[str, Any], config: LabelConfig | None) -> dict[tuple[str, int | None], str]:
    """(field, or image's name with a configuration; place in a list) -> address of a picture."""
    named = (
        [(key, key) for key in data]
        if config is None
        else [(image.name, image.key) for image in config.images]
    )
    found: dict[tuple[str, int | None], str] = {}
    for name, key in named:
        value = data.get(key)
        listed = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for number, address in listed:
            if isinstance(address, str) and (config is not None or _is_picture(address)):
                found[name, number] = address
    return found


def _is_picture(address: str) -> bool:
    path = urlsplit(address)
    return f"{path.path} {path.query}".rstrip().lower().endswith(IMAGE_SUFFIXES)


def _address_of(result: Mapping[str, Any], addresses: Mapping[tuple[str, int | None], str]) -> str:
    item = result.get("item_index")
    number = item if type(item) is int else None
    to_name = str(result.get("to_name"))
    if (to_name, number) in addresses:
        return addresses[to_name, number]
    # Without a configuration the image's name says nothing: its place may still leave one choice.
    fits = {address for (_, place), address in addresses.items() if place == number}
    if len(fits) != 1:
        found = f"{len(fits)} pictures for item_index {item}, image {to_name!r}"
        raise UnusableRegion("region of an unknown picture: --config tells which field it is in", found)
    return fits.pop()


def _merge(known: _Picture, other: _Picture, report: ReadReport) -> None:
    """A picture of several tasks is one, with all that is drawn on it."""
    if known.hw is not None and other.hw not in (None, known.hw):
        report.drop(
            f"{len(other.drawn)} regions of {other.address[:100]}", "picture of two sizes",
            found=f"{known.hw} and {other.hw}", fix="export the tasks apart",
        )  # fmt: skip
        return
    known.hw = known.hw or other.hw
    known.drawn += other.drawn


def _as_coco(pictures: Sequence[_Picture], report: ReadReport) -> dict[str, Any]:
    sized = [
        PicturedMasks(
            picture.address,
            picture.hw,
            tuple(PlacedMask(label, masks.encode(mask)) for label, mask in picture.drawn),
        )
        for picture in pictures
        if picture.hw is not None
    ]
    content = coco_instances(sized)
    for annotation in content["annotations"]:
        # Drawn by people: there is no score.
        del annotation["score"]
    bare = [picture.address for picture in pictures if picture.hw is None]
    content["images"] += [
        {"id": number, "file_name": address} for number, address in enumerate(bare, len(sized) + 1)
    ]
    report.images, report.regions = len(pictures), len(content["annotations"])
    report.names.update(label for picture in pictures for label, _ in picture.drawn)
    return content


def _not_usable(found: str, where: str) -> InputError:
    return InputError(
        "This is no export of Label Studio.",
        expected="a JSON list of tasks with `data` and `annotations`, or a folder of such files",
        found=found,
        where=where,
        fix="export the project as JSON",
    )
