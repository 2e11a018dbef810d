"""The Dockerfile, held to rules of ours: pinned, constrained, without rights, starting what it should."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from documents import segue_fault

ROOT = Path(__file__).resolve().parents[1]


def instructions(text: str) -> list[tuple[str, str]]:
    """Instruction and arguments, continuations joined, comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [
        (name.upper(), rest.strip())
        for name, _, rest in (line.partition(" ") for line in joined.splitlines())
    ]


def faults(text: str) -> list[str]:
    """What is wrong with a Dockerfile."""
    found, steps = [], instructions(text)
    stages = {rest.split()[2] for name, rest in steps if name == "FROM" and " AS " in rest}
    for name, rest in steps:
        if name == "FROM" and rest.split()[0] not in stages:
            tag = rest.split()[0].partition(":")[2]
            if tag in ("", "latest"):
                found.append(f"FROM {rest}: no tag that stays")
        if name == "RUN" and "pip install" in rest and "-c constraints.txt" not in rest:
            found.append("pip install without constraints")
        if name == "RUN" and "apt-get install" in rest and "--no-install-recommends" not in rest:
            found.append("apt-get install with recommended packages")
        if name == "ADD":
            found.append("ADD: use COPY")
        if name in ("ENTRYPOINT", "CMD") and not rest.startswith("["):
            found.append(f"{name} in a shell: signals would not reach the server")
        if name in ("ENV", "ARG") and re.search(r"(?i)token|password|secret|key", rest):
            found.append(f"{name} {rest}: a secret would stay in the image")
        if name == "COPY" and "--from=" not in rest:
            found += [f"COPY {p}: not there" for p in rest.split()[:-1] if not (ROOT / p).exists()]
    users = [rest for name, rest in steps if name == "USER"]
    if not users or users[-1] in ("root", "0"):
        found.append("runs as root")
    elif not users[-1].isdecimal():
        found.append(f"USER {users[-1]}: a name, which the host cannot check for not being root")
    if not any(name == "HEALTHCHECK" for name, _ in steps):
        found.append("no HEALTHCHECK")
    return found


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_dockerfile_keeps_the_rules(dockerfile: str) -> None:
    assert faults(dockerfile) == []


def test_a_linter_of_others_looks_at_it_too() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (lint,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert "\t$(BIN)/hadolint Dockerfile\n" in lint


def test_what_it_starts_is_understood(dockerfile: str) -> None:
    steps = dict(instructions(dockerfile))  # of each, the last counts
    program, *arguments = [*json.loads(steps["ENTRYPOINT"]), *json.loads(steps["CMD"])]
    assert program == "segue"
    assert segue_fault(arguments) is None
    assert steps["EXPOSE"] == arguments[arguments.index("--port") + 1]
    assert f":{steps['EXPOSE']}/healthz" in steps["HEALTHCHECK"]


def test_its_extra_and_its_python_exist(dockerfile: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(re.findall(r"\.\[(\w+)\]", dockerfile)) <= set(project["optional-dependencies"])
    for version in re.findall(r"^FROM python:(\d+\.\d+)", dockerfile, re.MULTILINE):
        assert f"Programming Language :: Python :: {version}" in project["classifiers"]


def test_what_is_copied_is_not_ignored(dockerfile: str) -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        p for n, r in instructions(dockerfile) if n == "COPY" and "--from=" not in r for p in r.split()[:-1]
    }
    assert copied == kept


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("FROM python\nUSER me", "FROM python: no tag that stays"),
        ("FROM python:3.12 AS a\nRUN pip install \\\n  segue\nUSER me", "pip install without constraints"),
        ("FROM python:3.12\nUSER root", "runs as root"),
        ("FROM python:3.12\nUSER me", "USER me: a name, which the host cannot check for not being root"),
        ("FROM python:3.12\nUSER me\nCMD segue serve", "CMD in a shell: signals would not reach the server"),
        ("FROM python:3.12\nUSER me\nENV HF_TOKEN=x", "ENV HF_TOKEN=x: a secret would stay in the image"),
        ("FROM python:3.12\nUSER me\nCOPY gone.txt ./", "COPY gone.txt: not there"),
    ],
)
def test_the_rules_find_faults(text: str, fault: str) -> None:
    assert fault in faults(text)
