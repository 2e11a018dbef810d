"""The class lists of the known sources, shipped as `segue/taxonomies/*.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

PascalVocabulary = Literal["93", "116", "raw"]
PASCAL_VOCABULARIES: tuple[PascalVocabulary, ...] = ("93", "116", "raw")


@cache
def load(name: str) -> dict[str, Any]:
    """Read a shipped class list, such as "ade20k_part_234" or "paco_lvis_v1"."""
    text = resources.files("segue").joinpath("taxonomies", f"{name}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@dataclass(frozen=True)
class NumberedClasses:
    """A list of objects and parts that label maps refer to by number.

    Attributes:
        objects: Number -> name of an object.
        parts: Number -> (object, part).
        no_part: The value of pixels that belong to none.
    """

    objects: Mapping[int, str]
    parts: Mapping[int, tuple[str, str]]
    no_part: int

    @classmethod
    def named(cls, name: str) -> NumberedClasses:
        """The shipped list of this name."""
        taxonomy = load(name)
        objects = {entry["id"]: entry["name"] for entry in taxonomy["objects"]}
        parts = {
            part["id"]: (entry["name"], part["name"])
            for entry in taxonomy["objects"]
            for part in entry["parts"]
        }
        return cls(objects, parts, taxonomy["no_part"])

    def parts_of(self, name: str) -> dict[int, str]:
        """Number -> part, of one object."""
        return {number: part for number, (owner, part) in self.parts.items() if owner == name}

    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """Each object with its parts."""
        return {name: tuple(self.parts_of(name).values()) for name in self.objects.values()}


@dataclass(frozen=True)
class PascalClass:
    """One class of Pascal-Part under one vocabulary.

    Attributes:
        name: "dining table" where the file writes "table".
        parts: Label without its number ("lfleg", "wheel") -> part name; labels that the vocabulary leaves out
            are absent.
        left_out: Labels that are legal, but that the vocabulary leaves out.
    """

    name: str
    parts: Mapping[str, str]
    left_out: frozenset[str]


def pascal_classes(vocabulary: PascalVocabulary, *, split_lr: bool = False) -> dict[str, PascalClass]:
    """The 20 classes by the label that the .mat files write, and by VOC's own where that differs.

    Args:
        vocabulary: "93" (VLPart, and with it LISA and GLaMM; the counts of the M4SEG paper fit this one),
            "116" (OV-PARTS), or "raw" (the labels themselves).
        split_lr: Keep left and right apart: "left eye" and "right eye" instead of "eye". The raw labels do so
            anyway.
    """
    classes: dict[str, PascalClass] = {}
    for entry in load("pascal_part")["objects"]:
        parts, left_out = {}, set()
        for part in entry["parts"]:
            name = part["label"] if vocabulary == "raw" else part[vocabulary]
            # null in the list: a legal label, but none of this vocabulary.
            if name is None:
                left_out.add(part["label"])
                continue
            if split_lr and vocabulary != "raw" and "side" in part:
                name = f"{part['side']} {name}"
            parts[part["label"]] = name
        found = PascalClass(entry["name"], parts, frozenset(left_out))
        # "table" as the .mat files write it, and VOC's "diningtable".
        classes[entry["label"]] = classes[entry["name"].replace(" ", "")] = found
    return classes


def paco_vocabulary() -> dict[str, tuple[str, ...]]:
    """The 75 objects of PACO-LVIS v1 with their parts."""
    return {
        entry["name"]: tuple(part["name"] for part in entry["parts"])
        for entry in load("paco_lvis_v1")["objects"]
    }
