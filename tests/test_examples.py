"""The example notebook is committed without outputs, and runs from the first cell to the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = "examples/photographs.ipynb"


@pytest.fixture
def notebook(repository: Path) -> Any:
    return nbformat.read(repository / NOTEBOOK, as_version=4)


def test_the_notebook_is_committed_without_outputs(notebook: Any) -> None:
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) >= 5
    assert not any(cell.outputs or cell.execution_count for cell in code)


def test_the_notebook_runs(
    notebook: Any, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(repository / "src"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pages = [output.data["text/html"] for output in shown if "text/html" in output.get("data", {})]
    assert any("iframe" in page and "cat" in page for page in pages), "the answer shows itself as its page"
    assert any("image/png" in output.get("data", {}) for output in shown), "an overlay is a picture"
    printed = "".join(output.text for output in shown if output.get("name") == "stdout")
    assert "cat in image 1 (300, 451)" in printed
    assert "cup in image 2" in printed
    assert "conversations, mean IoU" in printed
    assert "recipe.yaml" in printed
