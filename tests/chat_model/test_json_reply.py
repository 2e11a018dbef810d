"""The wanted object is found in every wrapping, and nothing else is taken for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from segue.chat_model.json_reply import find_object

WANTED = {"colours": ["red", "blue"], "sure": True}
TEXT = json.dumps(WANTED)


def with_colours(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) and isinstance(value.get("colours"), list) else None


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"```json\n{TEXT}\n```",
        f"~~~\n{TEXT}\n~~~",
        f"It follows: {TEXT} Anything else?",
        f"<think>hm</think>{TEXT}",
        json.dumps(TEXT),
        json.dumps(json.dumps(TEXT)),
        f"```\n{json.dumps(TEXT)}\n```",
        f"'{TEXT}'",
        TEXT.replace('"', '\\"'),
        TEXT.replace('"', "&quot;"),
        TEXT[1:-1],
        json.dumps({"result": WANTED}),
        json.dumps({"output": {"data": WANTED}}),
        json.dumps({"name": "answer", "arguments": TEXT}),
        json.dumps([{"type": "x"}, WANTED]),
        json.dumps({"type": "object", "properties": WANTED, "required": ["colours"]}),
        json.dumps({"properties": {"colours": {"type": "array", "items": WANTED["colours"]},
                                   "sure": {"type": "boolean", "value": True}}}),
        f"<tool_call>\n{json.dumps({'name': 'a', 'arguments': WANTED})}\n</tool_call>",
    ],
)  # fmt: skip
def test_any_wrapping_is_opened(text: str) -> None:
    assert find_object(text, with_colours).content == WANTED


@pytest.mark.parametrize(
    "text",
    ["", "none of it", '{"shades": ["red"]}', '{"colours": "red"}', "[[[[[[", '"{"', '{"a": {"b": {}}}'],
)
def test_nothing_else_is_taken_for_it(text: str) -> None:
    assert find_object(text, with_colours).content is None


def test_the_last_of_several_counts_and_the_words_around_stay() -> None:
    found = find_object(f'First {{"colours": []}} then\n```json\n{TEXT}\n```\ndone', with_colours)
    assert found.content == WANTED
    assert found.notes == ["the reply holds 2 JSON objects; the last one counts"]
    assert found.prose.split() == ["First", "then", "done"]


def test_reasoning_counts_only_where_nothing_else_was_said() -> None:
    draft = '{"colours": ["a draft"]}'
    assert find_object(f"<think>{draft}</think>{TEXT}", with_colours).content == WANTED
    found = find_object(f"<think>so: {TEXT}", with_colours)
    assert found.content == WANTED
    assert "reasoning" in found.notes[0]


def test_what_was_mended_is_said() -> None:
    found = find_object("{colours: ['red', 'blue'], /* all */ sure: True", with_colours)
    assert (found.content, found.whole) == (WANTED, False)
    assert "ends early" in found.notes[0]
    assert "comments" in found.notes[1]
    sound = find_object('{"colours": ["red", "bl', with_colours, keep_partial=False)
    assert sound.content == {"colours": ["red"]}
