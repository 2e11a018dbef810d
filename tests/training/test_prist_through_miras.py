"""PRIST's released dialogues run through a tiny MIRAS: as training batches with masks, and as sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segue import masks, protocol
from segue.datasets.prist.released import read_released
from segue.inference.loaded_model import LoadedModel
from segue.models.build import build_miras
from segue.records import Conversation
from segue.training.finetune.mixture import Drawn, Mixture
from segue.training.finetune.objective import Example, RecordsObjective

HW = (40, 56)
FEW = 20


@pytest.fixture(scope="module")
def released(shared: Path) -> list[Conversation]:
    path = shared / "data" / "prist" / "test.json"
    if not path.is_file():
        pytest.skip(f"PRIST's released file is not at {path}")
    return read_released(path).conversations


def illustrated(conversation: Conversation, number: int, folder: Path) -> Conversation:
    """The dialogue about a picture of noise and a rectangle, in place of the photograph and its mask."""
    rng = np.random.default_rng(number)
    changed = {"path": f"{number}.png", "height": HW[0], "width": HW[1]}
    image = conversation.images[0].model_copy(update=changed)
    Image.fromarray(rng.integers(0, 256, (*HW, 3), dtype=np.uint8)).save(folder / image.path)
    mask = np.zeros(HW, bool)
    mask[5:25, 8 + number % 9 : 30] = True
    region = conversation.regions[0].model_copy(update={"mask": masks.encode(mask)})
    return conversation.model_copy(update={"images": [image], "regions": [region]})


class _NoSource:
    """Fills the place of a source: the test chooses its dialogues itself."""

    def __init__(self, root: Path, dialogues: list[Conversation]) -> None:
        self.root, self.dialogues = root, dialogues

    def __len__(self) -> int:
        return len(self.dialogues)


def run_through(tokenizer: Any, released: list[Conversation], folder: Path) -> None:
    model, processor = build_miras(tokenizer)
    dialogues = [illustrated(conversation, k, folder) for k, conversation in enumerate(released)]
    source: Any = _NoSource(folder, dialogues)
    objective = RecordsObjective(processor, Mixture([source], seed=0), max_tokens=1024)
    bundle = LoadedModel(model, processor, "tiny-miras")
    for number, conversation in enumerate(dialogues):
        rng = np.random.default_rng(number)
        item, targets, cut = objective.encode(conversation, rng)
        assert (cut, targets) == (0, [(0, ["r1"])]), "nothing is cut off, and there is one mask"
        answer = processor.decode_markup([i for i in item["labels"] if i >= 0])
        assert f"{protocol.OBJ_TOKEN}{conversation.meta['focus'].strip()}{protocol.SEG_TOKEN}" in answer
        drawn = Drawn(conversation, folder, 0, rng)
        batch = processor.collate([objective.open(Example(0, 0, 0, drawn, item, targets))])
        output = model(**batch)
        assert output.mask_logits.shape == (1, 16, 16)
        assert set(output.loss_terms) == {"text", "dice", "pixel"}
        assert bool(output.loss.isfinite())
        if number == 0:
            output.loss.backward()
            assert bool(model.region_alignment.output.weight.grad.any())
        ask_in_turn(bundle, folder, conversation)


@torch.no_grad()
def ask_in_turn(bundle: LoadedModel, folder: Path, conversation: Conversation) -> None:
    """The published turns as history, and the last request asked."""
    from segue.records import grounded_markup

    session = bundle.session([folder / conversation.images[0].path])
    *history, last = [k for k, turn in enumerate(conversation.turns) if turn.role == "user"]
    for place in history:
        markup, _ = grounded_markup(conversation, place + 1, bundle.processor.dialect)
        session.add_turn(conversation.turns[place].text, markup)
    session.ask(conversation.turns[last].text, max_new_tokens=2)
    assert len(session.history) == len(history) + 1


def test_some_dialogues_run_through(
    released: list[Conversation], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    assert len(released) == 508
    run_through(tiny_tokenizer, released[:: 508 // FEW][:FEW], tmp_path)


@pytest.mark.slow
def test_all_dialogues_run_through(released: list[Conversation], tiny_tokenizer: Any, tmp_path: Path) -> None:
    run_through(tiny_tokenizer, released, tmp_path)
