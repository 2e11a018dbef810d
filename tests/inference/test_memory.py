"""What long-running processes keep: sessions that are gone leave nothing behind but the cache's own bytes."""

from __future__ import annotations

import gc
import resource
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from segue.inference.encoder_cache import EncoderCache
from tiny_model import picture

if TYPE_CHECKING:
    from segue.inference import LoadedModel


def tensors_alive() -> tuple[int, int]:
    """Number and bytes of all tensors that somebody holds."""
    gc.collect()
    found = [thing for thing in gc.get_objects() if type(thing) is torch.Tensor]
    return len(found), sum(value.numel() * value.element_size() for value in found)


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def talk(model: LoadedModel, number: int, turns: int) -> None:
    """One session over three pictures, one of which no other session shows, streamed every other time."""
    session = model.session([picture(), picture(shade=200), picture(20 + number, 30, number % 250)])
    for turn in range(turns):
        if turn == 2:
            session.undo()
        if turn % 2:
            list(session.stream("What is there?", max_new_tokens=4))
        else:
            session.ask("Which is larger?", max_new_tokens=4)


def grows(model: LoadedModel, sessions: int, turns: int) -> tuple[int, int, int]:
    """Tensors, their bytes, and bytes of the process that the second half adds to the first."""
    model.ask("Which is larger?", [picture(), picture(shade=200)], max_new_tokens=4)
    # Room for a few pictures, so that they are put out all the time.
    model.encoder_cache = EncoderCache(most_bytes=model.encoder_cache.held)
    for number in range(sessions // 2):
        talk(model, number, turns)
    before, peak = tensors_alive(), peak_bytes()
    for number in range(sessions // 2, sessions):
        talk(model, number, turns)
    after = tensors_alive()
    assert model.encoder_cache.held <= model.encoder_cache.most_bytes
    return after[0] - before[0], after[1] - before[1], peak_bytes() - peak


def test_sessions_leave_nothing_behind(tiny_model: LoadedModel) -> None:
    number, size, _ = grows(tiny_model, sessions=8, turns=3)
    assert number <= 2
    assert size <= 2**16


@pytest.mark.slow
def test_500_turns_over_100_sessions_do_not_grow(tiny_model: LoadedModel) -> None:
    number, size, process = grows(tiny_model, sessions=100, turns=5)
    assert number <= 2
    assert size <= 2**16
    assert process < 30 * 2**20


def test_turns_of_one_session_grow_by_their_words_alone(tiny_model: LoadedModel) -> None:
    session = tiny_model.session([picture(), picture(shade=200)])
    session.ask("Which is larger?", max_new_tokens=4)
    before = tensors_alive()
    for _ in range(10):
        session.ask("Which is larger?", max_new_tokens=4)
        session.undo()
    after = tensors_alive()
    assert after[0] <= before[0] + 2
    # Keys and values are given back with the turn.
    assert after[1] <= before[1] * 1.01 + 2**14
