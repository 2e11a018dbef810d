"""Stages: same bytes however they were run, resumed after a kill, run again only when something changed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.datasets.stages.stages import JOURNAL, MANIFEST, ShardWriter, ranges, read_stage, run_stage
from segue.errors import InputError, RecordError


class Squares:
    """Writes the squares of a range, and remembers which ranges it was given."""

    def __init__(self) -> None:
        self.seen: list[range] = []

    def __call__(self, chunk: range, shard: ShardWriter) -> None:
        self.seen.append(chunk)
        for n in chunk:
            shard.line("odd" if n % 2 else "even", {"n": n, "square": n * n})
        shard.count("numbers", len(chunk))
        shard.array("rows", np.asarray(chunk, dtype=np.int32))


def run(folder: Path, work: Squares | None = None, **changes: Any) -> Any:
    settings = {"config": {"size": 4}, "inputs": {"numbers": "a"}, "progress": False, **changes}
    return run_stage(folder, ranges(18, 4), work or Squares(), **settings)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_stage_writes_and_counts_everything(tmp_path: Path) -> None:
    output = run(tmp_path / "squares")
    assert [line["n"] for line in output.lines("odd")] == list(range(1, 18, 2))
    assert output.total("even") == 9
    assert output.counts()["numbers"] == 18
    assert [rows for _, rows in output.files("rows")] == [4, 4, 4, 4, 2]


def test_nothing_is_done_twice(tmp_path: Path) -> None:
    run(tmp_path / "squares")
    before = content(tmp_path / "squares")
    work = Squares()
    assert run(tmp_path / "squares", work).reused
    assert work.seen == []
    assert content(tmp_path / "squares") == before


@pytest.mark.parametrize("change", [{"config": {"size": 5}}, {"inputs": {"numbers": "b"}}])
def test_a_changed_input_or_setting_runs_it_again(tmp_path: Path, change: dict[str, Any]) -> None:
    first = run(tmp_path / "squares")
    work = Squares()
    second = run(tmp_path / "squares", work, **change)
    assert len(work.seen) == 5
    assert second.key != first.key
    assert second.hash == first.hash, "following stages see the same content and stay"


def test_stale_shards_go_and_foreign_files_stay(tmp_path: Path) -> None:
    run(tmp_path / "squares")
    (tmp_path / "squares" / "notes.txt").write_text("mine")
    run_stage(tmp_path / "squares", ranges(4, 4), Squares(), config={}, inputs={}, progress=False)
    assert not (tmp_path / "squares" / "odd-00001.jsonl").exists()
    assert (tmp_path / "squares" / "notes.txt").read_text() == "mine"


class Interrupted(Exception):
    pass


def stops_after(count: int) -> Callable[..., Iterator[Any]]:
    def run_some(fn: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        for done, item in enumerate(items):
            if done == count:
                raise Interrupted
            yield fn(item)

    return run_some


def test_an_interrupted_stage_goes_on_where_it_stopped(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(tmp_path / "squares", map_fn=stops_after(2))
    assert read_stage(tmp_path / "squares") is None
    work = Squares()
    output = run(tmp_path / "squares", work)
    assert [chunk.start for chunk in work.seen] == [8, 12, 16]
    assert output.hash == read_stage(tmp_path / "whole").hash  # type: ignore[union-attr]
    without_manifest = {
        name: data for name, data in content(tmp_path / "squares").items() if name != MANIFEST
    }
    assert without_manifest == {n: d for n, d in content(tmp_path / "whole").items() if n != MANIFEST}


def test_half_a_journal_line_costs_one_shard(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path / "squares", map_fn=stops_after(3))
    journal = tmp_path / "squares" / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-10])
    work = Squares()
    run(tmp_path / "squares", work)
    assert [chunk.start for chunk in work.seen] == [8, 12, 16]


def test_a_lost_file_costs_one_shard(tmp_path: Path) -> None:
    first = run(tmp_path / "squares")
    (tmp_path / "squares" / "even-00003.jsonl").unlink()
    work = Squares()
    second = run(tmp_path / "squares", work)
    assert [chunk.start for chunk in work.seen] == [12]
    assert second.hash == first.hash


def backwards(fn: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    yield from (fn(item) for item in reversed(list(items)))


def test_the_order_of_computing_cannot_be_seen(tmp_path: Path) -> None:
    assert run(tmp_path / "a").hash == run(tmp_path / "b", map_fn=backwards).hash
    assert content(tmp_path / "a").keys() == content(tmp_path / "b").keys()


def test_settings_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written down"):
        run(tmp_path / "squares", config={"rows": np.zeros(3)})


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    run(tmp_path / "squares")
    (tmp_path / "squares" / MANIFEST).write_text("{")
    with pytest.raises(RecordError, match="manifest"):
        run(tmp_path / "squares")


KILLED = """
import json, sys, time
from pathlib import Path
from segue.datasets.stages.stages import ranges, run_stage

def work(chunk, shard):
    for n in chunk:
        shard.line("out", {"n": n})
        time.sleep(0.0005)

run_stage(Path(sys.argv[1]), ranges(400, 5), work, config={}, inputs={}, progress=False)
"""


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(KILLED)
    whole, killed = tmp_path / "whole" / "stage", tmp_path / "killed" / "stage"
    subprocess.run([sys.executable, script, whole], check=True, timeout=60)
    rng = np.random.default_rng(0)
    for _ in range(5):
        process = subprocess.Popen([sys.executable, script, killed])
        deadline = time.monotonic() + 30
        while not (killed / JOURNAL).exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0, 0.05)))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, script, killed], check=True, timeout=60)
    assert {n: d for n, d in content(killed).items() if n != MANIFEST} == {
        n: d for n, d in content(whole).items() if n != MANIFEST
    }
    assert (
        json.loads((killed / MANIFEST).read_text())["hash"]
        == json.loads((whole / MANIFEST).read_text())["hash"]
    )
