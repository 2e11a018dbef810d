"""What the documents show works: blocks marked `run` are run, the others are looked at by whatever can tell.

CONTRIBUTING.md tells the marks. With `-m slow`, README.md is followed from nothing, `make demo` first.
"""

import contextlib
import ctypes
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from documents import (
    ROOT,
    Block,
    blocks_of,
    command_fault,
    command_lines,
    form_faults,
    indented_code,
    markdown_files,
    mentioned_fault,
    python_faults,
    read,
    without_blocks,
)

FILES = markdown_files()
BLOCKS = [block for name in FILES for block in blocks_of(name)]
_PR_SET_PDEATHSIG = 1
# Whatever a fresh clone holds that commands of the documents may read.
SHOWN = ("README.md", "Makefile", "constraints.txt", "docs", "examples", "recipes", "src")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder like a clone after `make setup`; the commands of its `.venv` run this checkout."""
    for name in SHOWN:
        (tmp_path / name).symlink_to(ROOT / name)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    source = f'PYTHONPATH="{ROOT / "src"}" exec "{sys.executable}"'
    for name, call in (("python", ""), ("segue", "-m segue.cli ")):
        (programs / name).write_text(f'#!/bin/sh\n{source} {call}"$@"\n')
        (programs / name).chmod(0o755)
    (programs / "activate").write_text(f'export PATH="{programs}:$PATH"\n')
    return tmp_path


def run_bash(block: Block, folder: Path, timeout: int) -> None:
    lines = f"set -euo pipefail\n[ -f .venv/bin/activate ] && source .venv/bin/activate\n{block.text}\n"
    done = subprocess.run(["bash", "-c", lines], cwd=folder, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{block.place}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


class EndsWithUs(subprocess.Popen[str]):
    """A process that a block starts; it ends with the tests, also where they are killed (on Linux)."""

    def __init__(self, *given: Any, **named: Any) -> None:
        def tie() -> None:
            with contextlib.suppress(OSError, AttributeError):  # no Linux: the block itself has to end it
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

        super().__init__(*given, **{"preexec_fn": tie, **named})


# ---------------------------------------------------------------------------------------- what is run
@pytest.mark.parametrize("name", sorted({b.file for b in BLOCKS if b.mark == "run"}))
def test_runnable_blocks_run(name: str, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone)
    for block in blocks_of(name):
        if block.mark == "run" and block.language == "bash":
            run_bash(block, clone, timeout=300)
        elif block.mark == "run":
            monkeypatch.setattr(subprocess, "Popen", EndsWithUs)
            exec(compile(block.text, block.place, "exec"), {"__name__": "__main__"})


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({b.file for b in BLOCKS if b.mark == "run-slow"}))
def test_documents_can_be_followed(name: str, clone: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """All blocks that can run, in order; README.md begins with the installation, so it gets real files."""
    folder = copy_of_checkout(tmp_path_factory.mktemp("clone")) if name == "README.md" else clone
    for block in blocks_of(name):
        if block.mark in ("run", "run-slow"):
            text = (
                block.text if block.language == "bash" else f".venv/bin/python - <<'END'\n{block.text}\nEND"
            )
            run_bash(Block(block.file, block.line, "bash", block.mark, text), folder, timeout=3600)


def copy_of_checkout(folder: Path) -> Path:
    """What git holds of this checkout, as it is now: what a clone would hold after a commit."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for tracked in filter(None, listed.stdout.decode().split("\0")):
        (folder / tracked).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / tracked, folder / tracked)
    return folder


# ---------------------------------------------------------------------------------------- what is looked at
def test_every_block_is_marked() -> None:
    faults = [fault for block in BLOCKS for fault in form_faults(block)]
    faults += [fault for name in FILES for fault in indented_code(name)]
    assert not faults, "\n".join(faults)


def test_commands_of_blocks_are_understood() -> None:
    faults = [
        f"{block.place}: {' '.join(words)[:100]}\n    {fault}"
        for block in BLOCKS
        if block.language == "bash"
        for words in command_lines(block.text)
        if (fault := command_fault(words))
    ]
    assert not faults, "\n".join(faults)


def test_python_blocks_name_what_exists() -> None:
    faults = [
        f"{block.place}: {fault}"
        for block in BLOCKS
        if block.language == "python"
        for fault in python_faults(block.text)
    ]
    assert not faults, "\n".join(faults)


def spans(name: str) -> list[tuple[int, str]]:
    """(line, text) of the code spans of a file outside its blocks; a span may go on in the next line."""
    text = without_blocks(read(name))
    found = re.finditer(r"`([^`]+)`", text)
    return [(text.count("\n", 0, m.start()) + 1, " ".join(m.group(1).split())) for m in found]


def test_commands_of_sentences_are_understood() -> None:
    faults = []
    for name in FILES:
        for line, span in spans(name):
            words = span.split()
            if words[0] == "segue":
                fault = mentioned_fault(words[1:])
            elif words[:2] == ["python", "-m"] and len(words) > 3:
                fault = command_fault([w for w in words if w != "..."])
            else:
                continue
            faults += [f"{name}:{line}: `{span}`: {fault}"] if fault else []
    assert not faults, "\n".join(faults)


