"""Runs a job: threads that ask, ledgers that remember, and an output that does not show any of it.

What a job writes depends on its items and on the model's replies alone: not on the number of threads, on the
order in which replies came, or on how often the run was killed and started again.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from segue.chat_model import (
    Budget,
    BudgetSpentError,
    ChatModel,
    ChatReply,
    Message,
    NotACompletionError,
    RateLimiter,
    RefusedError,
    UnreachableError,
)
from segue.datasets.generation.asking import Ask
from segue.datasets.generation.estimate import Estimate, Experience, estimate
from segue.datasets.generation.job import GenerationJob, GivenUpError, Item, Outcome, Reject
from segue.datasets.generation.ledger import Ledger
from segue.datasets.generation.output import GenerationReport, Written, held, write_report
from segue.datasets.generation.problems import Problem, UnusableItemError, UnusableReplyError
from segue.datasets.generation.reply_cache import ReplyCache
from segue.errors import InputError, ModelError, RecordError, SegueError

FINISHED = "finished.jsonl"
LONGEST_FAREWELL = 0.6
"""Seconds after Ctrl-C in which replies that are under way may still come."""


@dataclass(frozen=True)
class GenerationSettings:
    """How a job is run. Only `attempts` can change what it makes.

    Attributes:
        attempts: Replies to one request that are looked at before it is given up; each new one is asked for
            with the reason why the last one was of no use.
        rounds: How often an item is tried whose request brought no reply at all; the model's own retry policy
            (`segue.chat_model.RetryPolicy`) comes first. Then it goes to quarantine until the next run.
        concurrency: Threads that ask.
        requests_per_minute: Of all threads together; None for no limit.
        most_failures: Requests in a row without a reply after which the server counts as gone.
    """

    attempts: int = 3
    rounds: int = 3
    concurrency: int = 4
    requests_per_minute: float | None = None
    most_failures: int = 8

    def __post_init__(self) -> None:
        for name in ("attempts", "rounds", "concurrency", "most_failures"):
            if getattr(self, name) < 1:
                raise InputError(
                    "A generation cannot run like this.",
                    expected=f"{name} >= 1",
                    found=str(getattr(self, name)),
                    where="GenerationSettings",
                    fix=f"raise {name}",
                )
        RateLimiter(self.requests_per_minute)  # a rate that cannot be kept is said before anything is planned


class Generation:
    """A job in its folder, with what earlier runs have left there; a context manager.

        with Generation(job, model, "out") as generation:
            for line in generation.estimate().lines(): ...
            report = generation.run()

    The folder holds `replies.jsonl` and `requests.jsonl` (see `ReplyCache`), `finished.jsonl`, and in the end
    the records (`job.output`), `quarantine.jsonl` and `report.json`. Killed at any moment, the same call goes
    on where it was; the result has the very bytes of a run that nothing disturbed.

    Args:
        job: What shall be made.
        model: Who is asked; several threads will call it.
        folder: Made if need be. One process at a time.
        settings: How to run.
        budget: Bounds over all runs in this folder; no bounds by default.

    Raises:
        InputError: The folder cannot be used, or another process is at work in it.
    """

    def __init__(
        self,
        job: GenerationJob,
        model: ChatModel,
        folder: str | Path,
        *,
        settings: GenerationSettings | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.job, self.model, self.folder = job, model, Path(folder)
        self.settings, self.budget = settings or GenerationSettings(), budget or Budget()
        self._lock_file = held(self.folder)
        self._cache = ReplyCache(model, self.folder, self.budget)
        self._finished = Ledger(self.folder / FINISHED)
        self._keys = [job.key(item, model.name, self.settings.attempts) for item in job.items]

    def __enter__(self) -> Generation:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files and leave the folder to others."""
        self._cache.close()
        self._finished.close()
        self._lock_file.close()

    @property
    def finished(self) -> int:
        """Items that need no further request."""
        return sum(key in self._finished for key in self._keys)

    def estimate(self) -> Estimate:
        """Estimate what the unfinished items will take; sends nothing."""
        return estimate(
            self.job, self.finished, self.settings.attempts, self.budget.prices, self._experience()
        )

    def run(self, *, progress: bool = True) -> GenerationReport:
        """Ask until every item is finished or given up, then write the output.

        Args:
            progress: Whether to show a bar, where stderr is a terminal.

        Raises:
            ModelError: The server is gone or refuses everything, or the budget is used up. The replies are
                kept: the same call goes on from there.
        """
        todo = [index for index, key in enumerate(self._keys) if key not in self._finished]
        with tqdm(
            total=len(self._keys), initial=len(self._keys) - len(todo), desc=self.job.name,
            unit="item", disable=None if progress else True,
        ) as bar:  # fmt: skip
            given_up = _Crew(self, todo, bar).work()
        with Written(self.job, self.folder) as written:
            for index, (item, key) in enumerate(zip(self.job.items, self._keys)):
                line = self._finished.get(key)
                written.add(item, Outcome.from_json(line) if line is not None else given_up[index])
        return write_report(written, self.budget, self._cache)

    def _experience(self) -> Experience | None:
        """Means over the ledgers; None without a finished item that took replies."""
        if not len(self._cache.replies):
            return None
        counts = [line["replies"] for line in self._finished]
        prompts = completions = 0
        for line in self._cache.replies:
            usage = line["reply"]["usage"]
            prompts += usage.get("prompt_tokens", 0)
            completions += usage.get("completion_tokens", 0)
        replies = len(self._cache.replies)
        # Replies of items that are under way still have no line among the finished: without one, the job's
        # own guess.
        each = sum(counts) / len(counts) if counts else float(self.job.steps)
        return Experience(each, prompts / replies, completions / replies)


