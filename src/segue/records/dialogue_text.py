"""A record's turns as a model reads and writes them, with the regions that its questions speak of."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from segue import masks, protocol
from segue.records.conversation import Conversation
from segue.records.markup import grounded_markup, question_markup

Turns = list[tuple[str, str]]
"""`(role, text)`, the text of answers with markup."""
Targets = list[tuple[int, list[str]]]
"""For each mask in text order: the image (0-based) and the rids whose union it is."""


@dataclass
class DialogueText:
    """A conversation as text.

    Attributes:
        turns: `(role, text)`, answers with markup.
        targets: For each answer, those of its `[SEG]`.
        regions: For each question, the regions that stand at its `<region>`, in order.
    """

    turns: Turns = field(default_factory=list)
    targets: list[Targets] = field(default_factory=list)
    regions: list[Targets] = field(default_factory=list)


def write_dialogue(
    conversation: Conversation,
    dialect: str,
    rng: np.random.Generator | None = None,
    *,
    points: bool = False,
    memory: bool = False,
) -> DialogueText:
    """Write a conversation as a model is fed it: with the record's own answers.

    With `memory` each question also speaks of the record's own masks of the answer before it, as a session's
    does of the masks that the model drew: teacher forcing, as for the words. Literal:

        Show the red mug.                        It is the <p> red mug </p> [SEG] (IMAGE1).
        And the other one? <region> (IMAGE1)     It is the <p> blue mug </p> [SEG] (IMAGE2).
                           ^ the record's mask of the red mug

    Args:
        dialect: Of the answers.
        rng: Chooses among wordings of a question; None takes the first.
        points: The model reads regions; otherwise the words alone are written.
        memory: It has mask memory, too.

    Raises:
        RecordError: A turn cannot be written, or a mask that is remembered is not there.

    Source: paper silent; ours, after SegLLM, which feeds the true masks back in training.
    """
    before: Targets = []
    written = DialogueText()
    for index, turn in enumerate(conversation.turns):
        if turn.role == "assistant":
            markup, before = grounded_markup(conversation, index, dialect)
            written.turns.append(("assistant", markup))
            written.targets.append(before)
        elif turn.role == "user":
            spoken: Targets = []
            if turn.spans and points:
                markup, spoken = question_markup(conversation, index)
            else:
                wordings = [turn.text, *turn.alternatives]
                markup = wordings[0 if rng is None else int(rng.integers(len(wordings)))]
                # As a session does it: a placeholder that a person typed stands for no region.
                markup = protocol.mark_question(markup, []) if points else markup
            remembered = remembered_of(conversation, before) if memory else []
            markup = protocol.with_remembered(markup, [image_index for image_index, _ in remembered])
            written.turns.append(("user", markup))
            written.regions.append([*spoken, *remembered])
    return written


def remembered_of(conversation: Conversation, answered: Targets) -> Targets:
    """The masks of an answer that the next question speaks of: the first ones that are not empty.

    Raises:
        RecordError: A region has no mask in the file.
    """
    shown = [
        (image_index, rids)
        for image_index, rids in answered
        if any(masks.area(conversation.mask_of(rid, "remember")) for rid in rids)
    ]
    return shown[: protocol.MOST_REMEMBERED]
