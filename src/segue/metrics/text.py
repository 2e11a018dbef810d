"""Phrase metrics: is the right thing named, in the right image?

A turn is two lists of keys `(image_index, phrase)`: what was predicted and what is true. Empty-set rules: a
turn with nothing to name and nothing named is exactly right but has no F1; a ratio over nothing is None.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Key = tuple[int, str]
"""0-based image index and phrase."""

_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
_ARTICLE = re.compile(r"^(?:the|a|an)\s+(?=\S)")
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "`": "'"})


def normalise_phrase(phrase: str) -> str:
    """Bring a phrase to the form in which phrases are compared: " The  Red mug." -> "red mug".

    Case, repeated blanks, punctuation at the edges, one leading article, the shape of apostrophes and Unicode
    compatibility forms do not count; word order, number and every other word do. Normalising twice changes
    nothing.

    Args:
        phrase: Any string.

    Returns:
        The normal form; empty when the phrase has no word character.

    Source: paper silent; ours.
    """
    text = unicodedata.normalize("NFKC", phrase).casefold()
    # Again: folding case can leave letters that NFKC would still compose.
    text = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES)
    # Taking an article away can bare punctuation ("the - mug"), and the other way round.
    while True:
        shorter = _ARTICLE.sub("", _EDGES.sub("", " ".join(text.split())))
        if shorter == text:
            return text
        text = shorter


@dataclass(frozen=True)
class PhraseCounts:
    """Right, surplus and missing phrases; counts add up, so micro averages are sums.

    Attributes:
        right: Predicted and true.
        surplus: Predicted, not true.
        missing: True, not predicted.
    """

    right: int = 0
    surplus: int = 0
    missing: int = 0

    def __add__(self, other: PhraseCounts) -> PhraseCounts:
        return PhraseCounts(
            self.right + other.right, self.surplus + other.surplus, self.missing + other.missing
        )

    @property
    def f1(self) -> float | None:
        """2 right / (2 right + surplus + missing); None when nothing was true and nothing was predicted."""
        total = 2 * self.right + self.surplus + self.missing
        return 2 * self.right / total if total else None

    @property
    def precision(self) -> float | None:
        """Right / predicted; None when nothing was predicted."""
        predicted = self.right + self.surplus
        return self.right / predicted if predicted else None

    @property
    def recall(self) -> float | None:
        """Right / true; None when nothing was true."""
        true = self.right + self.missing
        return self.right / true if true else None

    @property
    def exact(self) -> bool:
        """Nothing surplus, nothing missing; True for an empty turn."""
        return not self.surplus and not self.missing


def match_phrases(
    predicted: Sequence[Key], truth: Sequence[Key], score: Callable[[int, int], float] | None = None
) -> list[tuple[int, int]]:
    """Pair predictions one-to-one with truths of the same image and the same normalised phrase.

    Where several share a key ("cup" twice in image 0), the pairs of the highest score are taken first, ties
    in order. The number of pairs does not depend on the scores.

    Args:
        predicted: Keys of the predictions.
        truth: Keys of the truths.
        score: IoU of prediction i and truth j; called only where a key is shared by several.

    Returns:
        `(i, j)` pairs, ordered by truth. Empty when either side is empty.

    Source: paper silent; ours.
    """
    left: dict[Key, list[int]] = defaultdict(list)
    right: dict[Key, list[int]] = defaultdict(list)
    for index, (image_index, phrase) in enumerate(predicted):
        left[image_index, normalise_phrase(phrase)].append(index)
    for index, (image_index, phrase) in enumerate(truth):
        right[image_index, normalise_phrase(phrase)].append(index)
    pairs: list[tuple[int, int]] = []
    for key, targets in right.items():
        candidates = [(i, j) for i in left.get(key, []) for j in targets]
        if score is not None and len(candidates) > 1:
            scores = {pair: score(*pair) for pair in candidates}
            candidates.sort(key=lambda pair: -scores[pair])
        # Greedy is enough: within one key every prediction fits every truth, so min(P, T) pairs come out
        # anyway.
        used_left: set[int] = set()
        used_right: set[int] = set()
        for i, j in candidates:
            if i not in used_left and j not in used_right:
                pairs.append((i, j))
                used_left.add(i)
                used_right.add(j)
    return sorted(pairs, key=lambda pair: pair[1])


def count_phrases(predicted: Sequence[Key], truth: Sequence[Key]) -> PhraseCounts:
    """Count right, surplus and missing `(image, phrase)` keys of one turn; repeated keys count repeatedly."""
    have = Counter((image_index, normalise_phrase(phrase)) for image_index, phrase in predicted)
    want = Counter((image_index, normalise_phrase(phrase)) for image_index, phrase in truth)
    # `&` of counters takes the smaller count: "cup" said three times and true twice is right twice.
    right = (have & want).total()
    return PhraseCounts(right, have.total() - right, want.total() - right)
