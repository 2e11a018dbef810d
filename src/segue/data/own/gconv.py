"""`gconv/1` files: conversations that are finished already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segue.data.formats.image_folder import ImageFolder
from segue.data.formats.report import ReadReport
from segue.data.formats.splits import names_split, words_of
from segue.data.formats.text_file import is_utf8, load_text
from segue.data.own.detect import conversation_files, is_drawn
from segue.data.own.sources import OwnData, RecordSource, TextRecord, relative_path
from segue.errors import InputError, RecordError, SegueError
from segue.records import Conversation, Turn, grounded_markup
from segue.records.conversation import Split


@dataclass(frozen=True)
class LineRecord:
    """One line of a file, read whenever it is drawn: large files need not fit into memory.

    Attributes:
        file: The JSONL file.
        offset: Byte at which the line begins.
        length: Bytes of the line.
        paths: Image paths to use instead of the written ones; None where those are right.
    """

    file: Path
    offset: int
    length: int
    paths: tuple[str, ...] | None = None

    def conversation(self, rng: np.random.Generator) -> Conversation:
        """The conversation, each question in one of its wordings."""
        with self.file.open("rb") as opened:
            opened.seek(self.offset)
            line = opened.read(self.length)
        text = line.decode("utf-8-sig", errors="replace")  # every line was checked when the file was read
        written = Conversation.from_json(text.rstrip("\r\n"), where=f"{self.file}, byte {self.offset}")
        return _drawn(written, self.paths, rng)


@dataclass(frozen=True)
class HeldRecord:
    """A line of a file in another encoding than UTF-8, which cannot be read by its bytes.

    Attributes:
        written: The conversation.
        paths: As in `LineRecord`.
    """

    written: Conversation
    paths: tuple[str, ...] | None = None

    def conversation(self, rng: np.random.Generator) -> Conversation:
        """The conversation, each question in one of its wordings."""
        return _drawn(self.written, self.paths, rng)


def _drawn(written: Conversation, paths: tuple[str, ...] | None, rng: np.random.Generator) -> Conversation:
    turns = [_reworded(turn, rng) for turn in written.turns]
    images = written.images
    if paths is not None:
        # Not checked again: only the path differs from what was.
        images = [image.model_copy(update={"path": path}) for image, path in zip(images, paths, strict=True)]
    return written.model_copy(update={"turns": turns, "images": images})


def _reworded(turn: Turn, rng: np.random.Generator) -> Turn:
    """A question in one of its wordings; turns with spans stay, since offsets belong to them."""
    if turn.role != "user" or turn.spans or not turn.alternatives:
        return turn
    options = [turn.text, *turn.alternatives]
    return Turn(role="user", text=options[int(rng.integers(len(options)))])


def read(path: Path, images: Path | None, split: Split) -> OwnData:
    """Read a file of conversations, checking every line once.

    Args:
        path: The .jsonl file, or a folder with just one.
        images: Folder that image paths are relative to; by default the file's own.
        split: Records of other splits are left out.

    Raises:
        InputError: No file, or nothing usable.
    """
    file = path if path.is_file() else choose_file(path, split)
    root = images or file.parent
    folder, report = ImageFolder(root), ReadReport("gconv", file)
    records: list[TextRecord] = []
    paths: set[str] = set()
    others: Counter[str] = Counter()
    pointing = 0
    for number, start, line, is_held in _lines(file, report):
        if not line.strip():
            continue
        try:
            conversation = _checked(line, f"{file.name}:{number}")
            found = found_paths(conversation, folder)
        except SegueError as error:
            drop_line(report, number, error, file)
            continue
        if conversation.split != split:
            others[conversation.split] += 1
            continue
        written = tuple(image.path for image in conversation.images)
        changed = None if found == written else found
        held = HeldRecord(conversation, changed) if is_held else LineRecord(file, start, len(line), changed)
        records.append(held)
        paths.update(found)
        pointing += any(turn.role == "user" and turn.spans for turn in conversation.turns)
        report.regions += len(conversation.regions)
        report.names.update(region.name for region in conversation.regions)
    report.images, report.conversations = len(paths), len(records)
    _note_splits(report, others, split, empty=not records)
    if pointing:
        report.notes.append(
            f"{pointing} conversations point at regions: a model that reads none yet learns their words "
            "alone, unless --regions is given to `segue train`"
        )
    if not records:
        raise report.nothing_usable(f"gconv/1 records of split {split!r} whose images exist")
    return OwnData("gconv", RecordSource(records, root), report, [file])


def _lines(file: Path, report: ReadReport) -> Iterator[tuple[int, int, bytes, bool]]:
    """(number, first byte, line, whether it must be held) of a file, as UTF-8."""
    if is_utf8(file):
        offset = 0
        with file.open("rb") as opened:
            for number, line in enumerate(opened, start=1):
                yield number, offset, line, False
                offset += len(line)
        return
    decoded = load_text(file)
    if decoded.is_guess:
        report.repaired[decoded.wording] += 1
    for number, text in enumerate(decoded.text.split("\n"), start=1):
        yield number, 0, text.encode("utf-8"), True


def choose_file(folder: Path, split: str) -> Path:
    """The file of conversations in a folder: the one of a build's files that is named like the split.

    What a build rejected, and what `segue data own` drew from annotations, is taken for nothing else.

    Raises:
        InputError: There is none, or several fit.
    """
    found = [file for file in conversation_files(folder) if "rejected" not in words_of(file.stem)]
    first_hand = [file for file in found if not is_drawn(file)] or found
    named = [file for file in first_hand if names_split(file.stem, split)]
    chosen = first_hand if len(first_hand) == 1 else named
    if len(chosen) == 1:
        return chosen[0]
    raise InputError(
        "It is not clear which file holds the conversations.",
        expected=f"one .jsonl file, or one with {split!r} in its name",
        found=", ".join(file.name for file in found[:8]) or "none",
        where=str(folder),
        fix="name the file itself, or the part of the data with --split",
    )


def _checked(line: bytes, where: str) -> Conversation:
    """A record that can be trained on: sound, renderable, and with a mask for every region that is named."""
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError(
            "A line is not UTF-8.", expected="UTF-8 text", found=str(error), where=where
        ) from None
    conversation = Conversation.from_json(text.rstrip("\r\n"), where=where)
    for number in range(len(conversation.turns)):
        # Rendered once now: a tag in a text or two spans in conflict shall not show in the middle of a
        # training.
        _, targets = grounded_markup(conversation, number)
        for rid in (rid for _, rids in targets for rid in rids):
            if conversation.region(rid).mask is None:
                raise RecordError(
                    "A region that is named has no mask.",
                    expected="an inline mask",
                    found="mask_ref" if conversation.region(rid).mask_ref else "null",
                    where=f"{where}, region {rid!r}",
                    fix="build the file with inline masks",
                )
    if conversation.turns[-1].role != "assistant":
        raise RecordError(
            "A conversation ends without an answer.",
            expected="an assistant's turn at the end",
            found=conversation.turns[-1].role,
            where=where,
            fix="add the answer or drop the last turn",
        )
    return conversation


def found_paths(conversation: Conversation, folder: ImageFolder) -> tuple[str, ...]:
    """Paths of the images that a record names, below the folder; RecordError where one is missing."""
    found = []
    for image in conversation.images:
        path = folder.find(image.path)
        if path is None:
            raise RecordError(
                "An image file is missing.",
                expected="an image file of this name",
                found=image.path,
                where=str(folder.folder),
                fix="pass the folder that the paths are relative to with --images",
            )
        found.append(relative_path(path, folder.folder))
    return tuple(found)


def drop_line(report: ReadReport, number: int, error: SegueError, file: Path) -> None:
    """Report a record that cannot be used."""
    report.drop(
        f"{file.name}:{number}",
        error.summary,
        expected=error.expected,
        found=error.found,
        where=error.where,
        fix=error.fix,
    )


def _note_splits(report: ReadReport, others: Counter[str], split: str, *, empty: bool) -> None:
    if not others:
        return
    listed = ", ".join(f"{name} {count}" for name, count in sorted(others.items()))
    report.notes.append(f"records of other splits, not asked for: {listed}")
    if empty:
        report.drop(
            "all records",
            "another split",
            expected=split,
            found=listed,
            fix="name the part of the data with --split",
        )
