"""Rows of Parquet files as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from segue.errors import InputError, RecordError

ROWS = 1000
"""Rows of one row group; so many are held at a time."""

PARQUET = b"PAR1"
"""The first four bytes, and the last."""


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files of a folder and those below it, sorted."""
    return sorted(path for path in folder.rglob("*.parquet") if path.is_file())


def columns_of(path: str | Path) -> list[str]:
    """The names of a Parquet file's columns.

    Raises:
        RecordError: It is no Parquet file.
    """
    return [str(name) for name in open_parquet(path).schema_arrow.names]


def rows_of(path: str | Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file as plain values, a batch at a time."""
    for batch in open_parquet(path).iter_batches(batch_size=ROWS, columns=list(columns) if columns else None):
        yield from batch.to_pylist()


def open_parquet(path: str | Path) -> Any:
    """The file, of which nothing but its footer has been read."""
    arrow, parquet = with_arrow()
    try:
        return parquet.ParquetFile(path)
    except (OSError, arrow.ArrowInvalid) as error:
        raise RecordError(
            "The file cannot be read as Parquet.",
            expected="a .parquet file",
            found=f"{type(error).__name__}: {error}",
            where=str(path),
            fix="check the path, or download it again",
        ) from None


def with_arrow() -> tuple[Any, Any]:
    """`pyarrow` and `pyarrow.parquet`; InputError where they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            "Parquet needs PyArrow.",
            expected="the package pyarrow",
            found="none",
            where="Parquet files",
            fix="pip install 'segue[data]'",
        ) from None
    return pyarrow, pyarrow.parquet
