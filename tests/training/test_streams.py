"""Training pixels are the processor's pixels."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from segue.training.streams import STATISTICS, normalise


@pytest.mark.parametrize("stream", STATISTICS)
def test_the_same_as_the_processor(tiny_bundle: SimpleNamespace, stream: str) -> None:
    side = tiny_bundle.processor.streams[stream].size
    pictures = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    found = normalise(pictures, stream)
    expected = tiny_bundle.processor.encode_pixels([Image.fromarray(p) for p in pictures], (stream,))[stream]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_every_stream_of_the_processor_is_known(tiny_bundle: SimpleNamespace) -> None:
    assert set(STATISTICS) == set(tiny_bundle.processor.streams)
