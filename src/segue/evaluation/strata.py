"""Groups in which scores are told apart: of answers, and of single targets.

| of answers | groups |
|---|---|
| `by_turn` | number of the answer in its conversation |
| `by_number_of_images`, `_of_targets`, `_of_objects` | of the conversation, of the answer, in the images |
| `by_kind`, `by_level` | kind of question; object or part, as the record's builder noted them |

| of targets | groups |
|---|---|
| `by_target_level` | object, part or region |
| `by_size` | COCO's: small < 32^2 pixels <= medium < 96^2 <= large |
| `by_visibility` | share of the image that the target covers |
| `by_frequency` | how often its category is a target in the data: rare <= 10 < common <= 100 < frequent |

Source: PRIMA figures 5 and 6 (numbers of objects and of targets; visibility, whose formula, "weighted by the
relative scale disparity", the paper does not give: the plain share is ours); COCO; LVIS for frequencies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from segue.evaluation.samples import Sample
from segue.metrics.matching import areas

Labels = dict[str, str]
"""Stratum to group."""

ANSWER_STRATA = (
    "by_turn",
    "by_number_of_images",
    "by_number_of_targets",
    "by_number_of_objects",
    "by_kind",
    "by_level",
)
TARGET_STRATA = ("by_target_level", "by_size", "by_visibility", "by_frequency")

_COUNTS = ((0, 0), (1, 1), (2, 2), (3, 4), (5, 8), (9, 16))
_VISIBLE = (0.01, 0.05, 0.2)
_SIZES = ((32**2, "small"), (96**2, "medium"))


def answer_labels(sample: Sample) -> Labels:
    """The groups that an answer belongs to; a stratum of which the record says nothing is absent."""
    found = {
        "by_turn": str(sample.turn),
        "by_number_of_images": str(sample.num_images),
        "by_number_of_targets": _range(len(sample.targets)),
        "by_number_of_objects": _range(sample.num_objects),
        "by_kind": sample.kind,
        "by_level": sample.level,
    }
    return {name: group for name, group in found.items() if group is not None}


def category_counts(samples: Iterable[Sample]) -> Counter[str]:
    """How often each category is a target."""
    return Counter(label for sample in samples for label in sample.labels)


def target_labels(sample: Sample, frequencies: Counter[str]) -> list[Labels]:
    """The groups of each target of a sample."""
    found = []
    sizes: Sequence[int] = areas(sample.targets)
    for mark, area, label, level in zip(sample.targets, sizes, sample.labels, sample.levels, strict=True):
        groups = {"by_target_level": level, "by_frequency": _frequency(frequencies[label])}
        if mark.rle is not None:
            height, width = mark.rle["size"]
            groups["by_size"] = next((name for bound, name in _SIZES if area < bound), "large")
            groups["by_visibility"] = _visibility(area / (height * width))
        found.append(groups)
    return found


def group_order(name: str) -> tuple[float, str]:
    """Sorting key of groups: by the first number in the name, where there is one, and by size words."""
    words = ("small", "medium", "large", "rare", "common", "frequent")
    if name in words:
        return float(words.index(name)), name
    digits = name.split("-")[0].strip("<>%+ ")
    try:
        return float(digits) - name.startswith("<") / 2, name
    except ValueError:
        return float("inf"), name


def _range(count: int) -> str:
    for low, high in _COUNTS:
        if count <= high:
            return str(low) if low == high else f"{low}-{high}"
    return f"{_COUNTS[-1][1] + 1}+"


def _frequency(count: int) -> str:
    return "rare" if count <= 10 else "common" if count <= 100 else "frequent"


def _visibility(share: float) -> str:
    percent = [f"{100 * bound:g}" for bound in _VISIBLE]
    if share < _VISIBLE[0]:
        return f"<{percent[0]}%"
    for bound, low, high in zip(_VISIBLE[1:], percent, percent[1:]):
        if share < bound:
            return f"{low}-{high}%"
    return f"{percent[-1]}+%"
