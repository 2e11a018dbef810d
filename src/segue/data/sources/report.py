"""Report of a reading of a source: what it kept, dropped and noticed, counted while it goes on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from segue.data.formats.annotations import AnnotatedImage
from segue.data.formats.report import ReadReport


@dataclass
class SourceReport(ReadReport):
    """Counts of one pass over a source; complete when the pass has ended.

    Attributes:
        split: The part of the source that was read.
        listed: Images that the source lists for this split, sound or not.
        objects: Object regions kept.
        parts: Part regions kept.
        noticed: What was seen and kept as it stands, by wording ("part reaches beyond its object").
    """

    split: str = ""
    listed: int = 0
    objects: int = 0
    parts: int = 0
    noticed: Counter[str] = field(default_factory=Counter)

    def keep(self, image: AnnotatedImage) -> None:
        """Count an image that is passed on."""
        owners = {region.rid: region.name for region in image.regions if region.kind == "object"}
        self.images += 1
        self.regions += len(image.regions)
        for region in image.regions:
            if region.parent is None:
                self.objects += 1
                self.names[region.name] += 1
            else:
                self.parts += 1
                self.names[f"{owners[region.parent]}'s {region.name}"] += 1

    def lines(self) -> list[str]:
        """Describe the reading for a terminal, one line each."""
        _, *rest = super().lines()
        kept = f"{self.images} of {self.listed} images, {self.objects} objects, {self.parts} parts"
        seen = [f"  noticed {count}: {wording}" for wording, count in self.noticed.most_common()]
        return [f"{self.path} ({self.format} {self.split}): {kept}", *rest, *seen]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        counts = {"split": self.split, "listed": self.listed, "objects": self.objects, "parts": self.parts}
        return {**super().to_json(), **counts, "noticed": dict(self.noticed.most_common())}
