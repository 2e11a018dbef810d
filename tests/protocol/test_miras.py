"""MIRAS's markup: literal strings, round trips, and answers that are wrong in every way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.errors import InputError
from segue.protocol import (
    TAG_LITERALS,
    MarkedSpan,
    Reason,
    as_past_turn,
    contains_tag,
    escape_user_text,
    opening,
    parse,
    render,
)

pieces = st.one_of(
    st.sampled_from(
        [*TAG_LITERALS, "[OB", "J]", "[SE", "G]", " (IMAGE1)", "(IMAGE2)", "(", " ", ". ", "mug"]
    ),
    st.text(alphabet="abc [](]<>p1.", max_size=6),
)
hostile = st.lists(pieces, max_size=14).map("".join)
plain = hostile.filter(lambda text: contains_tag(text) is None)


def test_one_image_has_no_identifiers() -> None:
    text = "It is the blue umbrella."
    spans = [MarkedSpan(6, 23, (0,))]
    markup = "It is [OBJ]the blue umbrella[SEG]."
    assert render(text, spans, "miras", num_images=1) == markup
    parsed = parse(markup, 1, "miras")
    assert (parsed.text, parsed.marked_spans(), parsed.notes) == (text, spans, ())
    assert parsed.groundings[0].phrase == "the blue umbrella"


def test_several_images_are_told_apart() -> None:
    text, spans = "the cups differ", [MarkedSpan(4, 8, (0, 1))]
    markup = "the [OBJ]cups[SEG] (IMAGE1)[SEG] (IMAGE2) differ"
    assert render(text, spans, "miras", num_images=2) == render(text, spans, "miras") == markup
    assert parse(markup, 2, "miras").marked_spans() == spans


def test_a_bare_seg_is_a_mask_without_a_phrase() -> None:
    spans = [MarkedSpan(11, 11, (0,))]
    assert render("Certainly, .", spans, "miras", num_images=1) == "Certainly, [SEG]."
    parsed = parse("Certainly, [SEG].", 1, "miras")
    assert (parsed.text, parsed.marked_spans()) == ("Certainly, .", spans)
    assert parsed.unplaced[0].reason is Reason.NO_PHRASE


def test_words_like_an_identifier_after_a_phrase() -> None:
    text, spans = "the mug (IMAGE 2) is", [MarkedSpan(4, 7, (0,))]
    markup = render(text, spans, "miras", num_images=1)
    assert markup == "the [OBJ]mug[SEG] (IMAGE1) (IMAGE 2) is"
    assert parse(markup, 1, "miras").text == text


def test_what_a_prompt_begins_with() -> None:
    assert opening(1, "miras") == "<image>\n"
    assert opening(2, "miras") == opening(2, "prima")


@pytest.mark.parametrize(
    ("markup", "text", "phrases", "noted"),
    [
        ("[OBJ]mug[SEG] and [OBJ]cup[SEG].", "mug and cup.", ["mug", "cup"], []),
        ("[OBJ]mug", "mug", [], ["unclosed_phrase"]),
        ("[OBJ]a [OBJ]mug[SEG]", "a mug", ["mug"], ["nested_tags"]),
        ("[SEG][OBJ]mug[SEG]", "mug", ["mug"], []),
        ("the <p> mug </p> [SEG]", "the mug", ["mug"], []),
        ("[OBJ]mug[SEG] [OB", "mug [OB", ["mug"], ["truncated_tag"]),
        ("[OBJ][SEG]", "", [], []),
        ("a <image> [OBJ]mug[SEG]", "a  mug", ["mug"], ["stray_tag"]),
    ],
)
def test_malformed_answers(markup: str, text: str, phrases: list[str], noted: list[str]) -> None:
    parsed = parse(markup, 1, "miras")
    assert (parsed.text, [g.phrase for g in parsed.groundings]) == (text, phrases)
    assert [note.reason.value for note in parsed.notes] == noted


def test_users_cannot_write_tags() -> None:
    assert escape_user_text("what is [OBJ] or [obj]?") == "what is [ OBJ ] or [ obj ]?"
    with pytest.raises(InputError, match="tag"):
        render("an [OBJ] here", [], "miras")


def test_a_stray_obj_in_another_dialect_is_taken_out() -> None:
    parsed = parse("the [OBJ]mug [SEG] (IMAGE1)", 1, "prima")
    assert contains_tag(parsed.text) is None
    assert [note.reason for note in parsed.notes] == [Reason.STRAY_TAG]


@settings(max_examples=60)
@given(hostile, st.integers(1, 3), st.booleans())
def test_parsing_never_raises_and_counts_every_seg(markup: str, num_images: int, lenient: bool) -> None:
    parsed = parse(markup, num_images, "miras", lenient=lenient)
    assert contains_tag(parsed.text) is None
    assert parsed.num_segs == markup.count("[SEG]")
    ordinals = [g.seg_ordinal for g in parsed.groundings] + [u.seg_ordinal for u in parsed.unplaced]
    assert sorted(ordinals) == list(range(parsed.num_segs))
    again = as_past_turn(markup, num_images, "miras")
    assert parse(again, num_images, "miras").text == parsed.text
    assert as_past_turn(again, num_images, "miras") == again


@settings(max_examples=60)
@given(plain, st.data(), st.integers(1, 3))
def test_what_is_rendered_is_read_back(text: str, data: st.DataObject, num_images: int) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6, unique=True)))
    spans = []
    for start, end in zip(cuts[::2], cuts[1::2]):
        images = data.draw(st.lists(st.integers(0, num_images - 1), min_size=1, max_size=2))
        spans.append(MarkedSpan(start, end, tuple(images)))
    known = data.draw(st.sampled_from([None, num_images]))
    markup = render(text, spans, "miras", num_images=known)
    parsed = parse(markup, num_images, "miras")
    assert (parsed.text, parsed.marked_spans()) == (text, spans)
