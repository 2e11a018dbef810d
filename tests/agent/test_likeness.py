"""Regions for a chat model: told in words, with what a small model found to look like them."""

from __future__ import annotations

import pytest

import segue
from chat_server import ChatServer, says
from segue.agent.likeness import told
from segue.errors import InputError
from segue.inference import Region
from tiny_model import picture

IMAGES = [picture(100, 200), picture(100, 200), picture(80, 80, 30)]
MARK = Region(image_index=0, box=(50, 25, 100, 50))


def test_boxes_and_what_looks_like_them() -> None:
    text = told("Find [this] elsewhere.", [MARK], IMAGES)
    first, second = text.split("\n")
    assert first.startswith("Find this (in image 1, box [")
    assert first.endswith("]) elsewhere.")
    # The second picture is the first once more.
    assert "in image 2, box [" in second
    assert "image 3" in second


def test_wrong_regions_cost_no_request(chat_server: ChatServer) -> None:
    chat_server.script = []
    session = segue.load(chat_server.address()).session(IMAGES)
    with pytest.raises(InputError, match="more regions than markers"):
        session.ask("Find this.", regions=[MARK])
    with pytest.raises(InputError, match="outside"):
        session.ask("Find [this].", regions=[Region(image_index=2, point=(90, 2))])


def test_the_chat_model_reads_them(chat_server: ChatServer) -> None:
    reply = {
        "answer": "In [it](1).",
        "objects": [{"id": 1, "phrase": "it", "image": 2, "box": [1, 1, 99, 99]}],
    }
    chat_server.script = [says(reply)]
    answer = segue.load(chat_server.address()).session(IMAGES).ask("Where else is [this]?", regions=[MARK])
    assert answer.question.startswith("Where else is this (in image 1, box [")
    assert [g.image_index for g in answer.groundings] == [1]


def test_a_turn_that_was_told_points_in_words(chat_server: ChatServer) -> None:
    chat_server.script = []
    model = segue.load(chat_server.address())
    session = model.session(IMAGES)
    asked = session.add_turn("Where else is [this]?", "Nowhere.", [MARK])
    assert asked.question.startswith("Where else is this (in image 1, box [")
    assert model.takes_regions


def test_agents_match_without_words(chat_server: ChatServer) -> None:
    chat_server.script = []
    answer = segue.load(chat_server.address()).match(IMAGES, MARK)
    assert [m.image_index for m in answer.matches] == [1, 2]
    assert answer.matches[0].score > 0.9
