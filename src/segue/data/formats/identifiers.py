"""Identifiers as files write them: 1, 1.0 and "1" are the same."""

from __future__ import annotations

from typing import Any


def identifier(value: Any) -> str | None:
    """An id as text; None for what is none (a list, a truth value, an empty text)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        # "nan" and "inf" equal nothing that a person meant.
        return str(int(value)) if value.is_integer() else (str(value) if value == value else None)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return value.strip() or None
    return None
