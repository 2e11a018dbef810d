"""Rows of the papers' tables: which measurements belong together, and what each says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segue.errors import InputError

CONTROL_SCORES = ("mean_iou", "recall_at_50", "phrase_f1")
"""Scores by which a row is held against its control; the first that both have."""

TEXT_SCORES = frozenset({"bleu_4", "rouge_l", "meteor", "cider", "dist_1", "dist_2"})
"""Scores that are in 0..100 in metrics.json already; all others are shares."""

RAW = frozenset(
    {"tflops", "samples_per_second", "PR", "LC", "CC", "TR", "visual_tokens_per_image", "seconds"}
)
"""Values that are no shares at all."""


@dataclass(frozen=True)
class RowSpec:
    """One row as the user names it: `NAME=FOLDER,control=FOLDER,compute=PRESET,zero-shot`.

    Attributes:
        name: Of the row.
        metrics: metrics.json of `segue eval`, or its folder; None for a row of computed numbers alone.
        control: The same of `segue eval --shuffle-images`.
        compute: Name of a model in the file of `segue bench`.
        zero_shot: Not fine-tuned on the data set.
    """

    name: str
    metrics: Path | None = None
    control: Path | None = None
    compute: str | None = None
    zero_shot: bool = False


@dataclass
class Row:
    """A row ready to print.

    Attributes:
        name: Of the model.
        scores: In the papers' units: shares in percent.
        kind: "fine-tuned" or "zero-shot".
        origin: "measured", or where it is printed.
        looks: Whether it scores less when other pictures are shown; None where that was not measured.
        strata: Stratum to group to scores, in percent.
        note: Said below the table.
    """

    name: str
    scores: dict[str, float | None]
    kind: str = "fine-tuned"
    origin: str = "measured"
    looks: bool | None = None
    strata: dict[str, dict[str, dict[str, float | None]]] = field(default_factory=dict)
    note: str = ""

    @property
    def measured(self) -> bool:
        """Whether the numbers are this project's."""
        return self.origin == "measured"

    @property
    def label(self) -> str:
        """Its name with what a reader must know of it."""
        marks = [self.origin] if not self.measured else []
        marks += ["zero-shot"] if self.kind == "zero-shot" else []
        marks += ["does not look"] if self.looks is False else []
        return self.name + (f" ({', '.join(marks)})" if marks else "")


def parse_row(text: str) -> RowSpec:
    """Read a row of the command line.

    Raises:
        InputError: It is not written as `RowSpec` says.
    """
    # A name may hold commas ("PRIMA, Q-Former only"), a folder may not.
    name, found, tail = text.partition("=")
    folder, *rest = tail.split(",")
    fields: dict[str, Any] = {"metrics": Path(folder) if folder else None}
    wrong = not name.strip() or not found
    for piece in rest:
        key, equals, value = piece.strip().partition("=")
        if key == "zero-shot" and not equals:
            fields["zero_shot"] = True
        elif key == "control" and value:
            fields["control"] = Path(value)
        elif key == "compute" and value:
            fields["compute"] = value
        else:
            wrong = True
    if wrong or (fields["metrics"] is None and "compute" not in fields):
        raise InputError(
            "A row cannot be read.",
            expected="NAME=FOLDER, then any of control=FOLDER, compute=PRESET, zero-shot",
            found=repr(text),
            where="--row",
            fix="for example --row 'PRIMA=runs/prima/eval,control=runs/prima/control,compute=prima-7b'",
        )
    return RowSpec(name.strip(), **fields)


