"""Stop texts, found wherever the pieces of a stream part."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from segue.apps.server.completion import Stops

words = st.text("ab ", max_size=12)


@given(words, st.lists(st.text("ab ", min_size=1, max_size=4), max_size=3), st.lists(st.integers(0, 12)))
def test_a_stream_stops_where_the_whole_text_does(text: str, stops: list[str], cuts: list[int]) -> None:
    ends = [(k + len(stop), k) for stop in stops if (k := text.find(stop)) >= 0]
    expected = text[: min(ends)[1]] if ends else text
    places = sorted({0, len(text), *(k for k in cuts if k <= len(text))})
    found = Stops(stops)
    pieces = [found.push(text[a:b]) for a, b in pairwise(places)]
    sent = "".join(pieces) + found.rest()
    assert sent == expected
    assert found.hit == bool(ends)
    assert found.length == len(expected)


def test_nothing_is_held_back_without_stop_texts() -> None:
    assert Stops(()).push("a mug") == "a mug"
