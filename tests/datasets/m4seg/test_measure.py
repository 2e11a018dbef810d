"""What `segue data m4seg-bench` measures: above all that memory does not grow with the number of pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue.cli import main
from segue.datasets.m4seg.measure import growth, measure_memory, measure_neighbours


def test_memory_does_not_grow_with_the_pairs(built: Path, tmp_path: Path) -> None:
    told = [measure_memory(built, tmp_path / str(count), count) for count in (200, 1600)]
    assert told[0]["records"] < 600
    assert told[1]["records"] >= 1600
    # MiB. Were its pairs kept as they are read, these 1,200 and more would take several times that.
    assert told[1]["peak MiB"] - told[0]["peak MiB"] < 1.5


@pytest.mark.slow
def test_memory_is_flat_from_ten_thousand_to_a_hundred_thousand(built: Path, tmp_path: Path) -> None:
    few, many = (measure_memory(built, tmp_path / str(count), count) for count in (10_000, 100_000))
    assert few["records"] >= 10_000
    assert many["records"] >= 100_000
    # Measured: 60.1 and 61.7 MiB. 90,000 pairs kept would be hundreds more.
    assert growth([few, many])["times the peak memory"] <= 1.1


def test_growth_compares_the_largest_with_the_smallest() -> None:
    told = [{"records": n, "peak MiB": peak} for n, peak in ((300, 66.0), (100, 50.0), (200, 90.0))]
    assert growth(told) == {"times the records": 3.0, "times the peak memory": 1.32}


def test_neighbours_are_estimated_from_some_queries(tmp_path: Path) -> None:
    told = measure_neighbours(tmp_path, count=5000, dim=8, k=3)
    assert told["vectors"] == 5000
    assert told["seconds for all"] == pytest.approx(told["seconds for 2,048 queries"] * 5000 / 2048)


@pytest.mark.slow  # loads torch, and draws scenes
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--scenes", "6", "--vectors", "300", "--dim", "16", "--records", "50", "--records", "500"]
    assert main(["data", "m4seg-bench", "--out", str(tmp_path), *sizes]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["build"]["pairs filtered per second"] > 0
    assert told["filtering 500 pairs"]["records"] >= 500
    assert told["memory"]["times the records"] > 1
    assert 0.9 < told["memory"]["times the peak memory"] < 1.2
