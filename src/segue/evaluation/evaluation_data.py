"""Data to evaluate on, read from any format that `segue train --data` reads, every question in it once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from segue.data.own import read_own_data
from segue.data.own.detect import detect_format, detected_lines
from segue.data.own.reasonseg import ReasonRecord
from segue.data.own.refcoco import ReferredImage
from segue.data.own.sources import RecordSource
from segue.errors import InputError
from segue.records import Conversation, read_jsonl


@dataclass(frozen=True)
class EvaluationData:
    """Conversations with their answers.

    Attributes:
        conversations: In the order of the data.
        root: Folder that image paths are relative to.
        notes: What the reader has to say, such as what it left out.
    """

    conversations: list[Conversation]
    root: Path
    notes: list[str] = field(default_factory=list)

    def image_paths(self, conversation: Conversation) -> list[Path]:
        """Where the images of a record lie."""
        return [self.root / image.path for image in conversation.images]

    @property
    def sha256(self) -> str:
        """Of the records as they are asked; changes with any question, answer or mask."""
        return data_hash(self.conversations)


def read_evaluation_data(
    path: Path,
    images: Path | None = None,
    format: str | None = None,
    *,
    split: str = "val",
    count: int = 100,
    limit: int | None = None,
    seed: int = 0,
) -> EvaluationData:
    """Read data to evaluate on.

    Records of `gconv/1` are taken as they are, all splits. RefCOCO: every expression is a question of its
    own.
    ReasonSeg: the first text of each image, as its authors evaluate. Captions: one request an image.
    Annotations without text (COCO, LabelMe): `count` conversations about them, the same for the same `seed`.

    Args:
        path: File or folder.
        images: Folder of the images; where the data say, or beside them, when not given.
        format: Recognised by content when not given.
        split: Part of data that are divided.
        count, seed: Of conversations that are composed.
        limit: Only the first so many conversations.

    Raises:
        InputError: No such path, nothing usable. RecordError: a wrong line.
    """
    path = path.expanduser()
    lines = path.suffix == ".jsonl" or not path.exists()
    # A file of lines is one of records, unless its first line is of another kind.
    records = lines and not (path.is_file() and detected_lines(path) == "partnodes")
    known = format or ("gconv" if records else detect_format(path))
    if known == "gconv" and (lines or path.is_file()):
        found = EvaluationData(list(islice(read_jsonl(path), limit)), images or path.parent)
    else:
        own = read_own_data(path, images, format, split=split)
        source = own.source
        if isinstance(source, RecordSource):
            drawn = (c for k, record in enumerate(source.records) for c in _every_question(record, seed, k))
            written = list(islice(drawn, limit))
        else:
            written = source.fixed(count if limit is None else min(count, limit), seed)
        found = EvaluationData(written, source.root, list(own.report.lines()))
    if not found.conversations:
        raise InputError(
            "There is nothing to evaluate.",
            expected="at least one conversation",
            found="none",
            where=str(path),
            fix="give data with at least one question and its answer",
        )
    return found


def data_hash(conversations: Sequence[Conversation]) -> str:
    """SHA-256 of records as JSON."""
    digest = hashlib.sha256()
    for conversation in conversations:
        digest.update(json.dumps(conversation.to_json(), sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _every_question(record: object, seed: int, number: int) -> Iterator[Conversation]:
    """The conversations that a record of a text format asks; ids tell its questions apart."""
    rng = np.random.default_rng((seed, number))
    if isinstance(record, ReferredImage):
        position = 0
        for reference in record.references:
            for text in reference.texts:
                single = replace(record, references=(replace(reference, texts=(text,)),))
                asked = single.conversation(rng)
                yield asked.model_copy(update={"id": f"refcoco/{record.image.image_id}/{position}"})
                position += 1
        return
    if isinstance(record, ReasonRecord):
        record = replace(record, texts=record.texts[:1])
    conversation = record.conversation(rng)  # type: ignore[attr-defined]  # a TextRecord
    if "/" in conversation.id and conversation.task in ("reasonseg", "gcg"):
        # The reader's id ends in a random number; ours must be the same for every run.
        conversation = conversation.model_copy(
            update={"id": f"{conversation.id.rpartition('/')[0]}/{number}"}
        )
    yield conversation
