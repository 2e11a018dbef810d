"""The embedded model under load, as a process: nothing lost or crossed, memory bounded, a soft end."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from PIL import Image

from serving import serving_process, shown

pytestmark = pytest.mark.slow

REQUESTS, CLIENTS, PLACES = 200, 16, 12
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def photographs() -> dict[str, Image.Image]:
    data = pytest.importorskip("skimage.data")
    return {name: Image.fromarray(getattr(data, name)()) for name in ("chelsea", "coffee")}


@pytest.fixture
def served(repository: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`segue serve` with fewer places than there are clients, and its address."""
    # Little enough to be full long before the end: what grows after that is not bounded.
    options = ("--queue", str(PLACES), "--cache-mb", "32")
    with serving_process(*options, repository=repository, log=tmp_path / "log", seconds=300) as served:
        yield served


@dataclass
class Outcome:
    """What a client got: "answered", "refused" with 429, or what else; and whether it was right."""

    what: str
    right: bool = True


def ask(base: str, number: int, photographs: dict[str, Image.Image]) -> Outcome:
    """Ask where the cat is, in pictures of sizes that no other request has, streamed or not."""
    order = ("chelsea", "coffee") if number % 2 else ("coffee", "chelsea")
    sizes = [(180 + number % 40, 160 + number // 40), (190 + number // 40, 150 + number % 40)]
    pictures = [photographs[name].resize(size) for name, size in zip(order, sizes, strict=True)]
    client = openai.OpenAI(base_url=base, api_key="none", max_retries=0, timeout=600)
    request: dict[str, Any] = {
        "model": "segue-mini",
        "messages": [shown(*pictures, text="Where is the cat?")],
    }
    try:
        if number % 3:
            message = client.chat.completions.create(**request).choices[0].message
        else:
            with client.chat.completions.stream(**request) as stream:
                message = stream.get_final_completion().choices[0].message
    except openai.RateLimitError as refused:
        return Outcome("refused", int(refused.response.headers["retry-after"]) >= 1)
    except openai.OpenAIError as error:
        return Outcome(f"{type(error).__name__}: {error}", False)
    place = order.index("chelsea")
    (found,) = message.segue["groundings"] or [None]
    # The mask lies in this request's cat, at this picture's own size.
    right = (
        found is not None
        and found["phrase"] == "cat"
        and found["image_index"] == place
        and found["segmentation"]["size"] == list(reversed(sizes[place]))
        and [(i["width"], i["height"]) for i in message.segue["images"]] == sizes
        and f"image {place + 1}" in message.content
    )
    return Outcome("answered", right)


def test_200_requests_from_16_clients(
    served: tuple[subprocess.Popen[str], str], photographs: dict[str, Image.Image]
) -> None:
    process, base = served
    memory, held, counts = psutil.Process(process.pid), list[int](), Counter[str]()

    def one(number: int) -> Outcome:
        """Ask until there is a place."""
        while True:
            outcome = ask(base, number, photographs)
            counts[outcome.what] += 1
            if outcome.what != "refused":
                held.append(memory.memory_info().rss)
                return outcome
            assert outcome.right, "a refusal says when to come again"
            time.sleep(0.3)

    with ThreadPoolExecutor(CLIENTS) as pool:
        seen = list(pool.map(one, range(REQUESTS)))
    assert set(counts) <= {"answered", "refused"}, counts
    assert counts["answered"] == REQUESTS
    assert counts["refused"] >= CLIENTS - PLACES
    assert all(outcome.right for outcome in seen), [k for k, o in enumerate(seen) if not o.right]
    # In the second half all that is kept is there: 32 MiB of features, eight sessions, and the pictures'
    # files of 0.1 MiB. Features of its 200 pictures, of 0.7 MiB each, would show.
    early, late = max(held[: REQUESTS // 2]), max(held[REQUESTS // 2 :])
    print(json.dumps(counts), f"memory {early / MEBIBYTE:.0f} MiB, then {late / MEBIBYTE:.0f} MiB")
    assert late - early < 100 * MEBIBYTE
    assert late < 2048 * MEBIBYTE


def test_requests_under_way_are_answered_after_sigterm(
    served: tuple[subprocess.Popen[str], str], photographs: dict[str, Image.Image]
) -> None:
    process, base = served
    assert ask(base, 0, photographs) == Outcome("answered")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, base, number, photographs) for number in range(1, 9)]
        client = openai.OpenAI(base_url=base, api_key="none", max_retries=0)
        metrics = base.removesuffix("/v1") + "/metrics"
        ends = time.monotonic() + 120
        # All eight have a place before the end is asked for.
        while "segue_requests_under_way 8.0" not in client._client.get(metrics).text:
            assert time.monotonic() < ends
            assert not any(one.done() for one in asked), "asked for too late: nothing would be shown"
        process.send_signal(signal.SIGTERM)
        assert [one.result() for one in asked] == [Outcome("answered")] * 8
    assert process.wait(60) == 0
    assert ask(base, 9, photographs).what.startswith("APIConnectionError")
