"""Judges over the answers of an evaluation: who is asked, where the verdicts go, what they cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue.chat_model import Budget, ChatModel
from segue.evaluation.evaluation_data import EvaluationData
from segue.evaluation.judge import Judge, Verdicts, agreement, judge_answers, summary, write_verdicts
from segue.evaluation.predictions import Answer
from segue.evaluation.samples import Key, all_samples
from segue.files import write_atomic

FOLDER = "judge"
"""Under the output folder: every judge's replies, and `verdicts.jsonl`."""


@dataclass(frozen=True)
class HiredJudge:
    """A chat model that judges, and what it may spend.

    Attributes:
        model: The chat model.
        budget: Counts requests, tokens and, with prices, money; of the model.
    """

    model: ChatModel
    budget: Budget


def judge_folder(
    out: Path,
    metrics: dict[str, Any],
    data: EvaluationData,
    answers: Mapping[Key, Answer],
    judges: Sequence[HiredJudge],
    against: Mapping[Key, Answer] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Have every judge read every conversation; add `judges` and `judge_agreement` to `metrics.json`.

    Args:
        out: Folder of the evaluation.
        metrics: Its metrics.
        data: What was asked.
        answers: What was answered.
        judges: One or more; with two or more their agreement is computed, pair by pair.
        against: Answers to compare with.
        progress: Called with (done, total) of each judge.

    Returns:
        The metrics with the judges' numbers.
    """
    samples = all_samples(data.conversations)
    verdicts: list[Verdicts] = []
    numbers = []
    for hired in judges:
        judge = Judge(hired.model, out / FOLDER)
        verdicts.append(judge_answers(judge, samples, answers, against, progress))
        numbers.append(summary(verdicts[-1], judge.replies, _cost(hired.budget)))
        # Kept after each judge: the next one may fail, and what is paid for shall be there.
        write_verdicts(out / FOLDER / "verdicts.jsonl", verdicts)
    pairs = [(a, b) for k, a in enumerate(verdicts) for b in verdicts[k + 1 :]]
    found = metrics | {"judges": numbers, "judge_agreement": [agreement(a, b) for a, b in pairs]}
    write_atomic(out / "metrics.json", json.dumps(found, indent=2, allow_nan=False) + "\n")
    return found


def _cost(budget: Budget) -> dict[str, Any]:
    money = None if budget.prices is None else round(budget.money, 6)
    return {"requests": budget.requests, "tokens": budget.tokens, "money": money}
