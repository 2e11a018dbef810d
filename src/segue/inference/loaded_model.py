"""A model that can be asked: what `segue.load` returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from segue.images import ImageSource
from segue.inference.answer import SessionAnswer
from segue.inference.session import GroundingSession
from segue.models.auto import ModelBundle


@dataclass
class LoadedModel(ModelBundle):
    """A model that can be asked; `model`, `processor`, `name` and `path` are those of its parts."""

    def session(
        self, images: Sequence[ImageSource] | ImageSource, *, names: Sequence[str] | None = None
    ) -> GroundingSession:
        """Start a conversation about 1 to 9 images; see `GroundingSession`."""
        return GroundingSession(self, images, names=names)

    def ask(self, text: str, images: Sequence[ImageSource] | ImageSource, **options: Any) -> SessionAnswer:
        """Ask a single question; `options` are those of `GroundingSession.ask`."""
        return self.session(images).ask(text, **options)
