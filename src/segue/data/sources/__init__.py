r"""Source data sets as people download them, each read as a stream of `AnnotatedImage`.

    from segue.data.sources import open_source

    source = open_source("ade20k_part", "/data/ADE20KPart234", split="train")
    for image in source:  # lazily; masks stay compressed
        ...
    print("\n".join(source.report.lines()))  # what was kept and dropped, and why

What each download must look like is written in `docs/sources.md`.
"""

from segue.data.sources.catalogue import SOURCES, open_source, source_class
from segue.data.sources.report import SourceReport
from segue.data.sources.source import ImageSource

__all__ = ["SOURCES", "ImageSource", "SourceReport", "open_source", "source_class"]