def exists(dotted: str) -> bool:
    """Whether `segue.a.b.Name` is a module, or an attribute of one."""
    import importlib

    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True
    return False


def test_modules_named_in_documents_exist() -> None:
    named = {
        (name, line, dotted)
        for name in FILES
        for line, span in spans(name)
        for dotted in re.findall(r"(?<![\w/.-])segue(?:\.[A-Za-z_]\w*)+", span)
    }
    gone = {dotted for _, _, dotted in named if not exists(dotted)}
    faults = [f"{name}:{line}: {dotted}" for name, line, dotted in sorted(named) if dotted in gone]
    assert not faults, "\n".join(faults)


def test_files_named_in_documents_exist() -> None:
    pattern = re.compile(r"(?<![\w/.$-])((?:docs|examples|recipes|src/segue|tests|\.ci)/[\w./*-]*[\w*/])")
    faults = [
        f"{name}: {path}"
        for name in FILES
        for path in sorted(set(pattern.findall(read(name))))
        if not list(ROOT.glob(path.rstrip("/")))
    ]
    for name in FILES:
        folder = (ROOT / name).parent
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", without_blocks(read(name))):
            if not re.match(r"[a-z]+://", target) and not (folder / target).exists():
                faults.append(f"{name}: link to {target}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("folder", ["docs", "recipes", "tests"])
def test_readmes_name_the_files_beside_them(folder: str) -> None:
    text = read(f"{folder}/README.md")
    named = {
        name.removeprefix("./")
        for name in re.findall(r"`([\w./]+\.(?:md|png|py|sh|yaml))`|\]\(([\w.]+)\)", text)
        for name in name
    }
    there = {path.name for path in (ROOT / folder).iterdir() if path.is_file()} - {"README.md"}
    assert there <= named, f"not named: {sorted(there - named)}"
    gone = {
        name for name in named - {""} if not (ROOT / folder / name).exists() and not (ROOT / name).exists()
    }
    assert not gone, f"named, but not there: {sorted(gone)}"


def test_shell_scripts_name_modules_and_recipes_that_exist() -> None:
    faults = []
    for script in sorted((ROOT / "recipes").glob("*.sh")):
        text = script.read_text(encoding="utf-8")
        assert subprocess.run(["bash", "-n", script]).returncode == 0
        modules = re.findall(r"-m \"?(segue(?:\.\w+)+)(\.\$)?", text)
        faults += [f"{script.name}: {module}" for module, _ in modules if not exists(module)]
        faults += [
            f"{script.name}: {r}" for r in re.findall(r"recipes/\w+\.yaml", text) if not (ROOT / r).is_file()
        ]
    assert not faults, "\n".join(faults)


# ------------------------------------------------------------------------------------ the tests' own tools
@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('segue ask a.png b.png -q "Which?" --out answer/', None),
        ("segue eval --data a.jsonl", "Missing option"),
        ("segue ask a.png -q x --nowhere", "No such option"),
        ("segue data stats x.jsonl --out report  # a comment", None),
        ("segue data statistics x.jsonl", "No such command"),
        ("torchrun --nproc_per_node=4 -m segue.cli train recipes/prima_7b.yaml --out runs/x", None),
        ("torchrun -m segue.cli train recipes/prima_7b.yaml --into runs/x", "No such option"),
        ("python -m segue.evaluation.mean_mask --train t.jsonl --data x.jsonl", None),
        ("python -m segue.evaluation.mean_mask --dota x.jsonl", "--train"),
        ("python -m segue.evaluation.nowhere", "No module named"),
        ("make demo PYTHON=python3.12", None),
        ("make dinner", "no such target: dinner"),
        ("recipes/nowhere.sh", "no such script"),
        ("format /dev/null", "a program that nothing checks"),
    ],
)
def test_faults_of_commands_are_found(line: str, fault: str | None) -> None:
    found = [command_fault(words) for words in command_lines(line)]
    assert len(found) == 1
    assert found[0] is None if fault is None else fault in str(found[0])


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("train RECIPE --out RUN", None),
        ("data stats --out", None),
        ("data stats --into", "no --into"),
        ("bake", "no such verb: bake"),
    ],
)
def test_faults_of_mentioned_commands_are_found(words: str, fault: str | None) -> None:
    found = mentioned_fault(words.split())
    assert found is None if fault is None else fault in str(found)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("import segue\nsegue.load('x')", 0),
        ("import segue\nsegue.lode('x')", 1),
        ("from segue.records import read_jsonl, nothing", 1),
        ("from segue.records import read_jsonl\nread_jsonl('x', nonsense=1)", 1),
        ("import segue\nsession = segue.load('x').session(images=[])\nsession.ask('?')", 0),
    ],
)
def test_faults_of_python_are_found(text: str, faults: int) -> None:
    assert len(list(python_faults(text))) == faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```bash run\nls\n```", None),
        ("```bash\nls\n```", "needs one of run, run-slow, check"),
        ("```\nls\n```", "is none of"),
        ("```json\n{'a': 1}\n```", "no JSON"),
        ("```text\n$ segue models\n```", "a command in a block of text"),
    ],
)
def test_faults_of_form_are_found(text: str, fault: str | None) -> None:
    (block,) = blocks_of("x.md", text)
    found = list(form_faults(block))
    assert found == [] if fault is None else fault in found[0]
