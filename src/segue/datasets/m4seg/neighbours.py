"""Nearest images by cosine distance, exactly, in blocks that fit any memory; or approximately, for millions.

Source: PRIMA sec. A.2, eq. 1; how neighbours are searched is ours.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segue.datasets.m4seg.features import Features
from segue.errors import InputError

QUERIES, BASE = 1024, 16384
"""Rows of one block; a block of scores has 64 MiB."""
EXACT_UP_TO = 200_000
"""Base rows above which `auto` searches approximately: exactly, the time grows with their square."""
_PROBES = 32

Search = Literal["auto", "exact", "approximate"]
Rows = NDArray[np.int64]


def nearest(
    features: Features, queries: Rows, base: Rows, k: int, search: Search = "auto"
) -> tuple[Rows, NDArray[np.float64]]:
    """The k nearest of `base` for each of `queries`.

    Args:
        features: Vectors of length 1 by row.
        queries: `[Q]` rows.
        base: `[B]` rows, among which the queries may be; a row is its own nearest.
        k: How many; fewer where `base` is smaller.
        search: `exact` compares everything; `approximate` (FAISS, inverted lists) looks into the `_PROBES`
            nearest of about 4 sqrt(B) cells; `auto` is exact up to `EXACT_UP_TO`.

    Returns:
        `[Q, min(k, B)]` rows, nearest first and by row at equal distance, and their distances `1 - cos`.

    Raises:
        InputError: An approximate search without FAISS.
    """
    k = min(k, len(base))
    if search == "approximate" or (search == "auto" and len(base) > EXACT_UP_TO):
        found = _approximate(features, queries, base, k)
    else:
        found = _exact(features, queries, base, k)
    return _ordered(features, queries, found)


def has_faiss() -> bool:
    """Whether FAISS is installed."""
    return importlib.util.find_spec("faiss") is not None


def _exact(features: Features, queries: Rows, base: Rows, k: int) -> Rows:
    # The best so far over the blocks of `base`; minus infinity loses to every cosine.
    best = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.zeros((len(queries), k), np.int64)
    top = _top_faiss if has_faiss() else _top_numpy
    for first in range(0, len(base), BASE):
        block = base[first : first + BASE]
        vectors = features.take(block)
        for start in range(0, len(queries), QUERIES):
            part = slice(start, start + QUERIES)
            # The last block may have fewer than k rows.
            scores, places = top(features.take(queries[part]), vectors, min(k, len(block)))
            scores = np.concatenate([best[part], scores], axis=1)
            ids = np.concatenate([rows[part], block[places]], axis=1)
            keep = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            best[part] = np.take_along_axis(scores, keep, axis=1)
            rows[part] = np.take_along_axis(ids, keep, axis=1)
    return rows


Top = Callable[[NDArray[np.float32], NDArray[np.float32], int], tuple[NDArray[np.float32], Rows]]


def _top_numpy(
    queries: NDArray[np.float32], base: NDArray[np.float32], k: int
) -> tuple[NDArray[np.float32], Rows]:
    scores = queries @ base.T
    # The k largest stand before place k, in no order among themselves; the caller sorts them.
    places = np.argpartition(-scores, k - 1, axis=1)[:, :k].astype(np.int64)
    return np.take_along_axis(scores, places, axis=1), places


def _top_faiss(
    queries: NDArray[np.float32], base: NDArray[np.float32], k: int
) -> tuple[NDArray[np.float32], Rows]:
    import faiss

    scores, places = faiss.knn(queries, base, k, metric=faiss.METRIC_INNER_PRODUCT)
    return scores, places


def _approximate(features: Features, queries: Rows, base: Rows, k: int) -> Rows:
    if not has_faiss():
        raise InputError(
            "An approximate search needs FAISS.",
            expected="the package faiss-cpu or faiss-gpu",
            found="neither",
            where="neighbours",
            fix="pip install 'segue[data]', or search exactly",
        )
    # As bytes, because an array cannot be the key of a cache.
    index = _index(features, base.tobytes())
    rows = np.zeros((len(queries), k), np.int64)
    for start in range(0, len(queries), QUERIES):
        _, places = index.search(features.take(queries[start : start + QUERIES]), k)
        # Cells may hold fewer than k; the gap is filled with the query itself, which sampling leaves out.
        itself = queries[start : start + QUERIES, None]
        rows[start : start + QUERIES] = np.where(places >= 0, base[places], itself)
    return rows


@lru_cache(maxsize=2)
def _index(features: Features, base_bytes: bytes) -> Any:
    """Inverted lists of half-precision vectors, filled block by block."""
    import faiss

    base = np.frombuffer(base_bytes, np.int64)
    cells = max(1, int(4 * len(base) ** 0.5))
    # FAISS warns below 39 vectors a cell, its least for k-means. Taken in the order of the files.
    sample = np.random.default_rng(0).choice(len(base), min(len(base), 40 * cells), replace=False)
    trained = features.take(base[np.sort(sample)])
    # SQfp16 loses nothing: the vectors lie on the disk in half precision (`features.DTYPE`).
    index: Any = faiss.index_factory(trained.shape[1], f"IVF{cells},SQfp16", faiss.METRIC_INNER_PRODUCT)
    index.train(trained)
    for first in range(0, len(base), BASE):
        index.add(features.take(base[first : first + BASE]))
    index.nprobe = _PROBES
    return index


def _ordered(features: Features, queries: Rows, found: Rows) -> tuple[Rows, NDArray[np.float64]]:
    """Distances computed in one fixed way, so that the order does not depend on the library's sums."""
    distances = np.empty(found.shape, np.float64)
    for start in range(0, len(queries), QUERIES):
        part = slice(start, start + QUERIES)
        near = features.take(found[part].ravel()).reshape(*found[part].shape, -1)
        cosines = np.einsum("qd,qkd->qk", features.take(queries[part]).astype(np.float64), near)
        # Rounded, so that what differs by the order of a library's sums is equal, and the row decides.
        distances[part] = np.round(1.0 - cosines, 6)
    # `lexsort` sorts by its last key first: by distance, then by row.
    order = np.lexsort((found, distances), axis=1)
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(distances, order, axis=1)
