"""Evaluate a model: ask every question through the session that users call, score, write what was found."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import segue
from segue.errors import InputError
from segue.evaluation.asking import Answerer, answer_missing, collect, evaluation_folder, missing
from segue.evaluation.evaluation_data import EvaluationData
from segue.evaluation.predictions import Answer, Line, answers_of
from segue.evaluation.protocols import Item, Protocol, protocol_of
from segue.evaluation.report import write_report
from segue.evaluation.run_conversation import History, run_conversations
from segue.evaluation.samples import Key, all_samples
from segue.evaluation.scores import pair_up, summarise
from segue.evaluation.sentence_embedder import FoundEmbedder, default_embedder
from segue.evaluation.teacher_forced import check_can_be_forced, force_conversation
from segue.files import write_atomic
from segue.inference.inputs import MAX_NEW_TOKENS
from segue.inference.loaded_model import LoadedModel
from segue.metrics.m4seg import IOU_THRESHOLD, SIMILARITY_THRESHOLD
from segue.metrics.similarity import SemanticSimilarity
from segue.records import Conversation


@dataclass(frozen=True)
class AskingOptions:
    """What makes answers what they are, beside model and data.

    Attributes:
        history: Earlier answers that later questions see: the model's "own", or the record's "truth".
        shuffle_images: Control: show other conversations' images.
        max_new_tokens: Budget of each answer.
        seed: Of the shuffling; answers are greedy and need none.
        teacher_forced: Also draw the masks of the records' own answers.
        constrained: Answers keep to the grammar, see `GroundingSession.ask`; off for published models as they
            were published.
        dtype, quantize: Of the model where they are not the usual ones, see `segue.load`.
    """

    history: History = "own"
    shuffle_images: bool = False
    max_new_tokens: int = MAX_NEW_TOKENS
    seed: int = 0
    teacher_forced: bool = False
    constrained: bool = True
    dtype: str | None = None
    quantize: str | None = None

    def __post_init__(self) -> None:
        if self.history not in ("own", "truth"):
            raise InputError(
                "An option of the evaluation cannot be used.",
                expected='history "own" or "truth"',
                found=f"history {self.history!r}",
                where="evaluate",
                fix="correct the option",
            )


@dataclass(frozen=True)
class ScoringOptions:
    """How answers are scored and shown; nothing here needs a model.

    Attributes:
        protocol: Name of a protocol; that of the data where it is None.
        embedder: For semantic similarity; the default one where it is None.
        report: Whether to write report.html.
        drawings: Of the bootstrap.
    """

    protocol: str | None = None
    embedder: FoundEmbedder | None = None
    report: bool = True
    drawings: int = 1000


Progress = Callable[[int, int], None]
"""Called with (done, total) after each conversation."""


def evaluate(
    bundle: LoadedModel,
    conversations: Iterable[Conversation],
    out_dir: str | Path,
    *,
    root: str | Path = ".",
    limit: int | None = None,
    asking: AskingOptions | None = None,
    scoring: ScoringOptions | None = None,
    overwrite: bool = False,
    batch_size: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run conversations through sessions; write `predictions.jsonl`, `metrics.json` and `report.html`.

    Failed questions and unreadable images count as zero; none is skipped. A folder in which the same
    evaluation was begun is gone on with, nothing is asked twice. With `shuffle_images` the images of other
    conversations are shown in place of each conversation's own: what a model still scores then, it does not
    get by looking.

    Args:
        bundle: From `segue.load`.
        conversations: The records.
        out_dir: Folder for the files; made when it does not exist.
        root: Folder that image paths are relative to: that of the JSONL file.
        limit: Only the first so many conversations (before shuffling).
        asking, scoring: Options.
        overwrite: Begin anew where another evaluation lies.
        batch_size: Conversations that are asked together.
        progress: See `Progress`.

    Returns:
        The content of metrics.json; see docs/evaluation.md.

    Raises:
        InputError: No conversations, an unusable option or folder. RecordError: a wrong line of the file.
    """
    if (limit is not None and limit < 1) or batch_size < 1:
        raise InputError(
            "An option of the evaluation cannot be used.",
            expected="a limit of 1 or more, and a batch size of 1 or more",
            found=f"limit {limit}, batch size {batch_size}",
            where="evaluate",
            fix="correct the option",
        )
    data = EvaluationData(list(islice(conversations, limit)), Path(root))
    asking = asking or AskingOptions()
    if asking.teacher_forced:
        check_can_be_forced(bundle)
    asked = what_is_asked(bundle.name, bundle.path, data, asking)
    out = Path(out_dir)
    with evaluation_folder(out, asked, overwrite=overwrite):
        for stem, answer in answerers(bundle, data, asking).items():
            found = collect(out, stem, data.conversations)
            left, total = missing(found), len(found)
            already = total - len(left)
            tell = None if progress is None else _counting(progress, already, total)
            path = out / f"{stem}.jsonl"
            answer_missing(path, data.conversations, left, answer, batch_size=batch_size, progress=tell)
        return score_folder(out, data, asked, asking, scoring or ScoringOptions())


