"""Questions by rule: true, varied, and never rejected."""

from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from m4seg_images import VOCABULARY, Box, lexicon, stored, two_rooms
from segue.datasets.m4seg.filters import QAPair, judge
from segue.datasets.m4seg.images import ImageStore, StoredImage
from segue.datasets.m4seg.listing import list_images
from segue.datasets.m4seg.template import numerical, open_ended, spatial, template_pairs
from segue.datasets.m4seg.template.facts import SetFacts
from segue.datasets.stages.stages import read_stage

BOXES = st.builds(
    lambda x, y, w, h: (x, y, w, h),
    st.integers(0, 90),
    st.integers(0, 60),
    st.integers(9, 60),
    st.integers(9, 50),
)


@st.composite
def images(draw: st.DrawFn) -> StoredImage:
    names = draw(st.lists(st.sampled_from(sorted(VOCABULARY)), min_size=1, max_size=5))
    things: list[tuple[str, Box, dict[str, Box]]] = []
    for name in names:
        chosen = draw(st.lists(st.sampled_from(sorted(VOCABULARY[name]) or ["x"]), unique=True, max_size=3))
        parts = [part for part in chosen if part in VOCABULARY[name]]
        things.append((name, draw(BOXES), {part: draw(BOXES) for part in parts}))
    unsure = draw(st.lists(st.sampled_from(sorted(VOCABULARY)), max_size=2))
    absent = draw(st.none() | st.lists(st.sampled_from(sorted(VOCABULARY)), max_size=3))
    counted = draw(st.booleans())
    number = draw(st.integers(1, 10**6))
    return stored(number, things, unsure=unsure, absent=absent, counted=counted)


@settings(max_examples=30)
@given(st.lists(images(), min_size=2, max_size=3), st.integers(0, 100))
def test_no_filter_objects_to_a_rule(shown: list[StoredImage], seed: int) -> None:
    listing = list_images(shown)
    for pair in template_pairs(listing, np.random.default_rng(seed)):
        verdict = judge(QAPair(pair["question"], pair["answer"]), listing, lexicon())
        assert verdict.kept, (verdict.letter, verdict.detail, pair)


def two(*things: list[str], **options: object) -> SetFacts:
    shown = [
        stored(n, [(name, (10 + 30 * k, 20, 25 - 5 * k, 40), {}) for k, name in enumerate(names)], **options)  # type: ignore[arg-type]
        for n, names in enumerate(things, start=1)
    ]
    return SetFacts(list_images(shown))


def test_numbers_are_counted() -> None:
    made = numerical.count(two(["cat", "cat", "cat"], ["cat"]), np.random.default_rng(0))
    assert made is not None
    assert "three cats 101, 102 and 103" in made.answer
    assert "one cat 201" in made.answer
    assert "Image 1" in made.answer.rsplit(".", 2)[-2]


def test_uncertain_numbers_are_not() -> None:
    facts = two(["cat", "cat"], ["cat"], unsure=["cat"])
    assert numerical.count(facts, np.random.default_rng(0)) is None
    assert numerical.count(two(["cat"], ["cat"], counted=False), np.random.default_rng(0)) is None


def test_only_one_needs_certain_absence() -> None:
    made = open_ended.only_one(two(["cat", "dog"], ["cat"]), np.random.default_rng(0))
    assert made is not None
    assert "dog 102" in made.answer
    assert open_ended.only_one(two(["cat", "dog"], ["cat"], absent=["bus"]), np.random.default_rng(0)) is None
    assert open_ended.only_one(two(["cat", "dog"], ["cat"], unsure=["dog"]), np.random.default_rng(0)) is None


def test_sides_are_those_of_the_picture() -> None:
    facts = two(["cat", "dog"], ["dog", "cat"])
    cat, dog = facts.entries("cat", 0)[0], facts.entries("dog", 0)[0]
    assert facts.relation(cat, dog) == "to the left of"
    assert facts.relation(dog, cat) == "to the right of"
    made = spatial.relations(facts, np.random.default_rng(1))
    assert made is not None
    assert "to the left of" in made.answer
    assert "to the right of" in made.answer


def test_a_build_asks_in_many_ways(built: Path) -> None:
    pairs = read_stage(built / "stages" / "pairs")
    images = read_stage(built / "stages" / "images")
    assert pairs is not None
    assert images is not None
    assert len(ImageStore(images)) > 20
    questions: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for line in pairs.lines("pairs"):
        assert line["generator"] == "template"
        for pair in line["qa"]:
            questions[pair["question"]] += 1
            kinds[pair["kind"]] += 1
    assert set(kinds) == {"functional", "spatial", "numerical", "open_ended"}
    assert len(questions) > 40
    assert max(questions.values()) < 0.1 * questions.total()


def test_three_to_five_questions_are_asked_of_a_rich_set() -> None:
    numbers = [len(template_pairs(two_rooms(), np.random.default_rng(seed))) for seed in range(40)]
    assert set(numbers) == {3, 4, 5}
