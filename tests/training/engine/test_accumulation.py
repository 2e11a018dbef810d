"""Shares of a batch add up to the batch: means over all tokens and masks, by hand and through the models."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from segue.errors import InputError
from segue.models.losses import IGNORE_INDEX, target_weight, text_loss
from segue.training.engine.accumulation import (
    WHOLE,
    Divisible,
    Share,
    check_divisible,
    merge_readings,
    total_counts,
)
from segue.training.engine.trainer import Batches

CPU = torch.device("cpu")
STEP = 3
"""Its conversations differ in length and in their number of masks."""


@pytest.mark.parametrize(("count", "parts"), [(8, 1), (8, 2), (7, 3), (4, 4)])
def test_shares_are_the_batch_and_nothing_twice(count: int, parts: int) -> None:
    shares = [Share(part, parts).of(list(range(count))) for part in range(parts)]
    assert sorted(x for share in shares for x in share) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert WHOLE.of(range(count)) == list(range(count))


def test_processes_and_rounds_take_different_shares() -> None:
    class Asked:
        trainable = ()

        def batch(self, step: int) -> Any:
            return step, WHOLE

        def share(self, step: int, share: Share) -> Any:
            return step, share

        def loss(self, model: Any, batch: Any) -> Any: ...

    from segue.training.engine.engines import Processes

    asked: list[Any] = []
    for rank in range(2):
        batches = Batches(Asked(), 5, Processes(rank, 2), rounds=3)
        batches.start = 4
        asked += [batches[i] for i in range(len(batches))]
    assert {step for step, _ in asked} == {4}
    assert sorted(share.part for _, share in asked) == list(range(6))
    assert {share.parts for _, share in asked} == {6}
    assert Batches(Asked(), 5)[2] == (2, WHOLE)


def test_text_divides_by_all_targets_not_by_those_of_a_share() -> None:
    # Two shares: three targets at ln 4, ln 4, ln 4 and one at ln 2; a mean of means would say 1.5 ln 2.
    four, two = torch.zeros(1, 4, 4), torch.zeros(1, 4, 2)
    first, second = torch.tensor([[9, 0, 1, 2]]) % 4, torch.tensor([[0, 1, IGNORE_INDEX, IGNORE_INDEX]])
    total = target_weight(first) + target_weight(second)
    assert total == 4
    summed = text_loss(four, first, total=total) + text_loss(two, second, total=total)
    assert summed.item() == pytest.approx((3 * math.log(4) + math.log(2)) / 4)
    means = (text_loss(four, first) + text_loss(two, second)) / 2
    assert means.item() == pytest.approx(1.5 * math.log(2))


def test_token_weights_are_part_of_the_count() -> None:
    weights = torch.tensor([3.0, 1.0])
    logits = torch.zeros(1, 3, 2)
    logits[0, 0, 1] = math.log(3)
    labels = torch.tensor([[0, 1, 0]])  # ln 4/3 with weight 1, ln 2 with weight 3
    assert target_weight(labels, weights) == 4
    found = text_loss(logits, labels, weights, total=10.0)
    assert found.item() == pytest.approx((math.log(4 / 3) + 3 * math.log(2)) / 10)


def test_counts_and_readings_of_shares_are_put_together() -> None:
    assert total_counts([{"text": 3.0, "masks": 0.0}, {"text": 1.0, "masks": 2.0}], CPU) == {
        "text": 4.0,
        "masks": 2.0,
    }
    merged = merge_readings(
        [{"loss": 1.0, "iou": 0.5}, {"loss": 0.25, "iou": 1.0}, {"loss": 0.25}], frozenset({"loss"})
    )
    assert merged == {"loss": 1.5, "iou": 0.75}


@pytest.fixture
def talking(records_objective: Callable[..., Any]) -> tuple[Any, Any]:
    """A tiny model in which everything computes the same every time, and an objective over five records."""
    model, objective = records_objective(batch_size=5)
    return model.eval(), objective


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("parts", [2, 5])
def test_losses_and_gradients_of_shares_add_up(talking: tuple[Any, Any], parts: int) -> None:
    model, objective = talking
    whole, readings = objective.loss(model, objective.batch(STEP))
    whole.backward()
    expected = gradients(model)
    counts = [objective.counts(objective.share(STEP, Share(i, parts))) for i in range(parts)]
    totals = total_counts(counts, CPU)
    assert totals == objective.counts(objective.batch(STEP))
    uneven = [name for name in totals if len({c[name] for c in counts}) > 1]
    assert set(uneven) == {"text", "masks"}, "even shares would prove nothing"
    assert all(totals[name] > 0 for name in totals), "every term must take part"
    summed = torch.zeros(())
    shares = []
    for i in range(parts):
        loss, said = objective.loss(model, objective.share(STEP, Share(i, parts)), totals)
        loss.backward()
        summed = summed + loss.detach()
        shares.append(said)
    found = gradients(model)
    torch.testing.assert_close(summed, whole.detach(), rtol=2e-6, atol=0)
    assert set(found) == set(expected)
    # Sums of float32 in another order: relative to the largest element of each gradient.
    for name, gradient in expected.items():
        scale = float(gradient.abs().max()) + 1e-8
        assert float((found[name] - gradient).abs().max()) < 1e-4 * scale + 1e-7, name
    merged = merge_readings(shares, objective.loss_terms)
    for name in ("text", "dice", "pixel"):
        assert merged[name] == pytest.approx(readings[name], rel=1e-5), name


def test_means_of_means_would_be_another_loss(talking: tuple[Any, Any]) -> None:
    model, objective = talking
    whole, _ = objective.loss(model, objective.batch(STEP))
    halves = [objective.loss(model, objective.share(STEP, Share(i, 2)))[0] for i in range(2)]
    # Fifty times what the sums above may be off by.
    assert abs(float(sum(halves).detach()) / 2 / float(whole.detach()) - 1) > 1e-4


def test_every_term_has_its_own_share_of_the_gradient(talking: tuple[Any, Any]) -> None:
    model, objective = talking
    batch = objective.batch(STEP)
    counts = objective.counts(batch)
    reference, _ = objective.loss(model, dict(batch))
    reference.backward()
    before = gradients(model)
    for name in counts:
        loss, _ = objective.loss(model, dict(batch), counts | {name: 2 * counts[name]})
        loss.backward()
        after = gradients(model)
        changed = [n for n in before if not torch.allclose(before[n], after[n], rtol=1e-4, atol=1e-9)]
        assert changed, f"{name} has no gradient"
        assert float(loss.detach()) < float(reference.detach()), name


class Whole:
    """An objective whose batches have no shares."""

    trainable = ("",)

    def batch(self, step: int) -> dict[str, Any]:
        return {"step": step}

    def loss(self, model: Any, batch: dict[str, Any]) -> Any: ...


def test_what_cannot_be_divided_is_refused(talking: tuple[Any, Any]) -> None:
    _, objective = talking
    assert isinstance(objective, Divisible)
    check_divisible(objective, 5, "finetune")
    with pytest.raises(InputError, match=r"options\.batch_size") as caught:
        check_divisible(objective, 6, "finetune")
    assert "at least 6" in str(caught.value)
    check_divisible(Whole(), 1, "look")
    with pytest.raises(InputError, match="one process"):
        check_divisible(Whole(), 2, "look")
