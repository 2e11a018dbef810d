"""The text protocol: a round trip that loses nothing, and a parser that survives everything."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue import protocol
from segue.errors import InputError
from segue.protocol import (
    DIALECTS,
    IMAGE_TOKEN,
    SEG_TOKEN,
    TAG_LITERALS,
    MarkedSpan,
    ParsedAnswer,
    Reason,
    Source,
    contains_tag,
    escape_user_text,
    identifier,
    overview,
    parse,
    render,
)

# Pieces of tags, identifiers and sentences in any order: far more hostile than random characters.
PIECES = [
    "[SEG]", "<p>", "</p>", "<image>", "(IMAGE1)", "(IMAGE2)", "(IMAGE9)", "(IMAGE0)", "(image #3 )",
    "(IMAGE", "(IM", "(IMAGE two)", "(IMAGE1, IMAGE2)", "[SE", "G]", "<", "p>", "</", ">", "(", ")", " ",
    "  ", "\n", "\t", ".",
    ". ", "cat", "a red mug", "Image 2", "é", "猫", "👩‍👩‍👧", "\u202e", "\x00", "\ud800", "İ", "ſ", "9" * 30,
]  # fmt: skip
hostile = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=25).map("".join)
plain = st.one_of(hostile, st.text(max_size=40)).filter(lambda text: contains_tag(text) is None)


def placed(answer: ParsedAnswer) -> list[tuple[str, int]]:
    return [(g.phrase, g.image_index) for g in answer.groundings]


def reasons(answer: ParsedAnswer) -> list[str]:
    return [u.reason.value for u in answer.unplaced]


def noted(answer: ParsedAnswer) -> list[str]:
    return [n.reason.value for n in answer.notes]


# ---- literals ----------------------------------------------------------------------------------------------


def test_identifiers_count_from_one() -> None:
    assert [identifier(k) for k in range(3)] == ["(IMAGE1)", "(IMAGE2)", "(IMAGE3)"]
    with pytest.raises(InputError, match="negative"):
        identifier(-1)


@pytest.mark.parametrize(
    ("num_images", "expected"),
    [
        (1, "The <image> (IMAGE1) provides an overview of the picture."),
        (2, "The <image> (IMAGE1) and <image> (IMAGE2) provide an overview of the pictures."),
        (
            3,
            "The <image> (IMAGE1), <image> (IMAGE2), and <image> (IMAGE3) "
            "provide an overview of the pictures.",
        ),
    ],
)
def test_overview(num_images: int, expected: str) -> None:
    assert overview(num_images) == expected


def test_overview_has_one_placeholder_per_image() -> None:
    assert [overview(n).count(IMAGE_TOKEN) for n in range(1, 10)] == list(range(1, 10))
    with pytest.raises(InputError, match="at least one image"):
        overview(0)


# ---- render ------------------------------------------------------------------------------------------------


def test_render_literally() -> None:
    text = "the red mug is smaller than the blue ones"
    spans = [MarkedSpan(4, 11, (0,)), MarkedSpan(28, 41, (1, 2))]
    assert render(text, spans) == (
        "the <p> red mug </p> [SEG] (IMAGE1) is smaller than "
        "<p> the blue ones </p> [SEG] (IMAGE2) [SEG] (IMAGE3)"
    )


def test_render_a_span_without_a_phrase() -> None:
    assert render("It is .", [MarkedSpan(6, 6, (0,))]) == "It is [SEG] (IMAGE1)."
    assert render("", [MarkedSpan(0, 0, (0, 1))]) == "[SEG] (IMAGE1) [SEG] (IMAGE2)"


def test_render_nothing() -> None:
    assert render("no mask here", []) == "no mask here"


@pytest.mark.parametrize("literal", TAG_LITERALS)
def test_render_refuses_tag_literals_in_the_text(literal: str) -> None:
    with pytest.raises(InputError, match=re.escape(repr(literal))):
        render(f"what does {literal} mean", [])


@pytest.mark.parametrize(
    "spans",
    [
        [MarkedSpan(-1, 2, (0,))],
        [MarkedSpan(3, 2, (0,))],
        [MarkedSpan(0, 12, (0,))],
        [MarkedSpan(0, 3, ())],
        [MarkedSpan(0, 3, (-1,))],
        [MarkedSpan(4, 6, (0,)), MarkedSpan(0, 2, (0,))],
        [MarkedSpan(0, 3, (0,)), MarkedSpan(2, 5, (0,))],
        [MarkedSpan(0, 3, (0,)), MarkedSpan(3, 3, (0,))],
        [MarkedSpan(0, 3, (0,)), MarkedSpan(4, 4, (0,))],
        [MarkedSpan(3, 3, (0,)), MarkedSpan(3, 3, (0,))],
    ],
)
def test_render_refuses_spans_that_could_not_be_read_back(spans: list[MarkedSpan]) -> None:
    with pytest.raises(InputError):
        render("abc defghij", spans)


def test_a_dialect_plugs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        name = "plain"

        def render(self, text: str, spans: object) -> str:
            return text

        def parse(self, markup: str, num_images: int, *, lenient: bool = False) -> ParsedAnswer:
            return ParsedAnswer(markup, (), ())

    monkeypatch.setitem(DIALECTS, "plain", Plain())
    assert parse("x [SEG]", 1, "plain").text == "x [SEG]"
    assert render("x", [MarkedSpan(0, 1, (0,))], "plain") == "x"


@pytest.mark.parametrize("call", [lambda: parse("x", 1, "lojban"), lambda: render("x", [], "lojban")])
def test_unknown_dialect(call: object) -> None:
    with pytest.raises(InputError, match=r"(?s)Unknown dialect.*prima"):
        call()  # type: ignore[operator]


# ---- round trip --------------------------------------------------------------------------------------------


@st.composite
def marked(draw: st.DrawFn) -> tuple[str, list[MarkedSpan]]:
    """A text and spans that `render` accepts; phrases and texts may be blanks, pieces of tags, anything."""
    text = draw(plain)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    spans: list[MarkedSpan] = []
    for start, end in zip(cuts[::2], cuts[1::2]):
        span = MarkedSpan(start, end, tuple(draw(st.lists(st.integers(0, 8), min_size=1, max_size=3))))
        try:
            render(text, [*spans, span])
        except InputError:
            continue
        spans.append(span)
    return text, spans


@given(marked(), st.booleans())
def test_round_trip(case: tuple[str, list[MarkedSpan]], lenient: bool) -> None:
    text, spans = case
    answer = parse(render(text, spans), 9, lenient=lenient)
    assert answer.text == text
    assert answer.marked_spans() == spans
    assert all(g.source is Source.EXPLICIT for g in answer.groundings)
    assert all(u.reason is Reason.NO_PHRASE for u in answer.unplaced)
    assert [(g.span, g.phrase) for g in answer.groundings] == [
        ((s.start, s.end), text[s.start : s.end]) for s in spans if s.start < s.end for _ in s.image_indices
    ]
    # Only a text that itself ends like a cut tag is remarked upon.
    assert set(noted(answer)) <= {"truncated_tag"}


@given(plain)
def test_text_without_tags_is_left_alone(text: str) -> None:
    answer = parse(text, 3)
    assert (answer.text, answer.num_segs, render(text, [])) == (text, 0, text)


@pytest.mark.parametrize(
    "text", ["", " ", "  a  b ", "é猫👩‍👩‍👧", "(IMAGE2) [seg] < p >", "a\n\nb", "x [SE", "<"]
)
def test_round_trip_of_single_texts(text: str) -> None:
    spans = [MarkedSpan(0, len(text), (1,))]
    answer = parse(render(text, spans), 2)
    assert (answer.text, answer.marked_spans()) == (text, spans)


# ---- invariants for any string -----------------------------------------------------------------------------


@given(hostile, st.integers(0, 4), st.booleans())
def test_every_seg_is_accounted_for(markup: str, num_images: int, lenient: bool) -> None:
    answer = parse(markup, num_images, lenient=lenient)
    ordinals = [g.seg_ordinal for g in answer.groundings] + [u.seg_ordinal for u in answer.unplaced]
    assert sorted(ordinals) == list(range(markup.count(SEG_TOKEN)))
    assert answer.num_segs == markup.count(SEG_TOKEN)
    assert contains_tag(answer.text) is None
    for grounding in answer.groundings:
        start, end = grounding.span
        assert 0 <= start < end <= len(answer.text)
        assert answer.text[start:end] == grounding.phrase
        assert 0 <= grounding.image_index < num_images
    for problem in answer.unplaced:
        assert 0 <= problem.span[0] <= problem.span[1] <= len(answer.text)
        assert problem.detail
        assert (problem.image_index is not None) == (problem.reason is Reason.NO_PHRASE)
        assert problem.image_index is None or 0 <= problem.image_index < num_images
    assert all(0 <= note.offset <= len(answer.text) and note.detail for note in answer.notes)


@given(hostile, st.integers(1, 4))
def test_what_was_parsed_can_be_rendered_and_parsed_again(markup: str, num_images: int) -> None:
    answer = parse(markup, num_images)
    spans = answer.marked_spans()
    again = parse(render(answer.text, spans), num_images)
    assert again.text == answer.text
    assert again.marked_spans() == spans


@given(hostile, st.integers(1, 4))
def test_lenient_only_adds(markup: str, num_images: int) -> None:
    strict, lenient = parse(markup, num_images), parse(markup, num_images, lenient=True)
    assert strict.text == lenient.text
    assert set(strict.groundings) <= set(lenient.groundings)
    if num_images == 1:
        assert strict == lenient


@pytest.mark.parametrize(
    "piece",
    ["[SEG]", "<p>", "</p>", "<p> a </p> [SEG] (IMAGE1) ", "[SEG] (IMAGE", "(IMAGE1)", "[SEG]" + " " * 20,
     "<p> a ", "Image 2 [SEG] ", "[SEG] (IMAGE 1 and", "[SEG] (image one ", "<", "9", " ", "\n",
     "[SEG] (IMAGE" + "9" * 50],
)  # fmt: skip
def test_time_is_linear(piece: str) -> None:
    def seconds(length: int) -> float:
        markup = "<p> a </p> [SEG] (IMAGE" + piece * (length // len(piece))
        begin = time.process_time()
        parse(markup, 2, lenient=True)
        return time.process_time() - begin

    # 200,000 characters take a fraction of a second; a quadratic parser would need minutes.
    assert seconds(200_000) < 5


# ---- well-formed answers, freely spaced --------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "(IMAGE2)",
        " (IMAGE2)",
        "  (IMAGE2)",
        " (image 2)",
        " (Image #2)",
        " ( IMAGE 2 )",
        "\t(IMAGE02)",
        " (IMAGE\u00a02)",
    ],
)
def test_identifiers_are_read_leniently(written: str) -> None:
    answer = parse(f"the <p> mug </p> [SEG]{written} stands", 2)
    assert placed(answer) == [("mug", 1)]
    assert answer.text == "the mug stands"


@pytest.mark.parametrize(
    "markup",
    [
        "the <p>cat</p>[SEG](IMAGE1) is",
        "the <p> cat </p>\n [SEG] (IMAGE1) is",
        "the <p> cat </p>  [SEG] (IMAGE1) is",
    ],
)
def test_blanks_around_tags_do_not_reach_the_text(markup: str) -> None:
    answer = parse(markup, 1)
    assert answer.text == "the cat is"
    assert placed(answer) == [("cat", 0)]


def test_a_plural_phrase_has_several_masks() -> None:
    answer = parse("The <p> mugs </p> [SEG] (IMAGE1) [SEG](IMAGE2)  [SEG] (IMAGE2) match.", 2)
    assert placed(answer) == [("mugs", 0), ("mugs", 1), ("mugs", 1)]
    assert answer.text == "The mugs match."
    assert answer.marked_spans() == [MarkedSpan(4, 8, (0, 1, 1))]


def test_one_image_needs_no_identifier() -> None:
    answer = parse("a <p> cat </p> [SEG] and a <p> dog </p> [SEG] (IMAGE1)", 1)
    assert placed(answer) == [("cat", 0), ("dog", 0)]
    assert [g.source.value for g in answer.groundings] == ["inferred", "explicit"]
    assert answer.notes == ()


def test_spans_count_code_points() -> None:
    answer = parse("Ein <p> Mädchen 👩‍👩‍👧 </p> [SEG] (IMAGE1) und <p> 猫 </p> [SEG] (IMAGE1)", 1)
    assert [(g.phrase, g.span) for g in answer.groundings] == [("Mädchen 👩‍👩‍👧", (4, 17)), ("猫", (22, 23))]


# ---- malformed answers, one by one -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("markup", "num_images", "text", "expected"),
    [
        ("<p> cat </p> [SEG] sits", 2, "cat sits", "missing_identifier"),
        ("<p> cat </p> [SEG]\n(IMAGE1) shows", 2, "cat\n(IMAGE1) shows", "missing_identifier"),
        ("<p> cat </p> [SEG] (image of a cat)", 2, "cat (image of a cat)", "missing_identifier"),
        ("<p> cat </p> (IMAGE1) [SEG]", 2, "cat (IMAGE1) ", "missing_identifier"),
        ("<p> cat </p> [SEG] (IMAGE3)", 2, "cat", "identifier_out_of_range"),
        ("<p> cat </p> [SEG] (IMAGE0)", 2, "cat", "identifier_out_of_range"),
        ("<p> cat </p> [SEG] (IMAGE2)", 1, "cat", "identifier_out_of_range"),
        (f"<p> cat </p> [SEG] (IMAGE{'9' * 9000})", 2, "cat", "identifier_out_of_range"),
        ("<p> cat </p> [SEG] (IMAGE)", 2, "cat", "malformed_identifier"),
        ("<p> cat </p> [SEG] (IMAGE two)", 2, "cat", "malformed_identifier"),
        ("<p> cat </p> [SEG] (IMAGE-1)", 2, "cat", "malformed_identifier"),
        ("<p> cat </p> [SEG] (IMAGE1, IMAGE2)", 2, "cat", "malformed_identifier"),
        ("<p> cat </p> [SEG] (IMAGES 1 and 2)", 2, "cat", "malformed_identifier"),
        ("<p> cat </p> [SEG] (IMAGE\uff12)", 2, "cat", "malformed_identifier"),
        ("<p> cat </p> [SEG] (IMAGE2 sits", 2, "cat sits", "malformed_identifier"),
        ("<p> cat </p> [SEG] (", 2, "cat", "truncated_tag"),
        ("<p> cat </p> [SEG] (IMA", 2, "cat", "truncated_tag"),
        ("<p> cat </p> [SEG] (IMAGE", 2, "cat", "truncated_tag"),
        ("<p> cat </p> [SEG] (IMAGE2", 2, "cat", "truncated_tag"),
    ],
)
def test_a_seg_with_a_phrase_but_no_image(markup: str, num_images: int, text: str, expected: str) -> None:
    answer = parse(markup, num_images)
    assert answer.text == text
    assert placed(answer) == []
    assert reasons(answer) == [expected]
    assert answer.unplaced[0].span == (0, 3)
    assert answer.unplaced[0].image_index is None


@pytest.mark.parametrize("after", [" (IMAGE two)", " (IMAG", " (IMAGE)", ""])
def test_with_one_image_an_unreadable_identifier_does_no_harm(after: str) -> None:
    answer = parse("<p> cat </p> [SEG]" + after, 1)
    assert placed(answer) == [("cat", 0)]
    assert answer.groundings[0].source is Source.INFERRED
    assert len(answer.notes) == bool(after)


@pytest.mark.parametrize(
    "markup", ["It is [SEG] (IMAGE2).", "It is <p></p> [SEG] (IMAGE2).", "It is <p> [SEG] (IMAGE2)."]
)
def test_a_seg_without_a_phrase_keeps_its_image(markup: str) -> None:
    answer = parse(markup, 2)
    assert reasons(answer) == ["no_phrase"]
    assert (answer.unplaced[0].image_index, answer.unplaced[0].span) == (1, (6, 6))
    assert answer.text == "It is ."
    assert answer.marked_spans() == [MarkedSpan(6, 6, (1,))]


def test_more_segs_than_phrases() -> None:
    answer = parse("<p> a </p> [SEG] (IMAGE1) or [SEG] (IMAGE1), and [SEG] too", 2)
    assert placed(answer) == [("a", 0)]
    assert reasons(answer) == ["no_phrase", "missing_identifier"]
    assert [u.seg_ordinal for u in answer.unplaced] == [1, 2]


def test_more_phrases_than_segs() -> None:
    answer = parse("<p> a </p> and <p> b </p> [SEG] (IMAGE1) and <p> c </p>.", 2)
    assert placed(answer) == [("b", 0)]
    assert answer.text == "a and b and c."
    assert noted(answer) == ["phrase_without_seg", "phrase_without_seg"]


def test_words_between_a_phrase_and_its_seg() -> None:
    answer = parse("the <p> cat </p> on the left [SEG] (IMAGE2) sleeps", 2)
    assert placed(answer) == [("cat", 1)]
    assert noted(answer) == ["detached_seg"]
    # Not across sentences: there the phrase would be a guess.
    answer = parse("A <p> cat </p> sleeps. It is [SEG] (IMAGE2)", 2)
    assert (placed(answer), reasons(answer)) == ([], ["no_phrase"])


def test_an_unclosed_phrase_ends_at_the_seg() -> None:
    answer = parse("the <p> red mug [SEG] (IMAGE1) is", 2)
    assert (answer.text, placed(answer), noted(answer)) == (
        "the red mug is",
        [("red mug", 0)],
        ["unclosed_phrase"],
    )
    answer = parse("the <p> red mug [SEG] (IMAGE1) </p> is", 2)
    assert (answer.text, noted(answer)) == ("the red mug is", ["unclosed_phrase", "stray_tag"])


def test_an_unclosed_phrase_without_a_seg_is_text() -> None:
    answer = parse("the <p> red mug is", 2)
    assert (answer.text, answer.num_segs, noted(answer)) == ("the red mug is", 0, ["unclosed_phrase"])


@pytest.mark.parametrize(
    ("markup", "text", "phrases"),
    [
        ("<p> the <p> red mug </p> [SEG] (IMAGE1) </p> is", "the red mug is", [("red mug", 0)]),
        ("<p> the <p> red mug </p> </p> [SEG] (IMAGE1) is", "the red mug is", [("red mug", 0)]),
        ("<p> a and <p> b </p> [SEG] (IMAGE1)", "a and b", [("b", 0)]),
        ("<p> <p> <p> a </p> [SEG] (IMAGE2)", "a", [("a", 1)]),
    ],
)
def test_of_nested_phrases_the_inner_is_kept(markup: str, text: str, phrases: list[tuple[str, int]]) -> None:
    answer = parse(markup, 2)
    assert (answer.text, placed(answer)) == (text, phrases)
    assert "nested_tags" in noted(answer)


def test_stray_tags_leave_the_text_clean() -> None:
    answer = parse("a </p> b <image> c", 1)
    assert answer.text == "a b  c"
    assert noted(answer) == ["stray_tag", "stray_tag"]


@pytest.mark.parametrize("end", ["[S", "[SE", "[SEG", "<p", "</", "</p", "<im", "<image"])
def test_an_answer_cut_inside_a_tag(end: str) -> None:
    answer = parse(f"<p> cat </p> [SEG] (IMAGE1) and {end}", 1)
    assert answer.text == f"cat and {end}"
    assert noted(answer) == ["truncated_tag"]


@pytest.mark.parametrize(
    ("markup", "text"),
    [("[SE[SEG]G]", "[SE G]"), ("<<p>p>", "< p>"), ("[SE<image>G]", "[SE G]"), ("<</p>/p>", "< /p>")],
)
def test_taking_out_a_tag_never_makes_a_new_one(markup: str, text: str) -> None:
    assert parse(markup, 1).text == text


def test_case_matters_for_tags_since_they_are_tokens() -> None:
    answer = parse("<P> cat </P> [seg] (IMAGE1)", 1)
    assert (answer.text, answer.num_segs) == ("<P> cat </P> [seg] (IMAGE1)", 0)


# ---- lenient -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("In Image 2 the <p> cat </p> [SEG] sits", [("cat", 1, "sentence")]),
        ("In (IMAGE2) the <p> cat </p> [SEG] (IMAG", [("cat", 1, "sentence")]),
        ("Image 1 or image #3: the <p> cat </p> [SEG]", [("cat", 2, "sentence")]),
        ("Image 7 has a <p> cat </p> [SEG]", []),
        ("Image 2 is dark. A <p> cat </p> [SEG]", []),
        (
            "A <p> cat </p> [SEG] (IMAGE2) and a <p> dog </p> [SEG]",
            [("cat", 1, "explicit"), ("dog", 1, "sentence")],
        ),
        (
            "A <p> cat </p> [SEG] (IMAGE2). A <p> dog </p> [SEG]",
            [("cat", 1, "explicit"), ("dog", 1, "previous")],
        ),
        ("A <p> cat </p> [SEG] (IMAGE4). A <p> dog </p> [SEG]", []),
        ("Image 2: <p> cat </p> [SEG] (IMAGE two)", [("cat", 1, "sentence")]),
    ],
)
def test_lenient_infers_from_the_sentence_then_from_the_mask_before(
    markup: str, expected: list[tuple[str, int, str]]
) -> None:
    answer = parse(markup, 3, lenient=True)
    assert [(g.phrase, g.image_index, g.source.value) for g in answer.groundings] == expected
    inferred = [e for e in expected if e[2] != "explicit"]
    assert len(answer.notes) == len(inferred)
    strict = parse(markup, 3)
    assert len(strict.groundings) == len(expected) - len(inferred)


# ---- user text ---------------------------------------------------------------------------------------------


def test_escaping_literally() -> None:
    assert escape_user_text("what does [SEG] or <image> mean?") == "what does [ SEG ] or < image > mean?"
    assert escape_user_text("</p><p></s>[seg]") == "< /p >< p >< /s >[ seg ]"
    assert escape_user_text("is it in (IMAGE2)? 3 < 4 [sic]") == "is it in (IMAGE2)? 3 < 4 [sic]"


@given(hostile)
def test_escaped_text_holds_no_tags_and_stays(text: str) -> None:
    escaped = escape_user_text(text)
    assert contains_tag(escaped) is None
    assert escape_user_text(escaped) == escaped
    assert escaped.replace(" ", "") == text.replace(" ", "")
    assert parse(escaped, 2).text == escaped
    assert render(escaped, []) == escaped


@given(plain.filter(lambda text: not re.search("<|\\[seg", text.lower())))
def test_text_without_literals_is_not_changed(text: str) -> None:
    assert escape_user_text(text) == text


def test_the_public_names_exist() -> None:
    assert all(hasattr(protocol, name) for name in protocol.__all__)
