"""Report of a reading: what it kept and left out, record by record; nothing is skipped in silence."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from segue.errors import InputError

MAX_EXAMPLES = 8
_MAX_NAMES = 12


@dataclass(frozen=True)
class DroppedExample:
    """One record that was left out.

    Attributes:
        record: Where it stands, such as `annotation 17`.
        reason: Short fixed wording, fit for counting.
        expected: What would have been right.
        found: What was there instead.
        where: The file.
        fix: What to do about it.
    """

    record: str
    reason: str
    expected: str = ""
    found: str = ""
    where: str = ""
    fix: str = ""


@dataclass
class ReadReport:
    """Counts of a reading.

    Attributes:
        format: One of `FORMATS`.
        path: What was read.
        images: Images that can be asked about.
        regions: Masks kept.
        conversations: Records that carry text; 0 where conversations are composed from names.
        names: How often each thing is annotated; parts as "car's wheel".
        dropped: Number of records left out, by reason.
        repaired: Number of records kept after a stated repair, by reason.
        examples: The first record left out for each reason, and a second while there are fewer than
            `MAX_EXAMPLES`.
        notes: Anything else a user should know, one sentence each.
    """

    format: str
    path: Path
    images: int = 0
    regions: int = 0
    conversations: int = 0
    names: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    examples: list[DroppedExample] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def drop(
        self, record: str, reason: str, *, expected: str = "", found: str = "", where: str = "", fix: str = ""
    ) -> None:
        """Count a record that is left out; the first of each reason are kept as examples."""
        self.dropped[reason] += 1
        # What was found may be a whole broken mask: 200 characters show what it is.
        self._show(DroppedExample(record, reason, expected, found[:200], where or str(self.path), fix))

    def _show(self, example: DroppedExample) -> None:
        """Keep the first example of every reason, and a second one while there is room."""
        shown = sum(other.reason == example.reason for other in self.examples)
        if not shown or (shown < 2 and len(self.examples) < MAX_EXAMPLES):
            self.examples.append(example)

    def add(self, other: ReadReport) -> None:
        """Take over what the reading of a part has left out, repaired and noted."""
        self.dropped.update(other.dropped)
        self.repaired.update(other.repaired)
        for example in other.examples:
            self._show(example)
        self.notes += [note for note in other.notes if note not in self.notes]

    def lines(self) -> list[str]:
        """Describe the reading for a terminal, one line each."""
        counted = [f"{self.images} images", f"{self.regions} regions"]
        if self.conversations:
            counted.append(f"{self.conversations} records with text")
        lines = [f"{self.path} ({self.format}): {', '.join(counted)}"]
        if self.names:
            common = ", ".join(f"{name} {count}" for name, count in self.names.most_common(_MAX_NAMES))
            more = len(self.names) - _MAX_NAMES
            lines.append(f"  {len(self.names)} names: {common}{f', and {more} more' if more > 0 else ''}")
        lines += [f"  repaired {count}: {reason}" for reason, count in self.repaired.most_common()]
        lines += [f"  dropped {count}: {reason}" for reason, count in self.dropped.most_common()]
        for example in self.examples:
            lines.append(f"    {example.record}: {example.reason}")
            fields = (("expected", example.expected), ("found", example.found), ("do this", example.fix))
            lines += [f"      {label}: {value}" for label, value in fields if value]
        return lines + [f"  {note}" for note in self.notes]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "format": self.format,
            "path": str(self.path),
            "images": self.images,
            "regions": self.regions,
            "conversations": self.conversations,
            "names": dict(self.names.most_common()),
            "dropped": dict(self.dropped.most_common()),
            "repaired": dict(self.repaired.most_common()),
            "examples": [asdict(example) for example in self.examples],
            "notes": list(self.notes),
        }

    def nothing_usable(self, expected: str) -> InputError:
        """The error for data of which nothing is left, with the reasons counted."""
        reasons = ", ".join(f"{reason} ({count})" for reason, count in self.dropped.most_common())
        first = self.examples[0] if self.examples else None
        return InputError(
            "Nothing in this data can be used.",
            expected=expected,
            found=f"nothing usable; dropped: {reasons}" if reasons else "no records",
            where=str(self.path) if first is None else f"{self.path}; first: {first.record}, {first.found}",
            fix=(first.fix if first else "") or "correct the data, or name the format and the images folder",
        )
