"""Conversations for data that brings its own text: a request, and an answer with its masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from segue import masks
from segue.data.own.wordings import REQUESTS
from segue.masks import RLE
from segue.records import Region, Span, Turn

Merge = Literal["each", "union"]


def request(kind: str, rng: np.random.Generator, text: str = "") -> Turn:
    """A user's turn in one of the wordings of `REQUESTS`; `text` begins it with a capital."""
    options = REQUESTS[kind]
    said = options[int(rng.integers(len(options)))].format(x=text)
    return Turn(role="user", text=said[0].upper() + said[1:])


def answer(before: str, phrase: str, after: str, rids: Sequence[str], merge: Merge = "each") -> Turn:
    """An answer with one grounded phrase."""
    span = Span(start=len(before), end=len(before) + len(phrase), rids=list(rids), merge=merge)
    return Turn(role="assistant", text=f"{before}{phrase}{after}", spans=[span])


def region(rid: str, name: str, rle: RLE, kind: Literal["object", "part", "region"] = "region") -> Region:
    """A region of the only image."""
    return Region(
        rid=rid,
        image_index=0,
        kind=kind,
        name=name,
        bbox=masks.box(rle),
        area=masks.area(rle),
        mask=rle,
        source_label=name,
    )
