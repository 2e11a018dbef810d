"""Dialogues that need an earlier mask: each answer is the only right one, no word gives the last one away."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from segue.mini.memory.build import build
from segue.mini.memory.dialogues import MOVES, SECOND, UNNAMED, compose, draw
from segue.records import grounded_markup, read_jsonl
from segue.scenes import SceneObject
from segue.scenes.questions import Facts


def thing(colour: str, kind: str, x: float, y: float = 0.5) -> SceneObject:
    return SceneObject(kind, colour, (), {}, (x, y), (x - 0.05, y - 0.05, 0.1, 0.1), 0.01)


HOME = [thing("red", "mug", 0.1), thing("blue", "mug", 0.3), thing("green", "lamp", 0.75)]
AWAY = [thing("white", "lamp", 0.2), thing("red", "car", 0.8)]


@pytest.mark.parametrize(
    ("move", "start", "found"),
    [
        ("other", "red mug", "blue mug"),
        ("other", "green lamp", None),
        ("nearest", "red mug", "blue mug"),
        ("left", "blue mug", "red mug"),
        ("left", "green lamp", None),
        ("right", "blue mug", "green lamp"),
        ("right", "green lamp", None),
        ("elsewhere", "green lamp", "white lamp"),
        ("elsewhere", "red mug", None),
    ],
)
def test_moves(move: str, start: str, found: str | None) -> None:
    facts = Facts([HOME, AWAY])
    it = next(thing for thing in facts.images[0] if thing.obj.phrase == start)
    reached = MOVES[move].find(facts, it)
    assert (reached.obj.phrase if reached else None) == found


def test_a_dialogue_names_its_first_and_its_last_thing() -> None:
    # Left of the blue mug there is the red one alone; the other mug is the blue one, which is the first.
    assert compose([HOME[:2], AWAY], np.random.default_rng(0), "other", 0) is None
    exchanges = compose([HOME, AWAY], np.random.default_rng(0), "elsewhere", 0)
    assert exchanges is not None
    assert [e.template for e in exchanges][2] == "elsewhere"
    assert "blue mug" in exchanges[0].question
    assert exchanges[0].answer == exchanges[1].answer == f"In image 1, it is this {UNNAMED}."
    assert exchanges[2].answer == "In image 2, it is the white lamp."


@pytest.mark.parametrize("move", MOVES)
def test_no_word_before_the_last_answer_names_it(move: str) -> None:
    for seed in range(3):
        scenes, exchanges = draw(np.random.default_rng(seed), move, 64, "train")
        first, second, third = ((e.spans[0].image_index, e.spans[0].payload) for e in exchanges)
        assert len({first, second, third}) == 3
        assert third != first
        assert third != second
        last = scenes[third[0]].objects[third[1].object_index]
        assert last.phrase in exchanges[2].answer
        said = " ".join(f"{e.question} {e.answer}" for e in exchanges[:2]) + exchanges[2].question
        assert last.phrase not in said
        assert exchanges[1].template in SECOND
        if move in ("other", "elsewhere"):
            # Guessing by looking alone fails: more than one kind could be meant.
            kinds = [[o.kind for o in scene.objects] for scene in scenes]
            home = kinds[second[0]]
            could = (
                [k for k in set(home) if home.count(k) > 1]
                if move == "other"
                else set(home) & set(kinds[1 - second[0]])
            )
            assert len(could) > 1


def test_a_folder(tmp_path: Path) -> None:
    path = build(tmp_path / "a", 3, 6, "val", 64)
    again = build(tmp_path / "b", 3, 5, "val", 64)
    records = list(read_jsonl(path))
    assert path.read_text().splitlines()[:5] == again.read_text().splitlines()
    assert [record.answer_meta(2)["template"] for record in records] == [*MOVES, next(iter(MOVES))]
    for record in records:
        assert len(record.turns) == 6
        for place in (1, 3, 5):
            markup, targets = grounded_markup(record, place)
            assert markup.count("[SEG]") == len(targets) == 1
        assert all((path.parent / image.path).is_file() for image in record.images)
    assert json.loads(path.read_text().splitlines()[0])["split"] == "val"
    # What is there is left alone, whatever is asked for.
    assert build(tmp_path / "a", 4, 1).read_text() == path.read_text()
