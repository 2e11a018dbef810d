"""Brush masks against the reader and writer of Label Studio's own SDK."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segue.apps.label_studio import brush

sdk = pytest.importorskip("label_studio_sdk.converter.brush")

MASKS = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda hw: arrays(bool, hw))


@given(MASKS)
def test_the_sdk_reads_what_is_written_and_the_other_way_round(mask: np.ndarray) -> None:
    written = brush.encode(mask)
    read = np.reshape(sdk.decode_rle(written), [*mask.shape, 4])
    assert np.array_equal(read[:, :, 3] == 255, mask)
    assert np.array_equal(brush.decode(written, mask.shape), mask)
    assert np.array_equal(brush.decode(sdk.mask2rle(mask.astype(np.uint8) * 255), mask.shape), mask)


def test_runs_longer_than_a_length_can_be() -> None:
    mask = np.zeros((300, 400), dtype=bool)
    mask[20:280] = True
    assert np.array_equal(np.reshape(sdk.decode_rle(brush.encode(mask)), [300, 400, 4])[:, :, 3] > 0, mask)
    assert np.array_equal(brush.decode(brush.encode(mask), mask.shape), mask)


def test_single_values_and_soft_edges_are_read() -> None:
    """The editor writes runs of single values too, and alpha between 0 and 255 at the edge of a stroke."""
    values = [0, 0, 0, 0, 9, 9, 9, 127, 9, 9, 9, 128, 255, 255, 255, 255]
    bits = (
        f"{16:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
        + f"001{15:04b}"
        + "".join(f"{v:08b}" for v in values)
    )
    packed = [int((bits + "0" * 8)[k : k + 8], 2) for k in range(0, len(bits), 8)]
    assert sdk.decode_rle(packed).tolist() == values
    assert brush.decode(packed, (2, 2)).tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize(
    ("rle", "said"),
    [
        ([], "only 0 bits"),
        ([1, 2, "x"], "no list of bytes"),
        (None, "no list of bytes"),
        ([256], "no list of bytes"),
        ([255] * 4 + [0] * 9, "4294967295 bytes for 6 x 4 pixels"),
        (brush.encode(np.ones((4, 6), dtype=bool))[:-1], "bits"),
        ([0, 0, 0, 96, 0x38, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], "behind the last|bits"),
    ],
)
def test_damaged_ones_are_told(rle: object, said: str) -> None:
    with pytest.raises(brush.DamagedBrush, match=said):
        brush.decode(rle, (4, 6))  # type: ignore[arg-type]
