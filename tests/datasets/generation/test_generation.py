"""The engine: retries with reasons, nothing paid twice, rejects, budgets, and one output, always the same."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from segue.chat_model import (
    Budget,
    BudgetSpentError,
    ChatReply,
    Message,
    NotACompletionError,
    Prices,
    RefusedError,
    UnreachableError,
)
from segue.datasets.generation import (
    Ask,
    Flow,
    Generation,
    GenerationJob,
    GenerationSettings,
    GivenUpError,
    Item,
    UnusableItemError,
    broken,
)
from segue.errors import ImageError, InputError, ModelError

FAST = GenerationSettings(concurrency=1)


class Number(BaseModel, extra="forbid"):
    number: int


def even(reply: Number) -> int:
    if reply.number % 2:
        raise broken("odd", f"{reply.number} is odd; give an even number")
    return reply.number


def make(item: Item) -> Flow:
    first = yield Ask("first", [Message("user", (f"{item.id} first",))], Number, even)
    second = yield Ask("second", [Message("user", (f"{item.id} second after {first}",))], Number, even)
    return [{"id": item.id, "sum": first + second}]


def job(count: int = 4, make: Callable[[Item], Flow] = make, **identity: Any) -> GenerationJob:
    return GenerationJob("numbers", [Item(f"i{k}") for k in range(count)], make, identity, steps=2)


Answer = str | ChatReply | Exception


class Scripted:
    """Answers by the text of the first message and the number of attempts made so far; counts everything."""

    name = "scripted"

    def __init__(self, answer: Callable[[str, int], Answer]) -> None:
        self.answer = answer
        self.asked: Counter[str] = Counter()
        self.seen: list[tuple[Message, ...]] = []
        self._lock = threading.Lock()

    def complete(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        **sampling: float | int,
    ) -> ChatReply:
        text = str(messages[0].content[-1])
        with self._lock:
            attempt = self.asked[text]
            self.asked[text] += 1
            self.seen.append(tuple(messages))
        answer = self.answer(text, attempt)
        if isinstance(answer, Exception):
            raise answer
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        return answer if isinstance(answer, ChatReply) else ChatReply(answer, usage=usage)


def well(text: str, attempt: int) -> Answer:
    return json.dumps({"number": 2 * len(text)})


def outputs(folder: Path) -> dict[str, bytes]:
    names = ("conversations.jsonl", "quarantine.jsonl", "report.json")
    return {name: (folder / name).read_bytes() for name in names}


def run(
    folder: Path,
    model: Scripted,
    made: GenerationJob | None = None,
    settings: GenerationSettings = FAST,
    budget: Budget | None = None,
) -> Any:
    with Generation(made or job(), model, folder, settings=settings, budget=budget) as generation:
        return generation.run(progress=False)


def quarantine(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "quarantine.jsonl").read_text().splitlines()]


def test_items_become_records_in_order(tmp_path: Path) -> None:
    report = run(tmp_path, Scripted(well), settings=GenerationSettings(concurrency=8))
    lines = [json.loads(line) for line in (tmp_path / "conversations.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["i0", "i1", "i2", "i3"]
    assert (report.made, report.replies, report.requests, report.tokens) == (4, 8, 8, 120)
    assert not list(tmp_path.glob(".*.unfinished"))


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (ChatReply(""), "empty"),
        (ChatReply("", refusal="I cannot help"), "refuses: I cannot help"),
        (ChatReply("x", finish_reason="content_filter"), "filter"),
        (ChatReply('{"number": ', finish_reason="length"), "cut off"),
        (ChatReply('{"number": '), "not one complete JSON object"),
        (ChatReply("[2]"), "not one complete JSON object"),
        (ChatReply('{"count": 2}'), "number: Field required"),
        (ChatReply('{"number": 3}'), "3 is odd; give an even number"),
    ],
)
def test_a_bad_reply_is_asked_for_again_with_the_reason(bad: ChatReply, told: str, tmp_path: Path) -> None:
    model = Scripted(lambda text, attempt: bad if "first" in text and not attempt else well(text, attempt))
    assert run(tmp_path, model, job(1)).made == 1
    feedback = model.seen[1]
    assert told in str(feedback[-1].content[0])
    assert [m.role for m in feedback] == (["user", "assistant", "user"] if bad.text else ["user", "user"])


@pytest.mark.parametrize(
    "text", ['```json\n{"number": 4}\n```', 'Sure!\n{"number": 4} I hope', '{"number": 4}']
)
def test_json_in_prose_is_read(text: str, tmp_path: Path) -> None:
    model = Scripted(lambda asked, attempt: text)
    assert run(tmp_path, model, job(1)).replies == 2


@pytest.mark.parametrize(
    ("reply", "noted"),
    [
        (ChatReply("{number: 4, /* even */}"), "comments"),
        (ChatReply('{"result": {"number": 4}}'), ""),
        (ChatReply('{"number": 4, "number": 4', finish_reason="length"), "ends early"),
        (ChatReply("", reasoning='so {"number": 4}'), ""),
        (ChatReply("I call it.", arguments=('{"number": 4}',)), ""),
    ],
)
def test_replies_that_are_not_quite_as_asked_for_are_used_and_counted(
    reply: ChatReply, noted: str, tmp_path: Path
) -> None:
    report = run(tmp_path, Scripted(lambda asked, attempt: reply), job(1))
    assert (report.made, report.replies) == (1, 2)
    assert (sum(report.notes.values()) == 2) is bool(noted)
    assert all(noted in note for note in report.notes)
    assert json.loads((tmp_path / "report.json").read_text())["notes"] == report.notes
    assert all(note in " ".join(report.lines()) for note in report.notes)


def test_a_run_that_made_nothing_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    report = run(tmp_path, Scripted(lambda asked, attempt: "I cannot."), job(2))
    with pytest.raises(ModelError, match="not_json 2") as caught:
        report.check()
    assert caught.value.where == str(tmp_path / "quarantine.jsonl")
    run(tmp_path / "other", Scripted(well)).check()


def test_ctrl_c_is_answered_within_a_second(tmp_path: Path) -> None:
    asked, release = threading.Event(), threading.Event()

    def slow(text: str, attempt: int) -> str:
        asked.set()
        release.wait(20)
        return well(text, attempt)  # type: ignore[return-value]

    def press() -> None:
        asked.wait(10)
        pressed.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)

    pressed: list[float] = []
    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Scripted(slow))
    assert time.monotonic() - pressed[0] < 1.0
    release.set()
    # What was under way is asked again, and the result is that of a run that nothing disturbed.
    assert run(tmp_path / "calm", Scripted(well)).made == run(tmp_path, Scripted(well)).made == 4
    assert outputs(tmp_path) == outputs(tmp_path / "calm")


def test_what_stays_bad_goes_to_quarantine(tmp_path: Path) -> None:
    model = Scripted(lambda text, attempt: '{"number": 1}' if text == "i1 first" else well(text, attempt))
    report = run(tmp_path, model)
    assert (report.made, report.rejects) == (3, {"odd": 1})
    [reject] = quarantine(tmp_path)
    assert (reject["item"], reject["step"], reject["attempts"]) == ("i1", "first", 3)
    assert reject["reply"] == '{"number": 1}'
    again = Scripted(well)
    run(tmp_path, again)
    assert not again.asked, "a reject of the item's own is final and is not paid for again"


def test_a_flow_may_go_on_without_an_answer(tmp_path: Path) -> None:
    def lenient(item: Item) -> Flow:
        try:
            yield Ask("first", [Message("user", ("bad",))], Number, even)
        except GivenUpError as error:
            return [{"id": item.id, "without": str(error)}]
        return []

    report = run(tmp_path, Scripted(lambda text, attempt: '{"number": 1}'), job(1, lenient))
    assert (report.made, report.rejects) == (1, {"odd": 1})


def test_an_unusable_item_is_rejected_without_a_request(tmp_path: Path) -> None:
    def damaged(item: Item) -> Flow:
        if item.id == "i0":
            raise ImageError("The image is damaged.", found="3 bytes")
        if item.id == "i1":
            raise UnusableItemError("no regions")
        return (yield from make(item))

    report = run(tmp_path, Scripted(well), job(3, damaged))
    assert (report.made, report.rejects) == (1, {"unusable_item": 2})
    assert quarantine(tmp_path)[0]["reason"] == "The image is damaged. 3 bytes"


def test_the_output_depends_on_neither_threads_nor_order(tmp_path: Path) -> None:
    def patchy(text: str, attempt: int) -> Answer:
        if "i3" in text and attempt < 1:
            return "{}"
        if "i5" in text:
            return '{"number": 7}'
        return well(text, attempt)

    run(tmp_path / "a", Scripted(patchy), job(12))
    run(tmp_path / "b", Scripted(patchy), job(12), GenerationSettings(concurrency=6))
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")


def test_one_request_at_a_time_for_the_same_words(tmp_path: Path) -> None:
    def same(item: Item) -> Flow:
        number = yield Ask("first", [Message("user", ("the same for all",))], Number, even)
        return [{"id": item.id, "number": number}]

    model = Scripted(well)
    run(tmp_path, model, job(8, same), GenerationSettings(concurrency=8))
    assert sum(model.asked.values()) == 1


def test_a_request_is_paid_once_over_runs(tmp_path: Path) -> None:
    model = Scripted(lambda text, attempt: BudgetSpentError("spent") if "i2" in text else well(text, attempt))
    with pytest.raises(BudgetSpentError, match="same command again"):
        run(tmp_path, model)
    assert not (tmp_path / "conversations.jsonl").exists()
    second = Scripted(well)
    run(tmp_path, second)
    assert set(model.asked) & set(second.asked) == {"i2 first"}
    run(tmp_path / "other", Scripted(well))
    assert outputs(tmp_path)["conversations.jsonl"] == outputs(tmp_path / "other")["conversations.jsonl"]


def test_another_identity_asks_again_only_what_is_new(tmp_path: Path) -> None:
    run(tmp_path, Scripted(well), job(2, rules=1))
    again = Scripted(well)
    assert run(tmp_path, again, job(3, rules=2)).made == 3
    assert set(again.asked) == {"i2 first", f"i2 second after {2 * len('i2 first')}"}


# ---- endpoints that fail -----------------------------------------------------------------------------------


def test_passing_failures_are_tried_in_later_rounds(tmp_path: Path) -> None:
    failures = [UnreachableError("busy", found="HTTP 503"), ModelError("odd"), NotACompletionError("cut")]

    def shaky(text: str, attempt: int) -> Answer:
        return failures[attempt] if "i1 first" in text and attempt < 3 else well(text, attempt)

    run(tmp_path / "a", Scripted(shaky))
    run(tmp_path / "b", Scripted(well))
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")


def test_an_item_without_any_answer_waits_for_the_next_run(tmp_path: Path) -> None:
    dead = Scripted(
        lambda text, attempt: (
            UnreachableError("busy", found="HTTP 503") if "i1" in text else well(text, attempt)
        )
    )
    report = run(tmp_path, dead)
    assert (report.made, report.passing, report.rejects) == (3, 1, {"no_answer": 1})
    assert run(tmp_path, Scripted(well)).made == 4


def test_a_request_that_is_refused_is_quarantined_at_once(tmp_path: Path) -> None:
    refused = RefusedError("refused", found="HTTP 413")
    refused.concerns_request = True
    model = Scripted(lambda text, attempt: refused if "i1" in text else well(text, attempt))
    assert run(tmp_path, model).rejects == {"request_refused": 1}
    assert model.asked["i1 first"] == 1


def gone() -> UnreachableError:
    error = UnreachableError("The chat model cannot be reached.", found="connection refused", fix="start it")
    error.nobody_there = True
    return error


@pytest.mark.parametrize("error", [gone(), RefusedError("The key is wrong.", found="HTTP 401", fix="log in")])
def test_what_the_next_request_would_meet_too_stops_the_run(error: ModelError, tmp_path: Path) -> None:
    model = Scripted(lambda text, attempt: error if "i2" in text else well(text, attempt))
    with pytest.raises(ModelError, match="2 of 4 items are finished"):
        run(tmp_path, model)
    assert run(tmp_path, Scripted(well)).made == 4


def test_failure_after_failure_stops_the_run(tmp_path: Path) -> None:
    model = Scripted(lambda text, attempt: UnreachableError("The chat model is gone.", found="HTTP 500"))
    with pytest.raises(UnreachableError, match="gone"):
        run(tmp_path, model, job(100))
    assert sum(model.asked.values()) == FAST.most_failures


def test_our_own_mistakes_are_not_swallowed(tmp_path: Path) -> None:
    def wrong(item: Item) -> Flow:
        yield Ask("first", [Message("user", ("x",))], Number)
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        run(tmp_path, Scripted(well), job(3, wrong), GenerationSettings(concurrency=3))


# ---- money -------------------------------------------------------------------------------------------------


def test_a_budget_holds_over_all_runs(tmp_path: Path) -> None:
    with pytest.raises(BudgetSpentError):
        run(tmp_path, Scripted(well), budget=Budget(max_requests=3))
    model = Scripted(well)
    with pytest.raises(BudgetSpentError):
        run(tmp_path, model, budget=Budget(max_requests=5))
    assert sum(model.asked.values()) == 2
    with pytest.raises(BudgetSpentError, match="75 tokens"):
        run(tmp_path, model, budget=Budget(max_tokens=75))
    prices = Prices(prompt=1e6, completion=2e6)
    with pytest.raises(BudgetSpentError, match="currency"):
        run(tmp_path, model, budget=Budget(max_money=100, prices=prices))
    report = run(tmp_path, model, budget=Budget(max_money=200, prices=prices))
    assert report.money == 8 * (10 + 2 * 5)


def test_time_is_a_budget(tmp_path: Path) -> None:
    ticks = iter(range(100))
    with pytest.raises(BudgetSpentError, match="seconds"):
        run(tmp_path, Scripted(well), budget=Budget(max_seconds=3, clock=lambda: float(next(ticks))))


def test_budgets_that_allow_nothing_are_refused() -> None:
    for wrong in ({"max_money": 1.0}, {"max_money": 0.0, "prices": Prices(1, 1)}, {"max_seconds": 0.0}):
        with pytest.raises(InputError, match="budget"):
            Budget(**wrong)  # type: ignore[arg-type]


def test_the_estimate_is_guessed_and_then_measured(tmp_path: Path) -> None:
    model = Scripted(well)
    budget = Budget(prices=Prices(1.0, 1.0), max_requests=2)
    with Generation(job(), model, tmp_path, settings=FAST, budget=budget) as generation:
        guess = generation.estimate()
        assert not model.asked
        assert (guess.items, guess.finished, guess.requests, guess.most_requests) == (4, 0, 8, 24)
        assert (guess.prompt_tokens, guess.measured) == (8 * len("i0 first") // 4, False)
        with pytest.raises(BudgetSpentError):
            generation.run(progress=False)
    with Generation(job(), model, tmp_path, settings=FAST) as generation:
        rest = generation.estimate()
        assert (rest.finished, rest.requests, rest.prompt_tokens, rest.measured) == (1, 6, 60, True)
        assert any("unknown" in line for line in rest.lines())


# ---- the folder --------------------------------------------------------------------------------------------


def test_a_folder_has_one_run(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="this system cannot lock files")
    with Generation(job(), Scripted(well), tmp_path), pytest.raises(InputError, match="another run"):
        Generation(job(), Scripted(well), tmp_path)
    run(tmp_path, Scripted(well))


def test_ids_are_unique() -> None:
    with pytest.raises(InputError, match="one id"):
        GenerationJob("numbers", [Item("a"), Item("a")], make)


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="attempts"):
        GenerationSettings(attempts=0)