class _Crew:
    """The threads of one run."""

    def __init__(self, generation: Generation, todo: list[int], bar: tqdm) -> None:
        self.job, self.settings = generation.job, generation.settings
        self._cache, self._finished, self._keys = generation._cache, generation._finished, generation._keys
        self._folder = generation.folder
        self._todo = deque((index, 1) for index in todo)
        self._bar = bar
        self._rate = RateLimiter(self.settings.requests_per_minute)
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._working = 0
        self._under_way = 0
        self._failures = 0
        self._error: BaseException | None = None
        self._given_up: dict[int, Outcome] = {}

    def work(self) -> dict[int, Outcome]:
        """Run until nothing is left; the outcomes that a later run shall look at again.

        Raises:
            ModelError: See `Generation.run`.
        """
        count = self._working = min(self.settings.concurrency, max(1, len(self._todo)))
        # Daemons: after Ctrl-C the process must not wait for replies that may take minutes.
        threads = [threading.Thread(target=self._work, name=f"asking-{k}", daemon=True) for k in range(count)]
        for thread in threads:
            thread.start()
        try:
            # Not joined: a join that Ctrl-C interrupts takes the thread for dead (Python 3.11). With a
            # timeout, since a plain wait does not let Ctrl-C through on every system.
            while not self._ended.wait(0.2):
                pass
        except BaseException:
            self._leave()
            raise
        if isinstance(self._error, ModelError):
            raise self._resumable(self._error) from None
        if self._error is not None:
            raise self._error
        return self._given_up

    def _leave(self) -> None:
        """Stop within a second: replies that are nearly there are kept, the others are asked for again.

        A request that is left under way has no outcome in the ledger, as after a kill; the next run sends it
        with the same idempotency key.
        """
        self._stop.set()
        self._ended.wait(LONGEST_FAREWELL)
        done = sum(key in self._finished for key in self._keys)
        self._bar.write(
            f"stopped: {done} of {len(self._keys)} items are finished, {self._working} requests were under "
            "way; run the same command again to go on",
            file=sys.stderr,
        )

    def _work(self) -> None:
        """Take items until there is none; the first error stops everybody."""
        try:
            while (taken := self._take()) is not None:
                index, round_ = taken
                try:
                    self._finish(index, round_)
                except _Stopped:
                    return
                finally:
                    with self._guard:
                        self._under_way -= 1
        except BaseException as error:
            with self._guard:
                self._error = self._error or error
            self._stop.set()
        finally:
            with self._guard:
                self._working -= 1
                if not self._working:
                    self._ended.set()

    def _take(self) -> tuple[int, int] | None:
        """The next item; waits while others may still put theirs back, None at the end."""
        while not self._stop.is_set():
            with self._guard:
                if self._todo:
                    self._under_way += 1
                    return self._todo.popleft()
                # An empty queue is not yet the end: an item under way may come back for another round.
                if not self._under_way:
                    return None
            self._stop.wait(0.02)
        return None

    def _finish(self, index: int, round_: int) -> None:
        """Drive one item to its end, or put it back for another round."""
        item = self.job.items[index]
        try:
            outcome = _Drive(self, item).run()
        except _NoReply as failure:
            problem = Problem.REQUEST_REFUSED if failure.final else Problem.NO_ANSWER
            if not failure.final and round_ < self.settings.rounds:
                with self._guard:
                    self._todo.append((index, round_ + 1))
                return
            reject = Reject(item.id, failure.step, problem, problem.value, failure.reason, passing=True)
            with self._guard:
                # Kept for this run's output, but not in the ledger: a later run asks again.
                self._given_up[index] = Outcome([], [reject.to_json()])
        else:
            self._finished.append(outcome.to_json(self._keys[index], item.id))
        with self._guard:
            self._bar.update()

    def reply(self, item: Item, ask: Ask, messages: tuple[Message, ...], attempt: int) -> ChatReply:
        """One reply, or `_NoReply`; what the next request would meet as well is raised as it is."""
        for again in range(self.settings.attempts):
            if not self._rate.wait(self._stop):
                raise _Stopped
            try:
                reply = self._cache.reply(ask, messages, attempt, {"item": item.id, "step": ask.step})
            except BudgetSpentError:
                raise
            except RefusedError as error:
                # A wrong key or model name would refuse all other requests as well.
                if not error.concerns_request:
                    raise
                raise _NoReply(ask.step, error.found, final=True) from None
            except NotACompletionError as error:
                # A body that broke on its way may come whole the next time.
                self._count_failure(error)
                if again + 1 < self.settings.attempts:
                    continue
                raise _NoReply(ask.step, error.found) from None
            except UnreachableError as error:
                if error.nobody_there:
                    raise
                self._count_failure(error)
                raise _NoReply(ask.step, error.found) from None
            except ModelError as error:
                self._count_failure(error)
                raise _NoReply(ask.step, f"{error.summary} {error.found}") from None
            with self._guard:
                # Only failures in a row tell that the server is gone.
                self._failures = 0
            return reply
        raise AssertionError("the last attempt returns or raises")

    def _count_failure(self, error: ModelError) -> None:
        """Stop everything when failure follows failure."""
        with self._guard:
            self._failures += 1
            if self._failures >= self.settings.most_failures:
                raise error

    def _resumable(self, error: ModelError) -> ModelError:
        """The error with what is kept, and how to go on."""
        done = sum(key in self._finished for key in self._keys)
        return type(error)(
            error.summary,
            expected=error.expected,
            found=f"{error.found}; {done} of {len(self._keys)} items are finished",
            where=error.where,
            fix=f"{error.fix}; then run the same command again: it goes on from what {self._folder} keeps",
        )


