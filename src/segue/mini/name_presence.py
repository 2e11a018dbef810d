"""Which names of the user's data each image shows: what the object slots of a model learn to read from it.

The answer "name the parts of this car" is right only for a model that sees which parts are there. From
answers alone a small language model learns the usual list and repeats it; told of every image which names it
shows, its visual tokens come to spell them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from segue.mini.slots import own_query_loss, presence_loss
from segue.models.mini.modeling_mini import MiniModel
from segue.records import Conversation, ImageRef

MOST_NAMES = 256
"""The commonest names of the data that slots learn to read."""

UNKNOWN = -1


@runtime_checkable
class NamingSource(Protocol):
    """A source that can tell of all its images what they show, such as `AnnotationSource`."""

    def name_counts(self) -> Counter[str]:
        """In how many images each name is found."""
        ...

    def shown(self, image: ImageRef) -> dict[str, bool]:
        """Which names an image shows; names of which that cannot be said are left out."""
        ...


def common_names(sources: Sequence[Any]) -> list[str]:
    """The names that slots should read, the commonest first, at most `MOST_NAMES`.

    Args:
        sources: those that are no `NamingSource` say nothing.
    """
    counts: Counter[str] = Counter()
    for source in sources:
        if isinstance(source, NamingSource):
            counts.update(source.name_counts())
    return [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_NAMES]]


@dataclass(frozen=True)
class NamePresence:
    """Targets and loss of names that slots should read.

    Attributes:
        classes: each name's number among the model's `slot_classes`.

    Source: paper silent; ours.
    """

    classes: dict[str, int]

    @classmethod
    def of(cls, model: MiniModel, names: Sequence[str]) -> NamePresence:
        """For names that the slots of a model can read."""
        numbers = {name: number for number, name in enumerate(model.config.slot_classes)}
        return cls({name: numbers[name] for name in names})

    def targets(self, conversation: Conversation, source: Any) -> Tensor:
        """`[images, names]`: 1 shown, 0 not shown, `UNKNOWN`."""
        found = torch.full((len(conversation.images), len(self.classes)), UNKNOWN)
        if isinstance(source, NamingSource):
            for row, image in zip(found, conversation.images, strict=True):
                shown = source.shown(image)
                row[:] = torch.tensor([int(shown.get(name, UNKNOWN)) for name in self.classes])
        return found

    def loss(self, model: MiniModel, queries: Tensor, targets: Tensor, total: float | None) -> Tensor:
        """`own_query_loss` of the commonest names, each at a query of its own.

        The visual token of that query spells the name if the image shows it, so that the language model finds
        it at one place. Names for which no query is left may be said by any (`presence_loss`).

        Args:
            queries: `[N, Q, C]` the model's visual queries.
            targets: `[N, names]`.
            total: how many targets of the whole step are known; None for these alone.
        """
        assert model.slot_heads is not None
        targets = targets.to(queries.device)
        numbers = torch.tensor(list(self.classes.values()), device=queries.device)
        own = min(len(numbers), queries.shape[1])
        total = total if total is not None else max(float((targets >= 0).sum()), 1.0)
        logits = model.slot_heads.classes(queries)
        summed, _ = own_query_loss(logits, numbers[:own], targets[:, :own])
        return summed / total + presence_loss(logits[..., numbers[own:]], targets[:, own:], total)[0]
