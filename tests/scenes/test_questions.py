"""Templates: the one right answer of each, checked against facts that are computed here a second time."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import numpy as np
import pytest

from segue.scenes.kinds import KINDS, SceneObject
from segue.scenes.questions import (
    FIRST,
    FOLLOW_UPS,
    LEVELS,
    QUESTION_KINDS,
    Answer,
    Draft,
    Facts,
    Mention,
    Speaker,
)
from segue.scenes.questions.topics import TOPICS, resolve
from segue.scenes.questions.wording import expand, plural_of_part

Things = Callable[..., list[list[SceneObject]]]


def thing(
    kind: str, colour: str, x: float = 0.5, y: float = 0.5, area: float = 0.1, hidden: str = ""
) -> SceneObject:
    parts = tuple(part for part in KINDS[kind].parts if part != hidden)
    return SceneObject(kind, colour, parts, dict.fromkeys(parts, area / 4), (x, y), (x, y, 0.1, 0.1), area)


def drafts(name: str, objects: list[list[SceneObject]], tries: int = 40) -> list[Draft]:
    facts = Facts(objects)
    found = (FIRST[name].propose(facts, Speaker(random.Random(seed))) for seed in range(tries))
    return [draft for draft in found if draft is not None]


def named(answer: Answer) -> set[tuple[int, int, str | None]]:
    return {(m.thing.image_index, m.thing.object_index, m.part) for m in answer.mentions}


def test_there_are_many_templates_of_every_kind_and_level() -> None:
    assert len(FIRST) + len(FOLLOW_UPS) >= 60
    for table in (FIRST, FOLLOW_UPS):
        assert {(t.kind, t.level) for t in table.values()} == {(k, v) for k in QUESTION_KINDS for v in LEVELS}


@pytest.mark.parametrize("template", [*FIRST.values()], ids=lambda t: t.name)
def test_every_opening_has_six_wordings_and_unseen_ones(template, make_facts: Things) -> None:
    seen, unseen = set(), set()
    for seed in range(500):
        facts = Facts(make_facts(np.random.default_rng(seed)))
        for wording, patterns in (("seen", seen), ("unseen", unseen)):
            say = Recorder(random.Random(seed), wording)
            if template.propose(facts, say) is not None:
                patterns.update(say.patterns)
    assert len(seen) >= 6
    assert unseen
    assert not seen & unseen


class Recorder(Speaker):
    """Notes which patterns it was allowed to choose from."""

    def __init__(self, rng: random.Random, wording: str) -> None:
        super().__init__(rng, wording)
        self.patterns: list[str] = []

    def ask(self, *patterns: str, **slots: str) -> str:
        held = tuple(p for p in patterns if p.startswith("~") == (self.wording == "unseen"))
        self.patterns += held
        return super().ask(*held, **slots)


def test_counts_name_everything_that_is_counted(make_facts: Things) -> None:
    checked = 0
    for seed in range(60):
        objects = make_facts(np.random.default_rng(seed))
        for draft in drafts("count_kind", objects, tries=5):
            kind = draft.topic[1]
            images = range(len(objects)) if draft.topic_image is None else [draft.topic_image]
            right = {(i, k, None) for i in images for k, o in enumerate(objects[i]) if o.kind == kind}
            assert named(draft.answer) == right
            words = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
            if right and len(right) in words:
                assert draft.answer.text.endswith(f"That makes {words[len(right)]}.")
            checked += bool(right)
    assert checked > 100


@pytest.mark.parametrize(
    ("which", "value", "sign"),
    [
        ("left", lambda o: o.center[0], -1),
        ("right", lambda o: o.center[0], 1),
        ("above", lambda o: o.center[1], -1),
        ("below", lambda o: o.center[1], 1),
        ("largest", lambda o: o.area, 1),
        ("smallest", lambda o: o.area, -1),
    ],
)
def test_superlatives_are_clear(which, value, sign, make_facts: Things) -> None:
    answered = 0
    for seed in range(150):
        objects = make_facts(np.random.default_rng(seed), most_images=1)
        ranked = sorted(objects[0], key=lambda o: sign * value(o), reverse=True)
        answer = resolve(Facts(objects), ("superlative", which), 0)
        if answer is None:
            continue
        answered += 1
        assert [m.thing.obj for m in answer.mentions] == ranked[:1]
        first, second = value(ranked[0]), value(ranked[1])
        if which in ("largest", "smallest"):
            assert max(first, second) / min(first, second) > 1.35
        else:
            assert abs(first - second) > 0.08
    assert answered > 30


def test_beside_lists_exactly_what_is_on_that_side(make_facts: Things) -> None:
    seen = 0
    for seed in range(200):
        objects = make_facts(np.random.default_rng(seed), most_images=1)
        for draft in drafts("beside_thing", objects, tries=3):
            question = draft.question.lower()
            side = "left" if "left of" in question else "right" if "right of" in question else ""
            anchor = re.search(r"(?:left|right) of the ((?:\w+ )?\w+)(?: in\b| here|[?.,]|$)", question)
            if not side or not anchor:
                continue
            origin = [o for o in objects[0] if anchor[1] in (o.phrase, o.kind)]
            if len(origin) != 1:
                continue
            seen += 1
            gaps = {
                k: o.center[0] - origin[0].center[0] for k, o in enumerate(objects[0]) if o is not origin[0]
            }
            wanted = {(0, k, None) for k, gap in gaps.items() if (gap < 0) == (side == "left")}
            assert named(draft.answer) == wanted
            assert all(abs(gap) > 0.08 for gap in gaps.values())
    assert seen > 30


def test_a_hidden_or_doubtful_part_is_not_counted() -> None:
    mug, lamp = thing("mug", "red"), thing("lamp", "blue", x=0.9)
    assert resolve(Facts([[mug, lamp]]), ("count_part", "handle"), 0).text.endswith("That makes one.")
    assert resolve(Facts([[thing("mug", "red", hidden="handle"), lamp]]), ("count_part", "handle"), 0) is None
    assert resolve(Facts([[mug, thing("scissors", "blue")]]), ("count_part", "handle"), 0) is None
    assert resolve(Facts([[mug, lamp]]), ("count_part", "body"), 0) is None


def test_another_colour_is_offered_where_the_asked_one_is_missing() -> None:
    objects = [[thing("lamp", "red"), thing("mug", "blue")], [thing("lamp", "blue"), thing("mug", "blue")]]
    texts = {
        d.answer.text
        for d in drafts("presence_of_coloured_kind", objects, 400)
        if "blue lamp" in d.question.lower()
    }
    assert "There is no blue lamp in image 1, only a red lamp. In image 2, there is a blue lamp." in texts


def test_scissors_are_plural() -> None:
    facts = Facts([[thing("scissors", "red", 0.2), thing("mug", "blue", 0.8)], [thing("mug", "red")]])
    assert resolve(facts, ("kind", "scissors"), None).text == (
        "In image 1, there are red scissors. There are no scissors in image 2."
    )
    for draft in drafts("place_of_kind", [[thing("scissors", "red", 0.2), thing("lamp", "blue", 0.5)]]):
        assert "is the scissors" not in draft.question.lower()


def test_answers_of_a_topic_name_things_of_its_level(make_facts: Things) -> None:
    for seed in range(40):
        facts = Facts(make_facts(np.random.default_rng(seed)))
        for topic in (
            ("part", "handle"),
            ("count", "mug"),
            ("largest_part", "mug"),
            ("contents",),
            ("purpose", "sit on"),
        ):
            answer = resolve(facts, topic, 0)
            for mention in answer.mentions if answer else []:
                assert (mention.part is not None) == (TOPICS[topic[0]].level == "part")


def test_phrases_stand_where_the_spans_say() -> None:
    facts = Facts([[thing("umbrella", "orange"), thing("mug", "red", 0.9)]])
    mentions = [Mention(facts.things[0]), Mention(facts.things[1], "handle")]
    answer = Answer("Look: ").add_list(mentions, article="a ").add(".")
    assert answer.text == "Look: an orange umbrella and a red mug's handle."
    assert [answer.text[s.start : s.end] for s in answer.spans] == ["orange umbrella", "red mug's handle"]


def test_patterns_expand_inner_brackets_first() -> None:
    found = {expand(random.Random(seed), "[a|b [c|d]] e") for seed in range(50)}
    assert found == {"a e", "b c e", "b d e"}


def test_small_words() -> None:
    assert [plural_of_part(part) for part in ("handle", "body", "legs")] == ["handles", "bodies", "legs"]
