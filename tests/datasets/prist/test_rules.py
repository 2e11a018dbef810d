"""What each step must fulfil: one wrong reply for every rule, and prompts that fit their fields."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.datasets.generation import UnusableReplyError, prompt
from segue.datasets.prist.build import PROMPTS
from segue.datasets.prist.final_turn import final_lines, split_article
from segue.datasets.prist.rules import (
    check_box,
    check_dialogue,
    check_elements,
    check_tree,
    names,
    words_of,
)
from segue.datasets.prist.steps import BoxReply, Dialogue, Element, Elements, ReasoningTree
from segue.protocol import contains_tag


def elements(*names: str, count: int = 1) -> Elements:
    return Elements(elements=[Element(name=n, details="d", text="", count=count) for n in names])


NODES = [("a", "root", "Things to use."), ("b", "a", "Something to drink from."), ("c", "a", "A seat.")]
PATHS = [
    {"question": "What holds a drink?", "rating": 3, "leaf": "b", "element": "cup", "focus": "blue cup"},
    {"question": "Where could one rest?", "rating": 2, "leaf": "c", "element": "chair", "focus": "chair"},
]


def tree(nodes: Any = NODES, paths: Any = PATHS, **first: Any) -> ReasoningTree:
    listed = [{"id": id, "parent": parent, "thought": thought} for id, parent, thought in nodes]
    paths = [paths[0] | first, *paths[1:]]
    return ReasoningTree.model_validate({"root": "A room.", "nodes": listed, "paths": paths})


def check(found: ReasoningTree, **options: Any) -> ReasoningTree:
    return check_tree(found, ["cup", "Chair", "lamp"], **({"paths": 2} | options))


def dialogue(*rounds: tuple[str, str]) -> Dialogue:
    return Dialogue.model_validate({"turns": [{"question": q, "answer": a} for q, a in rounds]})


GOOD = (("What is on the table?", "Some things to eat from."), ("What holds a drink?", "The blue cup does."))


def rule(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(UnusableReplyError) as caught:
        call(*arguments, **options)
    assert caught.value.reason
    return caught.value.rule


def test_sound_replies_pass() -> None:
    assert check_elements(elements("cup", "chair", "lamp"))
    assert check(tree()).way_to("c")[0].id == "a"
    assert check(tree(), outlined=["cup", "chair"])
    assert len(check_dialogue(dialogue(*GOOD), "blue cup")) == 2
    assert check_box(BoxReply(box=[0, 10, 500, 1000])) == (0.0, 0.01, 0.5, 1.0)


@pytest.mark.parametrize(
    ("reply", "broken"),
    [
        (elements("cup", "chair"), "too few elements"),
        (elements("cup", "chair", "Cup "), "element repeated"),
        (elements("cup", "chair", " "), "no text"),
        (elements("cup", "chair", "[SEG]"), "tag in the text"),
        (elements("cup", "chair", "lamp", count=0), "wrong count"),
        (elements("cup", "chair", "x " * 13), "too long"),
        (elements("cup", "chair", "\ud800"), "no text"),
    ],
)
def test_elements(reply: Elements, broken: str) -> None:
    assert rule(check_elements, reply) == broken


DEEP = [("a", "root", "t"), *((f"d{k}", f"d{k - 1}" if k else "a", "t") for k in range(6)), ("c", "a", "t")]


@pytest.mark.parametrize(
    ("found", "broken"),
    [
        (tree(paths=PATHS[:1]), "wrong number of paths"),
        (tree([*NODES, ("b", "a", "again")]), "bad node id"),
        (tree([*NODES, ("root", "a", "t")]), "bad node id"),
        (tree([*NODES, ("d", "x", "t")]), "unknown parent"),
        (tree([*NODES, ("d", "a", "t")]), "leaf without path"),
        (tree([("a", "b", "t"), ("b", "a", "t"), ("e", "b", "t"), NODES[2]], leaf="e"), "path without root"),
        (tree([("b", "root", "t"), ("a", "root", "t"), NODES[2]]), "wrong depth"),
        (tree(DEEP, leaf="d5"), "wrong depth"),
        (tree(leaf="a"), "path without leaf"),
        (tree(leaf="z"), "path without leaf"),
        (tree(leaf="c"), "leaf shared"),
        (tree(rating=1), "question rated too low"),
        (tree(element="window"), "no visible element"),
        (tree(focus="cup and saucer"), "several things"),
        (tree(focus="cup, saucer"), "several things"),
        (tree(focus="lighting"), "no thing"),
        (tree(focus="warm atmosphere of the room"), "no thing"),
        (tree(focus="chairs"), "focus duplicated"),
        (tree(question="Where are the blue cups?"), "focus leaked"),
        (tree(question="where could one  rest?"), "question repeated"),
        (tree(question=""), "no text"),
        (tree([*NODES[:2], ("c", "a", "A <p> seat")]), "tag in the text"),
    ],
)
def test_trees(found: ReasoningTree, broken: str) -> None:
    assert rule(check, found) == broken


def test_outlined_things_are_ends_of_one_path_each() -> None:
    assert rule(check, tree(), outlined=["cup", "table"]) == "no visible element"
    twice = tree(paths=[PATHS[0], PATHS[1] | {"element": "Cup"}])
    assert rule(check, twice, outlined=["cup", "chair"]) == "focus duplicated"


@pytest.mark.parametrize(
    ("reply", "broken"),
    [
        (dialogue(GOOD[1]), "wrong number of turns"),
        (dialogue(*[(f"q{k}?", "a") for k in range(9)]), "wrong number of turns"),
        (dialogue(("Is the cup blue?", "Yes."), GOOD[1]), "focus leaked"),
        (dialogue(("What is there?", "A cup that is blue."), GOOD[1]), "focus leaked"),
        (dialogue(GOOD[0], ("What about the blue cup?", "The blue cup.")), "focus leaked"),
        (dialogue(GOOD[0], ("What holds a drink?", "That one.")), "focus not reached"),
        (dialogue(GOOD[0], ("what is on the table? ", "The blue cup.")), "question repeated"),
        (dialogue(("Segment it?", "No."), GOOD[1]), "speaks of the task"),
        (dialogue(("What is cup 2?", "A cup."), GOOD[1]), "label in the text"),
        (dialogue(("", "No."), GOOD[1]), "no text"),
        (dialogue(("x " * 81, "No."), GOOD[1]), "too long"),
    ],
)
def test_dialogues(reply: Dialogue, broken: str) -> None:
    assert rule(check_dialogue, reply, "blue cup", labels=["cup 2"]) == broken


@pytest.mark.parametrize("box", [[], [1, 2, 3], [0, 0, 1001, 5], [5, 5, 5, 9], [9, 0, 1, 9], [-1, 0, 5, 5]])
def test_boxes(box: list[int]) -> None:
    assert rule(check_box, BoxReply(box=box)) == "no box"


@pytest.mark.parametrize(
    ("focus", "text", "expected"),
    [
        ("blue umbrella on the left", "Which umbrellas are blue?", True),
        ("blue umbrella", "Is the umbrella red?", False),
        ("dog's collar", "What about the collar?", False),
        ("traffic light", "the light", False),
        ("TISSOT logo", "the tissot logos", True),
        ("on", "on", False),
    ],
)
def test_naming(focus: str, text: str, expected: bool) -> None:
    assert names(focus, text) is expected


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_text_with_the_focus_in_it_names_it(focus: str, around: str) -> None:
    if words_of(focus) and names(focus, focus):
        assert names(focus, f"{around} {focus} {around}")


def test_prompts_have_the_fields_that_are_filled() -> None:
    fields = {name: set(re.findall(r"\$(\w+)", _text(name))) for name in PROMPTS}
    assert fields == {
        "prist_system": set(),
        "prist_elements": {"least", "outlined"},
        "prist_outlined": {"listed"},
        "prist_tree": {"paths", "rule", "caption"},
        "prist_dialogue": {"leaf", "focus", "question", "least", "most"},
        "prist_box": {"focus"},
    }
    assert "$" not in prompt("prist_box", focus="the cup")


def test_final_turns_differ_and_name_the_focus_once() -> None:
    for name, least in (("prist_requests", 11), ("prist_answers", 15)):
        lines = final_lines(name)
        assert len(lines) >= least
        assert len({line.lower() for line in lines}) == len(lines)
        assert all(line.count("$focus") == (name == "prist_answers") for line in lines)
        assert not any(contains_tag(line) for line in lines)
    assert split_article("the red mug") == ("the ", "red mug")
    assert split_article("red mug") == ("the ", "red mug")
    assert split_article(" A cup") == ("A ", "cup")


def _text(name: str) -> str:
    return (resources.files("segue") / "prompts" / f"{name}.txt").read_text(encoding="utf-8")


def test_the_longest_texts_and_the_numbers_of_rounds() -> None:
    assert check(tree(focus="cup " * 12))
    assert rule(check, tree(focus="cup " * 13)) == "too long"
    assert check(tree(question="what " * 80))
    assert rule(check, tree(question="what " * 81)) == "too long"
    talk = [(f"Which one, number {n}?", "Some other thing.") for n in range(8)] + [GOOD[-1]]
    assert len(check_dialogue(dialogue(*talk[-8:]), "blue cup")) == 8
    assert len(check_dialogue(dialogue(*talk[-2:]), "blue cup")) == 2
    for wrong in (talk, talk[-1:]):
        assert rule(check_dialogue, dialogue(*wrong), "blue cup") == "wrong number of turns"
