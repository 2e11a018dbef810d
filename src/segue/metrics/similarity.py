"""How alike two phrases are: by their words (S-IoU), or by a sentence embedder (semantic similarity)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Embedder = Callable[[list[str]], NDArray[np.floating]]
"""`[n]` texts to `[n, d]` embeddings; they need not have length 1."""

_SEPARATORS = re.compile(r"[_:\-/]")
_OTHER = re.compile(r"[^\w\s]|_")


def words_of(phrase: str) -> frozenset[str]:
    """Words of a phrase as Semantic IoU compares them: "Cabinet:door," -> {"cabinet", "door"}.

    `_`, `:`, `-` and `/` part words; every other sign is left out ("cabinet's" -> "cabinets"); case is not
    counted.

    Source: CaSED's code (alphanumerics, lower case); the separators as Osprey's evaluation of part names.
    """
    return frozenset(_OTHER.sub("", _SEPARATORS.sub(" ", phrase)).casefold().split())


def semantic_iou(first: str, second: str) -> float:
    """Words in both over words in either, in 0..1 (S-IoU, SIoU); two phrases without words give 0.

    Source: PRIMA appendix B, after CaSED.
    """
    a, b = words_of(first), words_of(second)
    return len(a & b) / len(a | b) if a | b else 0.0


class SemanticSimilarity:
    """Cosine of phrases under a sentence embedder; each distinct phrase is embedded once.

    Args:
        embed: Of all phrases of a call at once.
        batch_size: Phrases per call.

    Source: PRIMA appendix B (SentenceBERT); the model that its sources use is all-MiniLM-L6-v2.
    """

    def __init__(self, embed: Embedder, batch_size: int = 256) -> None:
        self._embed = embed
        self._batch_size = batch_size
        self._known: dict[str, NDArray[np.floating]] = {}

    def prepare(self, phrases: Iterable[str]) -> None:
        """Embed the phrases that are new, in large batches."""
        new = [p for p in dict.fromkeys(phrases) if p.strip() and p not in self._known]
        for start in range(0, len(new), self._batch_size):
            batch = new[start : start + self._batch_size]
            vectors = np.asarray(self._embed(batch), dtype=np.float64)
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            for phrase, vector in zip(batch, vectors / np.maximum(lengths, 1e-12), strict=True):
                self._known[phrase] = vector

    def __call__(self, first: str, second: str) -> float:
        """Cosine in -1..1; 0 where either phrase is empty."""
        return float(self.matrix([first], [second])[0, 0])

    def matrix(self, first: Sequence[str], second: Sequence[str]) -> NDArray[np.float64]:
        """Cosines of all pairs, `[P, T]`."""
        self.prepare([*first, *second])
        found = np.zeros((len(first), len(second)))
        for i, a in enumerate(first):
            for j, b in enumerate(second):
                # Blank phrases are never embedded, so their cosines stay 0.
                if a in self._known and b in self._known:
                    found[i, j] = float(self._known[a] @ self._known[b])
        return found
