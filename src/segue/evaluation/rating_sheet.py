"""Blind rating sheets: an HTML page that hides who answered, and the CSV that a rater sends back.

Each question is shown once for every row, in an order that chance chose; names are in `key.json` alone, which
raters do not get. The page keeps nothing and asks nobody: its button saves a CSV.
"""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segue import masks
from segue.errors import InputError, SegueError
from segue.evaluation.predictions import MISSING, Answer
from segue.evaluation.samples import Key, Sample
from segue.images import load_image
from segue.inference.report import data_url
from segue.inference.visualize import Layer, colour, draw_overlay
from segue.masks import resize_mask

MARKS = {
    "PR": "Progressive reasoning: does each step lead on to the next?",
    "LC": "Logical coherence: is it free of contradictions?",
    "CC": "Content consistency: does it agree with the pictures?",
    "TR": "Target relevance: are the right things named and drawn?",
}
"""Marks from 1 (bad) to 5 (good). Source: MIRAS's table; our wording, its rubrics are not public."""

SIDE = 360
"""Longest side of a picture in pixels."""

_SCRIPT = """
document.getElementById('save').onclick = () => {
  const lines = ['item,PR,LC,CC,TR'];
  for (const item of document.querySelectorAll('section')) {
    const marks = ['PR', 'LC', 'CC', 'TR'].map(
      name => (item.querySelector(`input[data-mark=${name}]:checked`) || {value: ''}).value);
    lines.push([item.dataset.item, ...marks].join(','));
  }
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([lines.join('\\n') + '\\n'], {type: 'text/csv'}));
  link.download = 'ratings.csv';
  link.click();
};
"""
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem}
section{border:1px solid #d8dbe0;border-radius:8px;padding:.8rem 1rem;margin:1rem 0}
fieldset{border:0;padding:.2rem 0}img{max-width:100%;margin-right:.5rem}label{margin-right:.8rem}
"""


def make_sheet(
    samples: Sequence[Sample],
    answers: Mapping[str, Mapping[Key, Answer]],
    pictures: Mapping[str, Sequence[Path]],
    *,
    count: int = 20,
    seed: int = 0,
) -> tuple[str, dict[str, Any]]:
    """A page to rate, and its key.

    Args:
        samples: Questions, of which `count` are drawn.
        answers: Row to its answers; one that is missing is shown as no answer.
        pictures: Conversation to the paths of its images.
        count: Questions; each is rated once for every row.
        seed: Of the draws.

    Returns:
        HTML, and the content of `key.json`.

    Raises:
        InputError: There is nothing to rate.
    """
    if not samples or not answers:
        raise InputError(
            "There is nothing to rate.",
            expected="questions, and the predictions of one row or more",
            found=f"{len(samples)} questions, {len(answers)} rows",
            where="rating sheet",
            fix="give --data and --row",
        )
    rng = np.random.default_rng(seed)
    chosen = [samples[int(k)] for k in rng.permutation(len(samples))[:count]]
    items = [(sample, row) for sample in chosen for row in rng.permutation(sorted(answers)).tolist()]
    sections, key = [], {}
    for number, (sample, row) in enumerate(items, start=1):
        said = answers[row].get(sample.key, MISSING)
        sections.append(_section(number, sample, said, pictures.get(sample.conversation_id, ())))
        key[str(number)] = {"row": row, "id": sample.conversation_id, "turn": sample.turn}
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Rating sheet</title>'
        f"<style>{_STYLE}</style><h1>Rating sheet</h1><p>1 is bad, 5 is good. Who answered is not told.</p>"
        f"{''.join(sections)}<button id='save'>Save ratings.csv</button><script>{_SCRIPT}</script></html>\n"
    )
    return page, {"format": "segue-ratings/1", "seed": seed, "items": key}


def _section(number: int, sample: Sample, said: Answer, paths: Sequence[Path]) -> str:
    shown = "".join(_picture(path, index, said) for index, path in enumerate(paths))
    rows = []
    for name, meaning in MARKS.items():
        options = "".join(
            f'<label><input type="radio" name="{number}-{name}" data-mark="{name}" value="{value}">{value}'
            "</label>"
            for value in range(1, 6)
        )
        rows.append(f"<fieldset>{html.escape(meaning)}<br>{options}</fieldset>")
    text, question = html.escape(said.text) or "(no answer)", html.escape(sample.question)
    return (
        f'<section data-item="{number}"><h2>{number}</h2><p><b>Question</b> {question}</p>'
        f"<p><b>Answer</b> {text}</p><div>{shown}</div>{''.join(rows)}</section>"
    )


def _picture(path: Path, index: int, said: Answer) -> str:
    try:
        picture = load_image(path)
    except SegueError as error:
        return f"<p>image {index + 1}: {html.escape(error.summary)}</p>"
    picture.thumbnail((SIDE, SIDE))
    layers = [
        Layer(resize_mask(masks.decode(mark.rle), (picture.height, picture.width)), mark.phrase, colour(k))
        for k, mark in enumerate(said.masks)
        if mark.image_index == index and mark.rle is not None
    ]
    url = data_url(draw_overlay(picture, layers), "JPEG")
    return f'<img src="{url}" alt="image {index + 1}">'


def read_ratings(text: str, key: Mapping[str, Any]) -> dict[str, dict[str, float | int | None]]:
    """Means by row of a rater's CSV.

    Args:
        text: What the page saved.
        key: Content of `key.json`.

    Returns:
        Row to the means of its marks (None without any) and `n`, the items that were rated at all.

    Raises:
        InputError: It is no such CSV, names an item that the key does not have, or has a mark that is none.
    """
    lines = list(csv.DictReader(io.StringIO(text)))
    if not lines or not {"item", *MARKS} <= set(lines[0]):
        raise _wrong("columns item, PR, LC, CC, TR", text[:60])
    found: dict[str, dict[str, list[int]]] = {}
    rated: dict[str, int] = {}
    for line in lines:
        entry = key["items"].get(line["item"])
        if entry is None:
            raise _wrong("items of this key", f"item {line['item']!r}")
        marks = found.setdefault(entry["row"], {name: [] for name in MARKS})
        given = {name: line[name].strip() for name in MARKS if (line[name] or "").strip()}
        rated[entry["row"]] = rated.get(entry["row"], 0) + bool(given)
        for name, value in given.items():
            if value not in ("1", "2", "3", "4", "5"):
                raise _wrong("marks from 1 to 5", f"{name} {value!r} of item {line['item']}")
            marks[name].append(int(value))
    return {
        row: {name: sum(v) / len(v) if v else None for name, v in marks.items()} | {"n": rated[row]}
        for row, marks in found.items()
    }


def _wrong(expected: str, found: str) -> InputError:
    return InputError(
        "Ratings cannot be read.",
        expected=expected,
        found=found,
        where="CSV of ratings",
        fix="send the file that the page's button saves, with the key of the same sheet",
    )


def key_of(file: Path) -> dict[str, Any]:
    """Content of a `key.json`.

    Raises:
        InputError: It is none.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        items = content["items"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _wrong("key.json of a rating sheet", f"{file}: {error}") from error
    if not isinstance(items, dict):
        raise _wrong("key.json of a rating sheet", str(file))
    return dict(content)
