"""A chat model writes the pairs: prompts, failures of ten kinds, and kill -9 at any moment."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from m4seg_images import Thumbnails
from prist_endpoint import ON_THE_WAY, PristEndpoint
from segue.chat_model import Budget, OpenAIChatModel, Prices, RetryPolicy
from segue.datasets.generation import GenerationSettings, UnusableReplyError
from segue.datasets.m4seg.asking import SetItems, WrittenPair, WrittenPairs, messages_for, usable
from segue.datasets.m4seg.build import Asking, Build, BuildConfig
from segue.datasets.m4seg.images import ImageStore, SourceSpec
from segue.datasets.m4seg.sampling import ImageSet, SamplingConfig
from segue.datasets.stages.stages import StoredLines, read_stage
from segue.errors import ModelError

USELESS = ("empty", "refused", "truncated", "wrong_schema", "too_few", "no_ids")
SAMPLING = SamplingConfig(test_share=0.0, per_class=0, max_sets=8)


class PairsEndpoint(PristEndpoint):
    """Writes three pairs about the first object of each image; fails in the ways of its parent."""

    def _serve(self, handler: Any, request: dict[str, Any], key: str | None) -> None:
        digest = hashlib.sha256(json.dumps(request["messages"]).encode()).hexdigest()
        with self._guard:
            delivery = self.deliveries[digest]
            self.deliveries[digest] += 1
        chance = random.Random(digest)
        again = any("cannot be used" in json.dumps(message) for message in request["messages"])
        mode = chance.choice(ON_THE_WAY + USELESS) if chance.random() < self.faults and not again else "well"
        with self._guard:
            self.modes[mode] += 1
        time.sleep(self.delay)
        if mode in ON_THE_WAY and delivery < 1:
            self._fail(handler, mode)
            return
        with self._guard:
            if key not in self.paid_keys:
                self.charges[digest] += 1
                self.paid_keys.add(str(key))
        _say(handler, _reply(json.dumps(request["messages"]), mode))


def _reply(prompt: str, mode: str) -> tuple[str, str]:
    """Text and finish reason."""
    first = {}
    for name, code in re.findall(r"\\n  ([a-z ]+) (\d{3}) \[", prompt):
        first.setdefault(code[0], f"the {name} {code}")
    listed = " and ".join(first.values())
    pairs = [
        {
            "question": "How do the images differ?",
            "answer": f"They differ by {listed}.",
            "kind": "open_ended",
        },
        {"question": "What is where?", "answer": f"In view are {listed}.", "kind": "spatial"},
        {"question": "Where is the box?", "answer": f"The bounding box of {listed}.", "kind": "numerical"},
    ]
    if mode == "too_few":
        pairs = pairs[:1]
    elif mode == "no_ids":
        pairs = [pair | {"answer": "They differ."} for pair in pairs]
    elif mode == "wrong_schema":
        return json.dumps({"pairs": pairs}), "stop"
    text = json.dumps({"qa": pairs})
    if mode == "truncated":
        return text[: len(text) // 2], "length"
    return ("" if mode == "empty" else "I cannot help." if mode == "refused" else text), "stop"


def _say(handler: Any, reply: tuple[str, str]) -> None:
    choice = {"message": {"role": "assistant", "content": reply[0]}, "finish_reason": reply[1]}
    usage = {"prompt_tokens": 900, "completion_tokens": 200}
    body = json.dumps({"model": "scripted", "choices": [choice], "usage": usage}).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def build_with(url: str, root: str, out: str) -> None:
    """Build from a folder of scenes; runs in a process of its own too."""
    model = OpenAIChatModel(url, "scripted", api_key="", retry=RetryPolicy(timeout=0.6, first_wait=0.01))
    asking = Asking(model, GenerationSettings(concurrency=3))
    config = BuildConfig([SourceSpec("scenes", root)], Thumbnails(), SAMPLING)
    Build(out, config, asking=asking, progress=False).run()


@pytest.fixture
def endpoint() -> Iterator[PairsEndpoint]:
    server = PairsEndpoint()
    yield server
    server.close()


def test_the_prompt_holds_images_identifiers_and_boxes(built: Path) -> None:
    images, sets = read_stage(built / "stages" / "images"), read_stage(built / "stages" / "sets" / "kept")
    assert images is not None
    assert sets is not None
    lines = StoredLines(sets, "sets")
    image_set = ImageSet.from_json(lines[0])
    system, user = messages_for(ImageStore(images), image_set)
    text = "".join(part for part in user.content if isinstance(part, str))
    assert sum(not isinstance(part, str) for part in user.content) == len(image_set.rows)
    for n in range(1, len(image_set.rows) + 1):
        assert re.search(rf"Image {n} \(96x96\)\n  [a-z ]+ {n}01 \[\d+,\d+,\d+,\d+\]", text)
    for kind in ("functional", "spatial", "numerical", "open_ended"):
        assert kind in str(system.content[0])
    assert "$" not in text + str(system.content[0]), "every field is filled in"
    items = SetItems(lines)
    assert len(list(items)) == len(items) == len(lines)
    assert items[:2] == [items[0], items[1]]


def test_replies_are_checked_for_what_no_filter_sees() -> None:
    good = WrittenPair(question="q", answer="the cat 101", kind="spatial")
    assert len(usable(WrittenPairs(qa=[good] * 7))) == 5
    assert len(usable(WrittenPairs(qa=[good] * 3))) == 3
    for wrong in ([good] * 2, [good, good, good.model_copy(update={"answer": " "})]):
        with pytest.raises(UnusableReplyError):
            usable(WrittenPairs(qa=wrong))


def test_pairs_of_a_chat_model_are_filtered_and_kept(
    endpoint: PairsEndpoint, specs: list[SourceSpec], tmp_path: Path
) -> None:
    build_with(endpoint.url, specs[0].root, str(tmp_path))
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["generator"] == "scripted"
    assert report["pairs"] == {"train": 16, "test": 0, "dropped": 8}
    assert endpoint.received == 8
    rejected = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert {line["filter"] for line in rejected} == {"b"}
    build_with(endpoint.url, specs[0].root, str(tmp_path))
    assert endpoint.received == 8, "nothing is paid for twice"


class Chatter(PairsEndpoint):
    """Says the same to everything."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def _serve(self, handler: Any, request: dict[str, Any], key: str | None) -> None:
        _say(handler, (self.text, "stop"))


