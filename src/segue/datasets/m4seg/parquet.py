"""Records as Parquet, which Hugging Face `datasets` reads and shows, and back without a change.

Each row holds what people search and filter by in columns of its own, and the whole record, as one line of
`gconv/1`, in the column `record`; so a row comes back exactly as it was written.

    datasets.load_dataset("parquet", data_files="train.parquet")
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from segue.data.formats.parquet_rows import ROWS, columns_of, rows_of, with_arrow
from segue.files import atomic_path
from segue.records import Conversation

RECORD = "record"


def write_parquet(path: str | Path, conversations: Iterable[Conversation]) -> int:
    """Write a Parquet file; it appears complete or not at all.

    Args:
        path: The file.
        conversations: May be a generator.

    Returns:
        How many were written.

    Raises:
        InputError: PyArrow is not installed.
    """
    arrow, parquet = with_arrow()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A fixed schema: PyArrow would infer the type null for a first group without any `kind`, and refuse the
    # next.
    schema, count = _schema(arrow), 0
    stream = iter(conversations)
    with (
        atomic_path(path) as unfinished,
        parquet.ParquetWriter(unfinished, schema, compression="zstd") as file,
    ):
        while rows := [_row(conversation) for conversation in islice(stream, ROWS)]:
            file.write_table(arrow.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


def read_parquet(paths: Sequence[str | Path]) -> Iterator[Conversation]:
    """Read back what `write_parquet` wrote, row by row.

    Raises:
        RecordError: A row is not a record.
    """
    for path in paths:
        for number, row in enumerate(rows_of(path, [RECORD])):
            yield Conversation.from_json(row[RECORD], where=f"{path}, row {number}")


def conversations_of(rows: Iterable[Any]) -> Iterator[Conversation]:
    """The records of rows of `datasets`, such as a `Dataset` or a streamed one."""
    for number, row in enumerate(rows):
        yield Conversation.from_json(row[RECORD], where=f"row {number}")


def is_ours(paths: Sequence[str | Path]) -> bool:
    """Whether files were written by `write_parquet`."""
    return all(RECORD in columns_of(path) for path in paths)


def _schema(arrow: Any) -> Any:
    texts, one = arrow.list_(arrow.string()), arrow.string()
    fields = [("id", one), ("task", one), ("split", one), ("question", one), ("answer", one)]
    fields += [("kind", one), ("generator", one), ("image_ids", texts), ("image_paths", texts)]
    fields += [("objects", texts), ("parts", texts), ("num_masks", arrow.int32()), (RECORD, one)]
    return arrow.schema(fields)


def _row(conversation: Conversation) -> dict[str, Any]:
    named = {rid for turn in conversation.turns for span in turn.spans for rid in span.rids}
    regions = [region for region in conversation.regions if region.rid in named]
    kind, generator = conversation.meta.get("kind"), conversation.meta.get("generator")
    return {
        **{"id": conversation.id, "task": conversation.task, "split": conversation.split},
        "question": next((turn.text for turn in conversation.turns if turn.role == "user"), ""),
        "answer": next((turn.text for turn in conversation.assistant_turns()), ""),
        "kind": kind if isinstance(kind, str) else None,
        "generator": generator if isinstance(generator, str) else None,
        "image_ids": [image.image_id for image in conversation.images],
        "image_paths": [image.path for image in conversation.images],
        "objects": [region.name for region in regions if region.kind == "object"],
        "parts": [region.name for region in regions if region.kind == "part"],
        "num_masks": len(regions),
        # The whole record as text: columns of nested spans and masks would not give back its very bytes.
        RECORD: json.dumps(conversation.to_json(), ensure_ascii=False),
    }
