"""`segue eval`: ask a model about records, or take predictions from anywhere, and score them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from segue.cli.ask import Grammar, MaxNewTokens, Model
from segue.cli.option_groups import LoadingOptions, expand_groups

if TYPE_CHECKING:
    from segue.evaluation.evaluation_data import EvaluationData

DATA = "Data"
SCORING = "Scoring"
JUDGE = "Judge"
SHORT = {
    "mean_iou": "IoU",
    "recall": "recall",
    "ss": "SS",
    "siou": "S-IoU",
    "phrase_f1": "F1",
    "image_id_accuracy": "image",
    "cumulative_iou": "cIoU",
    "pixel_precision": "P",
    "pixel_recall": "R",
    "pixel_f1": "F1",
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "meteor": "METEOR",
    "cider": "CIDEr",
    "ap50": "AP50",
    "mean_iou_matched": "IoU (GLaMM)",
    "recall_glamm": "recall (GLaMM)",
    "precision_at_50": "P@0.5",
    "precision_at_70": "P@0.7",
    "precision_at_90": "P@0.9",
    "no_target_accuracy": "N-acc",
    "target_accuracy": "T-acc",
    "delta_iou_textual": "dIoU text",
    "delta_iou_visual": "dIoU image",
    "confusion_factual": "CMS fact",
    "confusion_counterfactual": "CMS count.",
    "strict_delta_iou_textual": "strict dIoU text",
    "strict_delta_iou_visual": "strict dIoU image",
    "n_turns": "turns",
    "n_masks": "masks",
}
"""Headings of the table; docs/evaluation.md says which score each is."""


@dataclass
class DataOptions:
    """What is asked."""

    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the images; that of the data by default.", rich_help_panel=DATA),
    ] = None
    format: Annotated[
        str | None, typer.Option(help="Format of the data, when it is not recognised.", rich_help_panel=DATA)
    ] = None
    split: Annotated[str, typer.Option(help="Part of data that are divided.", rich_help_panel=DATA)] = "val"
    count: Annotated[
        int,
        typer.Option(help="Conversations about annotations without text.", min=1, rich_help_panel=DATA),
    ] = 100
    limit: Annotated[
        int | None, typer.Option(help="Only the first N conversations.", min=1, rich_help_panel=DATA)
    ] = None
    seed: Annotated[
        int, typer.Option(help="Of the shuffling and of --count.", min=0, rich_help_panel=DATA)
    ] = 0

    def source(self, path: Path) -> dict[str, Any]:
        """Arguments of `read_evaluation_data`, as JSON can carry them to other processes."""
        return {
            "path": str(path),
            "images": None if self.images is None else str(self.images),
            "format": self.format,
            "split": self.split,
            "count": self.count,
            "limit": self.limit,
            "seed": self.seed,
        }

    def read(self, path: Path) -> EvaluationData:
        """The data; what the reader left out is told."""
        from segue.cli.console import tell
        from segue.cli.options import known_folder, known_split
        from segue.evaluation.evaluation_data import read_evaluation_data

        known_folder(self.images)
        known_split(self.split)
        source = self.source(path) | {"path": path, "images": self.images}
        data = read_evaluation_data(**source)
        tell(data.notes)
        return data


@dataclass
class ScoringOptionsGroup:
    """How answers are scored and shown."""

    protocol: Annotated[
        str | None,
        typer.Option(
            help="m4seg, prist, reasonseg, refcoco, gcg or hallusegbench; by default that of the data.",
            rich_help_panel=SCORING,
        ),
    ] = None
    report: Annotated[bool, typer.Option(help="Write report.html.", rich_help_panel=SCORING)] = True


@dataclass
class JudgeOptions:
    """Chat models that judge the answers."""

    judge: Annotated[
        list[str] | None,
        typer.Option(
            help="URL?model=NAME of a chat model that marks the answers; several agree or not.",
            rich_help_panel=JUDGE,
        ),
    ] = None
    against: Annotated[
        Path | None, typer.Option(help="Predictions that the judge compares with.", rich_help_panel=JUDGE)
    ] = None
    prices: Annotated[
        str | None,
        typer.Option(help="Of a million prompt and completion tokens: 2.5,10", rich_help_panel=JUDGE),
    ] = None
    max_requests: Annotated[
        int | None, typer.Option(help="Of this run, to each judge.", rich_help_panel=JUDGE)
    ] = None
    max_money: Annotated[
        float | None, typer.Option(help="Of this run, for each judge; needs --prices.", rich_help_panel=JUDGE)
    ] = None

    def check(self) -> None:
        """InputError before the work for what could only fail after it."""
        from segue.errors import InputError
        from segue.evaluation.judge import read_judge

        for address in self.judge or ():
            read_judge(address)
        if self.against is not None and not (self.judge and self.against.is_file()):
            raise InputError(
                "There is nothing to compare with, or nobody to compare.",
                expected="--against FILE of predictions together with --judge",
                found="no --judge" if not self.judge else "no such file",
                where=str(self.against),
                fix="give both",
            )

    def judged(self, metrics: dict[str, Any], data: EvaluationData, file: Path, out: Path) -> dict[str, Any]:
        """The metrics with the judges' numbers."""
        from segue.chat_model import Budget, OpenAIChatModel, Prices
        from segue.evaluation.judge import read_judge
        from segue.evaluation.judging import HiredJudge, judge_folder
        from segue.evaluation.scoring_files import load_answers

        hired = []
        for address in self.judge or ():
            prices = None if self.prices is None else Prices.parse(self.prices)
            budget = Budget(max_requests=self.max_requests, max_money=self.max_money, prices=prices)
            hired.append(HiredJudge(OpenAIChatModel(*read_judge(address), budget=budget), budget))
        against = None if self.against is None else load_answers(self.against, data)
        return judge_folder(out, metrics, data, load_answers(file, data), hired, against)


