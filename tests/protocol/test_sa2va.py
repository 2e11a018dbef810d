"""Sa2VA's answers: as LISA's and GLaMM's about one image; about several, headings say which is meant."""

from __future__ import annotations

import pytest

from segue import protocol
from segue.errors import InputError
from segue.protocol import DIALECTS, MarkedSpan, Reason
from segue.protocol.sa2va import heading, join_answers, split_answer

ANSWERS = ["Sure, it is [SEG].", "A <p> red mug </p> [SEG] on a <p> table </p> [SEG].", "No mug."]
JOINED = (
    "Image 1: Sure, it is [SEG].\n"
    "Image 2: A <p> red mug </p> [SEG] on a <p> table </p> [SEG].\n"
    "Image 3: No mug."
)


def test_answers_are_joined_and_split() -> None:
    assert join_answers(ANSWERS) == JOINED
    parts = split_answer(JOINED, 3)
    assert [(image, title) for image, title, _ in parts] == [(k, heading(k)) for k in range(3)]
    assert [body.strip() for _, _, body in parts] == ANSWERS
    assert "".join(title + body for _, title, body in parts) == JOINED
    # A number beyond the images is a word like any other.
    assert [image for image, _, _ in split_answer(JOINED, 2)] == [0, 1]


def test_one_image_is_read_as_lisas_and_glamms() -> None:
    for markup in ANSWERS:
        assert protocol.parse(markup, 1, "sa2va") == protocol.parse(markup, 1, "lisa")
    assert protocol.parse(ANSWERS[0], 1, "sa2va").text == "Sure, it is this."
    assert protocol.opening(1, "sa2va") == "<image>\n"
    assert protocol.opening(3, "sa2va") == "<image><image><image>\n"


def test_what_stands_under_a_heading_is_about_its_image() -> None:
    parsed = protocol.parse(JOINED, 3, "sa2va")
    found = [(g.phrase, g.image_index, g.seg_ordinal) for g in parsed.groundings]
    assert found == [("this", 0, 0), ("red mug", 1, 1), ("table", 1, 2)]
    assert all(parsed.text[slice(*g.span)] == g.phrase for g in parsed.groundings)
    spans = parsed.marked_spans()
    assert protocol.render(parsed.text, spans, "sa2va", 3) == JOINED
    assert protocol.as_past_turn(JOINED, 3, "sa2va") == JOINED


def test_without_a_heading_the_image_is_not_known() -> None:
    parsed = protocol.parse("It is [SEG].\nImage 2: [SEG].", 2, "sa2va")
    assert [(u.reason, u.seg_ordinal) for u in parsed.unplaced] == [(Reason.MISSING_IDENTIFIER, 0)]
    assert [(g.image_index, g.seg_ordinal) for g in parsed.groundings] == [(1, 1)]


@pytest.mark.parametrize(
    "markup", ["", "Image 1: ", "Image 9: <p>", "[SEG]" * 3, "</p> Image 1: <p> [SE", "\n" * 5]
)
def test_hostile_text_never_raises(markup: str) -> None:
    parsed = protocol.parse(markup, 2, "sa2va")
    assert parsed.num_segs == markup.count("[SEG]")


def test_a_mask_under_another_images_heading_cannot_be_written() -> None:
    text = "Image 1: the mug.\nImage 2: the mug."
    right = [MarkedSpan(13, 16, (0,)), MarkedSpan(31, 34, (1,))]
    written = protocol.render(text, right, "sa2va", 2)
    assert written == "Image 1: the <p> mug </p> [SEG].\nImage 2: the <p> mug </p> [SEG]."
    with pytest.raises(InputError, match="heading"):
        protocol.render(text, [MarkedSpan(13, 16, (1,))], "sa2va", 2)
    with pytest.raises(InputError, match="--from"):
        protocol.render("the mug", [MarkedSpan(4, 7, (0,))], "sa2va", 2)


def test_only_this_dialect_asks_one_by_one() -> None:
    assert {name for name, dialect in DIALECTS.items() if dialect.one_by_one} == {"sa2va"}
