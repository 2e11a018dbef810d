"""Recordings of official code: where they lie, and the mark of tests that need them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

GOLDENS = Path(
    os.environ.get("SEGUE_GOLDENS", Path(__file__).resolve().parents[2] / "shared" / "goldens" / "A")
)
"""The folder named by SEGUE_GOLDENS, by default goldens/A in the shared data."""


def needs(path: str) -> pytest.MarkDecorator:
    """A mark that skips a test, with the reason, where a file or folder of the recordings is absent."""
    return pytest.mark.skipif(
        not (GOLDENS / path).exists(),
        reason=f"no recordings at {GOLDENS / path}: set SEGUE_GOLDENS to the folder that holds {path}",
    )
