"""MixedParts (CALICO's data): COCO whose categories name parts by their supercategory, with pairs of images.

The file is brought into the one form of COCO that `read_coco` knows: parts become `object:part`, and an
object of which only parts are outlined becomes their union. Its pairs, where it lists any, are asked about.

Source: the data's page (COCO JSON `mixed_parts_{train,val,test}.json`, categories with supercategory). Where
the pairs stand is not published; lists under the names of `PAIR_LISTS` are taken.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segue.data.formats.annotations import AnnotatedImage
from segue.data.formats.coco import read_coco
from segue.data.formats.coco_lists import entry_key, load_lists
from segue.data.formats.coco_report import CocoReport
from segue.data.formats.identifiers import identifier
from segue.data.formats.report import ReadReport
from segue.data.own.coco_instances import choose_file, copy_report
from segue.data.own.sources import AnnotationSource, OwnData
from segue.data.own.usable import usable_images
from segue.errors import RecordError
from segue.records.conversation import Split

PAIR_LISTS = ("pairs", "image_pairs", "pair_list", "image_pair_list")
_PAIR_FIELDS = ("image_ids", "images", "image_id", "pair", "file_names")
_SINGLE_FIELDS = (
    ("image_id_1", "image_id_2"),
    ("image1", "image2"),
    ("image_1", "image_2"),
    ("img1", "img2"),
)
# "car door", "car's door", "car_door", "car:door" of the supercategory "car".
_OF = re.compile(r"(?:'s\s+|[\s_:/-]+)(?P<part>.+)", re.DOTALL)

_UNION = "object of which only parts are outlined: drawn as their union"


def is_mixed_parts(keys: Iterable[str], text: str) -> bool:
    """Whether a COCO file is of this kind: it lists pairs, or its categories are parts of supercategories.

    Args:
        keys: of its outermost object.
        text: its beginning.
    """
    if any(key in PAIR_LISTS for key in keys):
        return True
    found: list[Mapping[str, Any]] = []
    for written in re.findall(r'\{[^{}]*"supercategory"[^{}]*\}', text):
        try:
            found.append(json.loads(written))
        except ValueError:
            continue
    return bool(part_names(found))


def read(path: Path, images: Path | None, split: Split) -> OwnData:
    """Read a file of MixedParts, or the one of a folder that is named like the split.

    Args:
        path: The JSON file, or the folder with `mixed_parts_*.json`.
        images: Folder that `file_name` is relative to; annotations come without pictures.
        split: Written into the records.

    Raises:
        InputError: No file, several that fit, or nothing usable.
        RecordError: The file is not in COCO format.
    """
    file = path if path.is_file() else _chosen(path, split)
    coco_report = CocoReport(file)
    content = load_lists(file, coco_report)
    lists, made = as_coco(content)
    annotations = read_coco(file, images, lists=lists)
    report = ReadReport("mixedparts", file)
    report.notes += coco_report.notes
    copy_report(annotations.report, report)
    if made:
        report.repaired[_UNION] += made
    kept = usable_images(annotations, report)
    if not kept:
        raise report.nothing_usable("COCO with at least one image that exists and one sound mask in it")
    root = file.parent if images is None else images
    pairs = read_pairs(content, kept, report)
    source = PairSource(kept, pairs, root, split) if pairs else AnnotationSource(kept, root, split)
    return OwnData("mixedparts", source, report, [file])


def _chosen(folder: Path, split: str) -> Path:
    """The merged file of a split; the files of its single sources lie in folders beside it."""
    merged = [f for f in sorted(folder.glob("*mixed_parts*.json")) if split in re.split(r"[\W_]+", f.stem)]
    return merged[0] if len(merged) == 1 else choose_file(folder, split)


def part_names(categories: Sequence[Any]) -> dict[str, str]:
    """Categories that are parts, by id: `object:part`.

    A part's name begins with its supercategory ("car door" of "car"), or its supercategory is itself a
    category ("door" of "car", beside "car"). COCO's own are neither, but by chance ("sports ball"): half of
    all that have a supercategory must be, or none is.
    """
    named = [c for c in categories if isinstance(c, Mapping) and isinstance(c.get("name"), str)]
    whole = {_said(c["name"]) for c in named}
    found: dict[str, str] = {}
    under = 0
    for category in named:
        owner, name = category.get("supercategory"), category["name"]
        number = identifier(category.get("id"))
        if not isinstance(owner, str) or not _said(owner) or _said(owner) == _said(name) or number is None:
            continue
        under += 1
        rest = _said(name).removeprefix(_said(owner)) if _said(name).startswith(_said(owner)) else ""
        match = _OF.fullmatch(rest)
        if match is not None:
            found[number] = f"{_said(owner)}:{match['part']}"
        elif _said(owner) in whole and ":" not in name:
            found[number] = f"{_said(owner)}:{_said(name)}"
    return found if 2 * len(found) >= under else {}


def _said(name: str) -> str:
    return " ".join(name.split()).lower()


def as_coco(content: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """The lists with parts as `object:part` and an object for all parts; and how many objects were made.

    An object is made for each image and name of which parts are outlined and no whole is.
    """
    parts = part_names(content["categories"])
    if not parts:
        return dict(content), 0
    categories = [
        {**c, "name": parts.get(identifier(c.get("id")) or "", c.get("name"))}
        if isinstance(c, Mapping)
        else c
        for c in content["categories"]
    ]
    ids: dict[str, Any] = {}
    for category in categories:
        if (
            isinstance(category, Mapping)
            and isinstance(category.get("name"), str)
            and ":" not in category["name"]
        ):
            ids.setdefault(_said(category["name"]), category.get("id"))
    for owner in {name.partition(":")[0] for name in parts.values()}:
        if owner not in ids:
            ids[owner] = f"whole:{owner}"
            categories.append({"id": ids[owner], "name": owner})
    of_whole = {identifier(number): owner for owner, number in ids.items()}
    seen: set[tuple[str, str]] = set()
    drawn: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for annotation in content["annotations"]:
        if not isinstance(annotation, Mapping):
            continue
        image = identifier(annotation.get("image_id")) or ""
        number = identifier(annotation.get("category_id")) or ""
        if number in parts:
            drawn[image, parts[number].partition(":")[0]].append(annotation)
        elif number in of_whole:
            seen.add((image, of_whole[number]))
    made = [
        {"id": f"whole:{image}:{owner}", "image_id": annotations[0]["image_id"], "category_id": ids[owner],
         "segmentation": union}
        for (image, owner), annotations in drawn.items()
        if (image, owner) not in seen and (union := _union(annotations)) is not None
    ]  # fmt: skip
    return {**content, "categories": categories, "annotations": [*content["annotations"], *made]}, len(made)


def _union(annotations: Sequence[Mapping[str, Any]]) -> list[Any] | None:
    """One segmentation of several: all their polygons, or all their run lengths; None for a mixture."""
    listed = [a.get("segmentation") for a in annotations]
    if all(isinstance(s, Mapping) for s in listed):
        return listed
    if all(isinstance(s, list) for s in listed):
        return [outline for s in listed if isinstance(s, list) for outline in s]
    return None


def read_pairs(
    content: Mapping[str, Any], images: Sequence[AnnotatedImage], report: ReadReport
) -> list[tuple[str, str]]:
    """Pairs of images, by id; those that name none, or one that is not kept, are reported."""
    key = next((k for k in PAIR_LISTS if isinstance(content.get(k), list)), None)
    if key is None:
        report.notes.append(
            f"no list of pairs ({', '.join(PAIR_LISTS)}): images are grouped by what they show"
        )
        return []
    known = {image.image_id for image in images}
    # A pair may name files in place of ids.
    by_name = {
        str(entry.get("file_name")): entry_key(entry)
        for entry in content["images"]
        if isinstance(entry, Mapping)
    }
    found = []
    for number, entry in enumerate(content[key]):
        two = [by_name.get(str(one), identifier(one)) for one in _two(entry)]
        if len(two) == 2 and two[0] != two[1] and all(one in known for one in two):
            found.append((str(two[0]), str(two[1])))
            continue
        report.drop(
            f"{key} {number}",
            "pair without two usable images",
            expected="two ids, or file names, of images that are kept",
            found=repr(entry)[:120],
            fix="add the images, or repair the pair",
        )
    return found


def _two(entry: Any) -> list[Any]:
    if isinstance(entry, Mapping):
        listed = next((entry[f] for f in _PAIR_FIELDS if isinstance(entry.get(f), list)), None)
        single = next((f for f in _SINGLE_FIELDS if all(one in entry for one in f)), ())
        entry = listed if listed is not None else [entry[f] for f in single]
    return list(entry) if isinstance(entry, (list, tuple)) else []


class PairSource(AnnotationSource):
    """Conversations about listed pairs of images.

    Args:
        images: See `AnnotationSource`.
        pairs: Ids of two images each; at least one.
        root, split: See `AnnotationSource`.

    Source: CALICO asks what two images have in common and what each has alone; the wordings are those of all
    composed conversations.
    """

    def __init__(
        self, images: Sequence[AnnotatedImage], pairs: Sequence[tuple[str, str]], root: Path, split: Split
    ) -> None:
        super().__init__(images, root, split)
        often = Counter(image.image_id for image in self.images)
        if any(count > 1 for count in often.values()):
            raise RecordError("two images have one id", expected="ids that differ", where=str(root))
        places = {image.image_id: place for place, image in enumerate(self.images)}
        self.pairs = [(places[first], places[second]) for first, second in pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def sample_set(self, rng: np.random.Generator) -> list[int]:
        """One of the pairs, in either order."""
        pair = self.pairs[int(rng.integers(len(self.pairs)))]
        return [pair[i] for i in rng.permutation(2)]
