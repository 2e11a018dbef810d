"""Refusals and masks of what is not there, by hand."""

import pytest

from segue.metrics.absence import absence_tallies
from segue.metrics.tally import Tally


@pytest.mark.parametrize(
    ("predicted", "targets", "images", "expected"),
    [
        ([], [], 2, {"hallucinated_mask_rate": (0, 0), "absent_refused": (1, 1)}),
        ([1], [], 2, {"hallucinated_mask_rate": (1, 1), "absent_refused": (0, 1)}),
        ([], [0], 1, {"hallucinated_mask_rate": (0, 0), "present_refused": (1, 1)}),
        (
            [1, 1], [1], 2,
            {"hallucinated_mask_rate": (0, 2), "present_refused": (0, 1), "cross_image_absence": (1, 1)},
        ),
        (
            [0, 1], [1], 3,
            {"hallucinated_mask_rate": (1, 2), "present_refused": (0, 1), "cross_image_absence": (0, 1)},
        ),
        ([0, 1], [1, 0], 2, {"hallucinated_mask_rate": (0, 2), "present_refused": (0, 1)}),
    ],
)  # fmt: skip
def test_by_hand(predicted: list[int], targets: list[int], images: int, expected: dict) -> None:
    found = absence_tallies(predicted, targets, images)
    assert found == {name: Tally(*pair) for name, pair in expected.items()}
