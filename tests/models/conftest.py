"""Tiny models in which every layer matters, and conversations to run through them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segue.models.build import build_omg_llava, build_prima, build_segue
from segue.models.modeling_prima import PrimaModel
from segue.models.processing_grounded import PrimaProcessor


@dataclass(frozen=True)
class Talk:
    """A conversation: sizes of its images, its turns, and the image of every `[SEG]` in text order."""

    hws: tuple[tuple[int, int], ...]
    turns: tuple[tuple[str, str], ...]
    addressed: tuple[int, ...]
    seed: int = 0

    def images(self) -> list[Image.Image]:
        rng = np.random.default_rng([self.seed, 7])
        return [Image.fromarray(rng.integers(0, 256, (*hw, 3), dtype=np.uint8)) for hw in self.hws]

    def masks(self) -> list[torch.Tensor]:
        """Per image, one rectangle per `[SEG]` that addresses it."""
        rng = np.random.default_rng([self.seed, 8])
        stacks: list[list[np.ndarray]] = [[] for _ in self.hws]
        for index in self.addressed:
            height, width = self.hws[index]
            mask = np.zeros((height, width), bool)
            top, left = int(rng.integers(height // 2)), int(rng.integers(width // 2))
            mask[
                top : top + int(rng.integers(5, height // 2)), left : left + int(rng.integers(5, width // 2))
            ] = True
            stacks[index].append(mask)
        return [
            torch.from_numpy(np.stack(s)) if s else torch.zeros((0, *hw), dtype=torch.bool)
            for s, hw in zip(stacks, self.hws, strict=True)
        ]


ONE = Talk(
    ((40, 60),), (("user", "What?"), ("assistant", "The <p> red mug </p> [SEG] (IMAGE1).")), (0,), seed=1
)
THREE = Talk(
    ((30, 30), (50, 30), (25, 70)),
    (
        ("user", "What can you drink coffee from, and what else is in the pictures?"),
        ("assistant", "From the <p> mug </p> [SEG] (IMAGE3), not the <p> chair </p> [SEG] (IMAGE1)."),
        ("user", "And the part you hold it by?"),
        ("assistant", "You hold the <p> handle </p> [SEG] (IMAGE1) [SEG] (IMAGE3)."),
    ),
    (2, 0, 0, 2),
    seed=2,
)
"""Its second image has no mask."""
SILENT = Talk(
    ((20, 20), (40, 20)), (("user", "Is there a lamp?"), ("assistant", "No, there is none.")), (), seed=3
)


def talk_item(
    processor: PrimaProcessor, talk: Talk, images: Sequence[Image.Image] | None = None
) -> dict[str, Any]:
    """One conversation as the processor's `collate` wants it."""
    shown = list(images) if images is not None else talk.images()
    item: dict[str, Any] = dict(processor.encode_turns(list(talk.turns), len(shown)))
    item |= processor.encode_pixels(shown)
    hws = [(i.height, i.width) for i in shown]
    item |= {
        "original_hw": torch.tensor(hws),
        "num_images": len(shown),
        "mask_labels": talk.masks(),
        "resized_hw": torch.tensor([processor.sam_stream.resized_hw(hw) for hw in hws]),
        "seg_image_index": list(talk.addressed),
    }
    return item


def shaken_weights(model: PrimaModel, seed: int = 0) -> PrimaModel:
    """Give every parameter a size at which it matters, zero-initialised ones too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("proj_out.weight") and "hypernetworks" in name:
                parameter.copy_(noise * 3)  # the last layer before the masks: logits of both signs, of size 1
            elif parameter.ndim > 1:
                parameter.copy_(noise * min(0.3, parameter[0].numel() ** -0.5))
            elif name.endswith("bias"):
                parameter.copy_(noise * 0.1)
            else:
                parameter.copy_(1 + noise * 0.1)
    return model


@pytest.fixture(scope="session")
def shake() -> Callable[..., PrimaModel]:
    return shaken_weights


@pytest.fixture(scope="session")
def talks() -> dict[str, Talk]:
    return {"one": ONE, "three": THREE, "silent": SILENT}


@pytest.fixture(scope="session")
def item_of() -> Callable[..., dict[str, Any]]:
    return talk_item


@pytest.fixture(scope="session")
def batch_of() -> Callable[..., dict[str, Any]]:
    """`(processor, *talks)` to a collated batch."""
    return lambda processor, *talks: dict(processor.collate([talk_item(processor, t) for t in talks]))


@pytest.fixture(scope="session")
def fresh(tiny_tokenizer: Any, shake: Callable[..., Any]) -> Callable[..., tuple[PrimaModel, PrimaProcessor]]:
    """A new shaken model of the `tiny-prima` preset with the given options, and its processor."""

    def build(**overrides: Any) -> tuple[PrimaModel, PrimaProcessor]:
        model, processor = build_prima(tiny_tokenizer, **overrides)
        return shake(model), processor

    return build


@pytest.fixture(scope="session")
def shaken_segue(
    tiny_tokenizer: Any, shake: Callable[..., Any], kept: Callable[..., Any]
) -> Callable[..., tuple[Any, Any]]:
    """A shaken model of `tiny-segue` and its processor, shared between tests: do not change its weights."""

    def build(**overrides: Any) -> tuple[Any, Any]:
        model, processor = build_segue(tiny_tokenizer, **overrides)
        return shake(model), processor

    found: Callable[..., tuple[Any, Any]] = kept(build)
    return found


@pytest.fixture(scope="session")
def shaken_omg_llava(
    tiny_tokenizer: Any, shake: Callable[..., Any], kept: Callable[..., Any]
) -> Callable[..., tuple[Any, Any]]:
    """A shaken `tiny-omg-llava` and its processor, shared between tests: do not change its weights."""

    def build(**overrides: Any) -> tuple[Any, Any]:
        model, processor = build_omg_llava(tiny_tokenizer, **overrides)
        return shake(model), processor

    found: Callable[..., tuple[Any, Any]] = kept(build)
    return found


@pytest.fixture(scope="session")
def kept() -> Callable[..., Callable[..., Any]]:
    """Makes a builder return the same model for the same options."""

    def keep(build: Callable[..., Any]) -> Callable[..., Any]:
        made: dict[tuple[tuple[str, Any], ...], Any] = {}

        def find(**overrides: Any) -> Any:
            key = tuple(sorted(overrides.items()))
            if key not in made:
                made[key] = build(**overrides)
            return made[key]

        return find

    return keep


@pytest.fixture(scope="session")
def shaken(fresh: Callable[..., Any], kept: Callable[..., Any]) -> Callable[..., Any]:
    """As `fresh`, but shared between tests: do not change its weights."""
    return kept(fresh)
