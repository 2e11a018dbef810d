"""Evidence of photographs: coverage by hand, rare against common, presence from the loudest patches."""

from __future__ import annotations

import math

import pytest
import torch

from segue.training.photo_evidence import LabelEvidence, balanced_cross_entropy, coverage
from segue.training.vocabulary import CLASS_INDEX, NOTHING, PHOTO_LABELS

HAT, COAT = PHOTO_LABELS.index("hat"), PHOTO_LABELS.index("coat")


def test_coverage_is_the_share_of_each_patch() -> None:
    classes = torch.full((1, 8, 8), NOTHING)
    classes[0, :2, :4] = CLASS_INDEX["hat"]
    classes[0, 4:, 4:] = CLASS_INDEX["coat"]
    found = coverage(classes, 2)
    assert found.shape == (1, 4, len(PHOTO_LABELS))
    assert found[0, :, HAT].tolist() == [0.5, 0, 0, 0]
    assert found[0, :, COAT].tolist() == [0, 0, 0, 1]
    assert float(found.sum()) == 1.5


def test_one_patch_that_has_a_label_weighs_as_much_as_all_that_have_not() -> None:
    wanted = torch.zeros(1, 10, len(PHOTO_LABELS))
    wanted[0, 3, HAT] = 1
    logits = torch.zeros_like(wanted)
    logits[0, 3, HAT], logits[0, 5, HAT] = -2.0, 2.0
    known = torch.ones(1, len(PHOTO_LABELS), dtype=torch.bool)
    missed, false_alarm = math.log1p(math.exp(2)), math.log1p(math.exp(2))
    by_hand = 0.5 * (missed + (false_alarm + 8 * math.log(2)) / 9)
    assert float(balanced_cross_entropy(logits, wanted, known)) == pytest.approx(by_hand, rel=1e-5)


def test_labels_that_are_not_known_or_not_there_teach_nothing() -> None:
    wanted = torch.zeros(2, 10, len(PHOTO_LABELS))
    wanted[0, 3, HAT] = 1
    logits = torch.randn(2, 10, len(PHOTO_LABELS), requires_grad=True)
    known = torch.ones(2, len(PHOTO_LABELS), dtype=torch.bool)
    known[1, HAT] = False
    balanced_cross_entropy(logits, wanted, known).backward()
    assert logits.grad is not None
    assert bool((logits.grad[1] == 0).all())
    assert bool((logits.grad[0, :, COAT] == 0).all())
    assert bool((logits.grad[0, :, HAT] != 0).all())


def test_nothing_known_costs_nothing() -> None:
    head = LabelEvidence(4)
    patches, labels = torch.randn(2, 16, 4, requires_grad=True), len(PHOTO_LABELS)
    loss, right = head.loss(
        patches, torch.zeros(2, 16, len(PHOTO_LABELS)), torch.full((2, len(PHOTO_LABELS)), -1)
    )
    assert (float(loss.detach()), right) == (0.0, 0.0)
    loss.backward()
    none, _ = head.loss(patches[:0], torch.zeros(0, 16, labels), torch.zeros(0, labels))
    assert float(none.detach()) == 0.0


def test_a_few_loud_patches_tell_what_is_there() -> None:
    torch.manual_seed(0)
    patches, presence = torch.zeros(40, 16, 8), torch.full((40, len(PHOTO_LABELS)), -1)
    presence[:, HAT] = torch.arange(40) % 2
    covered = torch.zeros(40, 16, len(PHOTO_LABELS))
    for k in range(40):
        patches[k] = 0.1 * torch.randn(16, 8)
        if presence[k, HAT]:
            places = torch.randperm(16)[:3]
            patches[k, places, 0] += 1
            covered[k, places, HAT] = 1
    head = LabelEvidence(8)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.05)
    first, _ = head.loss(patches, covered, presence)
    for _ in range(100):
        loss, right = head.loss(patches, covered, presence)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert right == 1.0
    assert float(loss.detach()) < 0.3 * float(first.detach())
