"""What a generated answer says: its markup taken apart, what is odd about it, what later turns see of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segue import protocol
from segue.errors import AlignmentError, InputError
from segue.inference.answer import SessionAnswer
from segue.models.auto import ModelBundle
from segue.models.generation import GroundedGeneration
from segue.protocol import ParsedAnswer


@dataclass(frozen=True)
class Understood:
    """A generated answer.

    Attributes:
        markup: As the model wrote it.
        parsed: The markup taken apart.
        notes: Oddities that cost no mask, in sentences.
    """

    markup: str
    parsed: ParsedAnswer
    notes: list[str]


def understand(bundle: ModelBundle, generation: GroundedGeneration, num_images: int) -> Understood:
    """Take an answer apart.

    Args:
        bundle: That generated it.
        generation: Token ids, and one mask prompt for each `[SEG]`.
        num_images: That the conversation shows.

    Raises:
        AlignmentError: There are more or fewer prompts than `[SEG]`.
    """
    markup = bundle.processor.decode_markup(generation.token_ids)
    parsed = protocol.parse(markup, num_images, bundle.processor.dialect)
    if parsed.num_segs != len(generation.seg_prompts):
        raise AlignmentError(
            "The answer's [SEG] and the model's mask prompts do not match.",
            expected=f"{parsed.num_segs} prompts",
            found=str(len(generation.seg_prompts)),
            where=f"answer {markup[:80]!r}",
            fix="check that [SEG] is one token of the tokenizer and that its id is config.seg_token_id",
        )
    notes = [note.detail for note in parsed.notes]
    if not generation.finished:
        notes.append(f"the answer was cut off after {len(generation.token_ids)} tokens")
    trained = bundle.model.config.max_training_images
    if trained is not None and num_images > trained:
        notes.append(f"{num_images} images: this model was trained on sets of up to {trained}")
    return Understood(markup, parsed, notes)


def past_turns(answers: Sequence[SessionAnswer], num_images: int, dialect: str) -> list[tuple[str, str]]:
    """Write earlier turns as context for a later question: `(role, text)`, oldest first.

    Args:
        answers: Each with its question.
        num_images: That the conversation shows by now; answers may have been given about fewer.
        dialect: Of the markup.
    """
    turns = []
    for answer in answers:
        markup, before = answer.markup, len(answer.images)
        if before != num_images:
            # What it meant with the images of its time: a single one need not have been named, and a number
            # beyond them meant none.
            parsed = protocol.parse(markup, before, dialect)
            try:
                markup = protocol.render(parsed.text, parsed.marked_spans(), dialect, num_images)
            except InputError:
                markup = parsed.text
        turns += [
            ("user", answer.question),
            ("assistant", protocol.as_past_turn(markup, num_images, dialect)),
        ]
    return turns
