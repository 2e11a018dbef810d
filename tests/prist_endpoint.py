"""A server that plays PRIST's three steps, well or in more than ten bad ways, and keeps accounts.

What it answers depends on the request alone, so that it is the same whenever and however often it is asked:
pictures are told apart by their pixels. Failures on the way (timeouts, 429, 500, broken connections) hit the
first deliveries of a request and cost nothing; useless replies (empty, cut off, leaking, ...) are charged.
A request that comes again with an idempotency key that was charged before is answered but not charged.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

THINGS = ("kettle", "ladder", "violin", "bucket", "helmet", "basket", "candle", "pillow")
ON_THE_WAY = ("timeout", "busy", "broken", "dropped", "half_body", "no_json_body")
USELESS = ("empty", "refused", "truncated", "wrong_schema", "prose", "duplicated_focus", "leaked", "one_turn")


class PristEndpoint:
    """The server.

    Args:
        faults: Share of first attempts that go wrong.
        kinds: In which ways; any of `ON_THE_WAY` and `USELESS`.
        delay: Seconds before each answer.
        slow: Seconds that a "timeout" takes; longer than the client waits.
        idempotent: Whether it knows idempotency keys.
        hopeless: Steps whose every reply is useless, for pictures whose hash is divisible by 3.
    """

    def __init__(
        self,
        *,
        faults: float = 0.0,
        kinds: tuple[str, ...] = ON_THE_WAY + USELESS,
        delay: float = 0.0,
        slow: float = 1.0,
        idempotent: bool = True,
        hopeless: str = "",
    ) -> None:
        self.faults, self.delay, self.slow, self.idempotent = faults, delay, slow, idempotent
        self.hopeless, self.kinds = hopeless, kinds
        self.deliveries: Counter[str] = Counter()
        self.charges: Counter[str] = Counter()
        self.modes: Counter[str] = Counter()
        self.paid_keys: set[str] = set()
        self._guard = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with suppress(OSError):  # the client was killed, or has given up
                    endpoint._serve(self, json.loads(body), self.headers.get("Idempotency-Key"))

            def log_message(self, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *arguments: Any) -> None:
                pass  # killed clients break their connections

        self._http = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()

    @property
    def received(self) -> int:
        """Requests so far."""
        return sum(self.deliveries.values())

    def _serve(self, handler: BaseHTTPRequestHandler, request: dict[str, Any], key: str | None) -> None:
        digest = hashlib.sha256(json.dumps(request["messages"]).encode()).hexdigest()
        with self._guard:
            delivery = self.deliveries[digest]
            self.deliveries[digest] += 1
        chance = random.Random(digest)
        attempts = sum("cannot be used" in _text(m) for m in request["messages"])
        mode, lasts = "well", 0
        if chance.random() < self.faults and not attempts:
            mode, lasts = chance.choice(self.kinds), chance.randint(1, 2)
        if self.hopeless and _step(request["messages"]) == self.hopeless and _picture(request) % 3 == 0:
            mode = "empty"
        with self._guard:
            self.modes[mode] += 1
        time.sleep(self.delay)
        if mode in ON_THE_WAY and delivery < lasts:
            return self._fail(handler, mode)
        with self._guard:
            if not (self.idempotent and key in self.paid_keys):
                self.charges[digest] += 1
            if key:
                self.paid_keys.add(key)
        _send(handler, 200, _completion(request, "well" if mode in ON_THE_WAY else mode))
        return None

    def _fail(self, handler: BaseHTTPRequestHandler, mode: str) -> None:
        if mode == "timeout":
            time.sleep(self.slow)
            handler.close_connection = True
        elif mode == "busy":
            _send(handler, 429, {"error": {"message": "slow down"}}, {"Retry-After": "0"})
        elif mode == "broken":
            _send(handler, 500, {"error": {"message": "oops"}})
        elif mode == "dropped":
            handler.close_connection = True
            handler.connection.close()
        elif mode == "half_body":
            handler.send_response(200)
            handler.send_header("Content-Length", "500")
            handler.end_headers()
            handler.wfile.write(b'{"choices": [')
            handler.close_connection = True
        else:
            _send(handler, 200, b"<html>a gateway speaks</html>")


def build_dialogues(url: str, images: str, out: str) -> None:
    """What `segue data prist build` does, with a client that does not wait long; fit for a child process."""
    from segue.chat_model import OpenAIChatModel, RetryPolicy
    from segue.datasets.generation import Generation, GenerationSettings
    from segue.datasets.prist.build import PristSettings, PristSource, images_in, prist_job

    retry = RetryPolicy(timeout=0.5, first_wait=0.01, longest_wait=0.02)
    model = OpenAIChatModel(url, "scripted", api_key="", retry=retry)
    job = prist_job(PristSource(images_in(Path(images)), Path(out)), PristSettings(split="val"))
    with Generation(job, model, out, settings=GenerationSettings(concurrency=3)) as generation:
        generation.run(progress=False)


def _send(handler: BaseHTTPRequestHandler, status: int, content: Any, headers: Any = ()) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    handler.send_response(status)
    for name, value in dict(headers).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part["type"] == "text")


def _step(messages: list[dict[str, Any]]) -> str:
    for message in reversed(messages):
        text = _text(message) if message["role"] == "user" else ""
        for mark, step in (
            ("Step 1", "elements"), ("Step 2", "tree"), ("Step 3", "dialogue"), ("Where in the", "box")
        ):  # fmt: skip
            if text.startswith(mark):
                return step
    raise AssertionError("a request of no step")


def _picture(request: dict[str, Any]) -> int:
    for message in request["messages"]:
        for part in message["content"] if isinstance(message["content"], list) else ():
            if part["type"] == "image_url":
                return int(hashlib.sha256(part["image_url"]["url"].encode()).hexdigest()[:8], 16)
    raise AssertionError("a request without a picture")


def _completion(request: dict[str, Any], mode: str) -> dict[str, Any]:
    text: str | None = json.dumps(_reply(request, mode))
    message: dict[str, Any] = {"role": "assistant"}
    finish = "stop"
    if mode == "empty":
        text = ""
    elif mode == "refused":
        text, message["refusal"] = None, "I would rather not."
    elif mode == "truncated":
        text, finish = str(text)[:25], "length"
    elif mode == "wrong_schema":
        text = json.dumps({"answer": [1, 2, 3]})
    elif mode == "prose":
        text = "I think that this picture is lovely."
    usage = {"prompt_tokens": 900, "completion_tokens": 120}
    choice = {"message": message | {"content": text}, "finish_reason": finish}
    return {"model": "scripted", "choices": [choice], "usage": usage}


def _reply(request: dict[str, Any], mode: str) -> dict[str, Any]:
    """The reply of a step; some modes spoil what no schema can see."""
    step, chance = _step(request["messages"]), random.Random(_picture(request))
    outlined = _outlined(request)
    things = outlined or chance.sample(THINGS, 5)
    if step == "elements":
        found = [{"name": t, "details": f"A {t} on a shelf.", "text": "", "count": 1} for t in things]
        return {"elements": found[:1] if mode in ("duplicated_focus", "leaked", "one_turn") else found}
    if step == "tree":
        nodes = [{"id": "a", "parent": "root", "thought": "Some of it is of use at home."}]
        paths = []
        for number, thing in enumerate(things[:3]):
            nodes.append({"id": f"n{number}", "parent": "a", "thought": f"Use number {number} stands out."})
            focus = things[0] if mode == "duplicated_focus" else f"old {thing.split()[0]} of brass {number}"
            leaked = f"Where is the {focus}?" if mode == "leaked" else f"What is of use for job {number}?"
            paths.append(
                {"question": leaked, "rating": 3, "leaf": f"n{number}", "element": thing, "focus": focus}
            )
        return {"root": "A shelf.", "nodes": nodes, "paths": paths[:1] if mode == "one_turn" else paths}
    focus = ""
    for message in request["messages"]:
        focus = _text(message).partition('whose focus is "')[2].partition('"')[0] or focus
    if step == "box":
        return {"box": [100, 200, 100 if mode in ("leaked", "one_turn", "duplicated_focus") else 600, 700]}
    turns = [
        {"question": "What is on the shelf?", "answer": "Things of metal."},
        {
            "question": f"Which is {focus}?" if mode == "leaked" else "Which one is old?",
            "answer": "One of them.",
        },
        {"question": "What is it?", "answer": f"It is the {focus}."},
    ]
    return {"turns": turns[:1] if mode in ("one_turn", "duplicated_focus") else turns}


def _outlined(request: dict[str, Any]) -> list[str]:
    """The names of the outlined things, where the request lists some."""
    _, _, after = _text(request["messages"][1]).partition("these names for them:")
    return [line.rpartition(" [")[0] for line in after.strip().splitlines() if " [" in line]
