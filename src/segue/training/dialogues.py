"""Dialogues for training: drawn from the pools, with markup, masks and names addressed by image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue import protocol
from segue.data.photos.build import sample_photo_set
from segue.data.photos.dialogue import compose_photo_dialogue
from segue.data.scenes.dialogue import compose_dialogue
from segue.models.processing_grounded import GroundedProcessor, pad_right
from segue.training.pools import PhotoPool, ScenePool

IMAGE_COUNTS, IMAGE_SHARES = (1, 2, 3), (0.2, 0.45, 0.35)


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


def scene_dialogue(pool: ScenePool, rng: np.random.Generator) -> Dialogue:
    """A dialogue about 1 to 3 scenes."""
    images = pool.sample_set(rng, int(rng.choice(IMAGE_COUNTS, p=IMAGE_SHARES)))
    exchanges = compose_dialogue([pool.objects[i] for i in images], rng)
    mentions = [
        Mention(e.answer[s.start : s.end], s.image_index, s.object_index, s.part, number)
        for number, e in enumerate(exchanges)
        for s in e.spans
    ]
    return Dialogue("scenes", images, _turns(exchanges), mentions)


def photo_dialogue(pool: PhotoPool, rng: np.random.Generator) -> Dialogue:
    """A dialogue about 1 to 3 photographs; empty when the facts carry no question."""
    images = sample_photo_set(pool.records, rng)
    exchanges = compose_photo_dialogue([pool.records[i].facts for i in images], rng)
    mentions = [Mention(s.label, s.image_index, None, None) for e in exchanges for s in e.spans]
    return Dialogue("photos", images, _turns(exchanges), mentions)


def draw_dialogue(
    scenes: ScenePool, photos: PhotoPool | None, photo_share: float, rng: np.random.Generator
) -> Dialogue:
    """A dialogue of either pool."""
    while photos is not None and rng.random() < photo_share:
        found = photo_dialogue(photos, rng)
        if found.turns:
            return found
    return scene_dialogue(scenes, rng)


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
