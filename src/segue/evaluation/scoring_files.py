"""Score predictions from anywhere: `segue eval --predictions FILE --data D`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from segue.errors import InputError
from segue.evaluation.evaluate import ScoringOptions, score_answers
from segue.evaluation.evaluation_data import EvaluationData
from segue.evaluation.predictions import Answer, is_coco_results, read_coco_results, read_predictions
from segue.evaluation.report import write_report
from segue.evaluation.samples import Key, all_samples
from segue.files import make_folder, write_atomic

OUTPUTS = ("metrics.json", "report.html", "predictions.jsonl", "asked.json")


def score_file(
    file: Path, data: EvaluationData, out: Path, scoring: ScoringOptions, *, overwrite: bool = False
) -> dict[str, Any]:
    """Score a file of predictions, and write `metrics.json` and `report.html`.

    Predictions of conversations that the data do not have are counted in `unused_predictions`.

    Args:
        file: JSONL or COCO results, see docs/evaluation.md.
        data: What the predictions answer.
        out: A folder that holds no evaluation yet.
        scoring: Options.
        overwrite: Replace what lies in the folder.

    Raises:
        InputError: The folder holds an evaluation; no prediction belongs to the data; or a mask has another
            size than the true one. RecordError: a wrong line.
    """
    make_folder(out)
    _check_free(out, overwrite)
    answers = load_answers(file, data)
    described = {
        "predictions": str(file),
        "predictions_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "data_sha256": data.sha256,
        "conversations": len(data.conversations),
    }
    metrics, items, protocol = score_answers(answers, data, described, scoring)
    known = {item.sample.key for item in items}
    metrics["unused_predictions"] = sum(key not in known for key in answers)
    write_atomic(out / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    if scoring.report:
        pictures = {c.id: data.image_paths(c) for c in data.conversations}
        write_report(out / "report.html", metrics, items, protocol, pictures)
    return metrics


def load_answers(file: Path, data: EvaluationData) -> dict[Key, Answer]:
    """The answers of a file, in either form.

    Raises:
        InputError: None of them belongs to the data.
    """
    if not file.is_file():
        raise InputError(
            "There is no such file of predictions.",
            expected="JSONL predictions or COCO results",
            found="a folder" if file.is_dir() else "nothing",
            where=str(file),
            fix="check --predictions",
        )
    samples = all_samples(data.conversations)
    if is_coco_results(file):
        names = {c.id: [_names(image) for image in c.images] for c in data.conversations}
        return read_coco_results(file, samples, names)
    answers = read_predictions(file)
    known = {sample.key for sample in samples}
    if not known & answers.keys():
        raise InputError(
            "No prediction belongs to these data.",
            expected=f"ids such as {samples[0].conversation_id!r}",
            found=", ".join(repr(name) for name, _ in list(answers)[:3]) or "an empty file",
            where=str(file),
            fix="give the data that the predictions were made for",
        )
    return answers


def _names(image: Any) -> set[str]:
    """All that an `image_id` may call an image: its id, with or without the dataset, its path and file name.

    COCO's numbers come without the zeros that fill their file names up: "000000000139" is 139 too.
    """
    path = Path(image.path)
    found = {image.image_id, image.image_id.partition(":")[2], image.path, path.name, path.stem}
    return found | {name.lstrip("0") for name in found if name.isdigit()}


def _check_free(out: Path, overwrite: bool) -> None:
    there = [name for name in OUTPUTS if (out / name).exists()]
    if there and not overwrite:
        raise InputError(
            "The output folder holds another evaluation.",
            expected="a folder without one",
            found=", ".join(there),
            where=str(out),
            fix="choose another --out, or add --overwrite to replace it",
        )
    if overwrite:
        for name in there:
            # The predictions to be scored may lie in this very folder.
            if name not in ("predictions.jsonl", "asked.json"):
                (out / name).unlink()
