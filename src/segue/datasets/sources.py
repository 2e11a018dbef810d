"""Sources that the papers' pipelines build from: the data sets that people bring, and drawn scenes.

A catalogue of its own, since `segue.data` stands below `segue.scenes` and must not know it.
"""

from __future__ import annotations

from segue.data.sources.catalogue import CATALOGUE, SourceCatalogue

_ALL = SourceCatalogue({**CATALOGUE.classes, "scenes": "segue.scenes.source:SceneFolder"})

SOURCES = _ALL.names
"""Names that `open_source` knows."""
open_source = _ALL.open
source_class = _ALL.source_class

__all__ = ["SOURCES", "open_source", "source_class"]