class _Drive:
    """One item's flow, fed with replies."""

    def __init__(self, crew: _Crew, item: Item) -> None:
        self._crew, self._item = crew, item
        self._rejects: list[Reject] = []
        self._notes: list[str] = []
        self._replies = 0

    def run(self) -> Outcome:
        """Run the flow to its end."""
        flow = self._crew.job.make(self._item)
        try:
            ask = next(flow)
            while True:
                try:
                    value = self._answer(ask)
                except GivenUpError as error:
                    # Raised at the flow's own `yield`, where a job may catch it and go on without this
                    # answer.
                    ask = flow.throw(error)
                else:
                    ask = flow.send(value)
        except StopIteration as end:
            return self._outcome(end.value)
        except GivenUpError:
            return self._outcome([])
        except (UnusableItemError, InputError, RecordError) as error:
            found = f"{error.summary} {error.found}" if isinstance(error, SegueError) else str(error)
            problem = Problem.UNUSABLE_ITEM
            self._rejects.append(Reject(self._item.id, "", problem, problem.value, found))
            return self._outcome([])
        finally:
            flow.close()

    def _answer(self, ask: Ask) -> object:
        """Ask until a reply is usable; GivenUpError when none was."""
        messages = tuple(ask.messages)
        for attempt in range(self._crew.settings.attempts):
            reply = self._crew.reply(self._item, ask, messages, attempt)
            self._replies += 1
            try:
                reading = ask.read(reply)
            except UnusableReplyError as unusable:
                last = Reject(
                    self._item.id, ask.step, unusable.problem, unusable.rule, unusable.reason,
                    attempt + 1, next(iter(reply.places()), "")[:2000],
                )  # fmt: skip
                # From the first messages, not the last: faults of earlier attempts do not pile up in the
                # prompt.
                messages = ask.again(reply, unusable.reason)
            else:
                self._notes += reading.notes
                return reading.value
        self._rejects.append(last)
        raise GivenUpError(last.reason)

    def _outcome(self, records: list[dict[str, object]]) -> Outcome:
        rejects = [replace(reject, item=self._item.id).to_json() for reject in self._rejects]
        return Outcome(list(records), rejects, self._replies, self._notes)


class _Stopped(Exception):
    """Another thread has met an error, or Ctrl-C was pressed."""


class _NoReply(Exception):
    """A request that brought no reply; `final` when no repetition helps."""

    def __init__(self, step: str, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.step, self.reason, self.final = step, reason, final
