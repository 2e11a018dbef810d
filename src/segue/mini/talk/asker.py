"""What every question is made of: the choices of a conversation about one set of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segue.data.own.things import Thing
from segue.mini.talk.kinds import Kinds
from segue.mini.talk.statements import Answer, Group, Statements, Wanted
from segue.mini.talk.wording import Wording
from segue.models.mini.findings import Finding

ABSENT_SHARE = 0.42
"""Share of questions for something that need not be there."""

SYNONYM_SHARE, BROAD_SHARE = 0.25, 0.1


@dataclass(frozen=True)
class Exchange:
    """A question and its answer.

    Attributes:
        kind: of the question.
        wanted: what it asks for, if it asks for one thing.
        scope: the images that it asks about.
        said: what it calls the thing.
        needs_images: whether the answer depends on what the images show.
        regions: what the question points at, in order: image and the finding under the mark.
    """

    question: str
    answer: Answer
    kind: str
    wanted: Wanted | None = None
    scope: tuple[int, ...] = ()
    said: str = ""
    needs_images: bool = True
    regions: tuple[tuple[int, Finding], ...] = ()

    @property
    def found(self) -> list[tuple[int, Finding]]:
        """What the answer names, each with its image."""
        return [(m.image_index, f) for m in self.answer.mentions for f in m.findings]


class Asker:
    """Asks about one set of images.

    Args:
        images: their findings.
        kinds: the names.
        rng: source of every choice.
        held_out: see `Wording`.
        free: see `Wording`.
    """

    def __init__(
        self,
        images: Sequence[Sequence[Finding]],
        kinds: Kinds,
        rng: np.random.Generator,
        *,
        held_out: bool = False,
        free: bool = True,
    ) -> None:
        self.kinds, self.rng = kinds, rng
        self.say = Statements(images, kinds)
        self.all = self.say.all
        self.word = Wording(len(images), rng, held_out=held_out, free=free)
        self.pick, self.chance = self.word.pick, self.word.chance

    def scope(self) -> tuple[int, ...]:
        """One image, or all of them."""
        return (self.pick(self.all),) if len(self.all) > 1 and self.chance(0.5) else self.all

    def k(self, scope: Sequence[int]) -> int | None:
        """The image that a question of this scope names."""
        if len(self.all) == 1:
            return 0 if self.chance(0.3) else None
        return scope[0] if len(scope) == 1 else None

    def wanted(
        self, scope: Sequence[int], *, plain: bool = False, broad_share: float = BROAD_SHARE
    ) -> tuple[Wanted, str]:
        """Something to ask for in these images, and what the question calls it."""
        finding = self._subject(scope)
        name = finding.name if finding else self._absent_name(scope)
        kind = self.kinds.kinds.get(name)
        broad = [b for b in kind.broader if b in self.kinds.broader] if kind else []
        if broad and not plain and self.chance(broad_share):
            said = self.pick(broad)
            return Wanted(self.kinds.broader[said], Thing(said)), said
        colour = finding.colour if finding and self.chance(0.6) else None
        said = self._said(name)
        if colour is None and self.chance(0.04):
            said = f"{self.pick(('black', 'white', 'brown', 'red', 'blue', 'grey'))} {said}"
            colour = said.split()[0]
        elif colour:
            said = f"{colour} {said}"
        return Wanted(self.kinds.members(name), self.kinds.thing(name), colour=colour), said

    def _subject(self, scope: Sequence[int]) -> Finding | None:
        """A finding to ask for, mostly one that is there; None for a name that was not found at all."""
        listed = [f for k in scope for f in self.say.claimed[k]]
        if not listed or self.chance(ABSENT_SHARE):
            elsewhere = [f for image in self.say.images for f in image]
            listed = elsewhere if elsewhere and self.chance(0.45) else []
        return self.pick(listed) if listed else None

    def _absent_name(self, scope: Sequence[int]) -> str:
        """Any name, or one near to something that is there: a dog where there is a cat."""
        found = [f for k in scope for f in self.say.claimed[k]]
        near = sorted({other for f in found for other in self.kinds.near(f.name)})
        return self.pick(near if near and self.chance(0.5) else self.kinds.names)

    def _ask(
        self, kind: str, answer: Answer, wanted: Wanted, scope: Sequence[int], said: str, name: str = ""
    ) -> Exchange:
        count = max([1, *(len(self.say.matching(wanted, k)) for k in scope)]) if self.chance(0.7) else 1
        thing = wanted.thing or Thing("thing")
        question = self.word.question(name or kind, k=self.k(scope), thing=thing, said=said, count=count)
        return Exchange(question, answer, kind, wanted, tuple(scope), said)

    def _said(self, name: str) -> str:
        """A word for a name: itself or a synonym."""
        kind = self.kinds.kinds.get(name)
        if kind and kind.synonyms and self.chance(SYNONYM_SHARE):
            return self.pick(kind.synonyms)
        return self.kinds.thing(name).phrase()


def is_many(group: Group) -> bool:
    """Whether a verb after a group is "are"."""
    return group[0].takes_are(len(group[2]))
