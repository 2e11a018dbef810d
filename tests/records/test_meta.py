"""Notes of the builders: what is known is found, what is not is kept, and nothing is ever refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.records import Conversation, Turn
from segue.records.conversation import ImageRef
from segue.records.meta import turn_meta

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["turns", "kind", "level", "needs_images", "template", "is_follow_up", "mine"])


@pytest.mark.parametrize(
    ("meta", "number", "expected"),
    [
        ({}, 0, {}),
        ({"kind": "spatial"}, 0, {"kind": "spatial"}),
        ({"kind": "spatial"}, 4, {"kind": "spatial"}),
        ({"turns": [{"kind": "a"}, {"needs_images": False}]}, 1, {"needs_images": False}),
        ({"kind": "spatial", "turns": [{"level": "part"}]}, 0, {"kind": "spatial", "level": "part"}),
        ({"kind": "spatial", "turns": [{"kind": "numerical"}]}, 0, {"kind": "numerical"}),
        ({"kind": 3, "level": "part", "needs_images": 1, "other": "x"}, 0, {"level": "part"}),
        ({"kind": "spatial", "turns": [{"kind": None}]}, 0, {"kind": "spatial"}),
        ({"turns": 2}, 0, {}),
        ({"turns": ["comparison"]}, 0, {}),
    ],
)  # fmt: skip
def test_what_is_noted_about_an_answer(meta: dict[str, Any], number: int, expected: dict[str, Any]) -> None:
    assert turn_meta(meta, number) == expected


@given(st.dictionaries(names, json_values), st.integers(0, 3))
def test_a_file_may_note_anything_and_gets_it_back(meta: dict[str, Any], number: int) -> None:
    record = Conversation(
        id="t/0",
        task="vqa",
        split="test",
        images=[ImageRef(image_id="t:0", path="0.png", height=0, width=0)],
        regions=[],
        turns=[Turn(role="user", text="Who?"), Turn(role="assistant", text="Nobody.")],
        meta=meta,  # type: ignore[arg-type]  # whatever a stranger's file has
    )
    again = Conversation.from_json(record.to_json())
    assert again.meta == meta
    assert list(again.meta) == list(meta)
    types = {"needs_images": bool, "is_follow_up": bool}
    assert all(isinstance(value, types.get(name, str)) for name, value in again.answer_meta(number).items())
