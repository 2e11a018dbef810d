"""Losses beside the model's own, which a family brings to training on records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from segue.training.finetune.example import Example
    from segue.training.finetune.skips import SkipJournal


class OwnDataObjective(Protocol):
    """An objective that a family brings in place of the one over conversations.

    Attributes:
        journal: Of what could not be used.
    """

    journal: SkipJournal

    @property
    def trainable(self) -> tuple[str, ...]:
        """Names or prefixes of what trains."""
        ...

    def batch(self, step: int) -> dict[str, Any]:
        """Everything of a step; depends on the step alone."""
        ...

    def loss(self, model: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """Loss and its readings."""
        ...

    def settle(self, model: Any) -> None:
        """Make a model in the middle of its training one that can be asked, in place."""
        ...


class AuxiliaryLoss(Protocol):
    """One loss beside the model's own, over the same conversations.

    Targets are drawn per conversation in the workers and travel with the batch; the loss is computed in the
    training process after the model's forward. Like the model's own terms it is a sum divided by a count, so
    that shares of a step add up, see `segue.training.engine.accumulation.Divisible`.

    Attributes:
        name: Of its targets in a batch.
        terms: Readings that are terms of the loss: those of a step's shares add up.
        uses_segmenter: It decodes masks of the batch's images, so they are encoded once, for all.
    """

    name: str
    terms: frozenset[str]
    uses_segmenter: bool

    def target(self, example: Example, hws: Sequence[tuple[int, int]], source: Any, draw: list[int]) -> Any:
        """Draw what one conversation teaches.

        Args:
            hws: Height and width of each image's masks.
            source: Of the data, which may know more of its images than the conversation says.
            draw: Seed, step, place and attempt: all that the target may depend on.
        """
        ...

    def join(self, targets: Sequence[Any]) -> Any:
        """Collate the targets of a batch."""
        ...

    def counts(self, targets: Any) -> dict[str, float]:
        """Count what the loss divides by, under names of its own."""
        ...

    def loss(
        self, model: Any, batch: dict[str, Any], output: Any, targets: Any, totals: dict[str, float] | None
    ) -> tuple[Tensor, dict[str, float]]:
        """Weighted loss and its readings.

        Args:
            batch: What the forward got, with `segmenter_features` when it uses them.
            output: Of the model's forward.
            totals: Counts of the whole step when the batch is a share of it; its own when None.
        """
        ...
