"""Nearly JSON: every way in which models miss it, and that what is sound is never changed."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.chat_model.lenient_json import read_lenient

PLAIN = {"name": "a tall lamp", "boxes": [[5, 6, 70, 80], [1.5, 2, 30, -4]], "sure": True, "more": None}


@pytest.mark.parametrize(
    ("text", "repair"),
    [
        ('{"name": "a tall lamp", // by the door\n "boxes": [[5,6,70,80], /* and */ [1.5,2,30,-4]], '
         '"sure": true, "more": null # the end\n}', "comments"),
        ('{name: "a tall lamp", boxes: [[5,6,70,80],[1.5,2,30,-4]], sure: true, more: null}',
         "names without quotes"),
        ("{'name': 'a tall lamp', 'boxes': [[5,6,70,80],[1.5,2,30,-4]], 'sure': True, 'more': None}",
         "constants of another language"),
        ("{'name': 'a tall lamp', 'boxes': [(5,6,70,80),(1.5,2,30,-4)], 'sure': true, 'more': null}",
         "brackets of the wrong kind"),
        ('{\u201cname\u201d: \u201ca tall lamp\u201d, \u201cboxes\u201d: [[5,6,70,80],[1.5,2,30,-4]], '
         '\u201csure\u201d: true, \u201cmore\u201d: null}', "quotes of another kind"),
        ('{"name": "a tall lamp",, "boxes": [[5,6,70,80,],[1.5,2,30,-4],], "sure": true, "more": null,}',
         "commas too many"),
        ('{"name": "a tall lamp"\n"boxes": [[5 6 70 80] [1.5 2 30 -4]]\n"sure": true "more": null}',
         "commas too few"),
        ('{name: a tall lamp, boxes: [[5,6,70,80],[1.5,2,30,-4]], sure: true, more: null}',
         "words without quotes"),
        ('{"name": "a tall " + "lamp", "boxes": [[5,6,70,80],[1.5,2,30,-4]], "sure": true, "more": null}',
         "texts in pieces"),
        ('{"name": "a tall lamp", "boxes": [[5,6,70,80],[1.5,2,30,-4], ...], "sure": true, "more": null}',
         "dots in place of entries"),
        ('{"name": "a tall lamp", "boxes": [[5,6,70,80],[1.5,2,30,-4]], "sure": true, "more": }',
         "values that are missing"),
        ('{"name"\uff1a "a tall lamp"\uff0c "boxes": [[5\uff0c6,70,80],[1.5,2,30,-4]], "sure": true, '
         '"more": null}', ""),
    ],
)  # fmt: skip
def test_what_is_meant_is_read_and_the_repair_is_named(text: str, repair: str) -> None:
    found = read_lenient(text, 0)
    assert found is not None
    assert (found.value, found.end, found.whole) == (PLAIN, len(text), True)
    assert repair in found.repairs or not repair


@pytest.mark.parametrize(
    "words",
    ['the "tall" one', 'it says "open, shut" twice', 'a "b": c', '"quoted"', "it's the neighbours' lamp",
     'two: "a", and "b"'],
)  # fmt: skip
def test_quotes_inside_a_text_stay(words: str) -> None:
    text = f'{{"words": "{words}", "n": [1, 2]}}'
    found = read_lenient(text, 0)
    assert found is not None
    assert found.value == {"words": words, "n": [1, 2]}
    single = read_lenient(f"{{'words': '{words}', 'n': [1, 2]}}", 0)
    assert single is not None
    assert single.value == {"words": words, "n": [1, 2]}


@pytest.mark.parametrize(
    ("text", "partial", "sound"),
    [
        # A number at the end may be the beginning of another one; words go as far as they go.
        ('{"a": [1, 2, 33', {"a": [1, 2]}, {"a": [1, 2]}),
        ('{"a": "half a sen', {"a": "half a sen"}, {}),
        ('{"a": [{"b": 1}, {"b": 2, "c"', {"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}]}),
        ('{"a": [{"b": 1}, ', {"a": [{"b": 1}]}, {"a": [{"b": 1}]}),
        ('{"a": tru', {}, {}),
        ('{"a": 1, "b', {"a": 1}, {"a": 1}),
        ('[{"b": 1}, {"b": ', [{"b": 1}, {}], [{"b": 1}]),
    ],
)  # fmt: skip
def test_a_text_that_ends_early_keeps_what_was_complete(text: str, partial: Any, sound: Any) -> None:
    for keep, expected in ((True, partial), (False, sound)):
        found = read_lenient(text, 0, keep_partial=keep)
        assert found is not None
        assert (found.value, found.whole) == (expected, False)


@pytest.mark.parametrize(
    "text", ["{curly words} of prose", "[the red mug](1)!", "{", "{,}", "{1: 2}", "{a b c: "]
)
def test_prose_is_no_object(text: str) -> None:
    found = read_lenient(text, 0)
    assert found is None or not isinstance(found.value, dict) or found.value == {}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 9999) | st.floats(-9, 9) | st.text(max_size=8),
    lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=5), v, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=5), st.booleans())
@settings(max_examples=60)
def test_json_as_it_should_be_is_read_as_it_is(value: dict[str, Any], ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    found = read_lenient(text, 0)
    assert found is not None
    assert found.whole
    assert found.value == value
    assert not found.repairs


@given(st.text(alphabet="{}[]()\"'\u201c\\:,#/.=+- \nae1\u201d", max_size=80))
@settings(max_examples=100)
def test_nothing_raises_and_every_end_lies_in_the_text(text: str) -> None:
    for start in [k for k, c in enumerate(text) if c in "{["]:
        found = read_lenient(text, start)
        assert found is None or start < found.end <= len(text)


@pytest.mark.parametrize(
    "text",
    ['{"a": "' + 'x" ' * 20_000, "{a:" + "/*" * 30_000, "[" + "1 " * 30_000, '{"a": ' + "b, " * 20_000,
     "{" + "'a':1," * 10_000, '{"a":"' + "\\" * 60_000, "[" + "... " * 15_000, '["' + '", "' * 15_000],
)  # fmt: skip
def test_hostile_lengths_cost_little(text: str) -> None:
    started = time.process_time()
    read_lenient(text, 0)
    assert time.process_time() - started < 3.0
