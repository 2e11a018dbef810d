"""Operations of a talk at a model's full size, counted on shapes: ours, a careful peer's, as published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from segue.evaluation.compute import (
    ComponentCounter,
    Workload,
    decoding_flops,
    draw_on_meta,
    encode_for_masks,
    grow,
    instruction_on_meta,
    meta_model,
    pixels_on_meta,
    read_places,
    read_prompt,
)
from segue.models.modeling_grounded import GroundedModel
from segue.models.presets import preset


def count_talk_of(name: str, turns: int, workload: Workload) -> dict[str, Any]:
    """Count a talk with a preset at its published size.

    Every turn has the workload's text, answer and masks; from the second on the text stands behind all that
    came before. The three ways are those of `segue.evaluation.talk_paths`.

    Args:
        name: Of the preset.
        turns: One or more.
        workload: Of each turn.

    Returns:
        Operations, 2 for each multiply-add, of each way and of its parts; ratios of ours to the others.

    Raises:
        InputError: There is no such preset, or its visual tokens depend on what pictures show.
    """
    chosen = preset(name)
    model = meta_model(name, chosen.config())
    parts = _once(model, chosen.streams, workload)
    each = parts.pop("tokens_an_image")
    lengths = [workload.text_tokens + workload.images * each]
    while len(lengths) < turns:
        lengths.append(lengths[-1] + workload.answer_tokens + workload.text_tokens)
    seen = parts["vision encoders"] + parts["visual tokens"]
    looked = parts["segmenter's encoder"] + seen
    answers = [_answer(model, length, workload.answer_tokens) for length in lengths]
    curve = _reading_curve(model, lengths[0], lengths[-1] + workload.answer_tokens)
    whole = [round(float(curve(length))) for length in lengths]
    # Of the answer before, the last token has not been read yet.
    further = [_reading(model, workload.text_tokens + 1, n - workload.text_tokens - 1) for n in lengths[1:]]
    masks = turns * parts["masks"]
    ours = looked + masks + sum(answers) + whole[0] + sum(further)
    per_turn = turns * looked + masks + sum(answers) + sum(whole)
    # Without a cache each step reads everything.
    steps = sum(round(float(curve(n + np.arange(workload.answer_tokens)).sum())) for n in lengths)
    published = turns * (parts["segmenter's encoder"] + workload.answer_tokens * seen) + masks + steps
    return {
        "model": name,
        "turns": turns,
        "workload": asdict(workload),
        "prompt_tokens": lengths,
        "parts": parts,
        "flops": {"ours": ours, "per_turn": per_turn, "as_published": published},
        "flops_ratio": {"as_published": ours / published, "per_turn": ours / per_turn},
    }


def _once(model: GroundedModel, streams: dict[str, dict[str, Any]], workload: Workload) -> dict[str, int]:
    """Operations of what looks at the images, and of one answer's masks; visual tokens an image."""
    pixels = pixels_on_meta(streams, workload)
    kept: dict[str, Any] = {}
    found: dict[str, int] = {}

    def encode() -> None:
        kept["seen"], kept["drawable"] = encode_for_masks(model, pixels)

    def look() -> None:
        kept["seen"] = kept["seen"] or model.encode_features(**pixels)

    def read() -> None:
        visual = model.encode_images([workload.images], **kept["seen"], **instruction_on_meta(workload))
        found["tokens_an_image"] = int(visual.tokens.shape[1])

    found["segmenter's encoder"] = _flops(model, encode)
    found["vision encoders"] = _flops(model, look)
    found["visual tokens"] = _flops(model, read)
    found["masks"] = _flops(model, lambda: draw_on_meta(model, kept["drawable"], workload))
    return found


def _reading(model: GroundedModel, new: int, before: int) -> int:
    """Operations of reading `new` places behind `before` cached ones, the head at the last place."""
    if before == 0:
        return _flops(model, lambda: read_prompt(model, new))
    cache = read_prompt(model, 1)
    grow(cache, before - 1)

    def read() -> None:
        model.language_model.lm_head(read_places(model, new, before, cache)[:, -1:])

    return _flops(model, read)


def _answer(model: GroundedModel, length: int, answer: int) -> int:
    """Operations of the steps behind a prompt, with a cache."""
    cache = read_prompt(model, 1)
    grow(cache, length - 1)
    return sum(decoding_flops(model, cache, length, answer).values())


def _reading_curve(model: GroundedModel, shortest: int, longest: int) -> np.polynomial.Polynomial:
    """Operations of reading a text from its beginning, by its length: a quadratic, hence told by three."""
    lengths = sorted({shortest, (shortest + longest) // 2, longest})
    counted = [_reading(model, length, 0) for length in lengths]
    return np.polynomial.Polynomial.fit(lengths, counted, len(lengths) - 1)


def _flops(model: GroundedModel, work: Callable[[], Any]) -> int:
    counter = ComponentCounter(model)
    with counter.counting():
        work()
    return sum(counter.flops.values())
