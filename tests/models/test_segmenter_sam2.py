"""What SAM 2 differs in: finer maps, the choice of a mask, what may be kept of an image in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segue.models.build import build_segue
from segue.models.segmenter import MaskPrompts, Segmenter
from segue.models.segmenter_sam2 import FINE, FINEST, Sam2Segmenter

PIXELS = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
PROMPTS = MaskPrompts(torch.randn(3, 16, generator=torch.Generator().manual_seed(2)), torch.tensor([0, 1, 1]))


@pytest.fixture(scope="module")
def segmenter(shaken_segue: Callable[..., Any]) -> Any:
    return shaken_segue()[0].segmenter


def drawn(segmenter: Segmenter) -> torch.Tensor:
    with torch.no_grad():
        return segmenter.decode(segmenter.encode(PIXELS), PROMPTS)


def test_finer_maps_are_small_and_matter(segmenter: Sam2Segmenter) -> None:
    with torch.no_grad():
        features = segmenter.encode(PIXELS)
    assert features[FINE].shape == (2, 4, 8, 8)
    assert features[FINEST].shape == (2, 2, 16, 16)
    for name in (FINE, FINEST):
        other = segmenter.decode(features | {name: torch.zeros_like(features[name])}, PROMPTS)
        assert (other - segmenter.decode(features, PROMPTS)).abs().max() > 1e-2


def test_the_mask_is_the_same_in_training_and_in_use(tiny_tokenizer: Any) -> None:
    # Trap: `multimask_output=False` picks another mask by its stability in evaluation alone.
    model = build_segue(tiny_tokenizer)[0]
    for parameter in model.sam.mask_decoder.parameters():
        parameter.data.mul_(2)
    assert torch.equal(drawn(model.eval().segmenter), drawn(model.train().segmenter))
    decoder = model.eval().sam.mask_decoder
    decoder.dynamic_multimask_via_stability, decoder.dynamic_multimask_stability_thresh = True, 1.1
    assert not torch.equal(drawn(model.segmenter), drawn(model.train().segmenter))


def test_a_frozen_encoder_gets_no_gradient_and_a_trained_one_does(tiny_tokenizer: Any) -> None:
    # Trap: `get_image_embeddings` of transformers lets no gradient through.
    model = build_segue(tiny_tokenizer)[0]
    model.sam.vision_encoder.requires_grad_(False)
    segmenter = model.segmenter
    segmenter.decode(segmenter.encode(PIXELS), PROMPTS).sum().backward()
    assert all(p.grad is None for p in model.sam.vision_encoder.parameters())
    assert model.sam.mask_decoder.conv_s0.weight.grad.any()
    model.sam.vision_encoder.requires_grad_(True)
    segmenter.decode(segmenter.encode(PIXELS), PROMPTS).sum().backward()
    for part in ("backbone.patch_embed.projection.weight", "neck.convs.0.weight"):
        assert model.sam.vision_encoder.get_parameter(part).grad.any(), part


def test_pictures_are_squashed_with_exact_mean_and_deviation(shaken_segue: Callable[..., Any]) -> None:
    # Trap: transformers' own processor needs torchvision. By hand: PIL's bicubic, ImageNet's numbers.
    processor = shaken_segue()[1]
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (30, 50, 3), dtype=np.uint8))
    found = processor.encode_pixels([picture], ("pixel_values_sam",))["pixel_values_sam"][0]
    squashed = np.asarray(picture.resize((64, 64), Image.Resampling.BICUBIC), dtype=np.float64) / 255
    expected = (squashed - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    torch.testing.assert_close(found, torch.from_numpy(expected).permute(2, 0, 1).float())


@pytest.mark.parametrize("three", [False, True])
def test_padding_and_the_choice_of_a_mask_change_what_is_drawn(shaken_segue: Any, three: bool) -> None:
    sam = shaken_segue()[0].sam
    plain = drawn(Sam2Segmenter(sam, best_of_three=three))
    assert (drawn(Sam2Segmenter(sam, padding_points=2, best_of_three=three)) - plain).abs().max() > 1e-2
    assert (drawn(Sam2Segmenter(sam, best_of_three=not three)) - plain).abs().max() > 1e-2
