"""Pure metrics on numpy arrays and phrases; every function states what it does with an empty set."""

from __future__ import annotations

from segue.metrics.segmentation import cumulative_iou, iou, mean_iou, overlap, recall_at
from segue.metrics.text import (
    PhraseCounts,
    count_phrases,
    match_phrases,
    normalise_phrase,
)

__all__ = [
    "PhraseCounts",
    "count_phrases",
    "cumulative_iou",
    "iou",
    "match_phrases",
    "mean_iou",
    "normalise_phrase",
    "overlap",
    "recall_at",
]
