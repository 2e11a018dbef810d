"""What an objective must be that a family brings in place of the one over conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from segue.training.finetune.skips import SkipJournal


class OwnDataObjective(Protocol):
    """A family's own objective on own data.

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
