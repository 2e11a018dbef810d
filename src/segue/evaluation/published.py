"""Numbers that the papers print, for the tables' published rows; nothing here was measured by this project.

Scores are in percent, as printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PublishedRow:
    """One printed row.

    Attributes:
        model: As the paper calls it.
        scores: By the names of our metrics; what is not printed is absent.
        zero_shot: Not fine-tuned on the data set.
        source: Where it is printed.
    """

    model: str
    scores: dict[str, float]
    zero_shot: bool = False
    source: str = field(default="", compare=False)


_TABLE_3 = "PRIMA table 3"

M4SEG: tuple[PublishedRow, ...] = tuple(
    PublishedRow(
        name,
        dict(zip(("mean_iou", "recall", "ss", "siou", "tflops", "samples_per_second"), row, strict=True)),
        source=_TABLE_3,
    )
    for name, *row in (
        ("LISA", 21.9, 10.8, 24.5, 22.2, 88.9, 5.20),
        ("GLaMM", 36.4, 22.9, 43.2, 38.6, 83.0, 3.37),
        ("PRIMA", 38.5, 25.0, 46.3, 42.0, 62.0, 5.79),
    )
)
"""PRIMA's Table 3. Source: PRIMA section 5.1."""

TOKENS_PER_IMAGE = {"LISA": 256.0, "GLaMM": 576.0, "PRIMA": 57.9}
"""Visual tokens an image. Source: PRIMA figure 2."""

ABLATION: tuple[PublishedRow, ...] = (
    PublishedRow("DINOv2 only", {"tflops": 99.29, "samples_per_second": 3.08}, source="PRIMA section 5.2"),
    PublishedRow("Q-Former and DINOv2", M4SEG[2].scores, source="PRIMA table 4"),
)
"""What PRIMA's text says of its Table 4; its cells for the other rows are not at hand.

Source: PRIMA section 5.2.
"""

_NEWER = ("mean_iou", "recall", "ss", "siou", "ss_text", "siou_text", "meteor")

M4SEG_NEWER: tuple[PublishedRow, ...] = tuple(
    PublishedRow(
        name,
        dict(zip(_NEWER, row, strict=True)),
        zero_shot="post-hoc" in name,
        source="PRIMA's project page, newer version",
    )
    for name, *row in (
        ("Qwen3-VL-8B (post-hoc)", 21.52, 12.03, 20.76, 16.05, 68.44, 53.57, 20.47),
        ("Nemotron-Nano-12B-v2 (post-hoc)", 10.45, 4.48, 7.76, 4.29, 56.45, 41.83, 18.69),
        ("Qwen3-VL-235B-A22B (post-hoc)", 27.52, 15.2, 25.05, 18.00, 71.29, 52.85, 22.24),
        ("InternVL3-78B (post-hoc)", 19.65, 10.4, 19.07, 15.35, 65.02, 49.23, 20.03),
        ("Pixtral-Large-124B (post-hoc)", 28.54, 14.20, 26.90, 20.72, 70.88, 54.29, 21.44),
        ("GPT-4o (post-hoc)", 25.47, 12.19, 21.59, 15.76, 68.62, 50.55, 21.56),
        ("Gemini 2.5 Pro (post-hoc)", 30.21, 15.25, 24.69, 15.51, 68.51, 45.21, 18.89),
        ("LISA", 37.21, 21.36, 39.34, 33.31, 73.32, 63.86, 25.47),
        ("GLaMM", 38.12, 22.78, 41.91, 35.76, 74.05, 64.59, 25.33),
        ("SQuARE replaced by pooling", 44.34, 26.59, 45.79, 37.11, 72.37, 60.05, 26.24),
        ("SQuARE replaced by projection", 45.08, 28.12, 50.41, 45.91, 78.14, 71.33, 25.88),
        ("PRIMA", 46.23, 30.61, 54.24, 51.62, 80.50, 75.84, 25.70),
    )
)
"""The newer version's table: another release of M4SEG, so that no row compares with `M4SEG`.

Its instance forms are not defined there; they stand under the names of ours that come nearest.
"""

_PRIST = ("mean_iou", "pixel_precision", "pixel_recall", "pixel_f1", "bleu_4", "rouge_l", "meteor")

PRIST: tuple[PublishedRow, ...] = tuple(
    PublishedRow(name, dict(zip(_PRIST, row, strict=True)), zero_shot=zero, source="MIRAS, main table")
    for name, zero, *row in (
        ("GPT-4o", True, 14.13, 17.35, 35.01, 23.18, 4.30, 26.35, 28.55),
        ("OMG-LLaVA", True, 9.67, 16.67, 77.80, 27.46, 8.70, 23.47, 27.90),
        ("LISA", False, 11.23, 26.23, 29.22, 27.64, 7.81, 27.84, 30.74),
        ("OMG-LLaVA", False, 13.84, 21.54, 49.31, 29.98, 11.21, 30.59, 39.18),
        ("MIRAS", False, 14.72, 24.22, 40.61, 30.34, 8.51, 30.82, 40.06),
    )
)
"""MIRAS's main table. What it calls CIoU is a mean over dialogues in its code, our `mean_iou`."""

PRIST_REASONING: tuple[PublishedRow, ...] = (
    PublishedRow("Human", {"PR": 4.03, "LC": 4.04}, source="MIRAS, reasoning table"),
    PublishedRow("MIRAS", {"win_rate": 42.0, "dist_1": 15.7, "dist_2": 49.2}, source="MIRAS, text"),
)
"""What is at hand of MIRAS's second table: grades from 1 to 5, the win rate in percent."""

COMPUTE_NOTE = (
    "Published TFLOPs: the paper states neither images, tokens and masks nor what was counted. No reading of "
    "one answer that we tried gives 88.9 / 83.0 / 62.0; with one size of language model LISA's 256 tokens "
    "cannot cost more than GLaMM's 576."
)
"""Printed beside the counted numbers."""
