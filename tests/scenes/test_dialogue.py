"""Dialogues: spans, coverage, unambiguity, what needs the images, balance and speed."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.scenes.dialogue import compose_dialogue, needs_images
from segue.scenes.kinds import SceneObject
from segue.scenes.questions import FOLLOW_UPS, QUESTION_KINDS, Exchange

Things = Callable[..., list[list[SceneObject]]]
SET_ANSWERS = {"shared_kinds", "shared_part", "same_colour"}
"""Templates whose answer names only the images that matter."""


@pytest.fixture(scope="module")
def dialogues(make_facts: Things) -> list[tuple[list[list[SceneObject]], list[Exchange]]]:
    rng = np.random.default_rng(11)
    sets = [make_facts(rng) for _ in range(2000)]
    return [(objects, compose_dialogue(objects, rng)) for objects in sets]


@given(seed=st.integers(0, 2**32), twins=st.booleans(), num_turns=st.sampled_from([None, 1, 2, 3]))
@settings(max_examples=150, deadline=None)
def test_every_span_is_exactly_its_phrase(
    make_facts: Things, seed: int, twins: bool, num_turns: int | None
) -> None:
    rng = np.random.default_rng(seed)
    objects = make_facts(rng, twins=twins)
    exchanges = compose_dialogue(objects, rng, num_turns)
    assert 1 <= len(exchanges) <= (num_turns or 3)
    assert [e.is_follow_up for e in exchanges] == [k > 0 for k in range(len(exchanges))]
    for exchange in exchanges:
        assert exchange.question.strip()
        assert exchange.answer.endswith(".")
        assert len(exchange.spans) <= 6
        end = 0
        for span in exchange.spans:
            obj = objects[span.image_index][span.payload.object_index]
            assert span.start >= end
            end = span.end
            phrase = obj.phrase if span.payload.part is None else obj.part_phrase(span.payload.part)
            assert exchange.answer[span.start : span.end] == phrase
            assert span.payload.part is None or span.payload.part in obj.parts
            assert (span.payload.part is None) == (exchange.level == "object")
        images = [span.image_index for span in exchange.spans]
        assert images == sorted(images) or exchange.template in SET_ANSWERS


@given(seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_a_phrase_never_fits_two_things_of_its_image(make_facts: Things, seed: int) -> None:
    rng = np.random.default_rng(seed)
    objects = make_facts(rng, twins=True)
    for exchange in compose_dialogue(objects, rng):
        if exchange.template == "contents":
            continue
        for span in exchange.spans:
            image = objects[span.image_index]
            assert [o.phrase for o in image].count(image[span.payload.object_index].phrase) == 1


def test_nothing_can_make_it_fail(make_facts: Things) -> None:
    rng = np.random.default_rng(0)
    twin = make_facts(rng, most_images=1)[0][0]
    for objects in (
        [[twin]],
        [[twin] * 5],
        [[twin] * 5, [twin] * 7],
        [[twin], [twin], [twin]],
        [[]],
        [[], [twin]],
    ):
        for seed in range(20):
            assert compose_dialogue(objects, np.random.default_rng(seed))


def test_questions_about_every_image_are_answered_for_every_image(dialogues) -> None:
    checked = 0
    for objects, exchanges in dialogues:
        for exchange in exchanges:
            question = exchange.question.lower()
            if not re.search(r"in (each|every|both) ", question) or len(objects) < 2:
                continue
            if exchange.template in ("shared_kinds", "count_parts_of_kind"):
                continue
            checked += 1
            for i in range(len(objects)):
                assert f"image {i + 1}" in exchange.answer or "in any image" in exchange.answer
    assert checked > 150


def test_the_same_question_about_the_same_images_has_one_answer(make_facts: Things) -> None:
    repeated = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        objects = make_facts(rng)
        answers: dict[str, str] = {}
        for _ in range(500):
            said = ""
            for exchange in compose_dialogue(objects, rng, wording="all"):
                question = re.sub(r"\b(picture|photo)", "image", exchange.question.lower().rstrip("?."))
                said += question + " | "
                repeated += said in answers
                assert answers.setdefault(said, exchange.answer) == exchange.answer, said
                said += exchange.answer + " | "
    assert repeated > 200


def test_the_order_of_objects_does_not_matter(make_facts: Things) -> None:
    for seed in range(60):
        objects = make_facts(np.random.default_rng(seed))
        turned = [image[::-1] for image in objects]
        one = compose_dialogue(objects, np.random.default_rng(seed))
        two = compose_dialogue(turned, np.random.default_rng(seed))
        assert [(e.question, e.answer) for e in one] == [(e.question, e.answer) for e in two]


def test_needs_images_means_that_a_phrase_is_new(dialogues) -> None:
    for objects, exchanges in dialogues[:400]:
        said = ""
        for exchange in exchanges:
            said += " " + exchange.question
            named = [objects[s.image_index][s.payload.object_index] for s in exchange.spans]
            assert exchange.needs_images == any(not was_said(obj, said) for obj in named)
            said += " " + exchange.answer


def was_said(obj: SceneObject, text: str) -> bool:
    return re.search(rf"\b{obj.colour} {obj.kind}(s|es)?\b", text.lower()) is not None


def test_a_part_of_a_named_thing_needs_no_image(make_facts: Things) -> None:
    mug = SceneObject("mug", "red", ("body", "handle"), {}, (0.5, 0.5), (0, 0, 1, 1), 0.1)
    assert not needs_images([mug], "the handle of the red mug in image 1")
    assert not needs_images([mug], "How many Red mugs are there?")
    assert needs_images([mug], "the handle of the mug, and the red lamp")
    assert not needs_images([], "how many mugs?")


def test_the_same_seed_gives_the_same_dialogue(make_facts: Things) -> None:
    objects = make_facts(np.random.default_rng(3))
    assert compose_dialogue(objects, np.random.default_rng(9)) == compose_dialogue(
        objects, np.random.default_rng(9)
    )
    assert (
        len({compose_dialogue(objects, np.random.default_rng(seed))[0].question for seed in range(40)}) > 25
    )


def test_unseen_wordings_are_other_questions_with_the_same_answers(make_facts: Things) -> None:
    rng = np.random.default_rng(4)
    seen: dict[str, set[str]] = {"seen": set(), "unseen": set()}
    for _ in range(300):
        objects = make_facts(rng)
        for wording, openings in seen.items():
            for exchange in compose_dialogue(objects, rng, wording=wording):
                openings.add(exchange.question.lower().rstrip("?."))
    assert len(seen["unseen"]) > 250
    assert len(seen["seen"] & seen["unseen"]) < 0.02 * len(seen["unseen"])


def test_the_mix_is_balanced(dialogues) -> None:
    exchanges = [exchange for _, turns in dialogues for exchange in turns]
    kinds = Counter(exchange.kind for exchange in exchanges)
    assert all(0.19 <= kinds[kind] / len(exchanges) <= 0.31 for kind in QUESTION_KINDS)
    share = {
        "part level": np.mean([e.level == "part" for e in exchanges]),
        "needs images": np.mean([e.needs_images for e in exchanges]),
        "two turns": np.mean([len(turns) == 2 for _, turns in dialogues]),
        "three turns": np.mean([len(turns) == 3 for _, turns in dialogues]),
        "names nothing": np.mean([not e.spans for e in exchanges]),
    }
    assert 0.35 <= share["part level"] <= 0.45
    assert share["needs images"] >= 0.75
    assert 0.5 <= share["two turns"] <= 0.6
    assert 0.07 <= share["three turns"] <= 0.13
    assert 0.01 <= share["names nothing"] <= 0.08
    templates = Counter(exchange.template for exchange in exchanges)
    assert len(templates) >= 60
    assert max(templates.values()) < 0.09 * len(exchanges)


def test_follow_ups_refer_back(dialogues) -> None:
    later = [e for _, turns in dialogues for e in turns if e.is_follow_up]
    assert {e.template for e in later} <= set(FOLLOW_UPS)
    assert len({e.template for e in later}) >= 25


def test_the_english_is_sound(dialogues) -> None:
    doubled = re.compile(r"\b(\w+) \1\b")
    wrong = re.compile(
        r"\ba [aeiou]|\ban [^aeiou]|\bis the scissors\b|\bthere is no scissors\b|  |[{}\[\]|~]| [,.?]"
    )
    for _, exchanges in dialogues:
        for exchange in exchanges:
            for text in (exchange.question, exchange.answer):
                assert not wrong.search(text.lower()), text
                assert not doubled.search(text.lower()), text
            assert exchange.answer[0].isupper()


def test_it_is_quick(make_facts: Things) -> None:
    rng = np.random.default_rng(0)
    sets = [make_facts(rng) for _ in range(400)]
    start = time.process_time()
    for objects in sets:
        compose_dialogue(objects, rng)
    assert (time.process_time() - start) / len(sets) < 0.004, "a millisecond, and room for a busy machine"
