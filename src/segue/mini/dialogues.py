"""Dialogues for training: drawn from the pools, with markup, masks and names addressed by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue import protocol
from segue.mini.photos.build import sample_photo_set
from segue.mini.photos.dialogue import compose_photo_dialogue
from segue.mini.pools import PhotoPool, ScenePool
from segue.mini.question_noise import hurried
from segue.mini.vocabulary import NAMES
from segue.models.processing_grounded import GroundedProcessor, pad_right
from segue.scenes.dialogue import compose_dialogue

IMAGE_COUNTS, IMAGE_SHARES = (1, 2, 3), (0.2, 0.45, 0.35)

LISTING_OPENINGS, LISTING_IMAGE_SHARES = ("contents",), (0.1, 0.6, 0.3)
"""Dialogues that list what one image of a set shows: the shortest way to learn to look into the right one."""


NAME_WORDS = frozenset(
    word for name in NAMES for one in name.split() for word in (one, f"{one}s", f"{one}es")
)
"""Words of names, which a hurried person is taken to spell rightly."""


@dataclass(frozen=True)
class ListingFirst:
    """How many of the dialogues about scenes are listings, by step.

    A fresh language model that gets the whole mix learns to speak long before it learns to look, and then
    stays there; one that gets only listings reads the right image within some hundred steps.

    Args:
        until: Steps with nothing else.
        fade: Steps over which their share then falls in a line.
        share: What it falls to.

    Source: ours.
    """

    until: int = 0
    fade: int = 0
    share: float = 0.0

    def at(self, step: int) -> float:
        """The share at a step, 0 to 1."""
        if step < self.until:
            return 1.0
        gone = (step - self.until) / self.fade if self.fade else 1.0
        return max(self.share, 1.0 + (self.share - 1.0) * min(gone, 1.0))


@dataclass(frozen=True)
class Mention:
    """One `[SEG]` of an answer: its phrase, its image, what to draw there, and in which answer it is."""

    phrase: str
    image_index: int
    object_index: int | None
    part: str | None
    answer: int = 0


@dataclass(frozen=True)
class Dialogue:
    """A conversation about images of one pool.

    Attributes:
        source: `scenes` or `photos`.
        images: positions in that pool.
        turns: `(role, text or markup)`.
        mentions: one per `[SEG]`, in text order over all turns.
    """

    source: str
    images: list[int]
    turns: list[tuple[str, str]]
    mentions: list[Mention]


def _turns(exchanges: Any) -> list[tuple[str, str]]:
    turns = []
    for e in exchanges:
        spans = [protocol.MarkedSpan(s.start, s.end, (s.image_index,)) for s in e.spans]
        turns += [("user", e.question), ("assistant", protocol.render(e.answer, spans))]
    return turns


def scene_dialogue(
    pool: ScenePool, rng: np.random.Generator, *, listing: bool = False, turn_shares: Sequence[float] = ()
) -> Dialogue:
    """A dialogue about 1 to 3 scenes, or one question and answer that lists what is in one of them.

    Args:
        turn_shares: probabilities of 1, 2, ... turns; the composer's own when empty.
    """
    turns = int(rng.choice(len(turn_shares), p=turn_shares)) + 1 if turn_shares else None
    shares = LISTING_IMAGE_SHARES if listing else IMAGE_SHARES
    images = pool.sample_set(rng, int(rng.choice(IMAGE_COUNTS, p=shares)))
    exchanges = compose_dialogue(
        [pool.objects[i] for i in images],
        rng,
        1 if listing else turns,
        openings=LISTING_OPENINGS if listing else (),
    )
    mentions = [
        Mention(e.answer[s.start : s.end], s.image_index, s.payload.object_index, s.payload.part, number)
        for number, e in enumerate(exchanges)
        for s in e.spans
    ]
    return Dialogue("scenes", images, _turns(exchanges), mentions)


def with_noise(dialogue: Dialogue, share: float, rng: np.random.Generator) -> Dialogue:
    """The dialogue with each question `hurried` with this probability."""
    turns = [
        (role, hurried(text, rng, NAME_WORDS) if role == "user" and rng.random() < share else text)
        for role, text in dialogue.turns
    ]
    return replace(dialogue, turns=turns)


def photo_dialogue(pool: PhotoPool, rng: np.random.Generator) -> Dialogue:
    """A dialogue about 1 to 3 photographs; empty when the facts carry no question."""
    images = sample_photo_set(pool.records, rng)
    exchanges = compose_photo_dialogue([pool.records[i].facts for i in images], rng)
    mentions = [Mention(s.payload, s.image_index, None, None) for e in exchanges for s in e.spans]
    return Dialogue("photos", images, _turns(exchanges), mentions)


def draw_dialogue(
    scenes: ScenePool,
    photos: PhotoPool | None,
    photo_share: float,
    rng: np.random.Generator,
    *,
    listing_share: float = 0.0,
    turn_shares: Sequence[float] = (),
) -> Dialogue:
    """A listing of scenes, or a dialogue of either pool; `turn_shares` are those of scenes."""
    if listing_share > 0.0 and rng.random() < listing_share:
        return scene_dialogue(scenes, rng, listing=True)
    while photos is not None and rng.random() < photo_share:
        found = photo_dialogue(photos, rng)
        if found.turns:
            return found
    return scene_dialogue(scenes, rng, turn_shares=turn_shares)


def dialogue_texts(scenes: ScenePool, photos: PhotoPool | None, count: int, seed: int = 5) -> Iterator[str]:
    """Plain texts for the tokenizer, with the overview sentences and role names."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        dialogue = draw_dialogue(scenes, photos, 0.3, rng)
        text = protocol.overview(len(dialogue.images)) + "\n"
        for role, content in dialogue.turns:
            text += (" USER: " if role == "user" else " ASSISTANT: ") + content
        for tag in (protocol.IMAGE_TOKEN, protocol.SEG_TOKEN, protocol.PHRASE_START, protocol.PHRASE_END):
            text = text.replace(tag, "")
        yield text


def instruction_bank(
    processor: GroundedProcessor,
    scenes: ScenePool,
    photos: PhotoPool | None,
    count: int = 1024,
    seed: int = 6,
) -> tuple[Tensor, Tensor]:
    """Questions in the Q-Former's vocabulary: ids `[count, Lq]` and mask."""
    rng = np.random.default_rng(seed)
    rows = [
        processor.encode_instruction(draw_dialogue(scenes, photos, 0.3, rng).turns[0][1])
        for _ in range(count)
    ]
    ids = pad_right(rows, processor.qformer_tokenizer.pad_token_id or 0)
    return ids, pad_right([[1] * len(r) for r in rows], 0).to(torch.long)
