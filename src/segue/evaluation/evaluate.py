"""Evaluate a model on a file of records: free generation, one session per conversation."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

import segue
from segue.errors import InputError
from segue.evaluation.run_conversation import History, TurnResult, image_paths, run_conversation
from segue.evaluation.scores import summarise
from segue.files import make_folder, write_atomic
from segue.inference.inputs import MAX_NEW_TOKENS
from segue.inference.loaded_model import LoadedModel
from segue.records import Conversation


def evaluate(
    bundle: LoadedModel,
    conversations: Iterable[Conversation],
    out_dir: str | Path,
    *,
    root: str | Path = ".",
    shuffle_images: bool = False,
    limit: int | None = None,
    history: History = "own",
    max_new_tokens: int = MAX_NEW_TOKENS,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Run conversations through sessions and write `metrics.json` and `predictions.jsonl`.

    Failed questions and unreadable images count as zero; none is skipped. With `shuffle_images` the images of
    other conversations are shown in place of each conversation's own: what a model still scores then, it
    reads from the questions alone. Masks are not scored in this control.

    Args:
        bundle: From `segue.load`.
        conversations: The records.
        out_dir: Folder for the two files; made when it does not exist.
        root: Folder that image paths are relative to: that of the JSONL file.
        shuffle_images: Show other conversations' images.
        limit: Only the first so many conversations (before shuffling).
        history: Earlier answers that later questions see: the model's "own", or the record's "truth".
        max_new_tokens: Budget of each answer.
        seed: Of the shuffling; answers are greedy and need none.
        progress: Called with (done, total) after each conversation.

    Returns:
        The content of metrics.json; see `segue.evaluation.scores.summarise`.

    Raises:
        InputError: No conversations, an unusable option or folder. RecordError: a wrong line of the file.
    """
    chosen = _chosen(conversations, limit, history)
    out, folder = Path(out_dir), Path(root)
    make_folder(out)
    shown = [image_paths(conversation, folder) for conversation in chosen]
    if shuffle_images:
        shown = exchange_images(shown, seed)
    results: list[TurnResult] = []
    # Not atomic: what was answered before an interruption shall be there to be looked at.
    with (out / "predictions.jsonl").open("w", encoding="utf-8") as predictions:
        for done, (conversation, images) in enumerate(zip(chosen, shown, strict=True), start=1):
            turns = run_conversation(
                bundle,
                conversation,
                images,
                history=history,
                score_masks=not shuffle_images,
                max_new_tokens=max_new_tokens,
            )
            predictions.write(_line(conversation, images, turns, folder) + "\n")
            results += turns
            if progress is not None:
                progress(done, len(chosen))
    metrics = summarise(results, masks_scored=not shuffle_images) | {
        "n": len(chosen),
        "model": bundle.name,
        "shuffle_images": shuffle_images,
        "history": history,
        "max_new_tokens": max_new_tokens,
        "limit": limit,
        "seed": seed,
        "versions": versions(),
    }
    write_atomic(out / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    return metrics


def _chosen(conversations: Iterable[Conversation], limit: int | None, history: str) -> list[Conversation]:
    """The conversations to run; InputError for none, or for an option that cannot be used."""
    if history not in ("own", "truth") or (limit is not None and limit < 1):
        raise InputError(
            "An option of the evaluation cannot be used.",
            expected='history "own" or "truth", and a limit of 1 or more',
            found=f"history {history!r}, limit {limit}",
            where="evaluate",
            fix="correct the option",
        )
    chosen = list(conversations if limit is None else islice(conversations, limit))
    if not chosen:
        raise InputError(
            "There is nothing to evaluate.",
            expected="at least one conversation",
            found="none",
            where="the data file",
            fix="give a file with one gconv/1 record a line",
        )
    return chosen


def exchange_images(shown: Sequence[list[Path]], seed: int) -> list[list[Path]]:
    """Give every conversation images of others: as many as its own, none of them its own.

    The donor is drawn among conversations of the same number of images; where there is none with all images
    different, single images are drawn from all others.

    Args:
        shown: Each conversation's image paths.
        seed: Of the draws; the result depends on `shown` and `seed` only.

    Raises:
        InputError: There are not enough other images.
    """
    rng = np.random.default_rng(seed)
    pool = sorted({path for paths in shown for path in paths})
    same_number: dict[int, list[int]] = {}
    for index, paths in enumerate(shown):
        same_number.setdefault(len(paths), []).append(index)
    exchanged = []
    for index, paths in enumerate(shown):
        own, candidates = set(paths), same_number[len(paths)]
        order = (candidates[int(k)] for k in rng.permutation(len(candidates)))
        donor = next((k for k in order if not own & set(shown[k])), None)
        if donor is not None:
            exchanged.append(list(shown[donor]))
            continue
        foreign = [path for path in pool if path not in own]
        if len(foreign) < len(paths):
            raise InputError(
                "There are not enough other images to shuffle with.",
                expected=f"{len(paths)} images that are not the conversation's own",
                found=str(len(foreign)),
                where=f"conversation {index + 1}",
                fix="evaluate more conversations, or leave out the shuffling",
            )
        exchanged.append([foreign[int(k)] for k in rng.permutation(len(foreign))[: len(paths)]])
    return exchanged


def versions() -> dict[str, str]:
    """Versions that the numbers were made with."""
    return {
        "segue": segue.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def _line(conversation: Conversation, images: list[Path], turns: list[TurnResult], root: Path) -> str:
    def relative(path: Path) -> str:
        return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)

    content = {
        "id": conversation.id,
        "images": [relative(path) for path in images],
        "turns": [{"turn": t.turn, "ious": [round(v, 4) for v in t.ious], **t.prediction} for t in turns],
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False)
