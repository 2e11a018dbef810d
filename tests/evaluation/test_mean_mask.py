"""The mean-mask baseline: it knows where things usually are, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from segue import masks
from segue.errors import InputError
from segue.evaluation.mean_mask import mean_mask_score
from segue.records import Conversation, ImageRef, Region, Span, Turn


def shows(name: str, top: int, left: int, hw: tuple[int, int] = (64, 64)) -> Conversation:
    """One image in which `name` is the quarter that begins at (top, left)."""
    mask = np.zeros(hw, bool)
    mask[top : top + hw[0] // 2, left : left + hw[1] // 2] = True
    return Conversation(
        id=f"{name}/{top}/{left}",
        task="photos",
        split="val",
        images=[ImageRef(image_id="t:1", path="1.jpg", height=hw[0], width=hw[1])],
        regions=[Region(rid="r", image_index=0, kind="object", name=name, mask=masks.encode(mask))],
        turns=[
            Turn(role="user", text=f"Where is the {name}?"),
            Turn(role="assistant", text=name, spans=[Span(start=0, end=len(name), rids=["r"])]),
        ],
    )


def test_a_thing_that_never_moves_is_found_at_any_size() -> None:
    scores = mean_mask_score([shows("hood", 0, 0)] * 3, [shows("hood", 0, 0), shows("hood", 0, 0, (128, 96))])
    assert scores["mean_iou"] > 0.95
    assert scores["recall_at_50"] == 1.0
    assert (scores["masks"], scores["phrases_known"]) == (2, 1)


def test_a_thing_elsewhere_and_an_unknown_phrase_score_nothing() -> None:
    train = [shows("hood", 0, 0)]
    assert mean_mask_score(train, [shows("hood", 32, 32)])["mean_iou"] < 0.05
    assert mean_mask_score(train, [shows("mirror", 0, 0)])["mean_iou"] == 0.0


def test_the_mean_of_two_places_covers_both() -> None:
    """Half of the images have it above, half below: both halves reach half of the highest mean."""
    train = [shows("hood", 0, 0), shows("hood", 32, 0)]
    assert mean_mask_score(train, [shows("hood", 0, 0)])["mean_iou"] == pytest.approx(0.5, abs=0.03)


def test_nothing_to_score_is_told() -> None:
    with pytest.raises(InputError, match="no masks"):
        mean_mask_score([], [])
