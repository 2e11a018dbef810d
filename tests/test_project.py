"""The project keeps its own promises: versions, commands, recipes, and files that are for readers only."""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import segue

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = "src/segue/weights/"
MEBIBYTE = 1024 * 1024

# Where our text may point. A new host is added here on purpose, or not at all.
PUBLIC_HOSTS = {
    *("github.com", "huggingface.co", "docs.python.org"),
    *("arxiv.org", "doi.org", "openaccess.thecvf.com", "openreview.net", "aclanthology.org"),
    *("www.apache.org", "opensource.org", "creativecommons.org", "keepachangelog.com", "semver.org"),
    "git-lfs",  # the first words of a pointer of Git LFS
    *("cocodataset.org", "json-schema.org", "www.w3.org", "plan-lab.github.io"),
    *("example.com", "example.org", "localhost", "127.0.0.1"),
    # Internal addresses in the spellings that the server must refuse.
    *("169.254.169.254", "2130706433", "0x7f000001", "127"),
}
RESERVED = (".example", ".invalid", ".test")  # no host can ever have such a name
# Things that are true on one machine only, or that somebody meant to come back to. The patterns are written
# so that none of them matches its own line.
NOT_FOR_READERS = {
    "a path of one machine": re.compile(
        r"(?<![\w.$~\-/*])/(?:home|root|works?|workspaces?|mnt|Users|tmp)/[\w.]"
    ),
    "a private address": re.compile(r"\b(?:10\.\d+|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+\b"),
    "an unresolved merge": re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE),
    "a debugger left behind": re.compile(r"\b(?:breakpoint|set_trace)\(\)(?!\))"),
    "a note to oneself": re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X])\b"),
    "a trailer of somebody's tool": re.compile(r"^Co-[Aa]uthored-[Bb]y:", re.MULTILINE),
    "a key": re.compile(r"\b(?:hf_|sk-|ghp_)[A-Za-z0-9]{20,}|-----BEGIN [A-Z ]*PRIVATE"),
}


def tracked_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0 or not listed.stdout:
        pytest.skip("not a git checkout: which files belong to the project is unknown")
    return [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def tracked_text() -> dict[str, str]:
    """Name -> text of every tracked text file; the machine-written vocabularies of the weights left out."""
    texts = {}
    for name in tracked_files():
        if name.startswith(WEIGHTS) and not name.endswith(".md"):
            continue
        content = (ROOT / name).read_bytes()
        if b"\0" not in content[:8192]:
            texts[name] = content.decode("utf-8")
    return texts


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def makefile() -> str:
    return (ROOT / "Makefile").read_text(encoding="utf-8")


def test_one_version(project: dict[str, Any]) -> None:
    assert project["version"] == segue.__version__


def test_dependencies_are_pinned_within_their_bounds(project: dict[str, Any]) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    constraints = [Requirement(line) for line in lines if line and not line.startswith("#")]
    exact = [(pin.name, spec) for pin in constraints for spec in pin.specifier if spec.operator == "=="]
    pins = {canonicalize_name(name): spec.version for name, spec in exact}
    extras = [line for group in ("dev", "train") for line in project["optional-dependencies"][group]]
    for requirement in map(Requirement, [*project["dependencies"], *extras]):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} is not pinned in constraints.txt"
        assert requirement.specifier.contains(pin), f"{requirement} does not allow the pin {pin}"


def test_torchvision_cannot_slip_in() -> None:
    # Beside a torchvision that does not match torch's build, transformers' image processors fail to import.
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert {"torchvision<0", "timm<0"} <= set(lines)


def test_every_installation_is_constrained(makefile: str) -> None:
    installs = [line for line in makefile.splitlines() if "-m pip install" in line]
    assert len(installs) == 1, "one definition, PIP_INSTALL, serves every recipe"
    assert "-c constraints.txt" in installs[0]
    assert not re.search(r"bin/pip3? install|BIN\)/pip3? install", makefile)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", ".ci/run"])
def test_documented_make_targets_exist(document: str, makefile: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`|step )make ([a-z][a-z-]*)", text, re.MULTILINE))
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    assert named, f"{document} names no make target"
    assert named <= targets


def test_ci_runs_the_tests_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    steps = set(script.read_text(encoding="utf-8").splitlines())
    assert {"step make lint", "step make demo", "step make test"} <= steps


def test_files_hold_nothing_of_one_machine() -> None:
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {what}: {match.group()!r}"
        for name, text in tracked_text().items()
        for what, pattern in NOT_FOR_READERS.items()
        for match in pattern.finditer(text)
    ]
    assert not found, "\n".join(found)


def test_links_point_to_public_hosts() -> None:
    found = [
        f"{name}: {host}"
        for name, text in tracked_text().items()
        for host in re.findall(r"\bhttps?://([A-Za-z0-9.\-]+)", text)
        if host.rstrip(".").lower() not in PUBLIC_HOSTS and not host.endswith(RESERVED)
    ]
    assert not found, "hosts that tests/test_project.py does not list:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a path of one machine", "see /home" + "/ann/data"),
        ("a private address", "http at 192.168" + ".0.7"),
        ("an unresolved merge", "a\n<<<<<<" + "< ours\n"),
        ("a debugger left behind", "    breakpoint" + "()\n"),
        ("a note to oneself", "# TO" + "DO: later"),
        ("a key", "hf" + "_" + "a" * 30),
    ],
)
def test_the_search_finds(what: str, text: str) -> None:
    assert NOT_FOR_READERS[what].search(text)


@pytest.mark.parametrize(
    "text", ["segue ask a.jpg --out runs/tmp/x", "../shared/home/a", "https://example.com/home/a"]
)
def test_the_search_leaves_ordinary_paths_alone(text: str) -> None:
    assert not NOT_FOR_READERS["a path of one machine"].search(text)


def test_tracked_files_are_small() -> None:
    sizes = {name: (ROOT / name).stat().st_size for name in tracked_files()}
    models = {name.removeprefix(WEIGHTS).split("/")[0] for name in sizes if name.startswith(WEIGHTS)}
    for model in models:
        weights = sum(size for name, size in sizes.items() if name.startswith(f"{WEIGHTS}{model}/"))
        assert weights <= 30 * MEBIBYTE, f"the weights of {model} take {weights / MEBIBYTE:.1f} MiB"
    large = [name for name, size in sizes.items() if size > 2 * MEBIBYTE and not name.startswith(WEIGHTS)]
    assert not large


def test_every_recipe_parses() -> None:
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert isinstance(recipe, dict), f"{path.name} is not a mapping"
        assert recipe, f"{path.name} is empty"


def test_licence_is_apache() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
