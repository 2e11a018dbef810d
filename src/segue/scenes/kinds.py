"""Vocabulary of scenes: kinds and their parts, colours, held-out combinations, and the scene records.

A kind is a nameable object made of 2 to 5 named parts. `part_map` values count these parts from 1, in the
order in which `Kind.parts` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from segue.scenes.drawing import DRAWINGS, Drawing

SMALLEST_PART = 12.0
"""Visible pixels, at size 224, from which on a part counts as visible (`visible_part_pixels` scales it)."""


def visible_part_pixels(size: int) -> float:
    """The least visible area, in pixels, of a part that `SceneObject.parts` lists.

    Four times `SMALLEST_PART`, scaled with the image's area: 48 pixels at size 224 (about 7 x 7), a blob
    that a model which sees the image at a quarter of its resolution can still find.

    Source: paper silent; ours.
    """
    return 4.0 * SMALLEST_PART * (size / 224) ** 2


@dataclass(frozen=True)
class Kind:
    """A nameable sort of object.

    Args:
        name: singular noun, "mug".
        plural: plural noun, "mugs".
        parts: names of the parts; `part_map` holds the 1-based position in this tuple.
        category: "container", "furniture", "vehicle", "tool", "animal", ...
        purposes: what it is for, phrased to follow "you can use to ..."; each belongs to this kind alone.
        part_purposes: the same per part, phrased to follow "the part that is used to ..."; each belongs to
            one part of this kind, though another kind may have it too ("hold it by").
        draw: puts the shapes of one instance onto a pen.

    Source: paper silent; ours.
    """

    name: str
    plural: str
    parts: tuple[str, ...]
    category: str
    purposes: tuple[str, ...]
    part_purposes: Mapping[str, tuple[str, ...]]
    draw: Drawing = field(repr=False, compare=False)


def _kind(
    name: str, plural: str, category: str, purposes: tuple[str, ...], **part_purposes: tuple[str, ...]
) -> Kind:
    """A kind whose parts are the keywords, in order."""
    parts = tuple(part_purposes)
    return Kind(name, plural, parts, category, purposes, MappingProxyType(part_purposes), DRAWINGS[name])


_ALL = (
    _kind(
        "mug",
        "mugs",
        "container",
        ("drink coffee from", "drink hot chocolate from"),
        body=("hold the drink",),
        handle=("hold it by",),
    ),
    _kind(
        "teapot",
        "teapots",
        "container",
        ("brew tea", "serve tea to guests"),
        body=("keep the tea in",),
        spout=("pour from",),
        handle=("hold it by",),
        lid=("cover the top",),
    ),
    _kind(
        "bottle",
        "bottles",
        "container",
        ("carry a drink on a walk", "store juice"),
        body=("hold the liquid",),
        cap=("close it",),
        label=("read what is inside",),
    ),
    _kind(
        "lamp",
        "lamps",
        "furnishing",
        ("light a room", "read in the dark"),
        shade=("soften the light",),
        pole=("hold the shade up",),
        base=("keep it from falling over",),
    ),
    _kind(
        "chair",
        "chairs",
        "furniture",
        ("sit on", "rest your legs"),
        seat=("carry your weight",),
        back=("lean against",),
        legs=("stand on the floor",),
    ),
    _kind(
        "table",
        "tables",
        "furniture",
        ("eat dinner at", "spread a map on"),
        top=("put plates on",),
        legs=("stand on the floor",),
    ),
    _kind(
        "car",
        "cars",
        "vehicle",
        ("drive to work", "travel on a road"),
        body=("protect the passengers",),
        windows=("look out of",),
        wheels=("roll along",),
    ),
    _kind(
        "boat",
        "boats",
        "vehicle",
        ("cross a lake", "travel over water"),
        hull=("float on the water",),
        sail=("catch the wind",),
        mast=("hold the sail up",),
    ),
    _kind(
        "house",
        "houses",
        "building",
        ("live in", "shelter a family"),
        wall=("hold the roof up",),
        roof=("keep the rain out",),
        door=("go inside",),
    ),
    _kind(
        "flower",
        "flowers",
        "plant",
        ("decorate a vase", "make a bouquet"),
        petals=("attract bees",),
        centre=("hold the pollen",),
        stem=("carry water upwards",),
        leaf=("catch the sunlight",),
    ),
    _kind(
        "umbrella",
        "umbrellas",
        "accessory",
        ("stay dry in the rain", "shield yourself from a shower"),
        canopy=("keep the rain off",),
        handle=("hold it by",),
    ),
    _kind(
        "hammer",
        "hammers",
        "tool",
        ("drive in nails", "break a brick"),
        head=("hit the nail",),
        handle=("hold it by",),
    ),
    _kind(
        "scissors",
        "scissors",
        "tool",
        ("cut paper", "trim a ribbon"),
        blades=("do the cutting",),
        handles=("put your fingers through", "hold it by"),
    ),
    _kind(
        "guitar",
        "guitars",
        "instrument",
        ("play music", "accompany a song"),
        body=("make the sound louder",),
        neck=("press the strings against",),
        head=("tune the strings",),
    ),
    _kind(
        "fish",
        "fish",
        "animal",
        ("fill an aquarium", "stock a pond"),
        body=("hold the bones",),
        tail=("push through the water",),
        fin=("steer under water",),
    ),
    _kind(
        "bird",
        "birds",
        "animal",
        ("hear singing at dawn", "send a message through the air"),
        body=("hold the heart",),
        wing=("fly",),
        beak=("peck at seeds",),
        tail=("steer in the air",),
    ),
    _kind(
        "bucket",
        "buckets",
        "container",
        ("carry water to the garden", "build a sandcastle"),
        body=("hold the water",),
        handle=("hold it by",),
    ),
    _kind(
        "clock",
        "clocks",
        "instrument",
        ("tell the time", "know when to get up"),
        frame=("hold it together",),
        face=("show the numbers",),
        hands=("point at the hour",),
    ),
)

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _ALL})
"""All kinds by name."""

SHARED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "hold a liquid": ("mug", "teapot", "bottle", "bucket"),
        "get somewhere": ("car", "boat"),
        "furnish a room": ("chair", "table", "lamp", "clock"),
        "work with your hands": ("hammer", "scissors"),
    }
)
"""Purposes that several kinds share, with those kinds. None of them is in `Kind.purposes`."""

COLOURS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "red": (205, 38, 34),
        "orange": (245, 135, 22),
        "yellow": (248, 218, 48),
        "green": (58, 152, 66),
        "blue": (44, 104, 204),
        "purple": (120, 66, 162),
        "pink": (250, 158, 190),
        "brown": (110, 68, 40),
        "white": (244, 244, 242),
    }
)
"""The typical sRGB value of each colour name; instances vary in a band around it (`paint.shade_of`)."""

HELD_OUT: frozenset[tuple[str, str]] = frozenset(
    {
        ("red", "bottle"),
        ("red", "bird"),
        ("orange", "mug"),
        ("orange", "boat"),
        ("yellow", "chair"),
        ("yellow", "scissors"),
        ("green", "teapot"),
        ("green", "car"),
        ("blue", "lamp"),
        ("blue", "bucket"),
        ("purple", "house"),
        ("purple", "guitar"),
        ("pink", "table"),
        ("pink", "fish"),
        ("brown", "umbrella"),
        ("brown", "clock"),
        ("white", "flower"),
        ("white", "hammer"),
    }
)
"""(colour, kind) pairs that appear in split "heldout" only: one per kind, each colour twice."""


def possessive(noun: str) -> str:
    """The possessive of a noun: "mug" -> "mug's", "scissors" -> "scissors'"."""
    return noun + ("'" if noun.endswith("s") else "'s")


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene, as far as it can be seen.

    Args:
        kind: a key of `KINDS`.
        colour: a key of `COLOURS`.
        parts: names of the parts of which at least `visible_part_pixels(size)` pixels are visible, in the
            order of `Kind.parts`.
        part_areas: visible area of each part in `parts`, as a fraction of the image.
        center: centre (x, y) of the visible mask's box, as fractions of width and height.
        box: (x, y, width, height) of the visible mask, as fractions of width and height.
        area: visible area as a fraction of the image.

    Source: paper silent; ours.
    """

    kind: str
    colour: str
    parts: tuple[str, ...]
    part_areas: Mapping[str, float]
    center: tuple[float, float]
    box: tuple[float, float, float, float]
    area: float

    @property
    def phrase(self) -> str:
        """Name of the object: "red mug"."""
        return f"{self.colour} {self.kind}"

    def part_phrase(self, part: str) -> str:
        """Return the name of a part of it: "red mug's handle"."""
        return f"{possessive(self.phrase)} {part}"


@dataclass(frozen=True)
class Scene:
    """A rendered image with its exact masks; `objects` run from left to right by `center`.

    Args:
        image: sRGB, `uint8 [height, width, 3]`.
        object_map: `uint8 [height, width]`; 0 is background, k is `objects[k - 1]`.
        part_map: `uint8 [height, width]`; 0 is background, j is `KINDS[kind].parts[j - 1]` of that object.
        objects: the objects, from left to right.

    Source: paper silent; ours.
    """

    image: NDArray[np.uint8]
    object_map: NDArray[np.uint8]
    part_map: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]

    def mask(self, object_index: int, part: str | None = None) -> NDArray[np.bool_]:
        """The visible pixels of an object, or of one of its parts.

        Args:
            object_index: 0-based position in `objects`.
            part: a name from the kind's `parts`, or None for the whole object.

        Returns:
            `bool [height, width]`.

        Raises:
            ValueError: if the kind has no such part.
            IndexError: if there is no such object.
        """
        kind = KINDS[self.objects[object_index].kind]
        mask = self.object_map == object_index + 1
        if part is not None:
            mask &= self.part_map == kind.parts.index(part) + 1
        return mask
