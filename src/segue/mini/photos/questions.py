"""Phrase a question: choose a wording, what to call a thing, and how to name an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from segue.data.language.image_names import IMAGE_NAMES, image_name
from segue.mini.photos.facts import PhotoFacts
from segue.mini.photos.labels import LABELS, PLURAL_RAW, indefinite
from segue.mini.photos.wordings import WORDINGS


class Asker:
    """Every random choice of a conversation, and the wording of its questions."""

    def __init__(self, facts: Sequence[PhotoFacts], rng: np.random.Generator) -> None:
        self.facts = facts
        self.rng = rng

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def weighted(self, weights: Mapping[str, float]) -> str | None:
        total = float(sum(weights.values()))
        if total <= 0:
            return None
        left = float(self.rng.random()) * total
        for name, weight in weights.items():
            left -= weight
            if left < 0:
                return name
        return list(weights)[-1]

    def image_words(self, image_index: int) -> str:
        return image_name(self.pick(IMAGE_NAMES), image_index)

    def word(self, label: str, image_index: int | None = None) -> str:
        """What a question calls a label: mostly its name, else a synonym or the raw name in that photo."""
        entry = LABELS[label]
        options = list(entry.synonyms) if label != "person" else []
        if image_index is not None and self.facts[image_index].has(label):
            raw = self.facts[image_index].labels[label].raw
            if len(raw) == 1 and (raw[0] in PLURAL_RAW) == (entry.number == "plural"):
                options += [raw[0], raw[0]]
        if not options or self.rng.random() < 0.65:
            return label
        return self.pick(options)

    def question(
        self, template: str, label: str = "", k: int | None = None, other: str = "", named: str = ""
    ) -> str:
        entry = LABELS[label or "person"]
        plural = entry.number == "plural"
        x = named or (self.word(label, k) if label else "")
        y = self.word(other) if other else ""
        is_x = "are" if plural else "is"
        return self.pick(WORDINGS[template]).format(
            x=x,
            a_x=indefinite(x, entry.number) if x else "",
            y=y,
            a_y=indefinite(y, LABELS[other].number) if other else "",
            is_x=is_x,
            Is_x=is_x.capitalize(),
            do_x="do" if plural else "does",
            Do_x="Do" if plural else "Does",
            has_x="have" if plural else "has",
            they="they" if plural else "it",
            their=self.pick(("their", "her", "his", "their")),
            k=self.image_words(k) if k is not None else "",
        )
