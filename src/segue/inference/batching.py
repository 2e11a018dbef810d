"""Many conversations asked at once: one batch of text, one decoder call for the masks of all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from segue.errors import InputError, SegueError
from segue.images import ImageSource
from segue.inference.answer import SessionAnswer
from segue.inference.drawing import Wanted, draw
from segue.inference.inputs import MAX_NEW_TOKENS, check_budget, check_question
from segue.inference.regions import Region
from segue.inference.session import GroundingSession, collated
from segue.inference.understanding import understand
from segue.models.batched_generation import generate_many
from segue.models.constrained import with_grammar
from segue.models.generation import GroundedGeneration
from segue.models.segmenter import SegmenterFeatures
from segue.records import Grounding

if TYPE_CHECKING:
    from segue.inference.loaded_model import LoadedModel

BATCH_SIZE = 8
"""Conversations at a time, unless told otherwise."""

_IMAGES_A_CALL = 32
"""Images whose features are gathered for one decoder call: bounds the memory of large batches."""

Outcome = SessionAnswer | Exception
"""Answer to a question, or what went wrong with it."""

FAILURES = (SegueError, RuntimeError, ValueError, IndexError)
"""What a model may do wrong; it costs the sample alone."""


def ask_many(
    model: LoadedModel,
    conversations: Sequence[tuple[Sequence[ImageSource] | ImageSource, str | Sequence[str]]],
    *,
    batch_size: int = BATCH_SIZE,
    **options: Any,
) -> list[list[SessionAnswer]]:
    """Ask many conversations, several at a time; see `LoadedModel.ask_many`.

    Raises:
        InputError: A batch size below 1, or whatever the first question that fails raises.
    """
    if batch_size < 1:
        raise InputError(
            "Nothing can be asked in batches of this size.",
            expected="batch_size >= 1",
            found=str(batch_size),
            where="ask_many",
            fix=f"leave it out for the default of {BATCH_SIZE}",
        )
    found: list[list[SessionAnswer]] = []
    for start in range(0, len(conversations), batch_size):
        batch = conversations[start : start + batch_size]
        sessions = [model.session(images) for images, _ in batch]
        asked = [[questions] if isinstance(questions, str) else list(questions) for _, questions in batch]
        ask_in_turns(sessions, asked, _raised, **options)
        found += [list(session.history) for session in sessions]
    return found


def _raised(place: int, turn: int, outcome: Outcome, seconds: float) -> None:
    if isinstance(outcome, Exception):
        raise outcome


def ask_in_turns(
    sessions: Sequence[GroundingSession],
    questions: Sequence[Sequence[str]],
    told: Callable[[int, int, Outcome, float], None],
    *,
    regions: Sequence[Sequence[Sequence[Region]]] = (),
    **options: Any,
) -> None:
    """Ask several sessions their questions, turn by turn: a question sees the answers before it.

    Args:
        sessions: Of one model.
        questions: Of each session; their numbers may differ.
        told: Called with the number of the session and of the turn, the outcome and its share of the seconds;
            before any session is asked its next question.
        regions: What the questions point at, in the form of `questions`; empty where none does.
        **options: See `ask_together`.
    """
    for turn in range(max(map(len, questions), default=0)):
        places = [k for k, asked in enumerate(questions) if turn < len(asked)]
        started = time.perf_counter()
        outcomes = ask_together(
            [sessions[k] for k in places],
            [questions[k][turn] for k in places],
            regions=[regions[k][turn] for k in places] if regions else (),
            **options,
        )
        seconds = (time.perf_counter() - started) / len(places)
        for place, outcome in zip(places, outcomes, strict=True):
            told(place, turn, outcome, seconds)


def ask_together(
    sessions: Sequence[GroundingSession],
    questions: Sequence[str],
    *,
    regions: Sequence[Sequence[Region]] = (),
    max_new_tokens: int = MAX_NEW_TOKENS,
    constrained: bool = True,
    **generation_options: Any,
) -> list[Outcome]:
    """Ask each session its question, all in one batch.

    A session that is alone, one whose question points at regions, and one whose context leaves less than the
    budget, is asked by itself; and so are all of them where the batch fails, for want of memory for instance.

    Args:
        sessions: Of one model, each with a history of its own.
        questions: One for each.
        regions: What each question points at; empty where none does.
        max_new_tokens, constrained, **generation_options: See `GroundingSession.ask`.

    Returns:
        For each session its answer, which is also in its history, or what went wrong.
    """
    check_budget(max_new_tokens)
    # Said only where it is unusual: sessions of other models know no grammar.
    unusual = {} if constrained else {"constrained": False}
    options: dict[str, Any] = {"max_new_tokens": max_new_tokens, **unusual, **generation_options}
    asked = dict(enumerate(zip(sessions, questions, strict=True)))
    pointing = {place: pointed for place, pointed in enumerate(regions) if pointed}
    outcomes: dict[int, Outcome] = {}
    together = {place: one for place, one in asked.items() if place not in pointing}
    if len(together) > 1 and all(session.batches for session in sessions):
        items = _items(together, max_new_tokens, outcomes)
        if len(items) > 1:
            # If it fails, each is asked alone, below: then only the one whose fault it was fails.
            with suppress(*FAILURES):
                outcomes |= _answers(asked, items, max_new_tokens, constrained, generation_options)
    for place, (session, question) in asked.items():
        if place not in outcomes:
            try:
                # Said only where there are some, as above.
                more: dict[str, Any] = {"regions": pointing[place]} if place in pointing else {}
                outcomes[place] = session.ask(question, **options, **more)
            except FAILURES as error:
                outcomes[place] = error
    return [outcomes[place] for place in asked]


_Asked = dict[int, tuple[GroundingSession, str]]


def _items(asked: _Asked, budget: int, outcomes: dict[int, Outcome]) -> dict[int, dict[str, Any]]:
    """What each session gives to the batch, by its place; those that fail are in `outcomes`."""
    items = {}
    for place, (session, question) in asked.items():
        try:
            item = session._item(check_question(question))
            if session._room(session.bundle.processor.prompt_length(item)) >= budget:
                items[place] = item
        except FAILURES as error:
            outcomes[place] = error
    return items


def _answers(
    asked: _Asked,
    items: dict[int, dict[str, Any]],
    budget: int,
    constrained: bool,
    options: dict[str, Any],
) -> dict[int, Outcome]:
    """The answers of a batch, by place; each is added to its session when all are there."""
    sessions = {place: asked[place][0] for place in items}
    bundle = next(iter(sessions.values())).bundle
    counts = [len(session.images) for session in sessions.values()]
    made = generate_many(
        bundle.model,
        **collated(bundle, list(items.values())),
        max_new_tokens=budget,
        generation_options=with_grammar(options, constrained, bundle, counts),
    )
    generations = dict(zip(items, made, strict=True))
    drawn = _draw_all(sessions, generations)
    answers = {
        place: session._understand(
            asked[place][1].strip(), generations[place], drawn[place], len(items[place]["input_ids"])
        )
        for place, session in sessions.items()
    }
    for place, session in sessions.items():
        session._answers.append(answers[place])
    return dict(answers)


def _draw_all(
    sessions: dict[int, GroundingSession], generations: dict[int, GroundedGeneration]
) -> dict[int, dict[int, Grounding]]:
    """Masks of all answers by place and number of the `[SEG]`, those of one picture in one decoder call."""
    # The same picture in several conversations counts once.
    wanted: dict[str, list[tuple[int, Wanted]]] = {}
    features: dict[str, SegmenterFeatures] = {}
    hws: dict[str, tuple[int, int]] = {}
    for place, session in sessions.items():
        made = generations[place]
        for g in understand(session.bundle, made, len(session.images)).parsed.groundings:
            key = session._keys[g.image_index]
            if key not in features:
                features[key] = session._encode_segmenter(g.image_index)
                hws[key] = session.image_hws[g.image_index]
            k = g.seg_ordinal
            mask = Wanted(g, made.seg_prompts[k], made.phrases[k], 0, made.confidences[k])
            wanted.setdefault(key, []).append((place, mask))
    drawn: dict[int, dict[int, Grounding]] = {place: {} for place in sessions}
    keys = list(wanted)
    bundle = next(iter(sessions.values())).bundle
    for start in range(0, len(keys), _IMAGES_A_CALL):
        some = keys[start : start + _IMAGES_A_CALL]
        places = [place for key in some for place, _ in wanted[key]]
        asked = [replace(mask, image=number) for number, key in enumerate(some) for _, mask in wanted[key]]
        masks = draw(bundle, asked, [features[key] for key in some], [hws[key] for key in some])
        for place, mask, grounding in zip(places, asked, masks, strict=True):
            drawn[place][mask.placed.seg_ordinal] = grounding
    return drawn
