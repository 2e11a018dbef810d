"""A model that says one sentence in known pieces with known masks: pages are tested with it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from segue import masks
from segue.inference.answer import SessionAnswer
from segue.inference.matching import ImageMatch, MatchAnswer
from segue.inference.regions import Region
from segue.inference.streaming import Done, Event, MaskReady, PhraseOpened, TextDelta
from segue.records import Grounding

if TYPE_CHECKING:
    from segue.inference.loaded_model import LoadedModel

PIECES = ("The ", "red mug", " is larger than the ", "<i>lamp</i>", ".")
TEXT = "".join(PIECES)
PHRASES = (("red mug", 0), ("<i>lamp</i>", 1))
"""Phrase and image."""


def block(image_index: int, hw: tuple[int, int]) -> np.ndarray:
    """The mask in an image: its upper left quarter in image 1, its lower right one in the others."""
    mask = np.zeros(hw, dtype=bool)
    height, width = hw
    if image_index == 0:
        mask[height // 8 : height // 2, width // 8 : width // 2] = True
    else:
        mask[height // 2 : -height // 8, width // 2 : -width // 8] = True
    return mask


class ScriptedSession:
    """As much of a `GroundingSession` as pages use."""

    batches = True

    def __init__(self, model: str, images: Sequence[Image.Image], names: Sequence[str], pause: float) -> None:
        self.model, self.images, self.names = model, list(images), list(names)
        self.pause = pause
        self.asked: list[str] = []
        self.regions: list[Region] = []
        self.closed = 0

    def add_image(self, image: Image.Image, name: str) -> int:
        self.images.append(image)
        self.names.append(name)
        return len(self.images)

    def undo(self) -> str:
        return self.asked.pop()

    def stream(self, question: str, regions: Sequence[Region] = ()) -> Iterator[Event]:
        try:
            self.regions = list(regions)
            found: list[Grounding] = []
            for number, piece in enumerate(PIECES):
                at = sum(map(len, PIECES[:number]))
                if number in (1, 3):
                    yield PhraseOpened(number // 2, at)
                yield TextDelta(piece)
                time.sleep(self.pause)
                if number in (1, 3) and PHRASES[number // 2][1] < len(self.images):
                    phrase, image = PHRASES[number // 2]
                    mask = block(image, (self.images[image].height, self.images[image].width))
                    found.append(Grounding(phrase, (at, at + len(phrase)), image, mask, 0.9, masks.box(mask)))
                    yield MaskReady(number // 2, found[-1])
                    time.sleep(self.pause)
            self.asked.append(question)
            yield Done(self._answer(question, found))
        finally:
            self.closed += 1

    def _answer(self, question: str, found: list[Grounding]) -> SessionAnswer:
        return SessionAnswer(
            question=question, text=TEXT, markup=TEXT, groundings=found, problems=[],
            image_hws=[(image.height, image.width) for image in self.images], model=self.model,
            images=list(self.names), notes=["one <b>note</b>"], pictures=tuple(self.images),
        )  # fmt: skip


class ScriptedModel:
    """As much of a `LoadedModel` as pages use; `sessions` are those that it began."""

    def __init__(self, name: str, pause: float = 0.0) -> None:
        self.name, self.pause = name, pause
        self.sessions: list[ScriptedSession] = []
        self.takes_regions = True

    def match(self, images: Sequence[Image.Image], region: Region, names: Sequence[str]) -> MatchAnswer:
        """The marked thing is in all other images, where their blocks are."""
        hws = [(image.height, image.width) for image in images]
        order = [region.image_index, *(k for k in range(len(images)) if k != region.image_index)]
        drawn = [block(k, hws[k]) for k in order]
        found = [
            Grounding("marked thing", (4, 16), k, mask, 0.9, masks.box(mask))
            for k, mask in zip(order, drawn, strict=True)
        ]
        return MatchAnswer(
            question="Find this in the other images.", text="The marked thing is there.", markup="",
            groundings=found, image_hws=hws, model=self.name, images=list(names), pictures=tuple(images),
            region=region, mark=drawn[0],
            matches=tuple(ImageMatch(g.image_index, 0.9, True, g.mask, 0.9) for g in found[1:]),
        )  # fmt: skip

    def session(self, images: Sequence[Image.Image], names: Sequence[str]) -> ScriptedSession:
        self.sessions.append(ScriptedSession(self.name, images, names, self.pause))
        return self.sessions[-1]


def scripted(*names: str, pause: float = 0.0) -> dict[str, LoadedModel]:
    """Models by name, typed as what pages take."""
    found: dict[str, Any] = {name: ScriptedModel(name, pause) for name in names}
    return found
