"""JSONL of images with nodes: wholes and parts, each with a mask and the id of the whole that it belongs to.

    {"file_name": "a.jpg", "height": 480, "width": 640, "nodes": [
      {"id": 1, "name": "dog", "parent_id": null, "segmentation": {"size": [480, 640], "counts": "..."}},
      {"id": 2, "name": "head", "parent_id": 1, "segmentation": {"size": [480, 640], "counts": "..."}}]}

A line may also be a single node that names its image. Lines become COCO's lists, so that masks are checked as
there.

Source: the page of COT5415/COT5415_Computer_Vision (PartImageNet, Pascal-Part and PACO-LVIS as one JSONL:
wholes and parts, compressed COCO run lengths, `parent_id`). Other field names are not published: several are
tried.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from segue.data.formats.coco import read_coco
from segue.data.formats.identifiers import identifier
from segue.data.formats.report import ReadReport
from segue.data.formats.splits import names_split
from segue.data.formats.text_file import load_text
from segue.data.own.coco_instances import copy_report
from segue.data.own.sources import AnnotationSource, OwnData
from segue.data.own.usable import usable_images
from segue.errors import InputError
from segue.records.conversation import Split

PARENT = "parent_id"
NODES = ("nodes", "annotations", "objects", "regions", "instances", "masks")
IMAGE = ("file_name", "image_path", "path", "image", "img", "filename")
NAME = ("name", "label", "category", "category_name", "class", "class_name")
MASK = ("segmentation", "rle", "mask", "counts")
_DEEPEST = 20  # parts of parts of parts ...

LOOKED_FOR = (
    f"JSONL with `{PARENT}`: image in {', '.join(IMAGE)}; nodes in {', '.join(NODES)}, or one a line; "
    f"name in {', '.join(NAME)}; mask in {', '.join(MASK)}"
)


def is_part_nodes(first_line: str) -> bool:
    """Whether a JSONL file is of this kind, by its first line."""
    return f'"{PARENT}"' in first_line


def read(path: Path, images: Path | None, split: Split) -> OwnData:
    """Read such a file; lines that say another split are left out.

    Args:
        path: The .jsonl file, or a folder with one (or one that is named like the split).
        images: Folder that the images' names are relative to.
        split: Which lines to take where they say theirs; written into the records.

    Raises:
        InputError: No file, or nothing usable.
    """
    file = path if path.is_file() else _chosen(path, split)
    report = ReadReport("partnodes", file)
    lists = as_coco(file, split, report)
    annotations = read_coco(file, images, lists=lists)
    copy_report(annotations.report, report)
    kept = usable_images(annotations, report)
    if not kept:
        raise report.nothing_usable(f"images that exist, with sound masks; {LOOKED_FOR}")
    root = file.parent if images is None else images
    return OwnData("partnodes", AnnotationSource(kept, root, split), report, [file])


def _chosen(folder: Path, split: str) -> Path:
    found = sorted(folder.glob("*.jsonl"))
    named = [file for file in found if names_split(file.stem, split)]
    chosen = found if len(found) == 1 else named
    if len(chosen) != 1:
        raise InputError(
            "It is not clear which file holds the annotations.",
            expected=f"one .jsonl file, or one with {split!r} in its name",
            found=", ".join(file.name for file in found[:8]) or "no .jsonl file",
            where=str(folder),
            fix="name the file itself",
        )
    return chosen[0]


def as_coco(file: Path, split: str, report: ReadReport) -> dict[str, Any]:
    """The lines as COCO's three lists; what cannot be read is reported."""
    images: dict[str, dict[str, Any]] = {}
    annotations: list[dict[str, Any]] = []
    categories: dict[str, int] = {}
    others: Counter[str] = Counter()
    by_image: dict[str, list[Mapping[str, Any]]] = {}
    for number, line in _objects(file, report):
        stated = line.get("split")
        if isinstance(stated, str) and not names_split(stated, split):
            others[stated] += 1
            continue
        name = next((line[f] for f in IMAGE if isinstance(line.get(f), str)), None)
        listed = next((line[f] for f in NODES if isinstance(line.get(f), list)), None)
        nodes = listed if listed is not None else [line] if PARENT in line else None
        if name is None or nodes is None:
            _drop(
                report,
                number,
                "line without image or nodes",
                LOOKED_FOR,
                f"fields {', '.join(map(str, line))}",
            )
            continue
        entry = images.setdefault(name, {"id": name, "file_name": name})
        entry |= {key: line[key] for key in ("height", "width") if key in line}
        by_image.setdefault(name, []).extend(node for node in nodes if isinstance(node, Mapping))
    for name, nodes in by_image.items():
        # Ids are looked up within an image: they may begin anew in each.
        known = {identifier(node.get("id")): node for node in nodes}
        for node in nodes:
            annotation = _annotation(node, known, images[name], categories, report)
            if annotation is not None:
                annotations.append(annotation | {"image_id": name})
    if others:
        listed = ", ".join(f"{stated} {count}" for stated, count in sorted(others.items()))
        report.notes.append(f"lines of other splits, not asked for: {listed}")
    return {
        "images": list(images.values()),
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }


