"""The table of `recipes/compare_memory.sh`: last answers with memory and without, mean and spread over seeds.

    python -m segue.mini.memory.table runs/memory

Reads `ARM_SEED/HISTORY/predictions.jsonl` of both arms, and `test/conversations.jsonl`.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segue import masks
from segue.errors import InputError
from segue.evaluation.predictions import MISSING, Answer, read_predictions
from segue.evaluation.samples import Target, questions_of, targets_of
from segue.masks import RLE
from segue.metrics.text import PhraseCounts, count_phrases
from segue.mini.memory.build import CONVERSATIONS
from segue.mini.memory.dialogues import MOVES, OUTERMOST
from segue.records import Conversation, read_jsonl

ARMS = {"without": "without memory", "with": "with memory"}
HISTORIES = {"own": "its own earlier answers", "truth": "the true earlier answers and masks"}
RIGHT_IOU = 0.5
"""From this IoU on the right thing is marked."""


@dataclass(frozen=True)
class Judged:
    """One answer.

    Attributes:
        move: How its question went on from the thing before; `named` in the first turn.
        iou: Of everything marked with everything that should be, over all images together.
        phrases: Right, surplus and missing phrases, each in its image.
    """

    move: str
    iou: float
    phrases: PhraseCounts


@dataclass(frozen=True)
class Scores:
    """Means over answers: share of right things, IoU, and F1 of the phrases."""

    right: float
    iou: float
    f1: float

    @classmethod
    def of(cls, judged: Sequence[Judged]) -> Scores:
        """Scores of one answer or more."""
        counts = sum((one.phrases for one in judged), PhraseCounts())
        return cls(
            statistics.fmean(one.iou >= RIGHT_IOU for one in judged),
            statistics.fmean(one.iou for one in judged),
            counts.f1 or 0.0,
        )


def judge(conversation: Conversation, answers: Sequence[Answer]) -> list[Judged]:
    """Judge the answers of one dialogue, turn by turn; one that failed counts zero.

    Args:
        conversation: The record.
        answers: One for each of its questions.
    """
    found = []
    for number, ((index, _), answer) in enumerate(zip(questions_of(conversation), answers, strict=True)):
        targets = targets_of(conversation, index)
        said = [(mark.image_index, mark.phrase) for mark in answer.masks]
        true = [(target.mark.image_index, target.mark.phrase) for target in targets]
        move = str(conversation.answer_meta(number).get("template", ""))
        found.append(Judged(move, marked_iou(answer, targets), count_phrases(said, true)))
    return found


def marked_iou(answer: Answer, targets: Sequence[Target]) -> float:
    """IoU of all masks of an answer with all targets: what is marked in a wrong image counts as wrong."""
    predicted = _by_image((mark.image_index, mark.rle) for mark in answer.masks)
    true = _by_image((target.mark.image_index, target.mark.rle) for target in targets)
    both = either = 0
    for image in predicted.keys() | true.keys():
        areas = [masks.area(of[image]) if image in of else 0 for of in (predicted, true)]
        union = max(areas)
        if all(areas):
            union = masks.area(masks.union_rle([predicted[image], true[image]]))
        both += sum(areas) - union
        either += union
    return both / either if either else 1.0


def _by_image(marks: Iterable[tuple[int, RLE | None]]) -> dict[int, RLE]:
    found: dict[int, list[RLE]] = {}
    for image_index, rle in marks:
        if rle is not None:
            found.setdefault(image_index, []).append(rle)
    return {image_index: masks.union_rle(rles) for image_index, rles in found.items()}


def judge_run(folder: Path, conversations: Sequence[Conversation]) -> list[list[Judged]]:
    """Judge every dialogue of one evaluation: for each of the three turns, its answers.

    Args:
        folder: Holds `predictions.jsonl`.
        conversations: What was asked.
    """
    answers = read_predictions(folder / "predictions.jsonl")
    judged = [
        judge(c, [answers.get((c.id, turn + 1), MISSING) for turn in range(len(questions_of(c)))])
        for c in conversations
    ]
    return [list(turn) for turn in zip(*judged, strict=True)]


def table(out: Path) -> str:
    """The table as Markdown.

    Args:
        out: Folder of the script.

    Raises:
        InputError: No arm has been evaluated.
    """
    conversations = list(read_jsonl(out / "test" / CONVERSATIONS))
    runs = {
        (arm, history): [
            judge_run(path.parent, conversations)
            for path in sorted(out.glob(f"{arm}_*/{history}/predictions.jsonl"))
            if (path.parent / "metrics.json").is_file()
        ]
        for history in HISTORIES
        for arm in ARMS
    }
    if not any(runs.values()):
        raise InputError(
            "There is nothing to put into a table.",
            expected="ARM_SEED/HISTORY/metrics.json of at least one arm",
            found="none",
            where=str(out),
            fix="run recipes/compare_memory.sh first",
        )
    lines = [
        f"Mean and standard deviation over seeds; {len(conversations)} dialogues, last answer.",
        "",
        f"Hard: all but {' and '.join(OUTERMOST)}, which lead to the outermost thing.",
        "",
        "| earlier answers | arm | seeds | right thing | mean IoU | phrase F1 | right thing, hard |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for (arm, history), several in runs.items():
        if several:
            scores = [Scores.of(turns[-1]) for turns in several]
            cells = [spread([getattr(s, name) for s in scores]) for name in ("right", "iou", "f1")]
            cells.append(spread([Scores.of(hard(turns[-1])).right for turns in several]))
            lines.append(f"| {HISTORIES[history]} | {ARMS[arm]} | {len(several)} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *by_turn(runs), "", *by_move(runs)]) + "\n"


def hard(judged: Sequence[Judged]) -> list[Judged]:
    """Those answers that looking alone does not give."""
    return [one for one in judged if one.move not in OUTERMOST]


Runs = dict[tuple[str, str], list[list[list[Judged]]]]


def by_turn(runs: Runs) -> list[str]:
    """Share of right things by turn, with the model's own earlier answers."""
    lines = ["| right thing, own answers | turn 1 | turn 2 | turn 3 |", "|---|---:|---:|---:|"]
    for arm, title in ARMS.items():
        several = runs[arm, "own"]
        if several:
            cells = [spread([Scores.of(turns[k]).right for turns in several]) for k in range(3)]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def by_move(runs: Runs) -> list[str]:
    """Share of right things of the last answer, by where its question goes."""
    lines = [f"| right thing, last answer | {' | '.join(MOVES)} |", f"|---|{'---:|' * len(MOVES)}"]
    for (arm, history), several in runs.items():
        rights = [
            [Scores.of(own).right for turns in several if (own := [j for j in turns[-1] if j.move == move])]
            for move in MOVES
        ]
        if several:
            cells = [spread(values) if values else "-" for values in rights]
            lines.append(f"| {ARMS[arm]}, {HISTORIES[history]} | {' | '.join(cells)} |")
    return lines


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation of values: "0.412 ± 0.015"; of a single value itself."""
    mean = f"{statistics.fmean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def main(argv: list[str] | None = None) -> None:
    """Print the table, and write it as `table.md` into the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path, help="folder that the script wrote")
    out = parser.parse_args(argv).out
    text = table(out)
    (out / "table.md").write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
