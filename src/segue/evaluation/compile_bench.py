"""Whether compiling pays: seconds of a decoding step as it is, with a static cache, and compiled.

    python -m segue.evaluation.compile_bench --model segue-scenes

Sessions run uncompiled with a cache that grows, because a cache of fixed length cannot be cut when a turn is
taken back, and because compiling costs more than it saves where this has been measured. Whoever has another
machine sees here what holds there.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import Cache, DynamicCache, StaticCache

PROMPT, STEPS = 300, 40
"""Places in the cache before the first step, and steps; those of a conversation about three images."""


def seconds_of_a_step(forward: Callable[..., Any], cache: Cache, device: torch.device) -> float:
    """Median seconds of a step of one token, the first one (in which a model is compiled) left out.

    Args:
        forward: Of a language model.
        cache: That holds `PROMPT` places.
        device: Of the model.
    """
    ids = torch.zeros(1, 1, dtype=torch.long, device=device)
    taken = []
    for step in range(STEPS + 1):
        place = torch.tensor([PROMPT + step], device=device)
        _wait(device)
        began = time.perf_counter()
        forward(
            input_ids=ids, past_key_values=cache, use_cache=True,
            position_ids=place[None], cache_position=place,
        )  # fmt: skip
        _wait(device)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.no_grad()
def measure(language_model: Any, device: torch.device) -> dict[str, float]:
    """Seconds by way, and `compiling`: of the first compiled step with all steps after it.

    Args:
        language_model: Of any family, in transformers' form.
        device: Where it is.
    """
    prompt = torch.zeros(1, PROMPT, dtype=torch.long, device=device)

    def filled(cache: Cache) -> Cache:
        language_model(input_ids=prompt, past_key_values=cache, use_cache=True)
        return cache

    def fixed() -> Cache:
        return filled(StaticCache(config=language_model.config, max_cache_len=2 * PROMPT))

    growing = filled(DynamicCache(config=language_model.config))
    found = {
        "as it is": seconds_of_a_step(language_model, growing, device),
        "static cache": seconds_of_a_step(language_model, fixed(), device),
    }
    cache, began = fixed(), time.perf_counter()
    found["static cache, compiled"] = seconds_of_a_step(torch.compile(language_model), cache, device)
    return found | {"compiling": time.perf_counter() - began}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Whether compiling the language model pays here.")
    parser.add_argument("--model", default="segue-scenes")
    parser.add_argument("--device")
    chosen = parser.parse_args()
    import segue

    loaded = segue.load(chosen.model, chosen.device)
    for way, seconds in measure(loaded.model.language_model, loaded.model.device).items():
        print(f"{way:24} {seconds * 1e3:10.2f} ms")


if __name__ == "__main__":
    main()
