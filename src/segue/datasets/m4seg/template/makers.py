"""Table of the rules; each makes one question with its answer, or None where the facts do not carry it.

Every answer names something in every image. Source: the four kinds are those of PRIMA's newer version; the
questions are ours.
"""

from __future__ import annotations

from segue.datasets.m4seg.template import functional, numerical, open_ended, spatial
from segue.datasets.m4seg.template.made import Maker

KINDS: dict[str, tuple[Maker, ...]] = {
    "functional": (functional.purpose, functional.different_purposes),
    "spatial": (spatial.places, spatial.relations, spatial.beside, spatial.on_one_side),
    "numerical": (numerical.count, numerical.larger, numerical.largest, numerical.most_parts),
    "open_ended": (open_ended.visible_parts, open_ended.only_one, open_ended.contents),
}
"""The rules of each kind."""
