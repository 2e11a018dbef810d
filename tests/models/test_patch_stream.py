"""Patches as the torchvision path is documented to make them, made with PIL alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from segue.errors import ImageError
from segue.models.patch_stream import PatchStream

QWEN = PatchStream(65536, 16777216)
"""Limits that Qwen3-VL is published with."""


@pytest.mark.parametrize(
    ("hw", "limits", "resized"),
    [
        # Nearest multiples of 32: 480 is 15 of them, 640 is 20.
        ((480, 640), (65536, 16777216), (480, 640)),
        ((500, 333), (65536, 16777216), (512, 320)),
        # 15.5 and 16.5 halves go to the even number, as Python's round does.
        ((496, 528), (65536, 16777216), (512, 512)),
        # Too small: 100 x 60 is enlarged by sqrt(65536 / 6000) = 3.305 and rounded up.
        ((60, 100), (65536, 16777216), (224, 352)),
        # Too large: 2000 x 3000 is shrunk by sqrt(6000000 / 1048576) = 2.392 and rounded down.
        ((2000, 3000), (65536, 1048576), (832, 1248)),
    ],
)
def test_sizes_by_hand(hw: tuple[int, int], limits: tuple[int, int], resized: tuple[int, int]) -> None:
    stream = PatchStream(*limits)
    assert stream.resized_hw(hw) == resized
    assert stream.num_tokens(hw) == resized[0] * resized[1] // 1024


def test_pixels_and_their_order_by_hand() -> None:
    # The torchvision path normalises the resized bytes in one go, (x - 255 mean) / (255 std); it enlarges and
    # shrinks them bicubically with antialiasing, as PIL does.
    stream = PatchStream(64 * 64, 64 * 96)
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
    made = stream.patches([picture])
    height, width = stream.resized_hw((90, 120))
    assert made["image_grid_thw"].tolist() == [[1, height // 16, width // 16]]
    small = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    normalised = (small - 127.5) / 127.5
    expected = []
    # Blocks of two by two patches one after the other, so that a token's four patches are neighbours; in a
    # patch first the channels, then the two frames, then rows and columns.
    for top in range(0, height, 32):
        for left in range(0, width, 32):
            for y in (top, top + 16):
                for x in (left, left + 16):
                    patch = normalised[y : y + 16, x : x + 16].transpose(2, 0, 1)
                    expected.append(np.repeat(patch[:, None], 2, axis=1).reshape(-1))
    torch.testing.assert_close(made["pixel_values"], torch.from_numpy(np.stack(expected)), rtol=0, atol=1e-6)


def test_pictures_of_different_sizes_follow_each_other() -> None:
    pictures = [Image.new("RGB", (64, 96), "red"), Image.new("RGB", (320, 320), "blue")]
    stream = PatchStream(1024, 65536)
    both = stream.patches(pictures)
    single = [stream.patches([picture]) for picture in pictures]
    for name, value in both.items():
        assert torch.equal(value, torch.cat([made[name] for made in single]))


def test_strips_are_refused_with_the_way_out() -> None:
    with pytest.raises(ImageError, match="too long and narrow") as caught:
        QWEN.patches([Image.new("RGB", (4020, 20))])
    assert "cut out" in caught.value.fix
    assert QWEN.patches([Image.new("RGB", (4000, 20))])["image_grid_thw"].shape == (1, 3)
