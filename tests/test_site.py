"""The documents as a site: it builds strictly and fetches nothing, and its link check finds what is wrong."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import segue
from documents import blocks_of, markdown_files

ROOT = Path(__file__).resolve().parents[1]

pytest.importorskip("mkdocs", reason="no MkDocs: make setup installs it")


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_document_is_a_page(site: Path) -> None:
    documents = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    pages = {
        path.parent / "index.html" if path.name == "README.md" else path.with_suffix(".html")
        for path in documents
    }
    assert {page for page in pages if not (site / page).is_file()} == set()
    first = (site / "index.html").read_text(encoding="utf-8")
    # The navigation names them all, also those that nobody put into it.
    assert [page.as_posix() for page in sorted(pages) if f'href="{page.as_posix()}"' not in first] == []


def test_the_site_shows_code_and_reference(site: Path) -> None:
    assert 'class="highlight"' in (site / "quick_start.html").read_text(encoding="utf-8")
    reference = (site / "reference.html").read_text(encoding="utf-8")
    for name in ("segue.loading.load", "segue.inference.session.GroundingSession.ask", "segue.masks.iou"):
        assert f'id="{name}"' in reference


def test_the_reference_has_every_name_that_the_documents_use(site: Path) -> None:
    reference = (site / "reference.html").read_text(encoding="utf-8")
    there = set(re.findall(r'id="([\w.]+)"', reference))
    used = {("segue", name) for name in segue.__all__ if not name.startswith("__")}
    for block in (b for name in markdown_files() for b in blocks_of(name) if b.language == "python"):
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("segue"):
                used |= {(str(node.module), alias.name) for alias in node.names}
    assert ("segue.exports", "read_export") in used
    missing = []
    for module, name in sorted(used):
        home = str(getattr(importlib.import_module(module), name).__module__).split(".")
        homes = {module, *(".".join(home[: k + 1]) for k in range(len(home)))}
        if not {f"{place}.{name}" for place in homes} & there:
            missing.append(f"{module}.{name}")
    assert missing == []


def test_links_are_followed(hooks: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1>')
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">good</a><a href="b.html#gone">x</a><a href="c.html">y</a>'
        '<a href="#nowhere">z</a>'
        '<a href="https://example.org/">a reader may go</a><script src="https://example.org/x.js"></script>'
    )
    assert hooks.link_faults(tmp_path) == [
        "a.html: b.html#gone has no such place",
        "a.html: c.html leads nowhere",
        "a.html: #nowhere has no such place",
        "a.html: fetches https://example.org/x.js",
    ]


@pytest.mark.parametrize(
    ("page", "text", "shown"),
    [
        ("speed.md", "[a](serving.md#b)", "[a](serving.md#b)"),
        ("results/talk.md", "[a](../speed.md)", "[a](../speed.md)"),
        ("speed.md", "[a](../CONTRIBUTING.md#tests)", "[a](project/CONTRIBUTING.md#tests)"),
        ("speed.md", "[`a`](../src/segue/masks.py)", "`a`"),
        ("project/README.md", "![a](docs/images/answer.png)", "![a](../images/answer.png)"),
        ("project/README.md", "[a](docs/speed.md), [b](Makefile)", "[a](../speed.md), b"),
        ("speed.md", "```bash run\nsegue [a](b.md)\n```", "```bash\nsegue [a](b.md)\n```"),
        ("speed.md", "[a](https://example.org/)", "[a](https://example.org/)"),
    ],
)
def test_links_and_fences_are_rewritten(hooks: ModuleType, page: str, text: str, shown: str) -> None:
    place = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    assert hooks.on_page_markdown(text, page=place) == shown