NO_PLACE = {"question": "What?", "answer": "The unicorn 999.", "kind": "spatial"}


@pytest.mark.parametrize(
    ("text", "said", "left"),
    [
        # Nothing of it is a pair; or there are pairs, and the filters keep none.
        ("I would rather not.", "not_json 8", "stages/asked/quarantine.jsonl"),
        (json.dumps({"qa": [NO_PLACE] * 3}), "24 pairs left out", "rejected.jsonl"),
    ],
)
def test_a_build_without_a_usable_reply_fails_and_says_why(
    text: str, said: str, left: str, specs: list[SourceSpec], tmp_path: Path
) -> None:
    server, lines = Chatter(text), []
    model = OpenAIChatModel(server.url, "scripted", api_key="")
    asking = Asking(model, budget=Budget(prices=Prices(10, 20)), tell=lines.extend)
    config = BuildConfig([SourceSpec("scenes", specs[0].root)], Thumbnails(), SAMPLING)
    try:
        with pytest.raises(ModelError) as caught:
            Build(tmp_path, config, asking=asking, progress=False).run()
    finally:
        server.close()
    assert said in caught.value.found
    assert caught.value.where == str(tmp_path / left)
    assert (tmp_path / left).stat().st_size
    spent = next(line for line in lines if line.startswith("spent"))
    assert re.search(r"\d+ requests, \d+ tokens, \d+\.\d\d", spent), spent


def test_an_estimate_may_stop_it(
    endpoint: PairsEndpoint, config: BuildConfig, built: Path, tmp_path: Path
) -> None:
    for stage in ("images", "features", "sets"):
        shutil.copytree(built / "stages" / stage, tmp_path / "stages" / stage)
    told: list[str] = []

    def refuse(lines: Any) -> bool:
        told.extend(lines)
        return False

    asking = Asking(OpenAIChatModel(endpoint.url, "scripted", api_key=""), confirm=refuse)
    assert Build(tmp_path, replace(config), asking=asking, progress=False).run() is None
    assert "tokens" in " ".join(told)
    assert endpoint.received == 0


def test_killed_ten_times_it_ends_with_the_same_bytes(specs: list[SourceSpec], tmp_path: Path) -> None:
    shaky, steady = PairsEndpoint(faults=0.7, slow=0.7, delay=0.03), PairsEndpoint(faults=0.7, slow=0.7)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["segue.datasets.m4seg.build", "m4seg_images", "prist_endpoint"])
    rng = random.Random(1)
    kills = 0
    try:
        build_with(steady.url, specs[0].root, str(tmp_path / "once"))
        while True:
            process = context.Process(
                target=build_with, args=(shaky.url, specs[0].root, str(tmp_path / "often"))
            )
            process.start()
            until = shaky.received + rng.randint(0, 1)
            while process.is_alive() and (kills >= 10 or shaky.received < until):
                time.sleep(0.005)
            if process.is_alive():
                time.sleep(rng.random() * 0.02)
                os.kill(process.pid or 0, signal.SIGKILL)
                kills += 1
            process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
    finally:
        shaky.close()
        steady.close()
    assert kills == 10
    for name in ("train.jsonl", "test.jsonl", "rejected.jsonl", "report.json"):
        assert (tmp_path / "often" / name).read_bytes() == (tmp_path / "once" / name).read_bytes(), name
    assert shaky.charges == steady.charges
    assert set(shaky.charges.values()) == {1}, "each prompt is charged once"
