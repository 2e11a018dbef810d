"""`fresh` and `shaken` of the embedded family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from segue.models.mini.build import build_from_tokenizer
from segue.models.mini.modeling_mini import MiniModel
from segue.models.processing_grounded import PrimaProcessor


@pytest.fixture(scope="session")
def fresh(tiny_tokenizer: Any, shake: Callable[..., Any]) -> Callable[..., tuple[MiniModel, PrimaProcessor]]:
    """A new shaken model of the `tiny` preset with the given options, and its processor."""

    def build(**overrides: Any) -> tuple[MiniModel, PrimaProcessor]:
        model, processor = build_from_tokenizer("tiny", tiny_tokenizer, **overrides)
        return shake(model), processor

    return build


# Defined here too: a fixture of the session is made once, from the `fresh` that was asked for first.
@pytest.fixture(scope="session")
def shaken(fresh: Callable[..., Any], kept: Callable[..., Any]) -> Callable[..., Any]:
    """As `fresh`, but shared between tests: do not change its weights."""
    return kept(fresh)