@expand_groups
def evaluate(
    data: Annotated[Path, typer.Option(help="Records, or whatever `segue train --data` reads.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for metrics.json, predictions.jsonl, report.html.")
    ],
    records: DataOptions,
    scoring: ScoringOptionsGroup,
    judge: JudgeOptions,
    place: LoadingOptions,
    model: Model = "segue-mini",
    predictions: Annotated[
        Path | None, typer.Option(help="Score this file (JSONL or COCO results) and ask no model.")
    ] = None,
    shuffle_images: Annotated[
        bool, typer.Option("--shuffle-images", help="Control: show images of other conversations.")
    ] = False,
    teacher_forced: Annotated[
        bool, typer.Option("--teacher-forced", help="Also draw masks for the records' own answers.")
    ] = False,
    history: Annotated[
        Literal["own", "truth"], typer.Option(help="Earlier answers that later questions see.")
    ] = "own",
    max_new_tokens: MaxNewTokens = None,
    shards: Annotated[int, typer.Option(help="Processes, each with the model.", min=1, max=256)] = 1,
    batch_size: Annotated[int, typer.Option(help="Conversations asked together.", min=1, max=1024)] = 1,
    grammar: Grammar = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew where another evaluation lies.")
    ] = False,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
) -> None:
    """Measure a model: every question is asked, every answer generated freely and scored.

    Run again after an interruption, it goes on where it stopped. With --predictions it scores a file.
    """
    from segue.inference.inputs import MAX_NEW_TOKENS, check_budget

    budget = check_budget(MAX_NEW_TOKENS if max_new_tokens is None else max_new_tokens)
    judge.check()
    read = records.read(data)
    if predictions is not None:
        metrics = _score_file(predictions, read, out, scoring, overwrite)
    else:
        from segue.evaluation.evaluate import AskingOptions

        asking = AskingOptions(
            history, shuffle_images, budget, records.seed, teacher_forced, grammar, **place.precision
        )
        run = _Run(model, place, read, records.source(data), out, overwrite, shards, batch_size, progress)
        metrics = run.ask_and_score(asking, scoring)
    from segue.cli.console import show_paths

    # Last: if a judge's server fails, all other scores are on the disk.
    if judge.judge:
        metrics = judge.judged(metrics, read, predictions or out / "predictions.jsonl", out)
    _show(metrics)
    _show_judges(metrics)
    names = (
        "metrics.json",
        "predictions.jsonl",
        "teacher_forced.jsonl",
        "report.html",
        "judge/verdicts.jsonl",
    )
    show_paths([out / name for name in names if (out / name).exists()])


