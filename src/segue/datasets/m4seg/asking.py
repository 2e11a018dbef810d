"""Question-answer pairs from a chat model that sees the images of a set and the list of what they show.

Source: PRIMA sec. 4 and A.3: gpt-4o-2024-08-06 at temperature 1.0, objects and parts with identifiers and
boxes, 3 to 5 pairs a set; the four kinds are those of its newer version. The words of the prompt are ours:
the paper's are not published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

from pydantic import BaseModel

from segue.chat_model import Message
from segue.datasets.generation import Ask, Flow, GenerationJob, Item, broken, prompt, prompt_digest
from segue.datasets.m4seg.filters import MAX_MASKS
from segue.datasets.m4seg.images import ImageStore
from segue.datasets.m4seg.listing import list_images
from segue.datasets.m4seg.sampling import ImageSet
from segue.datasets.stages.stages import StageOutput, StoredLines
from segue.images import load_image

VERSION = 1
LEAST, MOST = 3, 5
"""Pairs of a set. Source: PRIMA sec. A.3."""
TEMPERATURE = 1.0
"""Source: PRIMA sec. A.3."""
MODEL = "gpt-4o-2024-08-06"
"""Source: PRIMA sec. A.3."""
REPLY_TOKENS = 700
"""Length of a usual reply; for the estimate only."""

Kind = Literal["functional", "spatial", "numerical", "open_ended"]


class WrittenPair(BaseModel, extra="forbid"):
    """One pair of a reply."""

    question: str
    answer: str
    kind: Kind


class WrittenPairs(BaseModel, extra="forbid"):
    """The reply to one set."""

    qa: list[WrittenPair]


def usable(reply: WrittenPairs) -> list[dict[str, str]]:
    """The pairs of a reply, at most `MOST`.

    Raises:
        UnusableReplyError: There are too few, one is empty, or no answer has an identifier; whatever else is
            wrong is for the filters, which look at each pair alone.
    """
    # Only what no filter could put right later: too many pairs are cut below, too few cannot be filled up.
    if len(reply.qa) < LEAST:
        raise broken("too few pairs", f"it has {len(reply.qa)} pairs; write {LEAST} to {MOST}")
    for number, pair in enumerate(reply.qa, start=1):
        if not pair.question.strip() or not pair.answer.strip():
            raise broken("empty pair", f"pair {number} has no question or no answer")
    if not any(character.isdigit() for pair in reply.qa for character in pair.answer):
        raise broken("no identifiers", 'no answer has an identifier; write "chair 101" for a listed chair')
    return [pair.model_dump() for pair in reply.qa[:MOST]]


def messages_for(store: ImageStore, image_set: ImageSet) -> list[Message]:
    """Write the messages about a set: the rules, then the images in order and their listing."""
    images = [store[row] for row in image_set.rows]
    content: list[Any] = []
    for number, image in enumerate(images, start=1):
        # The number stands right before its image: a server passes images without names, and the listing says
        # "Image 2".
        content += [f"Image {number}:", load_image(image.path)]
    numbers = {"count": str(len(images)), "least": str(LEAST), "most": str(MOST)}
    content.append(prompt("m4seg_user", listing=list_images(images).text(), **numbers))
    rules = prompt("m4seg_system", masks=str(MAX_MASKS), **numbers)
    return [Message("system", (rules,)), Message("user", tuple(content))]


class SetItems(Sequence[Item]):
    """The items of a job, made when they are asked for: a set each, by its row.

    Args:
        sets: Lines of the stage of the sets.
    """

    def __init__(self, sets: StoredLines) -> None:
        self._sets = sets

    def __len__(self) -> int:
        return len(self._sets)

    @overload
    def __getitem__(self, row: int) -> Item: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[Item]: ...
    def __getitem__(self, row: int | slice) -> Item | Sequence[Item]:
        if isinstance(row, slice):
            return [self[n] for n in range(*row.indices(len(self)))]
        # The row, not the set: all items of a job are in memory.
        return Item(str(self._sets[row]["id"]), row)

    def __iter__(self) -> Iterator[Item]:
        return (self[row] for row in range(len(self)))


@dataclass(frozen=True)
class AskAboutSet:
    """Asks about one set.

    Attributes:
        store: The images.
        sets: Lines of the stage of the sets.
        generator: Written into the records: the model's name.
        temperature: Of the model.
    """

    store: ImageStore
    sets: StoredLines
    generator: str
    temperature: float = TEMPERATURE

    def __call__(self, item: Item) -> Flow:
        image_set = ImageSet.from_json(self.sets[item.payload])
        pairs = yield Ask(
            "pairs",
            messages_for(self.store, image_set),
            WrittenPairs,
            usable,
            sampling={"temperature": self.temperature},
        )
        return [{"set": item.payload, "generator": self.generator, "qa": pairs}]


def pairs_job(
    images: StageOutput, sets: StageOutput, generator: str, temperature: float = TEMPERATURE
) -> GenerationJob:
    """The job of asking about every set.

    Args:
        images, sets: The stages before.
        generator: Name of the model.
        temperature: Of the model.
    """
    identity = {
        "version": VERSION,
        "prompts": prompt_digest("m4seg_system", "m4seg_user"),
        "temperature": temperature,
        "images": images.hash,
        "sets": sets.hash,
    }
    lines = StoredLines(sets, "sets")
    make = AskAboutSet(ImageStore(images), lines, generator, temperature)
    return GenerationJob(
        "m4seg", SetItems(lines), make, identity, reply_tokens=REPLY_TOKENS, output="pairs.jsonl"
    )
