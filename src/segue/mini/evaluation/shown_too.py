"""With other pictures shown, how much of what is right by chance do those pictures show themselves?

A dialogue about a cat, shown another cat, is answered rightly by a model that looks. What counts against a
model is only what it names and the shown pictures lack. For `segue eval --shuffle-images` over photographs:

python -m segue.mini.evaluation.shown_too OUT/exchanged DATA/everyday/val.json --count 40
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue.evaluation.evaluation_data import read_evaluation_data
from segue.evaluation.predictions import read_objects
from segue.evaluation.samples import Sample, all_samples
from segue.metrics.text import match_phrases
from segue.mini.look.photographs import read_photographs
from segue.mini.talk.kinds import Kinds, known_kinds
from segue.models.mini.names import name_table


@dataclass
class Shares:
    """Phrases with their images, of answers that need the images.

    Attributes:
        expected, given, right: by the conversation's own answers.
        shown: of the right ones those that the shown pictures show too.
    """

    expected: int = 0
    given: int = 0
    right: int = 0
    shown: int = 0

    def figures(self) -> dict[str, float]:
        """Counts; F1 as it is, and as it would be without what the shown pictures show."""
        total = max(self.expected + self.given, 1)
        lacking = self.right - self.shown
        shares = {"f1": 2 * self.right / total, "f1_not_shown": 2 * lacking / total}
        return vars(self) | {name: round(share, 4) for name, share in shares.items()}


def count(
    predictions: Iterable[Mapping[str, Any]],
    samples: Sequence[Sample],
    shown: Mapping[str, frozenset[str]],
) -> Shares:
    """Sum up an evaluation.

    Args:
        predictions: lines of predictions.jsonl.
        samples: of the conversations.
        shown: file name of a picture to the names that it shows.
    """
    names, found = _forms(known_kinds()), Shares()
    by_key = {sample.key: sample for sample in samples}
    for line in predictions:
        pictures = [shown[Path(str(path)).name] for path in line["images"]]
        for turn in line["turns"]:
            sample = by_key[str(line["id"]), int(turn["turn"])]
            if not sample.needs_images:
                continue
            said = [(int(g["image_index"]), str(g["phrase"])) for g in turn["groundings"]]
            truth = [(mark.image_index, mark.phrase) for mark in sample.targets]
            pairs = match_phrases(said, truth)
            found.expected, found.given = found.expected + len(truth), found.given + len(said)
            found.right += len(pairs)
            found.shown += sum(names.get(said[i][1]) in pictures[said[i][0]] for i, _ in pairs)
    return found


def _forms(kinds: Kinds) -> dict[str, str]:
    """How each name is spoken of, in the singular and in the plural, to the name."""
    return {form: name for name in kinds.names for form in kinds.forms(name)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures of an evaluation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("evaluation", type=Path, help="folder of segue eval --shuffle-images")
    parser.add_argument("coco", type=Path, help="annotations, DATA/everyday/val.json")
    parser.add_argument("--count", type=int, default=100, help="as for segue eval")
    given = parser.parse_args(arguments)
    data = read_evaluation_data(given.coco, given.coco.parent, count=given.count)
    photographs = read_photographs(given.coco.parent.parent, "everyday", given.coco.stem, name_table())
    lines = [line for _, line in read_objects(given.evaluation / "predictions.jsonl")]
    shown = {photograph.path.name: photograph.shown() for photograph in photographs}
    print(json.dumps(count(lines, all_samples(data.conversations), shown).figures()))


if __name__ == "__main__":
    main()
