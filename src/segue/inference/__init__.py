"""Ask a model about several images: sessions, their answers, and how answers are drawn and saved.

Names are imported when they are first used: drawing needs no torch, a session does.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segue.inference.answer import SessionAnswer as SessionAnswer
    from segue.inference.loaded_model import LoadedModel as LoadedModel
    from segue.inference.regions import Region as Region
    from segue.inference.session import GroundingSession as GroundingSession
    from segue.inference.streaming import Done as Done
    from segue.inference.streaming import MaskReady as MaskReady
    from segue.inference.streaming import PhraseOpened as PhraseOpened
    from segue.inference.streaming import TextDelta as TextDelta

# Threads of torch wait for each other thousands of times per answer. By default they spin meanwhile, which on
# a machine with anything else to do makes a small model some twenty times slower. Torch reads this once.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_MODULES = {
    "GroundingSession": "segue.inference.session",
    "LoadedModel": "segue.inference.loaded_model",
    "Region": "segue.inference.regions",
    "SessionAnswer": "segue.inference.answer",
    "TextDelta": "segue.inference.streaming",
    "PhraseOpened": "segue.inference.streaming",
    "MaskReady": "segue.inference.streaming",
    "Done": "segue.inference.streaming",
}

__all__ = [
    "Done",
    "GroundingSession",
    "LoadedModel",
    "MaskReady",
    "PhraseOpened",
    "SessionAnswer",
    "TextDelta",
]


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module 'segue.inference' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
