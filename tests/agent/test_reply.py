"""Reading what chat models write: JSON in any wrapping, marks, image numbers and boxes of every kind."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue import protocol
from segue.agent.boxes import (
    BoxUnits,
    choose_units,
    family_units,
    read_boxes,
    to_pixels,
    to_thousand,
)
from segue.agent.reply import as_answer, markup_of, read_reply
from segue.agent.verify import Verdict, read_verdict
from segue.chat_model.json_reply import find_object

GOOD = {
    "answer": "The [red mug](1) is larger than the [lamp](2).",
    "objects": [
        {"id": 1, "phrase": "red mug", "image": 1, "box": [100, 200, 300, 400]},
        {"id": 2, "phrase": "lamp", "image": 2, "box": [10, 20, 30, 40]},
    ],
}
TEXT = "The red mug is larger than the lamp."


def obj(id_: int = 1, phrase: str = "mug", image: Any = 1, box: Any = (0, 0, 500, 500), **more: Any) -> dict:
    return {"id": id_, "phrase": phrase, "image": image, "box": box, **more}


def read(answer: Any, *objects: Any, images: int = 2) -> Any:
    return read_reply(json.dumps({"answer": answer, "objects": list(objects)}), images)


# ---- JSON ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrapped",
    [
        "{}",
        "```json\n{}\n```",
        "Sure! Here it is:\n```\n{}\n```\nAnything else?",
        "I see [two] things {maybe}: {}",
        "<think>boxes {{}} [1, 2</think>{}",
        "half a thought</think>\n{}",
        "it costs { about [ nothing: {}",
        '{"answer": "a draft", "objects": []}\nNo, better:\n{}',
        '{"draft": 1} {}',
    ],
)
def test_the_object_is_found_in_any_wrapping(wrapped: str) -> None:
    before, _, after = wrapped.rpartition("{}")
    reply = read_reply(before + json.dumps(GOOD) + after, 2)
    assert reply.text == TEXT
    assert [p.identifier for p in reply.pointings] == ["(IMAGE1)", "(IMAGE2)"]


@pytest.mark.parametrize(
    "text",
    [
        '{"answer": "A [mug](1).", "objects": [{"phrase": "mug", "image": 1, "box": [1, 2, 30, 40],},],}',
        "{'answer': 'A [mug](1).', 'objects': [{'phrase': 'mug', 'image': 1, 'box': [1, 2, 30, 40]}]}",
    ],
)
def test_nearly_json_is_read(text: str) -> None:
    reply = read_reply(text, 1)
    assert (reply.text, reply.pointings[0].box) == ("A mug.", (1, 2, 30, 40))


def test_a_reply_may_end_anywhere() -> None:
    whole = json.dumps(GOOD)
    texts, numbers = set(), []
    for end in range(len(whole)):
        reply = read_reply(whole[:end], 2)
        texts.add(reply.text if reply.is_json else "")
        numbers.append(len([p for p in reply.pointings if p.box]))
    assert numbers == sorted(numbers), "more of the reply never gives less"
    assert set(numbers) == {0, 1, 2}
    assert TEXT in texts
    cut = read_reply(whole[: whole.index('"image": 2')], 2)
    assert [p.identifier for p in cut.pointings] == ["(IMAGE1)", ""]
    assert "ends early" in cut.notes[0]


def test_a_bare_list_counts_as_the_objects() -> None:
    listed = [{"bbox_2d": [1, 2, 30, 40], "label": "mug"}, {"bbox_2d": [5, 6, 70, 80], "label": "mug"}]
    reply = read_reply("Two mugs. " + json.dumps(listed), 1)
    assert reply.text == "Two mugs."
    assert reply.pointings == ()
    assert len([n for n in reply.notes if "does not mention 'mug'" in n]) == 2
    reply = read_reply(json.dumps(listed), 1)
    assert (reply.text, len(reply.pointings)) == ("mug", 2)
    reply = read_reply("A mug beside a mug. " + json.dumps(listed), 1)
    assert [p.span for p in reply.pointings] == [(2, 5), (15, 18)]


@pytest.mark.parametrize(
    "text", ["", "   ", "{", "[", "{}", "[]", "null", "3", '"x"', "I cannot help.", "{" * 99]
)
def test_without_an_object_the_words_remain(text: str) -> None:
    reply = read_reply(text, 2)
    assert not reply.is_json
    assert reply.pointings == ()
    assert reply.text == text.strip()


@pytest.mark.parametrize(
    "text",
    ["{" * 200_000, "{a " * 70_000, "[{," * 70_000, '{"answer": "' + "\\" * 200_000, "<think>" * 30_000,
     '{"answer": ' + "[" * 100_000, "{," * 100_000, '{"objects": [' + "1," * 90_000, "](1)" * 50_000,
     "[a" * 90_000, '{"answer": "' + "[x](1" * 30_000],
)  # fmt: skip
def test_hostile_lengths_cost_little(text: str) -> None:
    started = time.process_time()
    read_reply(text, 2)
    assert time.process_time() - started < 3.0


@given(st.text(alphabet='{}[]",:\\ax1(<p>/)\n \u00e9', max_size=60), st.integers(1, 3))
@settings(max_examples=50)
def test_reading_never_raises_and_the_markup_reads_back(text: str, images: int) -> None:
    find_object(text, as_answer)
    for written in (text, json.dumps({"answer": text, "objects": [obj(box=[1, 2, 3, 4]), obj(2, image=9)]})):
        reply = read_reply(written, images)
        parsed = protocol.parse(markup_of(reply.text, reply.pointings), images)
        assert parsed.num_segs == len(reply.pointings)
        placed = [reply.pointings[g.seg_ordinal] for g in parsed.groundings]
        assert [p.image_index(images) for p in placed] == [g.image_index for g in parsed.groundings]


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
                    lambda v: st.lists(v, max_size=4) | st.dictionaries(
                        st.sampled_from(["answer", "objects", "id", "phrase", "image", "box", "x"]), v),
                    max_leaves=12))  # fmt: skip
@settings(max_examples=40)
def test_any_json_is_read(value: Any) -> None:
    read_reply(json.dumps(value), 2)
    read_reply(json.dumps({"answer": "a [b](1) c", "objects": value}), 2)
    read_reply(
        json.dumps({"answer": "a [b](1) c", "objects": [{"phrase": "b", "image": value, "box": value}]}), 2
    )
    read_verdict(json.dumps({"verdict": value, "box": value}), "b")


# ---- words -----------------------------------------------------------------------------------------------


def test_objects_find_their_words() -> None:
    answer = "A [mug](1), a [Mug](2) and two [lamps](3); a chair stands by."
    lamps = obj(3, "lamps", 1, [1, 1, 9, 9]), obj(3, "lamps", 2)
    others = obj(9, "chair", 1), obj(1, "something else", 2), obj(7, "sofa", 1)
    reply = read(answer, obj(2, "mug", 2), obj(1, "mug", 1), *lamps, *others)
    assert reply.text == "A mug, a Mug and two lamps; a chair stands by."
    found = [(reply.text[slice(*p.span)], p.identifier) for p in reply.pointings]
    assert found == [("mug", "(IMAGE1)"), ("mug", "(IMAGE2)"), ("Mug", "(IMAGE2)"), ("lamps", "(IMAGE1)"),
                     ("lamps", "(IMAGE2)"), ("chair", "(IMAGE1)")]  # fmt: skip
    assert reply.notes == ("the answer does not mention 'sofa'; left out",)


def test_marks_without_objects_are_noted_and_stay_as_words() -> None:
    reply = read("A [mug](1) and <p>a lamp</p>.", obj(2, "a lamp", 2))
    assert reply.text == "A mug and a lamp."
    assert [reply.text[slice(*p.span)] for p in reply.pointings] == ["a lamp"]
    assert reply.notes == ("no object belongs to the marked phrase 'mug'",)


def test_our_own_tags_in_a_reply_are_only_words() -> None:
    reply = read("[SEG] <image> </p> [ mug ](1) <P>", obj())
    assert reply.text == "(SEG) (image) (/p)  mug  (P)"
    assert protocol.parse(markup_of(reply.text, reply.pointings), 2).groundings[0].phrase == "mug"


def test_repeated_objects_count_once_and_too_many_are_cut() -> None:
    assert len(read("A [mug](1).", *[obj()] * 50).pointings) == 1
    reply = read("A [mug](1).", *[obj(box=[k, 0, k + 5, 9]) for k in range(150)])
    assert len(reply.pointings) == 100
    assert any("150 objects" in note for note in reply.notes)


@pytest.mark.parametrize(
    ("image", "identifier"),
    [(2, "(IMAGE2)"), ("2", "(IMAGE2)"), (2.0, "(IMAGE2)"), ("image 2", "(IMAGE2)"), ("(IMAGE2)", "(IMAGE2)"),
     (7, "(IMAGE7)"), (10**30, "(IMAGE1000000000)"), (None, ""), (True, ""), (-1, ""), ([2], ""),
     ("1 or 2", ""), (1.5, ""), ({}, "")],
)  # fmt: skip
def test_image_numbers(image: Any, identifier: str) -> None:
    (pointing,) = read("A [mug](1).", obj(image=image)).pointings
    assert pointing.identifier == identifier


def test_counting_from_0_needs_proof() -> None:
    reply = read("A [mug](1) and a [lamp](2).", obj(image=0), obj(2, "lamp", image=1))
    assert [p.identifier for p in reply.pointings] == ["(IMAGE1)", "(IMAGE2)"]
    assert "from 0" in reply.notes[0]
    reply = read("A [mug](1) and a [lamp](2).", obj(image=0), obj(2, "lamp", image=2))
    assert [p.identifier for p in reply.pointings] == ["(IMAGE0)", "(IMAGE2)"]


def test_an_answer_is_made_of_phrases_only_when_there_is_none() -> None:
    assert read(None, obj(), obj(2, "lamp", 2), obj(3, "mug", 2)).text == "mug; lamp"
    assert read(["x"], obj()).text == "mug"
    assert read("", images=2).text == ""


# ---- boxes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "boxes"),
    [
        ([1, 2, 3, 4], [(1, 2, 3, 4)]),
        ([3, 4, 1, 2], [(1, 2, 3, 4)]),
        (["1", "2.5", 3, 4], [(1, 2.5, 3, 4)]),
        ("[0.1, 0.2, 0.3, 0.4]", [(0.1, 0.2, 0.3, 0.4)]),
        ([[1, 2], [3, 4]], [(1, 2, 3, 4)]),
        ([[1, 2, 3, 4]], [(1, 2, 3, 4)]),
        ([[1, 2, 3, 4], [5, 6, 7, 8]], [(1, 2, 3, 4), (5, 6, 7, 8)]),
        ({"x1": 1, "y1": 2, "x2": 3, "y2": 4}, [(1, 2, 3, 4)]),
        ({"left": 1, "top": 2, "right": 3, "bottom": 4}, [(1, 2, 3, 4)]),
        ({"x": 1, "y": 2, "width": 3, "height": 4}, [(1, 2, 4, 6)]),
        ([1, 2, 3], []), ([1, 2, 3, 4, 5], []), ([1, 2, 3, None], []), ([1, 2, 3, True], []), ("none", []),
        ([1, 2, 3, float("nan")], []), ([1, 2, 3, float("inf")], []), ([1, 2, 3, 1e300], []),
        ([1, 2, 3, "x"], []), ({}, []), (None, []), (5, []), ([], []), ([[]], []), ([10**400] * 4, []),
    ],
)  # fmt: skip
def test_boxes_are_read(value: Any, boxes: list) -> None:
    assert read_boxes(value) == boxes


def test_y_first_under_its_own_name() -> None:
    (pointing,) = read(
        "A [mug](1).", {"id": 1, "phrase": "mug", "image": 1, "box_2d": [10, 20, 30, 40]}
    ).pointings
    assert pointing.box == (20, 10, 40, 30)


SENT, ORIGINAL = [(768, 1024), (1024, 683)], [(1536, 2048), (1536, 1024)]


@pytest.mark.parametrize(
    ("boxes", "expected", "units", "certain"),
    [
        # Rule 1: fractions.
        ([((0.1, 0.2, 0.5, 1.0), 0)], None, BoxUnits.UNIT, True),
        ([((0, 0, 1, 1), 0), ((0, 0, 1.02, 0.5), 1)], BoxUnits.SENT, BoxUnits.UNIT, True),
        # Rule 2: only one holds all.
        ([((10, 10, 1023, 700), 0)], None, BoxUnits.SENT, False),
        ([((10, 10, 1400, 700), 0)], None, BoxUnits.ORIGINAL, True),
        ([((10, 10, 300, 1000), 1), ((1, 1, 1500, 9), 0)], BoxUnits.SENT, BoxUnits.ORIGINAL, True),
        # Rule 3: several do.
        ([((10, 10, 500, 500), 0)], None, BoxUnits.THOUSAND, False),
        ([((10, 10, 500, 500), 0)], BoxUnits.SENT, BoxUnits.SENT, False),
        ([((10, 10, 500, 950), 0)], BoxUnits.SENT, BoxUnits.THOUSAND, False),
        # Rule 4: none does.
        ([((10, 10, 9000, 9000), 0), ((1, 1, 900, 900), 0)], None, BoxUnits.THOUSAND, False),
    ],
)
def test_units_are_decided_by_the_stated_rules(
    boxes: list, expected: BoxUnits | None, units: BoxUnits, certain: bool
) -> None:
    decision = choose_units(boxes, SENT, ORIGINAL, expected)
    assert (decision.units, decision.certain) == (units, certain), decision.note


def test_when_the_original_was_sent_pixels_are_certain() -> None:
    decision = choose_units([((10, 10, 1023, 700), 0)], SENT, SENT)
    assert (decision.units, decision.certain) == (BoxUnits.SENT, True)
    assert family_units("Qwen/Qwen2.5-VL-7B-Instruct") is BoxUnits.SENT
    assert family_units("Qwen/Qwen3-VL-8B-Instruct") is None


@pytest.mark.parametrize(
    ("box", "units", "pixels"),
    [
        ((0.25, 0.5, 0.5, 1.0), BoxUnits.UNIT, (512, 768, 1024, 1536)),
        ((250, 500, 500, 1000), BoxUnits.THOUSAND, (512, 768, 1024, 1536)),
        ((256, 384, 512, 768), BoxUnits.SENT, (512, 768, 1024, 1536)),
        ((512, 768, 1024, 1536), BoxUnits.ORIGINAL, (512, 768, 1024, 1536)),
        # One box of fractions among others.
        ((0.25, 0.5, 0.5, 1.0), BoxUnits.THOUSAND, (512, 768, 1024, 1536)),
        # Cut to the image, or nothing left of it.
        ((-50, 500, 500, 1200), BoxUnits.THOUSAND, (0, 768, 1024, 1536)),
        ((1200, 500, 1300, 1000), BoxUnits.THOUSAND, None),
        ((250, 500, 250, 1000), BoxUnits.THOUSAND, None),
        ((0, 0, 0, 0), BoxUnits.UNIT, None),
    ],
)
def test_boxes_become_pixels_of_the_original(box: Any, units: BoxUnits, pixels: Any) -> None:
    assert to_pixels(box, units, SENT[0], ORIGINAL[0]) == pixels
    if pixels and min(box) >= 0 and max(box) <= 1000:
        assert to_thousand(pixels, ORIGINAL[0]) == [250, 500, 500, 1000]


# ---- verdicts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "verdict", "box", "noted"),
    [
        ('{"verdict": "keep", "box": null}', Verdict.KEEP, None, False),
        ('```{"verdict": "DROP"}```', Verdict.DROP, None, False),
        ('{"verdict": "redraw", "box": [1, 2, 30, 40]}', Verdict.REDRAW, (1, 2, 30, 40), False),
        ('{"verdict": "redraw", "box": null}', Verdict.KEEP, None, True),
        ('{"verdict": ["drop"]}', Verdict.KEEP, None, True),
        ("drop it!", Verdict.KEEP, None, True),
        ("", Verdict.KEEP, None, True),
    ],
)
def test_verdicts(text: str, verdict: Verdict, box: Any, noted: bool) -> None:
    judgement = read_verdict(text, "mug")
    assert (judgement.verdict, judgement.box, bool(judgement.note)) == (verdict, box, noted)


@pytest.mark.parametrize("depth", [3, 5000])
def test_boxes_in_lists_in_lists(depth: int) -> None:
    value: Any = [1, 2, 3, 4]
    for _ in range(depth):
        value = [value]
    assert len(read_boxes(value)) == (1 if depth == 3 else 0)
