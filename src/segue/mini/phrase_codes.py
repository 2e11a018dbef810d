"""Fixed random codes of phrases: the prompt space in which masks and language are trained apart.

The mask decoder learns to draw what a code says; the `[SEG]` state learns, by distillation, to say it.
Neither has to wait for the other, and a short joint tune then trains both through the real mask loss.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=65536)
def _word_code(role: str, word: str, width: int) -> NDArray[np.float32]:
    """A Gaussian vector that depends on the role and the word alone."""
    digest = hashlib.sha256(f"{role}\0{word}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    return rng.standard_normal(width).astype(np.float32)


@lru_cache(maxsize=65536)
def phrase_code(phrase: str, width: int) -> NDArray[np.float32]:
    """Code of a phrase: the sum of its words' codes, at unit variance.

    Words of an owner and of its part have different codes: `red mug's handle` is owner `red`, owner `mug`,
    part `handle`.

    Args:
        phrase: as it stands between `<p>` and `</p>`.
        width: of SAM's prompts.

    Returns:
        `[width]` float32.

    Source: paper silent; ours.
    """
    lowered = phrase.lower()
    for mark in ("'s ", "' "):
        owner, found, part = lowered.partition(mark)
        if found:
            words = [("owner", w) for w in owner.split()] + [("part", w) for w in part.split()]
            break
    else:
        words = [("owner", w) for w in lowered.split()]
    if not words:
        return np.zeros(width, np.float32)
    total = np.sum([_word_code(role, word, width) for role, word in words], axis=0)
    return (total / np.sqrt(len(words))).astype(np.float32)
