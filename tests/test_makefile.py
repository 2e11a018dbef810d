"""`make setup` and `make demo`: a line per step, a log, no failure hidden, interrupted work taken up again.

A script that plays Python, pip and `segue` stands in for the installation, which takes minutes and a network.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# As the interpreter it makes a virtual environment out of copies of itself; there it plays pip and segue.
PLAYER = """#!/bin/sh
case "$*" in
  -c*) exit 0 ;;
  "-m venv"*) mkdir -p .venv/bin; for name in python pip segue; do cp "$0" .venv/bin/$name; done; exit 0 ;;
  examples/*) exit 0 ;;
  ask*) echo "a green bottle"; exit 0 ;;
esac
echo "$*" >> calls
for line in $(seq 100); do echo "pip says $line"; done
[ -e broken ] && { echo "no such package"; exit 7; }
exit 0
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what `make setup` reads, and a script `python` that plays the interpreter."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "step", tmp_path / ".ci" / "step")
    (tmp_path / "python").write_text(PLAYER)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def make(checkout: Path, target: str) -> subprocess.CompletedProcess[str]:
    without_make = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", target, "PYTHON=./python"],
        cwd=checkout,
        env=without_make,
        capture_output=True,
        text=True,
        timeout=60,
    )


def installs(checkout: Path) -> list[str]:
    calls = (checkout / "calls").read_text().splitlines()
    return [line.split()[-1] for line in calls if "pip install" in line]


def test_demo_says_each_step_its_time_and_where_the_result_lies(checkout: Path) -> None:
    done = make(checkout, "demo")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.rsplit(",", 1)[0] for line in lines if line[:1].isdigit()] == [
        "1/3 a virtual environment in .venv ... done",
        "2/3 what builds the package ... done",
        "3/3 Segue and what it needs (minutes) ... done",
    ]
    assert len(lines) <= 11
    assert "a green bottle" in lines
    assert lines[-2:] == [
        "Open runs/demo/answer.html in a browser: each phrase has the colour of its mask.",
        "A page for your own pictures and questions: .venv/bin/segue demo",
    ]
    assert (checkout / "build/setup.log").read_text().count("pip says") == 200


def test_a_second_call_installs_nothing(checkout: Path) -> None:
    make(checkout, "setup")
    assert installs(checkout) == ["editables", ".[examples,demo]", ".[dev]"]
    again = make(checkout, "setup")
    assert again.returncode == 0
    assert installs(checkout) == ["editables", ".[examples,demo]", ".[dev]"]


def test_a_failure_shows_the_end_of_the_log_and_is_taken_up_again(checkout: Path) -> None:
    (checkout / "broken").touch()
    failed = make(checkout, "setup")
    assert failed.returncode != 0
    assert "FAILED after" in failed.stdout
    assert "no such package" in failed.stdout
    assert "pip says 100" in failed.stdout
    assert "pip says 50\n" not in failed.stdout
    assert "Everything it said is in build/setup.log." in failed.stdout
    assert "3/3" not in failed.stdout
    assert not list((checkout / ".venv").glob(".installed*"))
    (checkout / "broken").unlink()
    assert make(checkout, "setup").returncode == 0
    assert installs(checkout) == ["editables", "editables", ".[examples,demo]", ".[dev]"]


def test_an_interrupted_environment_is_made_anew(checkout: Path) -> None:
    (checkout / ".venv" / "bin").mkdir(parents=True)  # killed before pip was there
    assert make(checkout, "setup").returncode == 0
    assert installs(checkout) == ["editables", ".[examples,demo]", ".[dev]"]


def test_a_step_keeps_the_exit_status(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / ".ci/step", tmp_path / "a/log", "it", "sh", "-c", "exit 5"], capture_output=True
    )
    assert done.returncode == 5
    assert (tmp_path / "a/log").is_file()
