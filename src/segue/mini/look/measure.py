"""`python -m segue.mini.look.measure MODEL`: what the seeing half reaches, each name told first.

MODEL is a folder that stage look made, or a whole model such as segue-mini.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segue.files import write_atomic
from segue.loading import load
from segue.mini.look.calibration import both_scores, known_presence
from segue.mini.look.evaluation import Looker, auc, measure
from segue.mini.look.objective import Shelf
from segue.mini.look.photographs import known_names
from segue.mini.look.stage import FEATURES, shelf_of
from segue.models.mini.eyes import Eyes
from segue.models.mini.seeing import SeeingConfig, SeeingModel

THERE = 0.5
"""Presence from which a name counts as found."""


@torch.no_grad()
def presence_figures(eyes: Eyes, shelf: Shelf) -> dict[str, Any]:
    """By name: AUC of presence, how often it is found where it is and where it is not.

    Names that two photographs show and two are known to lack are judged. `larger_is_right`: for each
    photograph that shows a name and one drawn that lacks it, how often the first has the larger presence.
    """
    scores = both_scores(eyes, shelf, range(len(shelf.photographs)))
    presence = eyes.presence(eyes.presence.evidence(*scores)).sigmoid().double().numpy()
    truth = known_presence(shelf.photographs, eyes.table).numpy()
    rng = np.random.default_rng(0)
    by_name, larger = {}, []
    for column, name in enumerate(eyes.table.names):
        there, lacking = (np.flatnonzero(truth[:, column] == value) for value in (1.0, 0.0))
        if len(there) < 2 or len(lacking) < 2:
            continue
        known = np.concatenate([there, lacking])
        flags = np.arange(len(known)) < len(there)
        by_name[name] = {
            "auc": auc(presence[known, column], flags),
            "found": float((presence[there, column] >= THERE).mean()),
            "wrongly_found": float((presence[lacking, column] >= THERE).mean()),
            "photographs": len(there),
        }
        other = rng.choice(lacking, len(there))
        larger += (presence[there, column] > presence[other, column]).tolist()
    trunk_only = [not name.trained for name in eyes.table.names.values()]
    return {
        "mean_auc": _mean([row["auc"] for row in by_name.values()]),
        "found": _mean([row["found"] for row in by_name.values()]),
        "wrongly_found": _mean([row["wrongly_found"] for row in by_name.values()]),
        "larger_is_right": _mean(larger),
        "untrained_names_found_a_picture": float((presence[:, trunk_only] >= THERE).sum(1).mean()),
        "by_name": by_name,
    }


@torch.inference_mode()
def finding_figures(looker: Looker) -> dict[str, float]:
    """What findings say after names at one place have crowded each other.

    Returns:
        `found`: shares of the names that photographs show and that are told as there; `wrongly_found`: of
        trained names that they are known to lack.
    """
    table = looker.eyes.table
    shown, lacked = [], []
    for row, photograph in enumerate(looker.photographs):
        sight, _ = looker.see(row)
        told = {f.name for f in looker.eyes.find(sight)[0] if f.presence >= THERE}
        there = photograph.shown()
        shown += [name in told for name in there]
        known = known_names(photograph, table)
        lacked += [name in told for name in known - there if table.names[name].trained]
    return {"found": _mean(shown), "wrongly_found": _mean(lacked)}


def eyes_of(model: str) -> Eyes:
    """Those of a folder that stage look made, or of a whole model."""
    config = Path(model) / "config.json"
    if config.exists() and json.loads(config.read_text())["model_type"] == SeeingConfig.model_type:
        return SeeingModel.from_pretrained(model).eval().seeing.eyes
    segmenter: Any = load(model).model.segmenter
    eyes: Eyes = segmenter.eyes.float().eval()
    return eyes


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure a model on one part of the photographs, print the means, write everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder that stage look made, or a whole model")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of everyday/")
    parser.add_argument("--split", default="val")
    parser.add_argument(
        "--every", type=int, default=1, help="every so many-th photograph; 12 of train were held back"
    )
    parser.add_argument("--features", type=Path, default=Path(FEATURES))
    parser.add_argument("--limit", type=int, help="photographs whose masks are drawn")
    parser.add_argument("--out", type=Path, help="JSON file")
    given = parser.parse_args(arguments)
    eyes = eyes_of(given.model)
    shelf = shelf_of(given.data, "everyday", given.split, given.features, given.every)
    rows = range(min(len(shelf.photographs), given.limit or len(shelf.photographs)))
    looker = Looker(eyes, shelf.photographs, shelf.features)
    figures = measure(looker, rows)
    presence = presence_figures(eyes, shelf)
    named = {n: {"mean_iou": iou, "targets": count} for n, (iou, count) in figures.by_name().items()}
    findings = finding_figures(looker)
    report = {"masks": figures.summary(), "findings": findings, "presence": presence, "by_name": named}
    if given.out:
        write_atomic(given.out, json.dumps(report, indent=1))
    print(
        json.dumps(
            {**report, "presence": {**presence, "by_name": "see --out"}, "by_name": "see --out"}, indent=1
        )
    )


if __name__ == "__main__":
    main()
