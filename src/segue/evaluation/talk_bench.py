"""`segue bench`: what a talk takes in seconds and operations, beside what others would take for it."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from segue.errors import InputError, ModelError
from segue.evaluation.evaluate import versions
from segue.evaluation.talk_paths import AsPublished, Ours, PerTurn, fresh_session, with_history
from segue.inference.answer import SessionAnswer
from segue.inference.loaded_model import LoadedModel
from segue.inference.streaming import MaskReady, TextDelta
from segue.models.generation import GroundedGeneration
from segue.scenes import render_scene

QUESTIONS = (
    "What is there in the images?",
    "What can you sit on?",
    "Compare the images.",
    "What can hold a drink?",
    "Which things are red?",
)
"""Asked one after the other, and again from the first."""


@dataclass(frozen=True)
class Talk:
    """A talk to measure.

    Attributes:
        turns: Questions.
        images: Shown at once.
        size: Height and width of the images, procedural scenes.
        max_new_tokens: Budget of each answer.
    """

    turns: int = 5
    images: int = 3
    size: int = 448
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        if not (self.turns >= 2 and 1 <= self.images <= 9 and self.max_new_tokens >= 1):
            raise InputError(
                "This talk cannot be measured.",
                expected="two turns or more about one to nine images, and a budget of one token or more",
                found=f"{self.turns}x{self.images}, {self.max_new_tokens} tokens",
                where="--conversation",
                fix="write turns x images, as in 5x3",
            )

    def pictures(self, number: int = 0) -> list[Image.Image]:
        """Scenes of the talk of this number."""
        seeds = range(number * self.images, (number + 1) * self.images)
        return [scene_picture(seed, self.size) for seed in seeds]

    @property
    def questions(self) -> list[str]:
        """What is asked."""
        return [QUESTIONS[k % len(QUESTIONS)] for k in range(self.turns)]


def read_talk(text: str, **options: Any) -> Talk:
    """Read "5x3": five turns about three images.

    Raises:
        InputError: It says something else.
    """
    turns, _, images = text.partition("x")
    if not (turns.isdecimal() and images.isdecimal()):
        raise InputError(
            "The conversation to measure cannot be read.",
            expected="turns x images, as in 5x3",
            found=repr(text),
            where="--conversation",
            fix="write two numbers with an x between them",
        )
    return Talk(int(turns), int(images), **options)


def measure(
    model: LoadedModel,
    talk: Talk,
    batch_sizes: Sequence[int] = (1, 4),
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure a model, all paths in one run, turn by turn side by side.

    Args:
        model: With weights; an agent has none to measure.
        talk: What is asked.
        batch_sizes: Of the throughput.
        tell: Called with what is measured next.

    Returns:
        The content of the file that `segue bench --json` writes; see docs/speed.md.

    Raises:
        ModelError: The paths gave different answers, so that their times could not be compared.
    """
    device = model.model.device
    # The first answer of a process is slower: code and memory are fetched.
    tell("warming up")
    fresh_session(model, talk.pictures()).ask(talk.questions[0], max_new_tokens=4)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    tell("first words and masks")
    seconds = _streamed(model, talk)
    peak = _peak_memory(device)
    tell(f"{talk.turns} turns about {talk.images} images, in three ways")
    paths, answers, made = _side_by_side(model, talk)
    tell("operations")
    flops = count_talk(model, talk, answers, made)
    throughput = []
    for size in batch_sizes:
        tell(f"batches of {size}")
        throughput.append(_throughput(model, talk, size, max(batch_sizes)))
    totals = {name: sum(times) for name, times in paths.items()}
    return {
        "format": "segue-bench-talk/1",
        "model": model.name,
        "conversation": {"turns": talk.turns, "images": talk.images, "size": talk.size},
        "device": str(device),
        "dtype": str(model.model.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "paths": {name: {"seconds": times, "total": totals[name]} for name, times in paths.items()},
        "speedup_vs_as_published": totals["as_published"] / totals["ours"],
        "speedup_vs_per_turn": totals["per_turn"] / totals["ours"],
        "flops": flops,
        "flops_ratio": {name: flops["ours"] / flops[name] for name in ("as_published", "per_turn")},
        "answer_tokens": [len(one.token_ids) for one in made],
        "masks": [len(answer.groundings) for answer in answers],
        "throughput": throughput,
        "peak_memory_bytes": peak,
        "versions": versions(),
    }


def _streamed(model: LoadedModel, talk: Talk) -> dict[str, float | None]:
    """Seconds to the first text, mask and end of the first answer, and of the second one."""
    session = fresh_session(model, talk.pictures())
    found: dict[str, float | None] = {"first_token": None, "first_mask": None}
    started = time.perf_counter()
    for event in session.stream(talk.questions[0], max_new_tokens=talk.max_new_tokens):
        passed = time.perf_counter() - started
        if isinstance(event, TextDelta) and found["first_token"] is None:
            found["first_token"] = passed
        if isinstance(event, MaskReady) and found["first_mask"] is None:
            found["first_mask"] = passed
    found["answer"] = time.perf_counter() - started
    started = time.perf_counter()
    for _ in session.stream(talk.questions[1], max_new_tokens=talk.max_new_tokens):
        pass
    found["further_turn"] = time.perf_counter() - started
    return found


def _side_by_side(
    model: LoadedModel, talk: Talk
) -> tuple[dict[str, list[float]], list[SessionAnswer], list[GroundedGeneration]]:
    """Seconds of every turn on each path; the paths take turns, so that a busy machine slows all of them."""
    published = AsPublished(model, talk.pictures(), talk.max_new_tokens)
    ways: dict[str, Ours] = {
        "ours": Ours(model, talk.pictures(), talk.max_new_tokens),
        "per_turn": PerTurn(model, talk.pictures(), talk.max_new_tokens),
        "as_published": published,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers = []
    for question in talk.questions:
        said = {}
        for name, way in ways.items():
            _wait(model)
            started = time.perf_counter()
            said[name] = way.ask(question)
            _wait(model)
            seconds[name].append(time.perf_counter() - started)
        _check_same(said)
        answers.append(said["ours"])
    return seconds, answers, published.made


def _check_same(said: dict[str, SessionAnswer]) -> None:
    """Raise unless all paths said and drew the same."""
    ours = said["ours"]
    for name, answer in said.items():
        pairs = list(zip(ours.groundings, answer.groundings, strict=False))
        # Sums are rounded otherwise: pixels at the very threshold may differ.
        differ = max((float((a.mask != b.mask).mean()) for a, b in pairs), default=0.0)
        if answer.markup != ours.markup or len(answer.groundings) != len(ours.groundings) or differ > 0.01:
            raise ModelError(
                "The paths gave different answers, so their times cannot be compared.",
                expected=repr(ours.markup[:120]),
                found=f"{answer.markup[:120]!r}, masks that differ in {differ:.2%} of the pixels",
                where=f"path {name}, question {ours.question!r}",
                fix="measure in float32; half precision rounds the paths apart",
            )


def count_talk(
    model: LoadedModel, talk: Talk, answers: Sequence[SessionAnswer], made: Sequence[GroundedGeneration]
) -> dict[str, int]:
    """Operations of a whole talk on each path, 2 for each multiply-add.

    Args:
        model: That answered.
        talk: What was asked.
        answers: One for each turn.
        made: What the published path generated for each.
    """
    found = {}
    for name, path in (("ours", Ours), ("per_turn", PerTurn)):
        way = path(model, talk.pictures(), talk.max_new_tokens)
        found[name] = sum(flops_of(partial(way.ask, question)) for question in talk.questions)
    found["as_published"] = 0
    for turn, question in enumerate(talk.questions):
        published = AsPublished(model, talk.pictures(), talk.max_new_tokens)
        published.session = with_history(model, published.images, answers[:turn])
        found["as_published"] += _steps_flops(published, question, made[turn].token_ids.tolist())
        found["as_published"] += flops_of(partial(published.draw, question, made[turn]))
    return found


def _steps_flops(way: AsPublished, question: str, ids: list[int]) -> int:
    """Operations of all steps that generate these ids.

    What a step costs is quadratic in the length of its text, so three of the steps tell all of them.
    """
    inputs, steps = way.inputs(question), len(ids)
    places = sorted({0, steps // 2, steps - 1})
    with torch.no_grad():
        counted = [flops_of(partial(way.step, inputs, ids[:place])) for place in places]
    curve = np.polynomial.Polynomial.fit(places, counted, len(places) - 1)
    return round(float(curve(np.arange(steps)).sum()))


def flops_of(work: Callable[[], Any]) -> int:
    """Operations of a call."""
    # The fused kernels of CPUs are not counted; the plain ones do the same two products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def _throughput(model: LoadedModel, talk: Talk, size: int, conversations: int) -> dict[str, float]:
    """Conversations of one question each, asked in batches of a size; every one has images of its own."""
    asked = [(talk.pictures(k), talk.questions[0]) for k in range(conversations)]
    alone = LoadedModel(model.model, model.processor, model.name, model.path)
    _wait(model)
    started = time.perf_counter()
    answers = alone.ask_many(asked, batch_size=size, max_new_tokens=talk.max_new_tokens)
    _wait(model)
    seconds = time.perf_counter() - started
    return {
        "batch_size": size,
        "conversations": conversations,
        "seconds": seconds,
        "conversations_a_second": conversations / seconds,
        "masks_a_second": sum(len(answer.groundings) for (answer,) in answers) / seconds,
    }


def _wait(model: LoadedModel) -> None:
    if model.model.device.type == "cuda":
        torch.cuda.synchronize(model.model.device)


def _peak_memory(device: torch.device) -> int:
    """Bytes on the GPU since the last reset, or of this process so far."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def scene_picture(seed: int, size: int) -> Image.Image:
    """A procedural scene."""
    return Image.fromarray(render_scene(np.random.default_rng(seed), size=size).image)
