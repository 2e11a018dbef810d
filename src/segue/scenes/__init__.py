"""Procedural scenes: images with exact object and part masks, and conversations about them."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "kinds": ("COLOURS", "HELD_OUT", "KINDS", "SHARED", "Kind", "Scene", "SceneObject"),
    "render": ("contact_sheet", "render_scene", "render_set"),
    "questions": ("Exchange",),
    "dialogue": ("compose_dialogue",),
    "conversation": ("to_conversation",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    """Imports a public name from its module when it is first asked for."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
