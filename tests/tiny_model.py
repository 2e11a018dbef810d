"""A model with random-sized weights that has learned two sentences by heart, saved like any other.

`tiny_model_folder` serves every test that needs an answer with masks: whatever is asked, the model says
ANSWER when it sees two images or more. It takes about a hundred optimiser steps of milliseconds; nothing
about it is realistic but its interfaces.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from segue.inference.loaded_model import LoadedModel

ANSWER = "The <p> red mug </p> [SEG] (IMAGE1) is larger than the <p> lamp </p> [SEG] (IMAGE2)."
TEXT = "The red mug is larger than the lamp."
FAMILIES = ("prima_mini", "segue", "omg_llava")
"""Families that the taught model can be of."""
QUESTIONS = ("Which is larger?", "What is there?", "And the other one?")


def picture(height: int = 40, width: int = 60, shade: int = 120) -> Image.Image:
    """A gradient with a bright block, different for every shade."""
    ramp = np.linspace(0, shade, width, dtype=np.uint8)
    pixels = np.repeat(np.tile(ramp, (height, 1))[:, :, None], 3, axis=2)
    pixels[height // 4 : height // 2, width // 4 : width // 2] = (255, shade, 30)
    return Image.fromarray(pixels)


def fresh_model(family: str) -> tuple[Any, Any]:
    """A model of a family with random weights, and its processor."""
    from segue.mini.tokenizer import train_tokenizer
    from segue.models.build import build_omg_llava, build_segue
    from segue.models.mini.build import build_from_tokenizer

    texts = [TEXT, *QUESTIONS, "provide an overview of the pictures. provides USER: ASSISTANT: The"]
    tokenizer = train_tokenizer(texts * 2, 400)
    if family == "prima_mini":
        return build_from_tokenizer("tiny", tokenizer)
    return {"segue": build_segue, "omg_llava": build_omg_llava}[family](tokenizer)


def build_tiny_model(folder: Path, steps: int = 120, family: str = "prima_mini") -> Path:
    """Make, teach and save the model; returns `folder`."""
    import torch

    model, processor = fresh_model(family)
    images = [picture(shade=60), picture(shade=200)]
    batches = []
    for question in QUESTIONS:
        first = [("user", question), ("assistant", ANSWER)]
        for turns in (first, [*first, ("user", QUESTIONS[0]), ("assistant", ANSWER)]):
            for number in (1, 2, 3):
                shown = (images * 2)[:number]
                batches.append(dict(processor(images=shown, turns=turns, add_generation_prompt=False)))
                if model.encodes_together:
                    with torch.no_grad():
                        batches[-1] |= model.encode({"pixel_values_sam": batches[-1]["pixel_values_sam"]})[0]
    left_out = ("pixel_values_sam", "original_hw", "resized_hw")
    optimizer = torch.optim.Adam(model.language_model.parameters(), lr=2e-2)
    for step in range(steps):
        batch: dict[str, Any] = {k: v for k, v in batches[step % len(batches)].items() if k not in left_out}
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the taught model and its processor, as `save_pretrained` writes them."""
    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny-taught")


@pytest.fixture(scope="session")
def tiny_model_folders(
    tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A folder with the taught model of a family."""

    @cache
    def find(family: str) -> Path:
        if family == "prima_mini":
            return tiny_model_folder
        return build_tiny_model(tmp_path_factory.mktemp("models") / family, family=family)

    return find


@pytest.fixture(scope="session")
def loaded_tiny_models(tiny_model_folders: Callable[[str], Path]) -> Callable[[str], LoadedModel]:
    """The taught model of a family, loaded the way users load models; with what any test has shown it."""
    import segue

    @cache
    def load(family: str) -> LoadedModel:
        return segue.load(tiny_model_folders(family), device="cpu")

    return load


@pytest.fixture(scope="session")
def pointing(loaded_tiny_models: Callable[[str], LoadedModel]) -> LoadedModel:
    """The taught model with a reader of regions, which it has not learned to use."""
    import copy

    import torch

    from segue.inference import LoadedModel
    from segue.models.region_tokens import switch_region_tokens

    taught = loaded_tiny_models("prima_mini")
    model, processor = copy.deepcopy((taught.model, taught.processor))
    found = LoadedModel(model, processor, taught.name, taught.path)
    torch.manual_seed(0)
    switch_region_tokens(found)
    return found


@pytest.fixture
def tiny_model(
    request: pytest.FixtureRequest, loaded_tiny_models: Callable[[str], LoadedModel]
) -> LoadedModel:
    """The taught model, which has seen no picture yet.

    A test that is for other families too says `@pytest.mark.parametrize("tiny_model", FAMILIES,
    indirect=True)`.
    """
    from segue.inference.encoder_cache import EncoderCache

    loaded = loaded_tiny_models(getattr(request, "param", "prima_mini"))
    loaded.encoder_cache = EncoderCache()
    return loaded
