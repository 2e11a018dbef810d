"""Report of reading a COCO file: what was kept and dropped, record by record."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

_MAX_LISTED = 20


@dataclass(frozen=True)
class DroppedRecord:
    """One record of the file that was left out, and why.

    Attributes:
        record: Where it is, for example `annotation 17` or `image 3`.
        reason: Short fixed wording, fit for counting.
        detail: What was found instead.
    """

    record: str
    reason: str
    detail: str = ""


@dataclass
class CocoReport:
    """Report of a reading: what it kept and dropped.

    Attributes:
        source: The JSON file.
        images: Number of images kept.
        objects: Number of object regions kept.
        parts: Number of part regions kept.
        dropped: Every record that was left out.
        repaired: Every record that was kept after a stated repair (a part given the object it overlaps most).
        notes: Anything else a user should know of the file, one sentence each.
    """

    source: Path
    images: int = 0
    objects: int = 0
    parts: int = 0
    dropped: list[DroppedRecord] = field(default_factory=list)
    repaired: list[DroppedRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def drop(self, record: str, reason: str, detail: str = "") -> None:
        """Note a record that is left out."""
        self.dropped.append(DroppedRecord(record, reason, detail))

    def repair(self, record: str, reason: str, detail: str = "") -> None:
        """Note a record that is kept after a stated repair."""
        self.repaired.append(DroppedRecord(record, reason, detail))

    def add(self, other: CocoReport) -> None:
        """Take over what was noted of a part of the file."""
        self.objects += other.objects
        self.parts += other.parts
        self.dropped += other.dropped
        self.repaired += other.repaired

    def counts(self) -> dict[str, int]:
        """Number of dropped records per reason."""
        return dict(Counter(entry.reason for entry in self.dropped).most_common())

    def __str__(self) -> str:
        lines = [f"{self.source}: kept {self.images} images, {self.objects} objects, {self.parts} parts"]
        for title, entries in (("dropped", self.dropped), ("repaired", self.repaired)):
            for reason, count in Counter(entry.reason for entry in entries).most_common():
                lines.append(f"  {title} {count}: {reason}")
            lines += [
                f"    {entry.record}: {entry.reason}. {entry.detail}" for entry in entries[:_MAX_LISTED]
            ]
            if len(entries) > _MAX_LISTED:
                lines.append(f"    ... and {len(entries) - _MAX_LISTED} more")
        return "\n".join(lines + [f"  {note}" for note in self.notes])


class UnusableRecord(Exception):
    """A record cannot be used: `(reason, detail)`; whoever reads a file turns it into the report."""
