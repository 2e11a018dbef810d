"""HalluSegBench: does a model draw what a question names although the picture no longer shows it?

Each pair is two pictures that differ in one object, and two labels: the original (`orgl`) and the edited one
(`edtl`), of which the original picture (`orgi`) shows the first and the edited picture (`edti`) the second.

| variant | asked for | in | held against |
|---|---|---|---|
| `orgl_orgi` | what is there | original picture | the factual mask |
| `edtl_orgi` | what is not there | original picture | the factual mask: is it confused with it? |
| `orgl_edti` | what is not there | edited picture | the counterfactual mask, likewise |
| `edtl_edti` | what is there | edited picture | the counterfactual mask; not scored officially |

| name | value |
|---|---|
| `iou_factual`, `_textual`, `_visual` | IoU of the first three variants; of the last two less is better |
| `delta_iou_textual`, `_visual` | `iou_factual` less each of the others, over pairs: more is better |
| `confusion_factual` | confusion score of `edtl_orgi`; 0 is best, there is no upper bound |
| `confusion_counterfactual` | confusion score of `orgl_edti` |
| `confusion_ratio` | the one over the other, over pairs in which the other is not 0 |
| `strict_*` | the same without loopholes, see `strict_tallies` |
"""

from __future__ import annotations

from collections.abc import Mapping

from segue.metrics.referring import RegionCounts
from segue.metrics.tally import Tally

VARIANTS = ("orgl_orgi", "edtl_orgi", "orgl_edti", "edtl_edti")
CONFUSED_PIXEL = 3
"""Weight of a pixel on the wrong object against one elsewhere (alpha)."""

Answers = Mapping[str, RegionCounts | None]
"""By variant, pixels of the answer's masks and of what they are held against; None without a mask."""


def confusion(counts: RegionCounts) -> float:
    """(3 |P and G| + |P minus G|) / (3 |G|); 0 where G is empty.

    Source: HalluSegBench's script (confusion mask score).
    """
    outside = counts.predicted - counts.intersection
    whole = CONFUSED_PIXEL * counts.target
    return (CONFUSED_PIXEL * counts.intersection + outside) / whole if whole else 0.0


def official_tallies(answers: Answers) -> dict[str, Tally]:
    """One pair's contributions as the benchmark's scripts count them.

    An answer without a mask is left out, whether it failed or rightly refused; two empty masks have IoU 0.

    Source: HalluSegBench's scripts.
    """
    ious = {name: _iou(answers.get(variant)) for name, variant in _IOUS.items()}
    found = {f"iou_{name}": Tally(iou, 1) for name, iou in ious.items() if iou is not None}
    factual = ious["factual"]
    for name in ("textual", "visual"):
        other = ious[name]
        if factual is not None and other is not None:
            found[f"delta_iou_{name}"] = Tally(factual - other, 1)
    scores = {name: answers.get(variant) for name, variant in _CONFUSIONS.items()}
    confused = {name: confusion(counts) for name, counts in scores.items() if counts is not None}
    found |= {f"confusion_{name}": Tally(value, 1) for name, value in confused.items()}
    # A mean of ratios, as the scripts have it; `strict_confusion_ratio` is the ratio of the means.
    if len(confused) == 2 and confused["counterfactual"]:
        found["confusion_ratio"] = Tally(confused["factual"] / confused["counterfactual"], 1)
    return found


def strict_tallies(answers: Answers, failed: frozenset[str] = frozenset()) -> dict[str, Tally]:
    """One pair's contributions where nothing is left out.

    An answer without a mask drew nothing: right where nothing is to be drawn, 0 where something is. An answer
    that failed is the worst: IoU 0 where a mask was due; no difference and a confusion of 1 where none was.
    `strict_iou_counterfactual` is the fourth variant; the ratio is that of the two means.

    Args:
        answers: By variant; a missing variant counts as failed.
        failed: Variants whose question got no answer.

    Source: ours.
    """
    gone = failed | {variant for variant in VARIANTS if variant not in answers}
    drawn = {v: answers.get(v) if v not in gone else None for v in VARIANTS}
    ious = {v: counts.iou if counts is not None else 0.0 for v, counts in drawn.items()}
    found = {
        "strict_iou_factual": Tally(ious["orgl_orgi"], 1),
        "strict_iou_counterfactual": Tally(ious["edtl_edti"], 1),
    }
    for name, variant in (("textual", "edtl_orgi"), ("visual", "orgl_edti")):
        difference = 0.0 if variant in gone else ious["orgl_orgi"] - ious[variant]
        found[f"strict_delta_iou_{name}"] = Tally(difference, 1)
    values = {}
    for name, variant in _CONFUSIONS.items():
        counts = drawn[variant]
        values[name] = 1.0 if variant in gone else 0.0 if counts is None else confusion(counts)
        found[f"strict_confusion_{name}"] = Tally(values[name], 1)
    found["strict_confusion_ratio"] = Tally(values["factual"], values["counterfactual"])
    return found


_IOUS = {"factual": "orgl_orgi", "textual": "edtl_orgi", "visual": "orgl_edti"}
_CONFUSIONS = {"factual": "edtl_orgi", "counterfactual": "orgl_edti"}


def _iou(counts: RegionCounts | None) -> float | None:
    if counts is None:
        return None
    # The benchmark's own rule; everywhere else two empty masks agree, with IoU 1.
    return counts.iou if counts.union else 0.0
