"""Slot targets of scenes and photographs, and their losses by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segue.mini.photos.facts import LabelFacts, PhotoFacts
from segue.mini.pools import ScenePool
from segue.mini.slots import (
    photo_targets,
    presence_losses,
    scene_targets,
    slot_counts,
    slot_losses,
    stack_targets,
)
from segue.mini.vocabulary import CLASS_INDEX, COLOUR_INDEX, IGNORED, NOTHING, PHOTO_LABELS
from segue.scenes.kinds import SceneObject


def thing(kind: str, colour: str, x: float, area: float = 0.1) -> SceneObject:
    return SceneObject(kind, colour, (), {}, (x, 0.25), (0.0, 0.0, 0.1, 0.1), area)


MUG, LAMP = thing("mug", "red", 0.2), thing("lamp", "blue", 0.7, area=0.01)


def test_slots_are_the_objects_from_left_to_right() -> None:
    targets = scene_targets([MUG, LAMP], 3)
    assert targets.classes.tolist() == [CLASS_INDEX["mug"], CLASS_INDEX["lamp"], NOTHING]
    assert targets.colours.tolist() == [COLOUR_INDEX["red"], COLOUR_INDEX["blue"], IGNORED]
    np.testing.assert_allclose(targets.geometry[:2], [[0.2, 0.25, -1], [0.7, 0.25, -2]], atol=1e-6)
    assert np.isnan(targets.geometry[2]).all()
    assert set(targets.presence.tolist()) == {-1}


def test_a_mirrored_scene_is_counted_from_the_other_side() -> None:
    targets = scene_targets([MUG, LAMP], 2, mirrored=True)
    assert targets.classes.tolist() == [CLASS_INDEX["lamp"], CLASS_INDEX["mug"]]
    np.testing.assert_allclose(targets.geometry[:, 0], [0.3, 0.8], atol=1e-6)


def test_more_objects_than_slots_are_left_out(scenes: ScenePool) -> None:
    assert scene_targets([MUG, LAMP], 1).classes.tolist() == [CLASS_INDEX["mug"]]
    for things in scenes.objects:
        left = [t.center[0] for t in things]
        assert left == sorted(left), "the pool lists objects from left to right"


def test_without_colours_nothing_else_changes() -> None:
    targets = scene_targets([MUG], 2)
    plain = targets.without_colours()
    assert set(plain.colours.tolist()) == {IGNORED}
    assert plain.classes is targets.classes


def facts() -> PhotoFacts:
    known = {
        "person": LabelFacts(0.4, "grey", 90.0),
        "hair": LabelFacts(0.02, "brown", 40.0),
        "coat": LabelFacts(0.2, "green", 80.0),
        "trousers": LabelFacts(0.1, "blue", 60.0),
    }
    return PhotoFacts(known, frozenset({"trousers", "bag"}))


def test_photographs_say_what_is_there_what_is_not_and_what_nobody_knows() -> None:
    targets = photo_targets(facts(), None, 2)
    presence = dict(zip(PHOTO_LABELS, targets.presence.tolist(), strict=True))
    assert (presence["hair"], presence["coat"], presence["dress"]) == (1, 1, 0)
    assert presence["trousers"] == presence["bag"] == -1
    colours = dict(zip(PHOTO_LABELS, targets.label_colours.tolist(), strict=True))
    assert (colours["hair"], colours["coat"]) == (COLOUR_INDEX["brown"], COLOUR_INDEX["green"])
    assert colours["dress"] == colours["trousers"] == IGNORED
    assert targets.classes.tolist() == [IGNORED, IGNORED]


def test_what_a_crop_cuts_away_is_not_known() -> None:
    labels = np.zeros((100, 100), np.uint8)
    labels[:50] = PHOTO_LABELS.index("coat") + 1
    labels[99, 0] = PHOTO_LABELS.index("hair") + 1  # one pixel of 10,000
    presence = dict(zip(PHOTO_LABELS, photo_targets(facts(), labels, 2).presence.tolist(), strict=True))
    assert (presence["coat"], presence["hair"], presence["dress"]) == (1, -1, 0)


class FixedHeads(nn.Module):
    """Readouts that do not depend on the queries."""

    def __init__(self, classes: Tensor, colours: Tensor, geometry: Tensor) -> None:
        super().__init__()
        self.answers = classes, colours, geometry

    def forward(self, queries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.answers


def test_slot_losses_by_hand() -> None:
    targets = stack_targets([scene_targets([MUG], 2)])
    classes, colours = torch.zeros(1, 3, NOTHING + 1), torch.zeros(1, 3, len(COLOUR_INDEX))
    classes[0, 1, CLASS_INDEX["mug"]] = (
        200.0  # query 0 is no slot; slot 0 is sure and right, slot 1 knows nothing
    )
    geometry = torch.tensor([[[9.0, 9.0, 9.0], [0.25, 0.25, -1.0], [9.0, 9.0, 9.0]]])
    loss, readings = slot_losses(FixedHeads(classes, colours, geometry), torch.zeros(1, 3, 4), targets)
    named = math.log(NOTHING + 1)  # query 0 should name nothing, and knows nothing
    expected = named + math.log(NOTHING + 1) / 2 + math.log(len(COLOUR_INDEX)) + (0.5 * 0.05**2 / 0.1) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert readings["slot_classes"] == 1.0, "of real objects; nothing is not counted"


def test_relevance_by_hand() -> None:
    """Slot 0 is asked for and says so; slot 1 is not, and cannot tell; empty slots are left out."""
    targets = scene_targets([MUG, LAMP], 2).asking({0})
    assert targets.asked.tolist() == [1, 0]
    assert scene_targets([MUG], 2).asking({0}).asked.tolist() == [1, IGNORED]
    assert scene_targets([MUG], 2).asked.tolist() == [IGNORED, IGNORED], "nothing is asked before a question"
    heads = FixedHeads(*(torch.zeros(1, 2, n) for n in (NOTHING + 1, len(COLOUR_INDEX), 3)))
    queries, stacked = torch.zeros(1, 2, 4), stack_targets([targets])
    silent, _ = slot_losses(heads, queries, stacked)
    loss, readings = slot_losses(heads, queries, stacked, asked=torch.tensor([[50.0, 0.0]]))
    assert (loss - silent).item() == pytest.approx(2 * math.log(2) / 2, rel=1e-4)
    assert readings["asked"] == 1.0


def test_presence_by_hand() -> None:
    first = CLASS_INDEX[PHOTO_LABELS[0]]
    classes, colours = torch.zeros(1, 2, NOTHING + 1), torch.zeros(1, 2, len(COLOUR_INDEX))
    hair, coat = PHOTO_LABELS.index("hair"), PHOTO_LABELS.index("coat")
    classes[0, 1, first + hair] = 50.0  # one query sees hair for certain
    colours[0, 1, COLOUR_INDEX["brown"]] = 50.0
    presence = torch.full((1, len(PHOTO_LABELS)), -1)
    presence[0, hair], presence[0, coat] = 1, 0
    label_colours = torch.full((1, len(PHOTO_LABELS)), IGNORED)
    label_colours[0, hair] = COLOUR_INDEX["brown"]
    loss, readings = presence_losses(classes, colours, {"presence": presence, "label_colours": label_colours})
    # Hair: logsumexp(0, 50) - ln 2 is far above 0. Coat: logsumexp(0, 0) - ln 2 = 0, so ln 2; then the mean.
    assert loss.item() == pytest.approx(math.log(2) / 2, abs=1e-4)
    assert readings == {"presence": 1.0}
    label_colours[0, hair] = COLOUR_INDEX["red"]
    worse, _ = presence_losses(classes, colours, {"presence": presence, "label_colours": label_colours})
    assert worse > loss + 10


def test_scenes_say_nothing_about_labels_and_photographs_nothing_about_slots(
    tiny: Callable[..., Any],
) -> None:
    heads = tiny()[0].slot_heads
    queries = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    for targets, names in (
        (scene_targets([MUG], 1), {"slot_classes", "slot_colours"}),
        (photo_targets(facts(), None, 1), {"presence"}),
    ):
        loss, readings = slot_losses(heads, queries, stack_targets([targets]))
        assert set(readings) == names
        assert loss > 0
    blank = photo_targets(PhotoFacts({}, frozenset(PHOTO_LABELS)), None, 1)
    loss, readings = slot_losses(heads, queries, stack_targets([blank]))
    assert (loss.item(), readings) == (0.0, {})
    loss.backward()
    assert queries.grad is not None


def test_a_silent_photograph_names_nothing_by_hand() -> None:
    first = CLASS_INDEX[PHOTO_LABELS[0]]
    classes = torch.zeros(2, 3, NOTHING + 1)
    classes[0, 0, NOTHING] = 50.0  # one of three queries is silent already
    classes[0, 1, first] = 50.0
    heads = FixedHeads(classes, torch.zeros(2, 3, len(COLOUR_INDEX)), torch.zeros(2, 3, 3))
    targets = stack_targets([photo_targets(facts(), None, 1)] * 2)
    queries = torch.zeros(2, 3, 4)
    loss, readings = slot_losses(heads, queries, targets, silent_photos=True)
    assert loss.item() == pytest.approx((50 + 4 * math.log(NOTHING + 1)) / 6, rel=1e-4)
    assert readings == {}
    halves = [
        slot_losses(
            FixedHeads(classes[k : k + 1], torch.zeros(1, 3, len(COLOUR_INDEX)), torch.zeros(1, 3, 3)),
            queries[k : k + 1],
            stack_targets([photo_targets(facts(), None, 1)]),
            slot_counts(targets, silent_photos=True),
            silent_photos=True,
        )[0]
        for k in range(2)
    ]
    assert sum(halves).item() == pytest.approx(loss.item(), rel=1e-5), "a step's parts add up"


def test_nothing_known_of_a_photograph_costs_nothing() -> None:
    blank = photo_targets(PhotoFacts({}, frozenset(PHOTO_LABELS)), None, 1)
    heads = FixedHeads(*(torch.randn(1, 3, n) for n in (NOTHING + 1, len(COLOUR_INDEX), 3)))
    loss, readings = slot_losses(heads, torch.zeros(1, 3, 4), stack_targets([blank]), silent_photos=True)
    assert (loss.item(), readings) == (0.0, {})