def read_row(spec: RowSpec, bench: Mapping[str, Mapping[str, Any]]) -> Row:
    """A row from its files.

    Args:
        spec: Of the row.
        bench: Model to its entry in the file of `segue bench`.

    Raises:
        InputError: A file is missing or is none of ours.
    """
    metrics = {} if spec.metrics is None else read_metrics(spec.metrics)
    scores = in_percent(metrics) | judged(metrics)
    seconds = metrics.get("seconds_per_turn")
    if isinstance(seconds, int | float) and seconds > 0:
        scores["samples_per_second"] = 1 / seconds
    if spec.compute is not None:
        if spec.compute not in bench:
            raise InputError(
                "The compute of a row has not been counted.",
                expected=" or ".join(bench) or "a file of `segue bench` with --bench",
                found=spec.compute,
                where=f"row {spec.name}",
                fix=f"run segue bench --flops --model {spec.compute} --out FILE, and give --bench FILE",
            )
        for name in ("tflops", "visual_tokens_per_image"):
            scores[name] = float(bench[spec.compute][name])
    looks, note = (None, "") if spec.control is None else held_against(metrics, read_metrics(spec.control))
    kind = "zero-shot" if spec.zero_shot else "fine-tuned"
    strata = {
        name: {group: in_percent(numbers) for group, numbers in groups.items()}
        for name, groups in metrics.items()
        if name.startswith("by_")
    }
    return Row(spec.name, scores, kind, "measured", looks, strata, f"{spec.name}: {note}" if note else "")


def read_metrics(place: Path) -> dict[str, Any]:
    """Content of a metrics.json, given itself or its folder.

    Raises:
        InputError: There is none, or it is damaged.
    """
    file = place / "metrics.json" if place.is_dir() else place
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            "Measurements cannot be read.",
            expected="metrics.json of `segue eval`, or its folder",
            found=error.strerror or str(error) if isinstance(error, OSError) else f"no JSON: {error}",
            where=str(file),
            fix="run segue eval with --out and name that folder",
        ) from error
    if not isinstance(content, dict) or "n_turns" not in content:
        raise InputError(
            "This is no file of measurements.",
            expected="an object with n_turns, as `segue eval` writes it",
            found=f"keys {', '.join(list(content)[:4])}"
            if isinstance(content, dict)
            else type(content).__name__,
            where=str(file),
            fix="name the metrics.json of an evaluation",
        )
    return content


def in_percent(numbers: Mapping[str, Any]) -> dict[str, float | None]:
    """Scores in the papers' unit; counts and what is no number are left out."""
    found: dict[str, float | None] = {}
    for name, value in numbers.items():
        if name.startswith(("n_", "seconds")) or name == "n" or isinstance(value, bool):
            continue
        if value is None:
            found[name] = None
        elif isinstance(value, int | float):
            found[name] = float(value) if name in TEXT_SCORES | RAW else 100 * float(value)
    return found


def judged(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Marks and win rate of the first judge; {} where none has judged."""
    for first in metrics.get("judges") or []:
        marks: dict[str, float | None] = {name: first.get(name) for name in ("PR", "LC", "CC", "TR")}
        pairs = first.get("pairwise")
        return marks | ({"win_rate": 100 * float(pairs["win_rate"])} if pairs else {})
    return {}


def held_against(metrics: Mapping[str, Any], control: Mapping[str, Any]) -> tuple[bool | None, str]:
    """Whether a model scores less when other pictures are shown, and a sentence about it.

    It looks when its control lies below the 95 % interval of its score (below nine tenths of the score where
    there is no interval). A score of 0 cannot drop: such a row does not look.

    Source: paper silent; ours.
    """
    for name in CONTROL_SCORES:
        own, other = metrics.get(name), control.get(name)
        if isinstance(own, int | float) and isinstance(other, int | float):
            bounds = (metrics.get("intervals") or {}).get(name)
            bound = float(bounds[0]) if bounds else 0.9 * float(own)
            looks = own > 0 and other < bound
            return looks, f"{name} {100 * own:.1f}, with other pictures {100 * other:.1f}"
    return None, "its control has none of " + ", ".join(CONTROL_SCORES)


def read_bench(file: Path | None) -> dict[str, dict[str, Any]]:
    """Entries of a file of `segue bench` by model; {} without a file.

    Raises:
        InputError: It is no such file.
    """
    if file is None:
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {entry["model"]: entry for entry in content["models"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "Counted compute cannot be read.",
            expected="a file that segue bench --flops --out wrote",
            found=str(error) or type(error).__name__,
            where=str(file),
            fix="count again: segue bench --flops --model prima-7b --out FILE",
        ) from error


def read_rows(specs: Sequence[RowSpec], bench: Path | None) -> list[Row]:
    """All rows, in the order in which they were given."""
    counted = read_bench(bench)
    return [read_row(spec, counted) for spec in specs]
