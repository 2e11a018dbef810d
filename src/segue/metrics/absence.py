"""Scores of what is drawn and said about things that are not there.

| name | value | over |
|---|---|---|
| `absent_refused` | nothing was drawn in any image | answers whose record names nothing |
| `hallucinated_mask_rate` | masks in images in which the record names nothing | all predicted masks |
| `present_refused` | nothing was drawn although something was to be | answers whose record names something |
| `cross_image_absence` | drawn where a target is and nowhere else | answers over images with and without |
"""

from __future__ import annotations

from collections.abc import Sequence

from segue.metrics.tally import Tally


def absence_tallies(predicted: Sequence[int], targets: Sequence[int], num_images: int) -> dict[str, Tally]:
    """One answer's contributions.

    Args:
        predicted: Image index of each mask of the answer that is not empty.
        targets: Image index of each mask of the record's answer.
        num_images: How many were shown.

    Source: paper silent; ours. `absent_refused` of one image is gRefCOCO's N-acc.
    """
    drawn, wanted = set(predicted), set(targets)
    found = {"hallucinated_mask_rate": Tally(sum(image not in wanted for image in predicted), len(predicted))}
    if not wanted:
        found["absent_refused"] = Tally(float(not drawn), 1)
    else:
        found["present_refused"] = Tally(float(not drawn), 1)
        # With a target in every image there is no absence to respect.
        if len(wanted) < num_images:
            found["cross_image_absence"] = Tally(float(drawn == wanted), 1)
    return found
