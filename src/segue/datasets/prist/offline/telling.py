"""The state of a dialogue while it grows, and how its sentences are put."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from segue.data.language import english
from segue.data.language.grounded_text import RegionText
from segue.datasets.prist.offline.facts import Entity, PictureFacts
from segue.datasets.prist.rules import words_of

MOST_THOUGHTS = 5
MOST_LISTED = 6
UNNAMED_SHARE = 0.45
"""Share of single answers that do not name what is left, so that only the history tells."""


@dataclass(frozen=True)
class Exchange:
    """A question, its answer with the regions that it names, and which step it is."""

    question: str
    answer: RegionText
    step: str


@dataclass
class Talk:
    """A finished dialogue without its last turn.

    Attributes:
        exchanges: In order.
        thoughts: The steps of reasoning, without asides.
        target: What the last request means.
        focus: Its phrase, without article.
        named: Whether an answer has named it.
    """

    exchanges: list[Exchange] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    target: Entity | None = None
    focus: str = ""

    @property
    def named(self) -> bool:
        """Whether some answer names the target."""
        return any(words_of(self.focus) <= words_of(e.answer.text) for e in self.exchanges)


class Telling:
    """State of a dialogue: what has been said about a picture, and what is still meant.

    Args:
        facts: Of the picture.
        rng: Source of every choice.
        rounds: Exchanges wished for.
        absent: Nouns that may be asked for and are known not to be there.

    Attributes:
        current: What the dialogue is about now; all objects at first, then fewer.
        before: What it was about one step earlier.
        used: Clues and asides that shall not come twice.
    """

    def __init__(self, facts: PictureFacts, rng: random.Random, rounds: int, absent: Sequence[str]) -> None:
        self.facts, self.rng, self.rounds, self.absent = facts, rng, rounds, list(absent)
        self.talk = Talk()
        self.current: list[Entity] = list(facts.objects)
        self.before: list[Entity] = []
        self.used: set[str] = set()

    @property
    def one(self) -> Entity:
        """The only thing that is left."""
        return self.current[0]

    def pick(self, options: Sequence[str]) -> str:
        """One of several wordings."""
        return self.rng.choice(options)

    def _add(self, question: str, answer: RegionText, step: str) -> bool:
        self.talk.exchanges.append(Exchange(self._typed(as_sentence(question)), answer, step))
        return True

    def _typed(self, question: str) -> str:
        """As people type: now and then without a capital or without the last mark."""
        # "I" keeps its capital also where people type without.
        if self.rng.random() < 0.12 and not question.startswith("I "):
            question = question[0].lower() + question[1:]
        return question.rstrip(".?") if self.rng.random() < 0.1 else question

    def _listing(
        self,
        forms: Sequence[str],
        entities: Sequence[Entity],
        fields: Mapping[str, str] | None = None,
        *,
        definite: bool = True,
    ) -> RegionText:
        """A sentence with a list of things in it, each grounded."""
        known = dict(fields or {})
        before, has_list, after = self.pick(forms).partition("{list}")
        text = RegionText().say(before.format(**known))
        if has_list:
            text.join(self._pieces(text, entities, definite)).say(after.format(**known))
        return text.capitalize()

    def _pieces(
        self, text: RegionText, entities: Sequence[Entity], definite: bool
    ) -> list[Callable[[], object]]:
        """How each is named: "the red mug", "a red mug", or "two mugs" where they cannot be told apart."""
        groups: dict[str, list[Entity]] = {}
        for entity in entities:
            own = definite and entity.index in self.facts.phrases
            groups.setdefault(self.facts.phrases[entity.index] if own else entity.title, []).append(entity)
        pieces = []
        for phrase, group in groups.items():
            if len(group) > 1:
                lead, name = f"{english.number(len(group))} ", english.plural(phrase)
            elif definite and group[0].index in self.facts.phrases:
                lead, name = "the ", phrase
            else:
                countable = english.is_countable(group[0].noun)
                lead, name = f"{english.article(phrase)} " if countable else "", phrase
            pieces.append(self._grounder(text, lead, name, group))
        return pieces

    def _grounder(
        self, text: RegionText, lead: str, name: str, group: Sequence[Entity]
    ) -> Callable[[], object]:
        # Made here, not in the loop: a lambda there would see the last phrase. Called later by `join`,
        # between commas.
        return lambda: text.say(lead).ground(name, 0, tuple(entity.region for entity in group))

    def _plain(self, entities: Sequence[Entity]) -> str:
        text = RegionText()
        return text.join(self._pieces(text, entities, definite=True)).text

    def _it(self) -> dict[str, str]:
        """Pronouns for what is left."""
        if self.one.is_plural:
            return {
                "it": "them",
                "is_it": "are they",
                "Is_it": "Are they",
                "It_is": "They are",
                "does_it": "do they",
            }
        return {"it": "it", "is_it": "is it", "Is_it": "Is it", "It_is": "It is", "does_it": "does it"}

    def _distance(self, other: Entity) -> float:
        return math.dist(self.one.center, other.center)


def as_sentence(text: str) -> str:
    """With a capital; the length stays, so that spans do."""
    return text[:1].upper() + text[1:]
