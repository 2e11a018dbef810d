"""Skipped draws: each is written down, and too many of them end the run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segue.errors import InputError, SegueError
from segue.training.finetune.mixture import Drawn

WORST_SHARE = 0.2
"""Share of images that may be unusable; above it, something is wrong with all of them."""

ENOUGH = 20
"""Distinct images after which the share is judged."""


@dataclass(frozen=True)
class Skip:
    """A draw that was not used.

    Attributes:
        step, place: The place in a batch that it was drawn for.
        conversation: Its id.
        path: The image, or the conversation's first one where the record is at fault.
        reason: What was wrong, in one line.
    """

    step: int
    place: int
    conversation: str
    path: str
    reason: str

    @classmethod
    def of(cls, step: int, place: int, drawn: Drawn, error: SegueError) -> Skip:
        """A skip for what was raised about a draw."""
        paths = [str(drawn.root / image.path) for image in drawn.conversation.images]
        path = next((path for path in paths if path == error.where), paths[0])
        found = f" (found: {error.found})" if error.found else ""
        return cls(step, place, drawn.conversation.id, path, " ".join(f"{error.summary}{found}".split()))

    def to_json(self) -> dict[str, Any]:
        """One line of skipped.jsonl."""
        return asdict(self)


class SkipJournal:
    """Writes skipped draws down, one line each, and ends the run when too many images are unusable.

    Args:
        path: `skipped.jsonl`, made with the first skip; None writes nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.count = 0
        self.good: set[str] = set()
        self.bad: set[str] = set()
        # A resumed run meets the draws of its last steps again.
        self._written: set[str] = set()
        if path is not None and path.is_file():
            self._written = set(path.read_text(encoding="utf-8").splitlines())

    def take(self, skipped: Sequence[dict[str, Any]], seen: Sequence[str]) -> None:
        """Note what a batch skipped and which images it could use.

        Raises:
            InputError: More than `WORST_SHARE` of at least `ENOUGH` images are unusable.
        """
        self.good.update(seen)
        self.bad.update(skip["path"] for skip in skipped)
        self.count += len(skipped)
        self._write([json.dumps(skip, ensure_ascii=False) for skip in skipped])
        # Distinct images: one that fails in every epoch counts once.
        known = len(self.good | self.bad)
        if known >= ENOUGH and len(self.bad) > WORST_SHARE * known:
            raise InputError(
                "Too many images cannot be used.",
                expected=f"at most {WORST_SHARE:.0%} of the images",
                found=f"{len(self.bad)} of {known} so far; the last: {skipped[-1]['reason']}"
                if skipped
                else f"{len(self.bad)} of {known} so far",
                where=str(self.path or "the data"),
                fix="check that --images is the right folder, and mend or remove the files listed there",
            )

    def _write(self, lines: list[str]) -> None:
        new = [line for line in lines if line not in self._written]
        if self.path is None or not new:
            return
        self._written.update(new)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in new))
