"""The label table of worn items and body parts: which raw names make one label, and how people call it.

Subtypes (blouse or shirt, jeans or pants) could not be told apart in the photographs that we train on, so a
question may use the raw word but the answer says the merged one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Number = Literal["singular", "plural", "mass"]


@dataclass(frozen=True)
class PhotoLabel:
    """One merged label.

    Attributes:
        name: The word that answers use, and the grounded phrase.
        number: Grammar: `singular` ("a coat"), `plural` ("trousers are"), `mass` ("hair is").
        raw: Raw part names whose masks are united.
        synonyms: Words of the same number that a question may use for every instance.
        mask_only: True for labels too rarely or inconsistently annotated to be asked for by questions of the
            dialogue composer; their masks are kept.
    """

    name: str
    number: Number
    raw: tuple[str, ...]
    synonyms: tuple[str, ...] = ()
    mask_only: bool = False


_TABLE = (
    PhotoLabel("person", "singular", ("person",)),
    PhotoLabel("hair", "mass", ("hair",)),
    PhotoLabel("skin", "mass", ("skin",)),
    PhotoLabel(
        "shoes",
        "plural",
        ("shoes", "sandals", "boots", "loafers", "heels", "sneakers", "flats", "pumps", "wedges"),
        ("footwear",),
    ),
    PhotoLabel("bag", "singular", ("bag", "purse", "wallet"), ("handbag",)),
    PhotoLabel("trousers", "plural", ("pants", "jeans", "leggings"), ("pants", "slacks")),
    PhotoLabel("dress", "singular", ("dress", "romper", "bodysuit"), ("gown",)),
    PhotoLabel(
        "coat",
        "singular",
        ("coat", "jacket", "blazer", "suit", "cape", "cardigan"),
        ("jacket", "coat or jacket", "jacket or coat"),
    ),
    PhotoLabel(
        "top",
        "singular",
        ("blouse", "shirt", "t-shirt", "top", "sweater", "sweatshirt", "hoodie", "jumper", "vest", "bra"),
        ("shirt", "upper garment"),
    ),
    PhotoLabel("glasses", "plural", ("sunglasses", "glasses"), ("sunglasses", "shades", "spectacles")),
    PhotoLabel("skirt", "singular", ("skirt",)),
    PhotoLabel("shorts", "plural", ("shorts",), ("short pants",)),
    PhotoLabel("tights", "plural", ("stockings", "tights"), ("stockings",)),
    PhotoLabel("hat", "singular", ("hat",), ("cap",)),
    PhotoLabel("belt", "singular", ("belt",), mask_only=True),
    PhotoLabel("socks", "plural", ("socks",), mask_only=True),
)

LABELS: dict[str, PhotoLabel] = {label.name: label for label in _TABLE}
"""Merged labels by name; the 14 that are asked about, then the two that are only masks."""

MERGED: dict[str, str] = {raw: label.name for label in _TABLE for raw in label.raw}
"""Raw part name -> merged label. Names absent here (scarf, tie, jewellery, ...) are dropped on purpose."""

PLURAL_RAW: frozenset[str] = frozenset(
    raw for label in _TABLE if label.number == "plural" for raw in label.raw
)
"""Raw names that take a plural verb; a question uses a raw name only where its number fits the label's."""


def indefinite(word: str, number: Number) -> str:
    """`a coat`, `an upper garment`, `trousers`, `hair`."""
    if number != "singular":
        return word
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