def answerers(bundle: LoadedModel, data: EvaluationData, asking: AskingOptions) -> dict[str, Answerer]:
    """What makes the lines of each file of answers, by the file's stem."""
    shown = shown_images(data, asking)

    def freely(conversations: Sequence[Conversation], places: Sequence[int]) -> list[Line]:
        lines = run_conversations(
            bundle,
            [(conversation, shown[place]) for conversation, place in zip(conversations, places, strict=True)],
            history=asking.history,
            other_images=asking.shuffle_images,
            max_new_tokens=asking.max_new_tokens,
            constrained=asking.constrained,
        )
        return [
            {"id": line["id"], "images": [_relative(p, data.root) for p in shown[place]], **line}
            for line, place in zip(lines, places, strict=True)
        ]

    def forced(conversations: Sequence[Conversation], places: Sequence[int]) -> list[Line]:
        return [force_conversation(bundle, c, shown[k]) for c, k in zip(conversations, places, strict=True)]

    found: dict[str, Answerer] = {"predictions": freely}
    if asking.teacher_forced:
        found["teacher_forced"] = forced
    return found


def shown_images(data: EvaluationData, asking: AskingOptions) -> list[list[Path]]:
    """The images that each conversation is asked about."""
    own = [data.image_paths(conversation) for conversation in data.conversations]
    return exchange_images(own, asking.seed) if asking.shuffle_images else own


def score_folder(
    out: Path, data: EvaluationData, asked: Mapping[str, Any], asking: AskingOptions, scoring: ScoringOptions
) -> dict[str, Any]:
    """Score the answers that lie in a folder, and write `metrics.json` and `report.html`."""
    answers = answers_of(line for line in collect(out, "predictions", data.conversations) if line is not None)
    metrics, items, protocol = score_answers(answers, data, asked, scoring)
    if asking.teacher_forced:
        lines = collect(out, "teacher_forced", data.conversations)
        forced = answers_of((line for line in lines if line is not None), "teacher_forced.jsonl")
        metrics |= _beside_teacher_forcing(metrics, forced, data, protocol, items[0].similarity)
    write_atomic(out / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    if scoring.report:
        shown = shown_images(data, asking)
        pictures = {c.id: paths for c, paths in zip(data.conversations, shown, strict=True)}
        write_report(out / "report.html", metrics, items, protocol, pictures)
    return metrics


def score_answers(
    answers: Mapping[Key, Answer], data: EvaluationData, described: Mapping[str, Any], scoring: ScoringOptions
) -> tuple[dict[str, Any], list[Item], Protocol]:
    """Score answers, whoever gave them.

    Args:
        answers: By conversation and turn; those that are missing count zero.
        data: What they answer.
        described: Of the file's header: who answered, and what was asked.
        scoring: Options.

    Returns:
        The content of metrics.json, every sample with its answer, and the protocol.
    """
    protocol = protocol_of(scoring.protocol, data.conversations)
    samples = all_samples(data.conversations)
    embedder = FoundEmbedder(None)
    if protocol.tells_targets:
        embedder = scoring.embedder or default_embedder()
    similarity = SemanticSimilarity(embedder.embed) if embedder.embed is not None else None
    items = pair_up(samples, answers, similarity)
    header = {
        "protocol": protocol.name,
        **described,
        "thresholds": {
            "iou": f"> {IOU_THRESHOLD}",
            "similarity": f"> {SIMILARITY_THRESHOLD}",
            "mask": "logit > 0",
        },
        "assignment": "largest sum of IoUs within each image",
        "sentence_embedder": embedder.source or embedder.reason or "not needed",
        "bootstrap": {"drawings": scoring.drawings, "over": "conversations", "share": 0.95},
        "versions": versions(),
    }
    numbers = summarise(items, protocol, no_embedder=embedder.reason, drawings=scoring.drawings)
    return {"header": header, **numbers}, items, protocol


def _beside_teacher_forcing(
    metrics: Mapping[str, Any],
    forced: Mapping[Key, Answer],
    data: EvaluationData,
    protocol: Protocol,
    similarity: SemanticSimilarity | None,
) -> dict[str, Any]:
    """The same scores of the masks that were drawn for the right words, and how much more they are."""
    items = pair_up(all_samples(data.conversations), forced, similarity)
    found = summarise(items, protocol, drawings=0)
    numbers = {name: value for name, value in found.items() if isinstance(value, float)}
    numbers.pop("seconds_per_turn", None)
    gap = {
        name: value - metrics[name] for name, value in numbers.items() if isinstance(metrics.get(name), float)
    }
    return {"teacher_forced": numbers, "teacher_forced_gap": gap}


def what_is_asked(
    name: str, folder: Path | None, data: EvaluationData, asking: AskingOptions
) -> dict[str, Any]:
    """Identity of an evaluation: the same answers come of the same.

    Args:
        name: The model's.
        folder: Of its weights; None where they are elsewhere.
        data: The data.
        asking: The options.

    Raises:
        InputError: There is nothing to ask.
    """
    if not data.conversations:
        raise InputError(
            "There is nothing to evaluate.",
            expected="at least one conversation",
            found="none",
            where="the data file",
            fix="give a file with one gconv/1 record a line",
        )
    return {
        "model": name,
        "weights_sha256": None if folder is None else weights_hash(folder),
        "data_sha256": data.sha256,
        "conversations": len(data.conversations),
        **asdict(asking),
    }


def weights_hash(folder: Path) -> str | None:
    """SHA-256 over the configuration and all weight files of a model; None where there are none."""
    digest = hashlib.sha256()
    files = sorted([*folder.glob("config.json"), *folder.glob("*.safetensors"), *folder.glob("*.bin")])
    for path in files:
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest() if files else None


def versions() -> dict[str, str]:
    """What the numbers were made with."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"segue": segue.__version__, "python": platform.python_version()}
    for package in ("torch", "transformers", "pycocotools", "scipy", "sacrebleu", "nltk"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    import torch

    found["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return found


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


def _counting(progress: Progress, already: int, total: int) -> Callable[[int], None]:
    return lambda done: progress(already + done, total)


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
