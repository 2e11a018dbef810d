"""Records of one exchange, and the answer as the templates write it: strings and mentions of things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segue.data.language.grounded_text import GroundedSpan, GroundedText
from segue.scenes.questions.facts import Thing


@dataclass(frozen=True)
class Referent:
    """An object of a scene, or one part of it, by its place in the scene."""

    object_index: int
    part: str | None


@dataclass(frozen=True)
class Mention:
    """A thing, or one part of a thing, as an answer names it."""

    thing: Thing
    part: str | None = None

    @property
    def phrase(self) -> str:
        obj = self.thing.obj
        return obj.phrase if self.part is None else obj.part_phrase(self.part)

    @property
    def is_plural(self) -> bool:
        """Whether the phrase takes "are": "red scissors", "blue chair's legs"."""
        last = self.part or self.thing.kind
        # "legs" and "scissors", but not "glass".
        return last.endswith("s") and not last.endswith("ss")

    @property
    def referent(self) -> Referent:
        return Referent(self.thing.object_index, self.part)

    @property
    def indefinite(self) -> str:
        """The article before the phrase: "a ", "an " or, for a plural, none."""
        return "" if self.is_plural else "an " if self.phrase[0] in "aeiou" else "a "


@dataclass(frozen=True)
class Exchange:
    """One question with its only right answer.

    ``needs_images`` is true when at least one phrase of the answer (its colour or its kind) was not yet given
    in the question or in the turns before, so that a reader who sees no image cannot know it.
    """

    question: str
    answer: str
    spans: tuple[GroundedSpan[Referent], ...]
    kind: str
    level: str
    needs_images: bool
    template: str
    is_follow_up: bool


class Answer(GroundedText[Mention]):
    """Grounded text that is written in strings and mentions: strings are text, mentions grounded phrases.

    ``Answer("In image 1, the ", Mention(mug), " would do.")``
    """

    def __init__(self, *pieces: str | Mention) -> None:
        super().__init__()
        self.add(*pieces)

    @property
    def mentions(self) -> list[Mention]:
        """Everything that is named, in the order of the text."""
        return [span.payload for span in self.spans]

    def add(self, *pieces: str | Mention) -> Answer:
        """Append text and grounded phrases."""
        for piece in pieces:
            if isinstance(piece, str):
                self.say(piece)
            else:
                self.ground(piece.phrase, piece.thing.image_index, piece)
        return self

    def add_list(self, mentions: Sequence[Mention], *, article: str = "the ") -> Answer:
        """Append "the red mug, the blue mug and the green mug", each phrase grounded."""
        for position, mention in enumerate(mentions):
            if position:
                self.add(" and " if position == len(mentions) - 1 else ", ")
            self.add(mention.indefinite if article == "a " else article, mention)
        return self


@dataclass(frozen=True)
class Draft:
    """Proposal of a template: a question, an answer, and what a follow-up may refer to.

    Args:
        question: as typed.
        answer: with its mentions.
        topic: the question put in terms of facts, which "what about image 2?" repeats elsewhere; e.g.
            ``("kind", "mug")``. Empty when nothing can be repeated.
        topic_image: the image to which the topic was confined, None when it covered the set.
    """

    question: str
    answer: Answer
    topic: tuple[str, ...] = ()
    topic_image: int | None = None
