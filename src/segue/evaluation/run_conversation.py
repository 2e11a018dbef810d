"""Ask a model the questions of a record; what it says becomes a line of predictions.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from segue import masks
from segue.errors import RecordError, SegueError
from segue.evaluation.marks import Typed, typed_questions
from segue.evaluation.predictions import Line
from segue.evaluation.samples import questions_of, said
from segue.images import ImageSource
from segue.inference.answer import SessionAnswer
from segue.inference.batching import Outcome, ask_in_turns
from segue.inference.inputs import MAX_NEW_TOKENS
from segue.inference.loaded_model import LoadedModel
from segue.inference.session import GroundingSession
from segue.records import Conversation, grounded_markup

History = Literal["own", "truth"]
"""What later turns see as the earlier answers: what the model said, or what the record says."""

_WRITTEN = ("question", "text", "markup", "groundings", "problems", "finished")


def run_conversation(
    bundle: LoadedModel, conversation: Conversation, images: Sequence[ImageSource], **options: Any
) -> Line:
    """Ask every question of one record; see `run_conversations`."""
    return run_conversations(bundle, [(conversation, images)], **options)[0]


def run_conversations(
    bundle: LoadedModel,
    conversations: Sequence[tuple[Conversation, Sequence[ImageSource]]],
    *,
    history: History = "own",
    other_images: bool = False,
    max_new_tokens: int = MAX_NEW_TOKENS,
    constrained: bool = True,
) -> list[Line]:
    """Ask every question of each record in a session of its own; answers are generated freely.

    A question that fails is written with its reason and is not part of the later questions' history; images
    that cannot be opened fail every question. Nothing is skipped. A question that points comes with its
    regions; a model that reads none fails it.

    Args:
        bundle: The model.
        conversations: Records, each with the sources of the images to show, as many as it has. They are asked
            together, turn by turn.
        history: What later questions see of earlier answers.
        other_images: Other images than the record's are shown on purpose; masks are brought to the size of
            the record's, so that what a model draws without looking is scored too.
        max_new_tokens: Budget of each answer.
        constrained: See `GroundingSession.ask`.

    Returns:
        A line for each record, with one entry for each of its answers.
    """
    lines: list[Line] = []
    opened: list[tuple[Conversation, GroundingSession, Line]] = []
    typed: list[list[Typed]] = []
    for conversation, images in conversations:
        lines.append({"id": conversation.id, "turns": []})
        try:
            session = bundle.session(images)
            if not other_images:
                _check_sizes(conversation, session)
            typed.append(typed_questions(conversation))
            opened.append((conversation, session, lines[-1]))
        except SegueError as error:
            lines[-1]["turns"] = [
                {"turn": k, "question": question, "failure": said(error)}
                for k, (_, question) in enumerate(questions_of(conversation), start=1)
            ]

    def note(place: int, turn: int, outcome: Outcome, seconds: float) -> None:
        conversation, session, line = opened[place]
        turn_index, question = questions_of(conversation)[turn]
        content: dict[str, Any] = {"turn": turn + 1, "seconds": round(seconds, 4)}
        if isinstance(outcome, Exception):
            content |= {"question": question, "failure": said(outcome)}
        else:
            if other_images:
                _resize(outcome, conversation)
            spoken = outcome.to_json()
            content |= {name: spoken[name] for name in _WRITTEN}
        line["turns"].append(content)
        if history == "truth":
            markup, more = _true_answer(conversation, turn_index, session)
            if not isinstance(outcome, Exception):
                session.undo()
                if outcome.regions:
                    question, more = outcome.question, {"regions": outcome.regions}
            session.add_turn(question, markup, **more)

    sessions = [session for _, session, _ in opened]
    questions = [[text for text, _ in asked] for asked in typed]
    regions = [[pointed for _, pointed in asked] for asked in typed]
    options = {"max_new_tokens": max_new_tokens, "constrained": constrained}
    ask_in_turns(sessions, questions, note, regions=regions, **options)
    return lines


def _true_answer(
    conversation: Conversation, turn_index: int, session: GroundingSession
) -> tuple[str, dict[str, Any]]:
    """The record's answer, and the masks of its `[SEG]` for a model that remembers them."""
    markup, targets = grounded_markup(conversation, turn_index)
    if not getattr(getattr(session.bundle.model, "config", None), "mask_memory", False):
        return markup, {}
    shown = [masks.union_rle([conversation.mask_of(rid, "remember") for rid in rids]) for _, rids in targets]
    return markup, {"seg_masks": [masks.decode(rle) for rle in shown]}


def _check_sizes(conversation: Conversation, session: GroundingSession) -> None:
    """Masks of another size than the picture would score 0 without anybody noticing why."""
    for index, (image, hw) in enumerate(zip(conversation.images, session.image_hws, strict=True)):
        expected = _recorded_hw(conversation, index)
        if expected is not None and expected != hw:
            raise RecordError(
                "An image has another size than its record says.",
                expected=f"(height, width) {expected}",
                found=str(hw),
                where=f"{image.path} of conversation {conversation.id!r}",
                fix="restore the image that the record was built from, or build the file again",
            )


def _recorded_hw(conversation: Conversation, index: int) -> tuple[int, int] | None:
    """Size of an image as the record has it, or as its masks have it; None where it has neither."""
    image = conversation.images[index]
    if image.height and image.width:
        return image.height, image.width
    sizes = [r.mask["size"] for r in conversation.regions if r.image_index == index and r.mask is not None]
    return (sizes[0][0], sizes[0][1]) if sizes else None


def _resize(answer: SessionAnswer, conversation: Conversation) -> None:
    """Stretch the masks over other pictures to the sizes of the record's own."""
    for k, grounding in enumerate(answer.groundings):
        hw = _recorded_hw(conversation, grounding.image_index)
        if hw is not None and grounding.mask.shape != hw:
            mask = masks.resize_mask(grounding.mask, hw)
            answer.groundings[k] = replace(grounding, mask=mask, box=masks.box(mask))
