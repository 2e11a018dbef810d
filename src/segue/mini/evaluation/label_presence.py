"""How well a model's label reader tells photographs that show something from those that do not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segue.errors import InputError
from segue.images import load_image
from segue.inference.loaded_model import LoadedModel
from segue.loading import load
from segue.mini.evaluation.photo_arguments import photo_parser, photo_records
from segue.mini.photos.facts import PhotoRecord
from segue.mini.photos.labels import LABELS


def ranked_above(having: NDArray[np.float64], lacking: NDArray[np.float64]) -> float:
    """Chance that the first of a random pair has the higher score (AUC); ties count half.

    >>> ranked_above(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    above, equal = (compare(having[:, None], lacking[None]) for compare in (np.greater, np.equal))
    return float(above.mean() + 0.5 * equal.mean())


@torch.no_grad()
def presences(model: LoadedModel, records: Sequence[PhotoRecord]) -> NDArray[np.float64]:
    """`[photographs, names]` logits of presence.

    Raises:
        InputError: the model has no label reader.
    """
    reader = getattr(model.model, "label_reader", None)
    if reader is None:
        raise InputError(
            "This model reads no labels.",
            expected="a model with a label reader, such as segue-scenes",
            found=model.name,
            where="label_presence",
            fix="choose another model",
        )
    rows = []
    for record in records:
        pixels = model.processor.encode_pixels([load_image(record.path)], ("pixel_values_labels",))
        rows.append(reader(pixels["pixel_values_labels"].to(model.model.device))[0, :, 0])
    return torch.stack(rows).double().cpu().numpy()


def label_presence(model: LoadedModel, records: Sequence[PhotoRecord]) -> dict[str, dict[str, Any]]:
    """AUC of every label that some photographs certainly show and others certainly do not.

    Args:
        records: of `load_photo_facts`.

    Returns:
        Label to `auc`, `having` and `lacking` (numbers of photographs).

    Source: ours.
    """
    found = presences(model, records)
    names = list(model.model.config.label_reader_names)
    scores: dict[str, dict[str, Any]] = {}
    for label in (name for name in LABELS if name in names):
        column = found[:, names.index(label)]
        having = column[[r.facts.has(label) for r in records]]
        lacking = column[[r.facts.lacks(label) for r in records]]
        if len(having) and len(lacking):
            auc = round(ranked_above(having, lacking), 4)
            scores[label] = {"auc": auc, "having": len(having), "lacking": len(lacking)}
    return scores


def main() -> None:
    """`python -m segue.mini.evaluation.label_presence --coco FILE --images DIR [--model M]`."""
    arguments = photo_parser(label_presence.__doc__).parse_args()
    print(json.dumps(label_presence(load(arguments.model), photo_records(arguments)), indent=1))


if __name__ == "__main__":
    main()
