"""Predictions from anywhere: JSONL and COCO results; what is wrong is named by file and line."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue import masks
from segue.errors import InputError, RecordError
from segue.evaluation.evaluate import ScoringOptions
from segue.evaluation.evaluation_data import EvaluationData
from segue.evaluation.predictions import read_answer, read_predictions
from segue.evaluation.scoring_files import load_answers, score_file
from segue.evaluation.sentence_embedder import FoundEmbedder
from segue.records import Conversation, ImageRef, Region, Span, Turn

MASK = np.zeros((4, 6), bool)
MASK[1:3, 1:4] = True
RLE = masks.encode(MASK)
NO_EMBEDDER = ScoringOptions(embedder=FoundEmbedder(None, reason="none here"), drawings=10)


def records(task: str = "reasonseg", count: int = 3) -> EvaluationData:
    found = []
    for k in range(count):
        found.append(
            Conversation(
                id=f"r/{k}",
                task=task,
                split="val",
                images=[ImageRef(image_id=f"coco:{k:012d}", path=f"{k:012d}.jpg", height=4, width=6)],
                regions=[Region(rid="r", image_index=0, kind="region", name="target", mask=RLE)],
                turns=[
                    Turn(role="user", text="What holds the cup?"),
                    Turn(
                        role="assistant",
                        text="Here is the target.",
                        spans=[Span(start=12, end=18, rids=["r"])],
                    ),
                ],
            )
        )
    return EvaluationData(found, Path())


def line(k: int, **changes: Any) -> dict[str, Any]:
    grounding = {"image_index": 0, "phrase": "this", "segmentation": dict(RLE)}
    return {"id": f"r/{k}", "turns": [{"turn": 1, "text": "Sure.", "groundings": [grounding]} | changes]}


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def test_a_perfect_mask_scores_one_whatever_it_is_called(tmp_path: Path) -> None:
    file = write(tmp_path / "p.jsonl", [line(k) for k in range(3)])
    metrics = score_file(file, records(), tmp_path / "out", NO_EMBEDDER)
    assert metrics["header"]["protocol"] == "reasonseg"
    assert (metrics["mean_iou"], metrics["cumulative_iou"], metrics["precision_at_90"]) == (1.0, 1.0, 1.0)
    assert (tmp_path / "out" / "report.html").exists()


def test_missing_failed_and_unknown_answers(tmp_path: Path) -> None:
    file = write(tmp_path / "p.jsonl", [line(0), line(1, failure="timeout"), line(9)])
    metrics = score_file(file, records(), tmp_path / "out", NO_EMBEDDER)
    assert metrics["mean_iou"] == pytest.approx(1 / 3)
    assert metrics["failures"]["reasons"] == {"timeout": 1, "no prediction": 1}
    assert metrics["unused_predictions"] == 1
    with pytest.raises(InputError, match="holds another evaluation"):
        score_file(file, records(), tmp_path / "out", NO_EMBEDDER)
    again = score_file(file, records(), tmp_path / "out", NO_EMBEDDER, overwrite=True)
    assert again["mean_iou"] == metrics["mean_iou"]


def test_flat_lines_and_uncompressed_masks(tmp_path: Path) -> None:
    runs = {"size": [4, 6], "counts": [5, 2, 2, 2, 2, 2, 9]}
    flat = {"id": "r/0", "text": "a", "groundings": [{"segmentation": runs, "score": 0.4}]}
    answers = read_predictions(write(tmp_path / "p.jsonl", [flat]))
    ((key, answer),) = answers.items()
    assert key == ("r/0", 1)
    assert answer.masks[0].rle == RLE


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([{"turns": []}], '"id"'),
        ([line(0), line(0)], "one answer to each question"),
        ([line(0, turn=0)], "from 1"),
        ([line(0, text=3)], '"text"'),
        ([line(0, groundings={})], '"groundings"'),
        ([line(0, groundings=[{"segmentation": {"size": [4, 6], "counts": "??"}}])], "grounding 1"),
        ([line(0, groundings=[{"segmentation": [[0, 0, 3, 3, 3, 0]]}])], "COCO RLE"),
        ([line(0, groundings=[{"image_index": "1"}])], '"image_index"'),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, content: list[Any], said: str) -> None:
    with pytest.raises(RecordError) as caught:
        read_predictions(write(tmp_path / "p.jsonl", content))
    assert said in str(caught.value)
    assert "p.jsonl:" in str(caught.value)


NAMES = ("turn", "text", "groundings", "segmentation", "size", "counts", "failure", "seconds", "image_index")
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)


@given(ANY)
def test_nothing_but_a_record_error_comes_of_any_json(turn: Any) -> None:
    with contextlib.suppress(RecordError):
        read_answer(turn if isinstance(turn, dict) else {"groundings": turn}, "here")


def test_a_mask_of_another_size_is_said_not_scored(tmp_path: Path) -> None:
    small = masks.encode(np.ones((2, 3), bool))
    file = write(tmp_path / "p.jsonl", [line(0, groundings=[{"segmentation": dict(small)}])])
    with pytest.raises(InputError, match="another size"):
        score_file(file, records(), tmp_path / "out", NO_EMBEDDER)


def test_coco_results(tmp_path: Path) -> None:
    results = [{"image_id": 1, "category_id": 1, "segmentation": dict(RLE), "score": 0.9},
               {"image_id": "000000000000", "segmentation": dict(RLE)}]  # fmt: skip
    file = tmp_path / "results.json"
    file.write_text(json.dumps(results))
    metrics = score_file(file, records(), tmp_path / "out", NO_EMBEDDER)
    assert metrics["mean_iou"] == pytest.approx(2 / 3)
    assert metrics["failures"]["count"] == 0
    file.write_text(json.dumps([{"image_id": 77, "segmentation": dict(RLE)}]))
    with pytest.raises(InputError, match="data do not have"):
        load_answers(file, records())
    twice = records(count=1)
    twin = twice.conversations[0].model_copy(update={"id": "r/twin"})
    file.write_text(json.dumps(results[1:]))
    with pytest.raises(InputError, match="which question"):
        load_answers(file, EvaluationData([*twice.conversations, twin], Path()))


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_answers(tmp_path / "none.jsonl", records())
    with pytest.raises(InputError, match="belongs to these data"):
        load_answers(write(tmp_path / "p.jsonl", [line(9)]), records())
