"""Questions that point: typed, written for a model, and taken apart again, whatever the string."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.errors import InputError
from segue.protocol import (
    REGION_TOKEN,
    SpokenRegion,
    mark_question,
    parse_question,
    render_question,
    with_remembered,
)


def test_literal() -> None:
    assert mark_question("Find [this] in the other images.", [0]) == (
        "Find this <region> (IMAGE1) in the other images."
    )
    assert mark_question("Is [it] like [that]?", [1, 0]) == (
        "Is it <region> (IMAGE2) like that <region> (IMAGE1)?"
    )


def test_without_regions_brackets_are_text_and_typed_tags_count_for_nothing() -> None:
    assert mark_question("a [b] c", []) == "a [b] c"
    assert REGION_TOKEN not in mark_question("what is <region> or <REGION>?", [])
    assert mark_question("Find [<region>] here", [0]).count(REGION_TOKEN) == 1


def test_remembered_masks_stand_behind_the_question() -> None:
    written = with_remembered("And the other one?", [0, 1])
    assert written == "And the other one? <region> (IMAGE1) <region> (IMAGE2)"
    assert parse_question(written, 2).text == "And the other one?"
    assert parse_question(written, 2).regions == (SpokenRegion(18, 18, (0, 1)),)
    assert with_remembered("And then?", []) == "And then?"


@pytest.mark.parametrize(
    ("typed", "images", "said"),
    [
        ("Find this.", [0], "more regions"),
        ("[a] and [b]", [0], "more markers"),
        ("[a]", [0, 1], "more regions"),
    ],
)
def test_markers_and_regions_must_agree(typed: str, images: list[int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        mark_question(typed, images)


def test_rendered_from_spans() -> None:
    spoken = [SpokenRegion(5, 9, (0,)), SpokenRegion(14, 18, (1, 1))]
    assert render_question("Find this and that.", spoken) == (
        "Find this <region> (IMAGE1) and that <region> (IMAGE2) <region> (IMAGE2)."
    )
    for text, places in (
        ("a <region>", []),
        ("this", [SpokenRegion(0, 4, (None,))]),
        ("x", [SpokenRegion(0, 1, ())]),
    ):
        with pytest.raises(InputError, match="cannot be written"):
            render_question(text, places)


@pytest.mark.parametrize(
    ("markup", "text", "images"),
    [
        ("Find this <region> (IMAGE1) in image 2.", "Find this in image 2.", [(0,)]),
        ("<region> (IMAGE9)", "", [(None,)]),
        ("this <region>", "this", [(None,)]),
        ("this <region> (IMAGE2) <region> (IMAGE1)?", "this?", [(1, 0)]),
        ("this <region> (IMAGE", "this", [(None,)]),
        ("no regions", "no regions", []),
    ],
)
def test_taken_apart(markup: str, text: str, images: list[tuple[int | None, ...]]) -> None:
    found = parse_question(markup, 2)
    assert found.text == text
    assert [place.image_indices for place in found.regions] == images


def test_one_image_needs_no_name() -> None:
    assert parse_question("this <region>", 1).regions == (SpokenRegion(4, 4, (0,)),)


PIECES = st.sampled_from(
    ["this", " ", "<region>", "<Region>", "(IMAGE1)", "(IMAGE0)", "(IMAGE", ".", "[x]", "\n", "é"]
)


@given(st.lists(PIECES, max_size=12))
def test_total_and_every_tag_is_counted(pieces: list[str]) -> None:
    markup = "".join(pieces)
    found = parse_question(markup, 3)
    assert sum(len(place.image_indices) for place in found.regions) == markup.lower().count(REGION_TOKEN)
    assert REGION_TOKEN not in found.text.lower()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_what_is_rendered_is_read_back(images: list[int]) -> None:
    typed = " and ".join(f"[thing {chr(97 + k)}]" for k in range(len(images)))
    found = parse_question(mark_question(f"Compare {typed}.", images), 4)
    assert [k for place in found.regions for k in place.image_indices] == images
    assert found.text == f"Compare {typed}.".replace("[", "").replace("]", "")
