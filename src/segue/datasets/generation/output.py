"""Output of a job: records, quarantine and a report, all atomic and in item order."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from segue.chat_model import Budget
from segue.datasets.generation.job import GenerationJob, Item, Outcome
from segue.datasets.generation.reply_cache import ReplyCache
from segue.errors import InputError, ModelError
from segue.files import atomic_writer, remove_unfinished, write_atomic

QUARANTINE, REPORT = "quarantine.jsonl", "report.json"


@dataclass(frozen=True)
class GenerationReport:
    """Numbers of a run: what it made, and what it used of the budget.

    Attributes:
        records: The file of records.
        items: Items of the job.
        made: Records written.
        replies: Replies that the finished items took, retries included.
        rejects: Entries of the quarantine by rule.
        passing: Of these, how many a later run will ask about again.
        requests, tokens, money: Spent over all runs in this folder.
        unanswered: Requests that were under way when a run was killed; a server without idempotency keys may
            have charged them without effect.
        notes: What had to be passed over to read replies that are used, and how often.
    """

    records: Path
    items: int
    made: int
    replies: int
    rejects: dict[str, int]
    passing: int
    requests: int
    tokens: int
    money: float | None
    unanswered: int
    notes: dict[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Make sure that something was made.

        Raises:
            ModelError: Nothing was; the message says what the replies were rejected for.
        """
        if self.made or not self.items:
            return
        listed = ", ".join(f"{rule} {count}" for rule, count in self.rejects.items())
        raise ModelError(
            "No record could be made of the chat model's replies.",
            expected="at least one usable reply",
            found=f"{self.items} items, {self.replies} replies, and none of use: {listed or 'none came'}",
            where=str(self.records.with_name(QUARANTINE)),
            fix="read the reasons and replies there; another model, or a longer reply, may do better"
            + (", and what was the endpoint's fault is asked again by another run" if self.passing else ""),
        )

    def lines(self) -> list[str]:
        """For a terminal."""
        listed = ", ".join(f"{rule} {count}" for rule, count in self.rejects.items())
        spent = f"{self.requests} requests, {self.tokens} tokens"
        lines = [
            f"{self.made} records of {self.items} items, from {self.replies} replies",
            f"quarantine: {listed or 'empty'}",
            *(f"{count} replies: {note}" for note, count in self.notes.items()),
            f"spent in all runs: {spent}" + ("" if self.money is None else f", {self.money:.2f}"),
        ]
        if self.passing:
            lines.append(f"{self.passing} rejects are the endpoint's: run again to ask about them again")
        if self.unanswered:
            lines.append(f"{self.unanswered} requests were under way when a run was killed, and asked again")
        return lines


@dataclass
class Written:
    """The two files of lines; a context manager: both appear at its end, and neither after a failure."""

    job: GenerationJob
    folder: Path
    made: int = 0
    replies: int = 0
    passing: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._files = ExitStack()
        self._records = self._files.enter_context(atomic_writer(self.folder / self.job.output, "wb"))
        self._rejects = self._files.enter_context(atomic_writer(self.folder / QUARANTINE, "wb"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: Any) -> None:
        self._files.__exit__(*failure)

    def add(self, item: Item, outcome: Outcome) -> None:
        """Write what became of the next item."""
        for record in outcome.records:
            self._records.write(_line(record))
        for reject in outcome.rejects:
            self._rejects.write(_line(reject))
            self.rules[reject["rule"]] += 1
            # Without a step it is the item itself that is unusable.
            self.steps[reject["step"] or "item"] += 1
            self.passing += reject["passing"]
        self.notes.update(outcome.notes)
        self.made += len(outcome.records)
        self.replies += outcome.replies


def write_report(written: Written, budget: Budget, cache: ReplyCache) -> GenerationReport:
    """Write `report.json`, which holds nothing that depends on how the run went."""
    rules = dict(sorted(written.rules.items()))
    notes = dict(sorted(written.notes.items()))
    content = {
        "job": written.job.name,
        "model": cache.model.name,
        "items": len(written.job.items),
        "records": written.made,
        "replies": written.replies,
        "rejects": rules,
        "rejects_by_step": dict(sorted(written.steps.items())),
        "notes": notes,
    }
    write_atomic(written.folder / REPORT, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return GenerationReport(
        records=written.folder / written.job.output,
        items=len(written.job.items),
        made=written.made,
        replies=written.replies,
        rejects=rules,
        passing=written.passing,
        requests=budget.requests,
        tokens=budget.tokens,
        money=None if budget.prices is None else budget.money,
        unanswered=cache.unanswered,
        notes=notes,
    )


def model_of_report(folder: Path) -> str | None:
    """The model of the last complete run in a folder; None where there was none."""
    try:
        content = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    model = content.get("model") if isinstance(content, dict) else None
    return model if isinstance(model, str) else None


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def held(folder: Path) -> IO[str]:
    """Make a folder and lock it for this process: two runs at once would send every request twice.

    Returns:
        The lock; the folder is free when it is closed, or when the process ends in whatever way.

    Raises:
        InputError: The folder cannot be made, or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The file stays behind; it is the lock on it that ends with the process, killed or not.
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise _in_use("a folder that can be written", str(error), folder) from None
    try:
        import fcntl
    except ImportError:  # Windows has none; there, keeping to one run at a time is left to the user
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise _in_use("a folder that no other run is using", "another run", folder) from None
    # Of runs that were killed; whoever holds the lock is alone here.
    remove_unfinished(folder)
    return file


def _in_use(expected: str, found: str, folder: Path) -> InputError:
    return InputError(
        "The folder of a generation cannot be used.",
        expected=expected,
        found=found,
        where=str(folder),
        fix="wait for the other run, or choose another folder",
    )