@dataclass(frozen=True)
class _Run:
    """A model that is asked, and where its answers go."""

    model: str
    place: LoadingOptions
    data: EvaluationData
    source: dict[str, Any]
    out: Path
    overwrite: bool
    shards: int
    batch_size: int
    progress: bool

    def ask_and_score(self, asking: Any, options: ScoringOptionsGroup) -> dict[str, Any]:
        """Ask what is not answered yet, in this process or in several; then score."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        from segue.cli.console import err
        from segue.evaluation.evaluate import ScoringOptions, evaluate

        scoring = ScoringOptions(protocol=options.protocol, report=options.report)
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=err(), disable=not self.progress) as bar:
            task = bar.add_task("conversations", total=None)

            def tell(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            if self.shards > 1:
                return self._in_shards(asking, scoring, tell)
            from segue.files import make_folder

            make_folder(self.out)
            return evaluate(
                self.place.load(self.model),
                self.data.conversations,
                self.out,
                root=self.data.root,
                asking=asking,
                scoring=scoring,
                overwrite=self.overwrite,
                batch_size=self.batch_size,
                progress=tell,
            )

    def _in_shards(self, asking: Any, scoring: Any, tell: Any) -> dict[str, Any]:
        from segue.agent.address import is_agent
        from segue.evaluation.asking import evaluation_folder
        from segue.evaluation.evaluate import score_folder, what_is_asked
        from segue.evaluation.sharding import answer_in_shards
        from segue.models.auto import weights_folder

        # Looked for before processes are started: a wrong name fails once, not in each of them.
        folder = None if is_agent(self.model) else weights_folder(self.model)
        name = self.model if folder is None or not Path(self.model).is_dir() else folder.resolve().name
        asked = what_is_asked(name, folder, self.data, asking)
        with evaluation_folder(self.out, asked, overwrite=self.overwrite) as lock:
            answer_in_shards(
                self.out, self.data, self.source, self.model, self.place.device, asking, self.shards, lock,
                tell, self.batch_size,
            )  # fmt: skip
            return score_folder(self.out, self.data, asked, asking, scoring)


def _score_file(
    file: Path, data: EvaluationData, out: Path, options: ScoringOptionsGroup, overwrite: bool
) -> dict[str, Any]:
    from segue.evaluation.evaluate import ScoringOptions
    from segue.evaluation.scoring_files import score_file

    scoring = ScoringOptions(protocol=options.protocol, report=options.report)
    return score_file(file, data, out, scoring, overwrite=overwrite)


def _show(metrics: dict[str, Any]) -> None:
    """A table: all answers, then each group; the scores that the protocol puts first."""
    from rich.table import Table

    from segue.cli.console import err, out
    from segue.evaluation.protocols import PROTOCOLS

    headline = [n for n in PROTOCOLS[metrics["header"]["protocol"]]().headline if n in metrics]
    columns = [*headline, "n_turns", "n_masks"]
    table = Table("", *(SHORT.get(name, name) for name in columns), pad_edge=False, padding=(0, 0))
    table.columns[0].no_wrap = True

    def add(label: str, numbers: dict[str, Any]) -> None:
        values = (numbers.get(name) for name in columns)
        table.add_row(
            label, *("-" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v) for v in values)
        )

    add("all", metrics)
    if "teacher_forced" in metrics:
        add("teacher-forced", metrics["teacher_forced"])
        add("gap", metrics["teacher_forced_gap"])
    for group, label in (("by_turn", "turn {}"), ("by_number_of_images", "images: {}"), ("by_kind", "{}")):
        for name, numbers in metrics[group].items():
            add(label.format(name), numbers)
    out().print(table, soft_wrap=False)
    for name in headline:
        if name in metrics["not_available"]:
            err().print(f"{name}: {metrics['not_available'][name]}", style="yellow", markup=False)
    if metrics["failures"]["count"]:
        reason = next(iter(metrics["failures"]["reasons"]))
        err().print(
            f"{metrics['failures']['count']} answer(s) failed and count as zero; most often: {reason}",
            style="yellow",
            markup=False,
        )


def _show_judges(metrics: dict[str, Any]) -> None:
    """What the judges said, what it cost, and how far they agree."""
    from segue.cli.console import out

    for one in metrics.get("judges", ()):
        marks = ", ".join(f"{n} {one[n]:.2f}" for n in ("PR", "LC", "CC", "TR") if one[n] is not None)
        replies, cost = one["replies"], one["cost"]
        spent = "" if cost["money"] is None else f", {cost['money']:.4f} spent"
        out().print(
            f"judge {one['judge']}: {marks or 'no mark'} ({one['unreadable']} unreadable; "
            f"{replies['asked']} replies asked for, {replies['kept']} kept from before, "
            f"{cost['tokens']} tokens{spent})",
            markup=False,
        )
        if "pairwise" in one:
            pairs = one["pairwise"]
            out().print(
                f"  against the other: {pairs['win']} won, {pairs['loss']} lost, {pairs['tie']} tied, "
                f"{pairs['flip']} flipped with the order, {pairs['unreadable']} unreadable",
                markup=False,
            )
    for pair in metrics.get("judge_agreement", ()):
        same = ", ".join(
            f"{n} {pair[n]['same']:.2f}" for n in ("PR", "LC", "CC", "TR") if pair[n]["same"] is not None
        )
        out().print(f"{' and '.join(pair['judges'])} give the same mark: {same or '-'}", markup=False)
