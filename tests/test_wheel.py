"""The wheel holds what the package needs and no more, and works where there is no checkout."""

import os
import site
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built with what `make setup` has installed."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        ".",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(folder),
    ]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    listed = subprocess.run(
        ["git", "ls-files", "-z", "src/segue"], cwd=ROOT, capture_output=True, check=False
    )
    tracked = {name.removeprefix("src/") for name in listed.stdout.decode().split("\0") if name}
    if not tracked:
        pytest.skip("not a git checkout: which files belong to the package is unknown")
    there = {name for name in tracked if (ROOT / "src" / name).is_file()}
    assert there <= held, f"missing: {sorted(there - held)}"
    clutter = {name for name in held if "__pycache__" in name or not name.startswith("segue/")}
    assert not clutter


@pytest.mark.slow
def test_installed_wheel_answers(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    plain = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=plain, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    # The libraries are those of the tests. A line of a .pth adds their folder last and follows no .pth file
    # in it, so that an editable Segue there stays out of sight.
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    (own / "libraries.pth").write_text("\n".join(sorted(libraries)) + "\n")
    assert run(python, "-c", "import segue; print(segue.__file__)").startswith(str(own))
    pictures = [ROOT / "examples" / "images" / f"scene_{n}.png" for n in (1, 2)]
    segue = tmp_path / "venv" / "bin" / "segue"
    said = run(
        segue, "ask", *pictures, "--model", "segue-scenes", "-q", "Compare the bottles.", "--out", "answer"
    )
    assert "bottle" in said
    assert (tmp_path / "answer" / "answer.html").is_file()


def extras() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return sorted(project["optional-dependencies"])


@pytest.mark.slow
@pytest.mark.parametrize("extra", extras())
def test_every_extra_can_be_installed_within_the_constraints(wheel: Path, extra: str) -> None:
    """pip finds a version of everything; nothing is downloaded that is there."""
    asked = [f"{wheel}[{extra}]", "-c", str(ROOT / "constraints.txt")]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", *asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=wheel.parent)
    if "No matching distribution found" in done.stderr and "Could not find a version" in done.stderr:
        pytest.skip("no index of packages")
    assert done.returncode == 0, done.stderr[-2000:]
