"""Training pixels are the processor's pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segue.models.image_streams import STATISTICS, normalise
from segue.models.mini.build import build_from_tokenizer


@pytest.fixture
def processor(tiny_tokenizer: Any) -> Any:
    """Of a model with every stream that there is."""
    labels = ("coat",)
    return build_from_tokenizer("tiny", tiny_tokenizer, slot_classes=labels, label_reader_names=labels)[1]


@pytest.mark.parametrize("stream", STATISTICS)
def test_the_same_as_the_processor(processor: Any, stream: str) -> None:
    side = processor.streams[stream].size
    pictures = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    found = normalise(pictures, stream)
    expected = processor.encode_pixels([Image.fromarray(p) for p in pictures], (stream,))[stream]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_every_stream_of_the_processor_is_known(processor: Any) -> None:
    assert set(STATISTICS) == set(processor.streams)
