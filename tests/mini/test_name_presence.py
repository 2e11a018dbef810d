"""What images show by name: who says it, what it costs, and that slots learn it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from segue.mini.name_presence import MOST_NAMES, NamePresence, common_names
from segue.mini.vocabulary import CLASS_INDEX, SLOT_CLASSES
from segue.models.mini.slot_vocabulary import add_slot_names, reads_names


class Shelf:
    """A source of two images."""

    facts = {"a": {"mug": True, "lid": False}, "b": {"mug": False}}

    def name_counts(self) -> Counter[str]:
        return Counter({"mug": 1, "lid": 4})

    def shown(self, image: Any) -> dict[str, bool]:
        return self.facts[image.image_id]


@pytest.fixture
def slots(tiny: Callable[..., Any]) -> tuple[Any, Any]:
    return tiny()


def test_the_commonest_names_come_first() -> None:
    assert common_names([Shelf(), object()]) == ["lid", "mug"]
    assert common_names([object()]) == []
    many = Shelf()
    many.name_counts = lambda: Counter({f"n{k:03d}": 1 for k in range(300)})  # type: ignore[method-assign]
    assert common_names([many]) == [f"n{k:03d}" for k in range(MOST_NAMES)]


def test_targets_say_shown_not_shown_and_not_known(slots: tuple[Any, Any]) -> None:
    model, processor = slots
    add_slot_names(model, processor, ["lid"])
    names = NamePresence.of(model, ["lid", "mug"])
    assert names.classes == {"lid": len(SLOT_CLASSES), "mug": CLASS_INDEX["mug"]}
    talk: Any = SimpleNamespace(images=[SimpleNamespace(image_id=i) for i in "ab"])
    assert names.targets(talk, Shelf()).tolist() == [[0, 1], [-1, 0]]
    assert names.targets(talk, object()).tolist() == [[-1, -1], [-1, -1]]


def test_each_name_is_said_by_its_query_by_hand(slots: tuple[Any, Any]) -> None:
    model, _ = slots
    names = NamePresence.of(model, ["lamp", "mug"])
    torch.manual_seed(0)
    queries = torch.randn(2, 3, model.config.qformer_config.hidden_size)
    targets = torch.tensor([[0, 1], [-1, 1]])
    logs = model.slot_heads.classes(queries).log_softmax(-1)
    mug, nothing = CLASS_INDEX["mug"], logs.shape[-1] - 1
    by_hand = [-logs[0, 0, nothing], -logs[0, 1, mug], -logs[1, 1, mug]]
    torch.testing.assert_close(names.loss(model, queries, targets, None), torch.stack(by_hand).mean())
    torch.testing.assert_close(names.loss(model, queries, targets, 6.0), torch.stack(by_hand).sum() / 6)
    assert float(names.loss(model, queries, torch.full((2, 2), -1), None).detach()) == 0.0


def test_any_query_may_say_the_names_that_have_none_by_hand(slots: tuple[Any, Any]) -> None:
    model, _ = slots
    names = NamePresence.of(model, ["lamp", "mug"])
    torch.manual_seed(0)
    queries = torch.randn(2, 1, model.config.qformer_config.hidden_size)
    targets = torch.tensor([[1, 1], [-1, 0]])
    logits = model.slot_heads.classes(queries)
    there = logits[:, 0, CLASS_INDEX["mug"]]
    by_hand = [
        -logits.log_softmax(-1)[0, 0, CLASS_INDEX["lamp"]],
        F.softplus(-there[0]),
        F.softplus(there[1]),
    ]
    torch.testing.assert_close(names.loss(model, queries, targets, None), torch.stack(by_hand).mean())


def test_only_models_with_slots_read_names(tiny: Callable[..., Any], slots: tuple[Any, Any]) -> None:
    assert reads_names(slots[0])
    assert not reads_names(tiny(slot_word_ids=())[0])
