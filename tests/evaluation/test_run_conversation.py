"""Histories of evaluated sessions: a model that remembers gets the record's masks with its answers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segue import masks
from segue.evaluation.run_conversation import run_conversation
from segue.inference import LoadedModel
from segue.models.region_tokens import switch_region_tokens
from segue.records import Conversation, ImageRef, Region, Span, Turn
from tiny_model import picture


@pytest.fixture
def record() -> Conversation:
    """Two questions about two pictures; the first answer marks a mug."""
    mask = np.zeros((40, 60), bool)
    mask[10:20, 15:30] = True
    return Conversation(
        id="h/0",
        task="photos",
        split="val",
        images=[ImageRef(image_id=f"t:{k}", path=f"{k}.png", height=40, width=60) for k in range(2)],
        regions=[Region(rid="r", image_index=1, kind="object", name="mug", mask=masks.encode(mask))],
        turns=[
            Turn(role="user", text="Which is larger?"),
            Turn(role="assistant", text="The mug.", spans=[Span(start=4, end=7, rids=["r"])]),
            Turn(role="user", text="And the other one?"),
            Turn(role="assistant", text="None."),
        ],
    )


@pytest.mark.parametrize("memory", [True, False])
def test_true_history(
    memory: bool, record: Conversation, loaded_tiny_models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = loaded_tiny_models("prima_mini")
    bundle = LoadedModel(*copy.deepcopy((taught.model, taught.processor)), taught.name, taught.path)
    torch.manual_seed(0)
    switch_region_tokens(bundle)
    bundle.model.config.mask_memory = memory
    fed = list[dict[str, Any]]()
    generate = bundle.model.generate_grounded
    monkeypatch.setattr(
        bundle.model, "generate_grounded", lambda **inputs: fed.append(inputs) or generate(**inputs)
    )
    images: list[Any] = [picture(), picture(shade=200)]
    line = run_conversation(bundle, record, images, history="truth", max_new_tokens=24)
    assert [turn["turn"] for turn in line["turns"]] == [1, 2]
    assert [len(inputs["region_features"]) for inputs in fed] == [0, int(memory)]
    prompt = bundle.processor.tokenizer.decode(fed[1]["input_ids"][0])
    assert ("one? <region>(IMAGE2)" in prompt) is memory
    assert "The<p> mug</p>[SEG](IMAGE2)." in prompt


def test_paths_are_not_needed(record: Conversation, tiny_model: LoadedModel, tmp_path: Path) -> None:
    line = run_conversation(tiny_model, record, [tmp_path / "a.png", tmp_path / "b.png"])
    assert all("a.png" in turn["failure"] for turn in line["turns"])
