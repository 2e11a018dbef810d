"""Small pieces of English for answers with identifiers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segue.data.language import english
from segue.datasets.m4seg.listing import ListedRegion


def pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    """One of several wordings."""
    return choices[int(rng.integers(len(choices)))]


def the(entry: ListedRegion) -> str:
    """`the chair 101`."""
    return f"the {entry.name} {entry.code}"


def codes(entries: Sequence[ListedRegion]) -> str:
    """`101`, `101 and 102`, `101, 102 and 103`."""
    return english.listed([entry.code for entry in entries])


def these(entries: Sequence[ListedRegion]) -> str:
    """`the chair 101`, `the chairs 101 and 102`; all entries have one name."""
    if len(entries) == 1:
        return the(entries[0])
    return f"the {plural_name(entries)} {codes(entries)}"


def plural_name(entries: Sequence[ListedRegion]) -> str:
    """`chairs`, `chair's legs` (of one chair), `chairs' legs` (of several)."""
    first = entries[0]
    if first.parent is None or len({entry.parent for entry in entries}) == 1:
        return english.plural(first.name)
    # "chair's leg" to "chair", and "scissors' handle" to "scissors".
    owner = first.name.removesuffix(f" {first.region.name}").removesuffix("'s").removesuffix("'")
    return f"{english.possessive(english.plural(owner))} {english.plural(first.region.name)}"


def counted(entries: Sequence[ListedRegion]) -> str:
    """`one chair 101`, `two chairs 101 and 102`."""
    name = entries[0].name if len(entries) == 1 else plural_name(entries)
    return f"{english.number(len(entries))} {name} {codes(entries)}"


def a(name: str) -> str:
    """`a chair`, `an armchair`, `trousers`."""
    return f"{english.article(name)} {name}" if english.is_countable(name) else name


def be(name: str, count: int = 1) -> str:
    """`is` or `are`."""
    return "are" if english.is_plural(name) or count > 1 else "is"


def verb(name: str, singular: str, plural: str, count: int = 1) -> str:
    """Choose the form that agrees: "lie" for trousers, "lies" for a chair."""
    return plural if be(name, count) == "are" else singular


def image(index: int) -> str:
    """`Image 1` for index 0."""
    return f"Image {index + 1}"


def images(indices: Sequence[int]) -> str:
    """`Image 1`, `Images 1 and 3`."""
    if len(indices) == 1:
        return image(indices[0])
    return f"Images {english.listed([str(index + 1) for index in indices])}"


def by_image(rng: np.random.Generator, clauses: Sequence[str]) -> str:
    """One clause for each image, joined in one of several ways: "In Image 1, ...; in Image 2, ...".

    A clause begins in lower case and has no full stop.
    """
    # Without its "I": "n Image 1, ..." takes a capital or a small one, as its place in the sentence asks.
    told = [f"n {image(index)}, {clause}" for index, clause in enumerate(clauses)]
    way = int(rng.integers(4))
    if way == 0:
        return " ".join(f"I{text}." for text in told)
    if way == 1:
        *front, last = told
        joined = "; i".join(front)
        return f"I{joined}; and i{last}."
    if way == 2 and len(told) == 2:
        return f"I{told[0]}, {pick(rng, ('while', 'whereas'))} i{told[1]}."
    links = [pick(rng, ("I", "Meanwhile, i", "By contrast, i" if len(told) == 2 else "Next, i"))]
    links.append(pick(rng, ("I", "Finally, i", "Lastly, i")))
    rest = [f"{link}{text}." for link, text in zip(links, told[1:], strict=False)]
    return " ".join([f"I{told[0]}.", *rest])
