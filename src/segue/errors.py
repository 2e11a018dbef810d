"""Errors that tell the reader what was expected, what was found, where, and what to do.

Every error that a user can see is a `SegueError`. Its message is built from named fields, so that no message
can forget one of them by accident and callers (the command line, the server) can format the fields
themselves:

    The image file is empty.
      expected: an image file such as .jpg or .png
      found:    0 bytes
      where:    photos/b.jpg
      do this:  save or download the file again

The subclasses also inherit the built-in exception of the same meaning, so `except ValueError` keeps working.
"""

from __future__ import annotations

__all__ = [
    "AlignmentError",
    "ContextError",
    "ImageError",
    "InputError",
    "ModelError",
    "RecordError",
    "SegueError",
]


class SegueError(Exception):
    """Base of every error that Segue raises on purpose.

    Args:
        summary: What is wrong, one sentence.
        expected: What would have been right.
        found: What was there instead; shortened when it is long.
        where: File, line, field or argument.
        fix: What the reader should do next.

    Source: ours.
    """

    def __init__(
        self, summary: str, *, expected: str = "", found: str = "", where: str = "", fix: str = ""
    ) -> None:
        # Only `summary` goes into `args`: pickling rebuilds with args and restores the other fields from
        # __dict__, so the error survives the way back from a worker process.
        super().__init__(summary)
        self.summary = summary
        self.expected = expected
        self.found = found
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        labelled = (
            ("expected: ", self.expected),
            ("found:    ", self.found),
            ("where:    ", self.where),
            ("do this:  ", self.fix),
        )
        lines = [self.summary]
        lines += [f"  {label}{_one_line(value)}" for label, value in labelled if value]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.summary!r}, where={self.where!r})"


class InputError(SegueError, ValueError):
    """What a user gave (a question, an argument, a path) cannot be used."""


class ImageError(InputError):
    """An image file or array cannot be used."""


class ContextError(InputError):
    """A conversation is longer than the model can read."""


class RecordError(SegueError, ValueError):
    """A `gconv/1` record or a data file is wrong."""


class AlignmentError(SegueError, RuntimeError):
    """Two counts that must agree do not: placeholders and visual tokens, `[SEG]` and masks, and the like."""


class ModelError(SegueError, RuntimeError):
    """A model or checkpoint cannot be found, read or run."""


_LONGEST_FIELD = 400


def _one_line(value: str) -> str:
    """Fold line breaks and cut: a stray megabyte of text must not fill a terminal."""
    folded = " ".join(str(value).split())
    return folded if len(folded) <= _LONGEST_FIELD else folded[: _LONGEST_FIELD - 3] + "..."
