"""How fast the stages are on this machine, and that their memory does not grow with the data.

    segue data m4seg-bench --out bench

Everything is made on the spot: scenes, rule-based pairs, random vectors.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segue.datasets.m4seg.build import Build, BuildConfig
from segue.datasets.m4seg.conversations import filter_pairs
from segue.datasets.m4seg.features import DTYPE, Features, normalised
from segue.datasets.m4seg.images import SourceSpec, vocabulary_of
from segue.datasets.m4seg.neighbours import has_faiss, nearest
from segue.datasets.m4seg.sampling import SamplingConfig
from segue.datasets.stages.stages import MapFn, ShardWriter, StageOutput, ranges, read_stage, run_stage
from segue.scenes.build import build as draw_scenes


class _TimedBuild(Build):
    """A build that notes how long each stage took."""

    seconds: dict[str, float]

    def timed(self) -> None:
        self.seconds = {}
        for stage in ("images", "features", "sets", "pairs", "records"):
            start = time.perf_counter()
            self.run(stage)
            self.seconds[stage] = time.perf_counter() - start


def measure_build(folder: Path, scenes: int, map_fn: MapFn = map) -> dict[str, Any]:
    """Build from scenes with the embedded model's features; items per second of each stage, and the hash."""
    source = folder / "scenes"
    draw_scenes(source, seed=0, count=scenes, split="train", progress=False)
    build = _TimedBuild(
        folder / "build",
        BuildConfig([SourceSpec("scenes", str(source))], sampling=SamplingConfig(per_class=50)),
        map_fn=map_fn,
        progress=False,
    )
    build.timed()
    counts, seconds = build.counts(), build.seconds
    report = json.loads((folder / "build" / "report.json").read_text(encoding="utf-8"))
    return {
        "images": counts["images"]["images"],
        "images read per second": counts["images"]["images"] / seconds["images"],
        "images featurised per second": counts["features"]["vectors"] / seconds["features"],
        "pairs": counts["records"]["pairs"],
        "pairs written by rule per second": counts["pairs"]["pairs"] / seconds["pairs"],
        "pairs filtered per second": counts["records"]["pairs"] / seconds["records"],
        "hash": report["hash"],
    }


def measure_neighbours(folder: Path, count: int = 100_000, dim: int = 1024, k: int = 36) -> dict[str, Any]:
    """Exact neighbours of all of `count` random vectors, estimated from the first 2,048 queries."""

    def write(chunk: range, shard: ShardWriter) -> None:
        rng = np.random.default_rng(chunk.start)
        rows = rng.standard_normal((len(chunk), dim), dtype=np.float32)
        shard.array("vectors", normalised(rows).astype(DTYPE))

    config = {"count": count, "dim": dim}
    output = run_stage(folder, ranges(count, 4096), write, config=config, inputs={}, progress=False)
    features, rows = Features(output), np.arange(count, dtype=np.int64)
    queries = rows[: min(2048, count)]
    start = time.perf_counter()
    nearest(features, queries, rows, k, "exact")
    seconds = time.perf_counter() - start
    return {
        "vectors": count,
        "dim": dim,
        "library": "faiss" if has_faiss() else "numpy",
        "seconds for 2,048 queries": seconds,
        "seconds for all": seconds * count / len(queries),
    }


def measure_memory(build: Path, folder: Path, records: int) -> dict[str, Any]:
    """Peak memory of a process that filters `records` pairs, those of a build again and again."""
    # A process of its own: peak memory is that of a whole process and never falls again.
    command = [sys.executable, "-m", "segue.datasets.m4seg.measure", str(build), str(folder), str(records)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def growth(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How the peak memory of the largest of several measurements compares with that of the smallest."""
    few, many = (choose(told, key=lambda one: one["records"]) for choose in (min, max))
    return {
        "times the records": round(many["records"] / few["records"], 1),
        "times the peak memory": round(many["peak MiB"] / few["peak MiB"], 3),
    }


def filter_again(build: Path, folder: Path, records: int) -> dict[str, Any]:
    """Filter the pairs of a build until `records` are done, and say how much memory that took at most."""

    def stage(*names: str) -> StageOutput:
        output = read_stage(build.joinpath("stages", *names))
        if output is None:
            raise FileNotFoundError(f"no complete stage in {build.joinpath('stages', *names)}")
        return output

    images, sets, pairs = stage("images"), stage("sets", "kept"), stage("pairs")
    # Rounded up.
    repeats = -(-records // pairs.counts()["pairs"])

    def repeat(chunk: range, shard: ShardWriter) -> None:
        for _ in chunk:
            for line in pairs.lines("pairs"):
                shard.line("pairs", line)

    many = run_stage(
        folder / "pairs", ranges(repeats, 1), repeat, config={"n": repeats}, inputs={}, progress=False
    )
    start = time.perf_counter()
    done = filter_pairs(
        folder / "records", images, sets, many, vocabulary_of(images, []), out=folder, masks="store",
        progress=False,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    told = {"records": done.counts()["pairs"], "peak MiB": round(_peak_mib(), 1)}
    return {**told, "seconds": round(seconds, 1)}


def _peak_mib() -> float:
    """The most memory that this process has held so far."""
    status = Path("/proc/self/status")
    if not status.is_file():
        import resource

        # In bytes on macOS, in KiB elsewhere.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)
    # Not `getrusage`: what it says of a child begins with what the parent held when it started the child.
    lines = status.read_text(encoding="ascii").splitlines()
    [kilobytes] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(kilobytes) / 1024


def rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Figures to one decimal, for people."""
    return {name: round(value, 1) if isinstance(value, float) else value for name, value in values.items()}


if __name__ == "__main__":
    print(json.dumps(filter_again(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
