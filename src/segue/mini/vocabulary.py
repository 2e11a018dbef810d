"""The names that auxiliary heads may predict, and their numbers."""

from __future__ import annotations

from segue.mini.photos.labels import LABELS
from segue.models.mini.presets_mini import MINI_COLOURS
from segue.scenes.kinds import KINDS

PHOTO_LABELS: tuple[str, ...] = tuple(LABELS)
SLOT_CLASSES: tuple[str, ...] = (*KINDS, *PHOTO_LABELS)
NOTHING = len(SLOT_CLASSES)
CLASS_INDEX = {name: i for i, name in enumerate(SLOT_CLASSES)}
COLOUR_INDEX = {name: i for i, name in enumerate(MINI_COLOURS)}
PARTS: tuple[str, ...] = tuple(
    sorted({f"{kind.name}:{part}" for kind in KINDS.values() for part in kind.parts})
)
NAMES: frozenset[str] = frozenset({*SLOT_CLASSES, *MINI_COLOURS, *(part.split(":")[1] for part in PARTS)})
"""Every kind, label, part and colour that is named."""
PART_INDEX = {name: i for i, name in enumerate(PARTS)}
IGNORED = -100
"""Target of a loss term that does not apply."""
