"""Several processes for one evaluation, each with the model to itself and a file of its own.

The parent reads no model. It shares the unanswered conversations out, waits, and merges the files; a process
that loses its parent ends after the conversation that it is at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segue.errors import ModelError
from segue.evaluation.asking import answer_missing, collect, missing
from segue.evaluation.evaluate import AskingOptions, answerers
from segue.evaluation.evaluation_data import EvaluationData, read_evaluation_data

PAUSE = 0.2
"""Seconds between looks at what the processes have written."""


def answer_in_shards(
    out: Path,
    data: EvaluationData,
    source: dict[str, Any],
    model: str,
    device: str | None,
    asking: AskingOptions,
    shards: int,
    lock: int,
    progress: Callable[[int, int], None] | None = None,
    batch_size: int = 1,
) -> None:
    """Answer what is missing in a folder, in several processes.

    Args:
        out: The folder, taken by `evaluation_folder`.
        data: What is asked.
        source: Arguments of `read_evaluation_data` that give the same data again.
        model, device: Of `segue.load`; several CUDA devices are shared out.
        asking: Options.
        shards: Processes.
        lock: Descriptor of the folder's lock, which the processes hold too.
        progress: Called with (done, total).
        batch_size: Conversations that each process asks together.

    Raises:
        ModelError: A process failed; what it answered before is kept.
    """
    stems = ["predictions", *(["teacher_forced"] if asking.teacher_forced else [])]
    left = {stem: missing(collect(out, stem, data.conversations)) for stem in stems}
    total = len(stems) * len(data.conversations)
    asked = sum(map(len, left.values()))
    workers = []
    for shard in range(min(shards, max(map(len, left.values())))):
        task = {
            "parent": os.getpid(),
            "out": str(out),
            "source": source,
            "model": model,
            "device": _device(device, shard),
            "asking": asdict(asking),
            "batch_size": batch_size,
            "name": f"shard-{shard + 1}-of-{shards}",
            "places": {stem: places[shard::shards] for stem, places in left.items()},
        }
        workers.append(_start(task, threads=max(1, (os.cpu_count() or 1) // shards), lock=lock))
    try:
        while any(worker.poll() is None for worker in workers):
            time.sleep(PAUSE)
            if progress is not None:
                progress(total - asked + _lines(out), total)
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.terminate()
                worker.wait()
    failed = [worker.returncode for worker in workers if worker.returncode]
    if failed:
        raise ModelError(
            "A process of the evaluation failed.",
            expected=f"{len(workers)} processes that end well",
            found=f"exit code {failed[0]} of {len(failed)} of them; their messages stand above",
            where=str(out),
            fix="mend what they say and run the same command again: it goes on where they stopped",
        )


def _start(task: dict[str, Any], threads: int, lock: int) -> subprocess.Popen[bytes]:
    """A process with its task on stdin; the descriptor of the folder's lock goes with it."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "segue.evaluation.sharding"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, pass_fds=[lock])
    assert process.stdin is not None
    process.stdin.write(json.dumps(task).encode())
    process.stdin.close()
    return process


def main() -> None:
    """Answer one shard; what to do comes as JSON on stdin."""
    from segue.loading import load

    task = json.load(sys.stdin)
    source: dict[str, Any] = {
        name: Path(value) if name in ("path", "images") and value else value
        for name, value in task["source"].items()
    }
    data = read_evaluation_data(**source)
    asking = AskingOptions(**task["asking"])
    bundle = load(task["model"], task["device"], asking.dtype, asking.quantize)
    for stem, answer in answerers(bundle, data, asking).items():
        path = Path(task["out"]) / f"{stem}.{task['name']}.jsonl"
        answer_missing(
            path,
            data.conversations,
            task["places"][stem],
            answer,
            batch_size=task["batch_size"],
            go_on=lambda: os.getppid() == task["parent"],
        )


def _device(device: str | None, shard: int) -> str | None:
    if device is not None:
        return device
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{shard % count}" if count else None


def _lines(out: Path) -> int:
    return sum(part.read_bytes().count(b"\n") for part in out.glob("*.shard-*.jsonl"))


if __name__ == "__main__":
    main()