def _objects(file: Path, report: ReadReport) -> Iterator[tuple[int, Mapping[str, Any]]]:
    decoded = load_text(file)
    if decoded.is_guess:
        report.repaired[decoded.wording] += 1
    for number, text in enumerate(decoded.text.split("\n"), start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            _drop(report, number, "line is not JSON", "one JSON object", str(error))
            continue
        if isinstance(line, Mapping):
            yield number, line
        else:
            _drop(report, number, "line is not JSON", "one JSON object", type(line).__name__)


def _annotation(
    node: Mapping[str, Any],
    known: Mapping[str | None, Mapping[str, Any]],
    image: Mapping[str, Any],
    categories: dict[str, int],
    report: ReadReport,
) -> dict[str, Any] | None:
    """A node as an annotation of COCO, its category `object:part` where it has a parent."""
    name = _name(node)
    whole = _whole(node, known)
    if name is None or (whole is not node and (whole is None or _name(whole) is None)):
        what = "a name, and a parent that is listed" if name is not None else f"a name in {', '.join(NAME)}"
        _drop(report, node.get("id"), "node without name or parent", what, repr(dict(node))[:120])
        return None
    said = name
    if whole is not None and whole is not node:
        owner = _name(whole) or ""
        # "dog head" or "dog:head" of a dog is its head.
        rest = name.removeprefix(owner).lstrip(" :_'-") if name.startswith(owner) else name
        said = f"{owner}:{rest.removeprefix('s ') or name}"
    number = categories.setdefault(said, len(categories) + 1)
    mask = next((node[f] for f in MASK if node.get(f) is not None), None)
    if isinstance(mask, str):
        # Run lengths alone; their size is the image's.
        size = node.get("size") or [image.get("height"), image.get("width")]
        mask = {"size": size, "counts": mask}
    annotation = {"id": node.get("id"), "category_id": number, "segmentation": mask}
    annotation |= {key: node[key] for key in ("bbox", "area", "iscrowd") if key in node}
    return annotation | ({"obj_ann_id": whole.get("id")} if whole is not None and whole is not node else {})


def _whole(
    node: Mapping[str, Any], known: Mapping[str | None, Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """The outermost whole that a node belongs to, itself without a parent; None where one is not listed."""
    for _ in range(_DEEPEST):
        parent = identifier(node.get(PARENT))
        # COCO's converters write 0 or -1 for none.
        if parent is None or (parent in ("0", "-1") and parent not in known):
            return node
        if parent not in known:
            return None
        node = known[parent]
    return None


def _name(node: Mapping[str, Any]) -> str | None:
    text = next((node[f] for f in NAME if isinstance(node.get(f), str) and node[f].strip()), None)
    return None if text is None else " ".join(text.split()).lower()


def _drop(report: ReadReport, number: Any, reason: str, expected: str, found: str) -> None:
    report.drop(f"line {number}", reason, expected=expected, found=found, fix="repair the line")
