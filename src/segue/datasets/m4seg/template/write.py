"""Chooses questions for a set of images: all four kinds where the facts carry them, none twice."""

from __future__ import annotations

import numpy as np

from segue.datasets.m4seg.listing import Listing
from segue.datasets.m4seg.template.facts import SetFacts
from segue.datasets.m4seg.template.makers import KINDS

LEAST, MOST = 3, 5
"""Pairs of a set. Source: PRIMA sec. A.3."""


def template_pairs(listing: Listing, rng: np.random.Generator) -> list[dict[str, str]]:
    """Write 3 to 5 questions with answers about a set, fewer where too little is annotated.

    Args:
        listing: The set.
        rng: Of the set's own.

    Returns:
        `question`, `answer` (with identifiers) and `kind` of each, as a chat model is asked for them.
    """
    facts = SetFacts(listing)
    wanted = int(rng.integers(LEAST, MOST + 1))
    pairs: list[dict[str, str]] = []
    asked: set[str] = set()
    left = {kind: [makers[n] for n in rng.permutation(len(makers))] for kind, makers in KINDS.items()}
    order = [list(left)[n] for n in rng.permutation(len(left))]
    while len(pairs) < wanted and any(left.values()):
        # Kinds take turns, so that one whose rules all apply does not fill the set.
        for kind in order:
            if not left[kind] or len(pairs) == wanted:
                continue
            # Popped also where it makes nothing: each rule is tried once a set, so this ends.
            made = left[kind].pop()(facts, rng)
            if made is None or made.about in asked:
                continue
            asked.add(made.about)
            question = made.question[:1].upper() + made.question[1:]
            pairs.append({"question": question, "answer": made.answer, "kind": kind})
    return pairs
