"""Which of two photographs has it? One shows the thing asked for, the other certainly does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from segue.errors import InputError
from segue.inference.loaded_model import LoadedModel
from segue.loading import load
from segue.mini.evaluation.photo_arguments import photo_parser, photo_records
from segue.mini.photos.answers import article
from segue.mini.photos.facts import PhotoRecord

LABELS = ("trousers", "coat", "dress", "glasses")

QUESTION = "Which person wears {x}?"
"""A choice of one; "Who wears {x}?" leaves open how many of them do."""


def draw_pairs(
    records: Sequence[PhotoRecord], label: str, count: int, rng: np.random.Generator
) -> list[tuple[list[PhotoRecord], int]]:
    """Pairs of photographs of which exactly one has the label, and the 0-based place of that one.

    Raises:
        InputError: no photograph has it, or none lacks it.
    """
    having = [r for r in records if r.facts.has(label)]
    lacking = [r for r in records if r.facts.lacks(label)]
    if not having or not lacking:
        raise InputError(
            "no pair of photographs differs in this label",
            expected=f"photographs with and without {label}",
            found=f"{len(having)} with and {len(lacking)} without",
            where="draw_pairs",
            fix="choose another label or more photographs",
        )
    pairs = []
    for _ in range(count):
        place = int(rng.integers(2))
        pair = [having[int(rng.integers(len(having)))], lacking[int(rng.integers(len(lacking)))]]
        pairs.append((pair[:: 1 - 2 * place], place))
    return pairs


def chooses_right(
    model: LoadedModel, pair: Sequence[PhotoRecord], label: str, place: int, question: str = QUESTION
) -> bool:
    """Whether the generated answer shows the label in that photograph and in no other."""
    answer = model.session([r.path for r in pair]).ask(question.format(x=f"{article(label)}{label}"))
    shown = {g.image_index for g in answer.groundings if g.phrase == label}
    return shown == {place}


def which_photo(
    model: LoadedModel,
    records: Sequence[PhotoRecord],
    *,
    count: int = 200,
    seed: int = 0,
    question: str = QUESTION,
) -> dict[str, Any]:
    """Share of right choices per label, answers generated freely; chance is at most 0.5.

    Args:
        records: of `load_photo_facts`.
        count: pairs per label.
        seed: of the pairs.
        question: what is asked, `{x}` for the label with its article.

    Returns:
        Label to accuracy, with `count` and `question`.

    Source: ours.
    """
    scores: dict[str, Any] = {"count": count, "question": question}
    for number, label in enumerate(LABELS):
        pairs = draw_pairs(records, label, count, np.random.default_rng([seed, number]))
        right = [chooses_right(model, pair, label, place, question) for pair, place in pairs]
        scores[label] = sum(right) / count
    return scores


def main() -> None:
    """`python -m segue.mini.evaluation.which_photo --coco FILE --images DIR [--model M] [--count N] ...`."""
    parser = photo_parser(which_photo.__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--question", default=QUESTION)
    arguments = parser.parse_args()
    records = photo_records(arguments)
    model = load(arguments.model)
    print(json.dumps(which_photo(model, records, count=arguments.count, question=arguments.question)))


if __name__ == "__main__":
    main()
