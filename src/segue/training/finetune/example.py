"""One draw of training on records: a conversation as token ids, with what its `[SEG]` tokens mean."""

from __future__ import annotations

from dataclasses import dataclass, field

from segue.records.dialogue_text import Targets
from segue.training.finetune.mixture import Drawn
from segue.training.finetune.skips import Skip


@dataclass
class Example:
    """A draw that fits the model's context, its images not opened yet.

    Attributes:
        step, place, attempt: Where in the run's stream it was drawn for.
        drawn: The conversation.
        item: Ids and labels.
        targets: Of all its answers.
        cut: Exchanges that were left out at the end because the context is full.
        skipped: Earlier draws for this place that could not be used.
    """

    step: int
    place: int
    attempt: int
    drawn: Drawn
    item: dict[str, list[int]]
    targets: Targets
    cut: int = 0
    skipped: list[Skip] = field(default_factory=list)

    @property
    def length(self) -> tuple[int, int]:
        """Sorting key of batches: number of images, then tokens."""
        return len(self.drawn.conversation.images), len(self.item["input_ids"])
