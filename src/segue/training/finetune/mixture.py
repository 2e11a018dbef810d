"""A weighted mixture of sources of conversations; every example has a generator of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from segue.errors import InputError
from segue.records import Conversation


class Source(Protocol):
    """A source of conversations, such as `segue.data.own.ConversationSource`."""

    @property
    def root(self) -> Path:
        """Folder that the image paths of the conversations are relative to."""
        ...

    def __len__(self) -> int:
        """Number of draws that make one epoch."""
        ...

    def draw(self, rng: np.random.Generator) -> Conversation:
        """A conversation that depends on the generator alone."""
        ...

    def fixed(self, count: int, seed: int) -> list[Conversation]:
        """The same conversations for the same count and seed."""
        ...


@dataclass(frozen=True)
class Drawn:
    """One draw.

    Attributes:
        conversation: What was drawn.
        root: Folder of its images.
        source: Place of its source in the mixture.
        rng: What is left of the example's generator, for choices that go with the example.
    """

    conversation: Conversation
    root: Path
    source: int
    rng: np.random.Generator


class Mixture:
    """Draws example i of step s from `default_rng([seed, s, i])`: no draw depends on another.

    Args:
        sources: At least one.
        weights: One per source, relative to each other. None gives each source a share in proportion to
            its length, so that every conversation is seen equally often.
        seed: Not negative.

    Raises:
        InputError: No sources, an empty one, or weights that are not positive or not one per source.

    Source: ours.
    """

    def __init__(self, sources: Sequence[Source], weights: Sequence[float] | None = None, seed: int = 0):
        self.sources, self.seed = list(sources), seed
        empty = [k + 1 for k, source in enumerate(self.sources) if not len(source)]
        if not self.sources or empty:
            raise InputError(
                "There is nothing to draw from.",
                expected="at least one source, none of them empty",
                found=f"source {empty[0]} is empty" if empty else "no source",
                where="mixture",
                fix="look at the report of the data: it says what was left out, and why",
            )
        given = np.asarray(weights if weights is not None else [len(s) for s in self.sources], float)
        if given.shape != (len(self.sources),) or not (np.isfinite(given) & (given > 0)).all():
            raise InputError(
                "The weights of the mixture cannot be used.",
                expected=f"{len(self.sources)} positive numbers",
                found=str(given.tolist()),
                where="weights",
                fix="give every data set a weight, or none",
            )
        self.shares = tuple((given / given.sum()).tolist())
        self._bounds = np.cumsum(self.shares)

    def __len__(self) -> int:
        """Draws after which every source was passed about once, if the shares are in proportion."""
        return sum(len(source) for source in self.sources)

    def draw(self, step: int, example: int, attempt: int = 0) -> Drawn:
        """Draw example `example` of step `step`.

        Args:
            step: From 0 on.
            example: Place in the step's batch.
            attempt: Above 0 when earlier draws for this place could not be used; each has its own generator.
        """
        # Zeros at the end change no seed sequence, so attempt 0 is [seed, step, example] as documented.
        rng = np.random.default_rng([self.seed, step, example, attempt])
        chosen = int(np.searchsorted(self._bounds, rng.random(), side="right"))
        chosen = min(chosen, len(self.sources) - 1)  # the last bound may round to just below 1
        source = self.sources[chosen]
        return Drawn(source.draw(rng), source.root, chosen, rng)
