"""M4SEG as its authors released it (kanguyen-vn/M4Seg): Parquet with texts, in columns unknown to us.

The columns are found by their names and by what they hold, and named, with what they lack, before anything is
read. What cannot be taken over is said, never guessed: texts without masks become records without masks.

Source: the data's page says Parquet, text, 100K to 1M rows; its columns are not known to us.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from segue.data.formats.parquet_rows import columns_of, rows_of
from segue.data.own.row_masks import row_masks
from segue.errors import RecordError, SegueError
from segue.records import SPLITS, Conversation, ImageRef, Meta, Region, Span, Turn

# What a column may be called, in lower case; the first that is there is taken.
_NAMES: dict[str, tuple[str, ...]] = {
    "question": ("question", "query", "prompt", "instruction", "human", "user", "q"),
    "answer": ("answer", "response", "output", "gpt", "assistant", "caption", "a"),
    "turns": ("conversations", "conversation", "messages", "turns", "dialogue", "qa"),
    "images": ("images", "image_ids", "image_paths", "image_files", "file_names", "image_list", "image"),
    "masks": ("masks", "segmentations", "segmentation", "rles", "rle", "regions", "annotations"),
    "id": ("id", "qa_id", "question_id", "uid", "sample_id", "idx"),
    "split": ("split", "subset", "partition"),
    "kind": ("kind", "type", "question_type", "category"),
}
LOOKED_FOR = "columns looked for: " + "; ".join(f"{role}: {', '.join(n)}" for role, n in _NAMES.items())
"""What columns may be called, for messages; others are recognised by what they hold."""

_LOOKED_AT = 20
_MOST_IMAGES = 3  # of an M4SEG set
# "<p> cat </p> [SEG] (IMAGE2)": name "cat", image 2; without its image a phrase is of the first.
_PHRASE = re.compile(r"<p>\s*(.*?)\s*</p>\s*(?:\[SEG\]\s*(?:\(\s*IMAGE\s*(\d)\s*\))?)?", re.IGNORECASE | re.S)
# "cat's ear 20101": the first digit is the image.
_CODED = re.compile(r"(?P<name>[^\W\d_][\w' -]*?)\s+(?P<code>[1-9]\d{2}(?:\d{2})?)\b")


@dataclass
class Release:
    """The files of a release; iterating reads them, row by row.

    Attributes:
        paths: The files.
        columns: Role ("question", "images", ...) to the column that plays it.
        unused: Columns that play none.
        grounding: How answers name masks: "tags", "identifiers" or "none".
        split: For rows without one.
        dropped: Number of rows that could not be read, by reason; of the latest pass.
    """

    paths: Sequence[Path]
    columns: dict[str, str]
    unused: list[str]
    grounding: str
    split: str
    dropped: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """Describe the release and what it lacks, for a terminal."""
        told = [f"{role}: column {column!r}" for role, column in self.columns.items()]
        told += [f"not used: {', '.join(map(repr, self.unused))}"] if self.unused else []
        told += [f"missing: {what}" for what in self.missing()]
        return told

    def missing(self) -> list[str]:
        """List what a complete M4SEG record needs and this release does not give."""
        lacks = []
        if "masks" not in self.columns:
            lacks.append(
                "masks: no column holds any. The records get regions with mask null; the masks are in "
                "ADE20K-Part-234, Pascal-Part and PACO-LVIS, see docs/sources.md"
            )
        else:
            lacks.append(
                f"masks: column {self.columns['masks']!r} is there, but its form is not known; not read"
            )
        if "images" not in self.columns:
            lacks.append("images: no column names them; the records point to nothing")
        if self.grounding == "none":
            lacks.append("grounding: answers have neither <p> tags nor identifiers; no phrase is grounded")
        if "split" not in self.columns:
            lacks.append(f"split: no column; every record is written as {self.split!r}")
        return lacks

    def dropped_lines(self) -> list[str]:
        """Rows that could not be read, by reason."""
        return [f"dropped {count}: {reason}" for reason, count in self.dropped.most_common()]

    def __iter__(self) -> Iterator[Conversation]:
        return (record for _, record in self.with_rows())

    def with_rows(self) -> Iterator[tuple[dict[str, Any], Conversation]]:
        """Each record with the row that it was read from."""
        self.dropped.clear()
        number = 0
        for path in self.paths:
            for row in rows_of(path):
                try:
                    record = self._record(row, number)
                except SegueError as error:
                    self.dropped[error.summary] += 1
                else:
                    yield row, record
                number += 1

    def _record(self, row: Mapping[str, Any], number: int) -> Conversation:
        question, answer = self._texts(row)
        if not question or not answer:
            raise RecordError("row without a question or an answer")
        images = _image_names(row.get(self.columns.get("images", "")))
        text, phrases = _read_answer(answer, self.grounding, len(images) or _MOST_IMAGES)
        count = max([len(images), *(image for _, _, _, image in phrases), 1])
        # Answers may name more images than the row lists, and a region must be of an image of its record.
        images += [f"unknown {n + 1}" for n in range(len(images), count)]
        regions, spans = [], []
        for place, (start, end, name, image) in enumerate(phrases, start=1):
            rid = f"r{place}"
            regions.append(Region(rid=rid, image_index=image - 1, kind="region", name=name))
            spans.append(Span(start=start, end=end, rids=[rid]))
        split = str(row.get(self.columns.get("split", "")) or self.split)
        given = row.get(self.columns.get("id", ""))
        meta: Meta = {"generator": "kanguyen-vn/M4Seg", "raw_answer": answer}
        kind = row.get(self.columns.get("kind", ""))
        if isinstance(kind, str):
            meta["kind"] = kind
        return Conversation(
            id=f"m4seg/release/{number if given is None else given}",
            task="m4seg",
            split=split if split in SPLITS else self.split,  # type: ignore[arg-type]
            # Height and width 0: unknown, as the release says nothing of them.
            images=[ImageRef(image_id=f"m4seg:{path}", path=path, height=0, width=0) for path in images],
            regions=regions,
            turns=[Turn(role="user", text=question), Turn(role="assistant", text=text, spans=spans)],
            meta=meta,
        )

    def _texts(self, row: Mapping[str, Any]) -> tuple[str, str]:
        if "question" in self.columns and "answer" in self.columns:
            return _text(row[self.columns["question"]]), _text(row[self.columns["answer"]])
        said = _turns(row[self.columns["turns"]])
        question = next((text for role, text in said if role == "user"), "")
        return question, next((text for role, text in said if role == "assistant"), "")


def read_release(paths: Sequence[str | Path], *, split: str = "train") -> Release:
    """Look at the files of a release and find out what their columns are.

    Args:
        paths: Parquet files with the same columns.
        split: For rows that do not say theirs.

    Raises:
        RecordError: No file, files with different columns, or no columns that could be questions and answers;
            the message lists what there is.
    """
    files = [Path(path) for path in paths]
    if not files or split not in SPLITS:
        raise RecordError(
            "There is no release to read." if not files else "There is no such split.",
            expected="one or more Parquet files" if not files else ", ".join(SPLITS),
            found="none" if not files else repr(split),
            where="read_release",
            fix="give the files that the release consists of" if not files else "choose one of them",
        )
    names = columns_of(files[0])
    for path in files[1:]:
        if columns_of(path) != names:
            raise RecordError(
                "The files have different columns.",
                expected=", ".join(names),
                found=", ".join(columns_of(path)),
                where=str(path),
                fix="read them one by one",
            )
    sample = list(islice(rows_of(files[0]), _LOOKED_AT))
    columns = _roles(names, sample)
    if not ({"question", "answer"} <= set(columns) or "turns" in columns):
        shown = (
            ", ".join(f"{name} ({type(sample[0][name]).__name__})" for name in names) if sample else "no rows"
        )
        raise RecordError(
            "No columns of this file can be questions and answers.",
            expected=f"question and answer, or turns; {LOOKED_FOR}",
            found=shown,
            where=str(files[0]),
            fix="rename the columns, or tell us what they are",
        )
    release = Release(files, columns, [n for n in names if n not in columns.values()], "none", split)
    answers = [release._texts(row)[1] for row in sample]
    if any(_PHRASE.search(answer) for answer in answers):
        # Tags first: a tagged text may hold numbers of three digits as well.
        release.grounding = "tags"
    elif any(_CODED.search(answer) for answer in answers):
        release.grounding = "identifiers"
    return release


def _roles(names: Sequence[str], sample: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    by_lower = {name.lower(): name for name in names}
    roles: dict[str, str] = {}
    for role, candidates in _NAMES.items():
        for candidate in candidates:
            column = by_lower.get(candidate)
            if column is not None and column not in roles.values() and _fits(role, column, sample):
                roles[role] = column
                break
    # Then by content, those that can be told: the most telling first.
    for role, holds in _CONTENT.items():
        for name in names:
            if role not in roles and name not in roles.values() and _all(name, sample, holds):
                roles[role] = name
    return roles


def _all(column: str, sample: Sequence[Mapping[str, Any]], holds: Callable[[Any], bool]) -> bool:
    """Whether all values that there are hold something."""
    values = [row[column] for row in sample if row[column] is not None]
    return bool(values) and all(holds(value) for value in values)


_PICTURE = re.compile(r".+\.(jpe?g|png|webp|bmp|tiff?)", re.IGNORECASE)
_CONTENT: dict[str, Callable[[Any], bool]] = {
    "turns": lambda value: any(role == "user" and text for role, text in _turns(value)),
    "masks": lambda value: bool(row_masks(value)),
    "images": lambda value: bool(n := _image_names(value)) and all(_PICTURE.fullmatch(one) for one in n),
    "answer": lambda value: isinstance(value, str) and bool(_PHRASE.search(value) or _CODED.search(value)),
    "question": lambda value: isinstance(value, str) and value.rstrip().endswith("?"),
}
"""Role -> whether a value can only be of that role."""


def _fits(role: str, column: str, sample: Sequence[Mapping[str, Any]]) -> bool:
    values = [row[column] for row in sample if row[column] is not None]
    if role in ("question", "answer"):
        return all(isinstance(value, str) for value in values)
    if role == "turns":
        return any(_turns(value) for value in values)
    return bool(values)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _turns(value: Any) -> list[tuple[str, str]]:
    """Turns in the forms that are usual: `from`/`value`, `role`/`content`, or their JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    if not isinstance(value, list):
        return []
    said = []
    for turn in value:
        if not isinstance(turn, Mapping):
            return []
        role = str(turn.get("role") or turn.get("from") or "")
        text = _text(turn.get("content") or turn.get("value") or "")
        said.append(("user" if role in ("user", "human") else "assistant", text))
    return said


def _image_names(value: Any) -> list[str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = [value]
    if not isinstance(value, list):
        return []
    return [str(v.get("path") or v.get("image_id") or v) if isinstance(v, Mapping) else str(v) for v in value]


def _read_answer(answer: str, grounding: str, most: int) -> tuple[str, list[tuple[int, int, str, int]]]:
    """Clean text, and `(start, end, name, image)` of its phrases that name one of the `most` images."""
    pattern = {"tags": _PHRASE, "identifiers": _CODED}.get(grounding)
    if pattern is None:
        return answer, []
    text, done = "", 0
    phrases = []
    for match in pattern.finditer(answer):
        name = match.group(1).strip()
        image = int(match.group(2) or 1) if grounding == "tags" else int(match.group("code")[0])
        if not name or not 1 <= image <= most:
            continue
        if grounding == "identifiers":
            # The pattern takes all words since the last mark; which of them are the name is not known here.
            name = name.split()[-1]
            text += answer[done : match.start("code")].rstrip()
            start = len(text) - len(name)
        else:
            text += answer[done : match.start()]
            start = len(text)
            text += name
        phrases.append((start, start + len(name), name, image))
        done = match.end()
    return text + answer[done:], phrases
