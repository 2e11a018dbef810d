"""Cache of a chat model's replies on the disk: each request is sent once, also over runs that are killed.

A request is written to `requests.jsonl` before it is sent, and its reply to `replies.jsonl` before it is
returned. Of a request in flight when the process is killed the outcome cannot be known: it is sent again with
the same idempotency key, which a server that honours such keys does not charge again, and is counted in
`ReplyCache.unanswered` for the servers that do not.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from segue.chat_model import Budget, ChatModel, ChatReply, Message, OpenAIChatModel, fingerprint
from segue.datasets.generation.asking import Ask
from segue.datasets.generation.ledger import Ledger
from segue.errors import ModelError

REPLIES, REQUESTS = "replies.jsonl", "requests.jsonl"


class ReplyCache:
    """Replies of one model by the fingerprint of their request; safe to use from several threads.

    Args:
        model: Answers what is not in the cache.
        folder: Where the two ledgers lie; what is in them counts against the budget.
        budget: Limit over all runs in this folder (its time: of this run).

    Attributes:
        reused: Replies that were found in the cache.
        unanswered: Requests that earlier runs sent and have no reply to, since they were killed.
    """

    def __init__(self, model: ChatModel, folder: Path, budget: Budget) -> None:
        self.model, self.budget = model, budget
        self.replies, self.requests = Ledger(folder / REPLIES), Ledger(folder / REQUESTS)
        self.reused = 0
        self._busy: dict[str, tuple[threading.Lock, int]] = {}
        self._guard = threading.Lock()
        self.unanswered = self._count_earlier_use()

    def reply(
        self, ask: Ask, messages: Sequence[Message], attempt: int, where: Mapping[str, str]
    ) -> ChatReply:
        """Return the reply to an attempt of an ask, from the cache or from the model.

        Args:
            ask: What is asked.
            messages: Those of the ask, or of a later attempt (`Ask.again`).
            attempt: From 0.
            where: Entries for people who read the ledger: item and step.

        Raises:
            ModelError: There is no reply, or the budget is used up.
        """
        schema, sampling = ask.shape.model_json_schema(), ask.sampling_of(attempt)
        key = fingerprint(self.model.name, messages, schema, ask.max_tokens, sampling, attempt)
        # Two items may ask the very same thing at the same time; the second waits and finds it in the cache.
        with self._alone(key):
            known = self.replies.get(key)
            if known is not None:
                self.reused += 1
                return reply_from(known)
            self.budget.start_request()
            # A power cut may lose this line, which makes `unanswered` too small; a reply's may not be lost,
            # it was paid for.
            self.requests.append({"key": key, **where}, synced=False)
            complete = self.model.complete
            # The only model that sends an idempotency key; the others take none.
            if isinstance(self.model, OpenAIChatModel):
                complete = partial(self.model.complete_once, key)
            try:
                reply = complete(messages, schema=schema, max_tokens=ask.max_tokens, **sampling)
            except ModelError as error:
                self.requests.append({"key": key, "failed": error.found[:300]}, synced=False)
                raise
            self.replies.append({"key": key, **where, "attempt": attempt, "reply": asdict(reply)})
            self.budget.count_usage(*reply.tokens)
            return reply

    def close(self) -> None:
        """Close both ledgers."""
        self.replies.close()
        self.requests.close()

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Keep a key to one thread; the lock is dropped with its last user."""
        with self._guard:
            lock, users = self._busy.get(key, (threading.Lock(), 0))
            self._busy[key] = lock, users + 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._busy.pop(key)
                if users > 1:
                    self._busy[key] = lock, users - 1

    def _count_earlier_use(self) -> int:
        """Count earlier runs against the budget; returns how many of their requests have no outcome."""
        pending: Counter[str] = Counter()
        for line in self.requests:
            # One for each request sent, minus one for each failure or reply: what is left above 0 was cut off
            # by a kill.
            pending[line["key"]] += -1 if "failed" in line else 1
            self.budget.requests += 0 if "failed" in line else 1
        for line in self.replies:
            pending[line["key"]] -= 1
            self.budget.count_usage(*reply_from(line).tokens)
        return sum(count for count in pending.values() if count > 0)


def reply_from(line: Mapping[str, Any]) -> ChatReply:
    """The reply in a line of the ledger."""
    return ChatReply.from_record(line["reply"])
