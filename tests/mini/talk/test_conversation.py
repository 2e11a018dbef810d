"""Drawn-up conversations: literal answers to literal lists, and properties that hold for every draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue import protocol
from segue.data.own.things import Thing
from segue.mini.talk.conversation import compose, frequent_names
from segue.mini.talk.kinds import Kind, Kinds, known_kinds
from segue.mini.talk.lists import ListMaker
from segue.mini.talk.questions import MARKED, WEIGHTS, Questions
from segue.mini.talk.statements import CLAIMED, HEDGED, Answer, Statements, Wanted
from segue.mini.talk.wording import wordings
from segue.models.mini.findings import Finding, listed

KINDS = Kinds(
    {
        **{n: Kind(n, Thing(n), broader=("animal",)) for n in ("dog", "cat", "duck", "bird")},
        **{n: Kind(n, Thing(n), broader=("clothing",)) for n in ("trousers", "coat")},
        "sofa": Kind("sofa", Thing("sofa")),
        "person": Kind("person", Thing("person")),
        "dog head": Kind("dog head", Thing("head", "dog")),
    },
    {"sit on": frozenset({"sofa"})},
)
DOG, CAT = Wanted(frozenset({"dog"}), Thing("dog")), Wanted(frozenset({"cat"}), Thing("cat"))


def finding(name: str, presence: float = 0.9, x: float = 0.1, y: float = 0.5, area: float = 0.1) -> Finding:
    return Finding(name, presence, (y, x), area)


IMAGES = [
    listed([finding("dog", x=0.1), finding("dog", x=0.9, area=0.3), finding("cat", 0.2)]),
    listed([finding("cat", x=0.5, y=0.1), finding("dog", 0.35), finding("sofa", 0.6, x=0.8, y=0.9)]),
]


@pytest.fixture
def say() -> Statements:
    return Statements(IMAGES, KINDS)


def test_what_is_there_is_named_in_its_images(say: Statements) -> None:
    answer = Answer()
    say.exists(answer, CAT, (0, 1))
    assert answer.markup == ("There is a <p> cat </p> [SEG] (IMAGE2) in image 2. There is no cat in image 1.")


def test_several_of_a_name_share_a_phrase_from_left_to_right(say: Statements) -> None:
    answer = Answer()
    say.here(answer, DOG, (0,))
    assert answer.markup == "Here are the <p> dogs </p> [SEG] (IMAGE1) [SEG] (IMAGE1) in image 1."
    assert [f.centre_yx[1] for f in answer.mentions[0].findings] == [0.1, 0.9]


def test_where_says_the_place(say: Statements) -> None:
    answer = Answer()
    say.where(answer, CAT, (0, 1))
    assert answer.text == "The cat is at the top of image 2."


def test_absence_has_a_reason(say: Statements) -> None:
    answer = Answer()
    say.here(answer, CAT, (0,))
    assert answer.text == "There is no cat in image 1; there is one in image 2."
    assert answer.mentions == []
    answer = Answer()
    say.here(answer, Wanted(frozenset({"trousers"}), Thing("trousers")), (0, 1))
    assert answer.text == "There are no trousers in images 1 and 2."
    answer = Answer()
    say.here(answer, Wanted(frozenset({"sofa"}), use="sit on"), (0,))
    assert answer.text == "There is nothing to sit on in image 1; there is something in image 2."


def test_a_doubt_is_told_only_where_nothing_is_claimed(say: Statements) -> None:
    answer = Answer()
    say.here(answer, DOG, (1,))
    assert answer.markup == "There may be a <p> dog </p> [SEG] (IMAGE2) in image 2, but I am not sure."
    answer = Answer()
    say.exists(answer, DOG, (0, 1))
    assert "may" not in answer.text
    assert answer.text.endswith("There is no dog in image 2.")


def test_pictures_without_claims_are_unknown() -> None:
    say, answer = Statements([[finding("cat", 0.2)]], KINDS), Answer()
    say.here(answer, DOG, (0,))
    assert answer.text == "I do not know what this shows."
    say, answer = Statements([IMAGES[0], []], KINDS), Answer()
    say.shows(answer, (0, 1))
    assert answer.text == "Image 1 shows dogs. I do not know what image 2 shows."


def test_a_list_names_what_is_sure_and_no_parts() -> None:
    image = listed([finding("dog"), finding("dog head", x=0.2), finding("sofa", 0.6, x=0.8)])
    answer = Answer()
    Statements([image], KINDS).shows(answer, (0,))
    assert answer.text == "Image 1 shows a dog."


def test_a_broader_name_covers_the_narrower_ones() -> None:
    kinds = known_kinds()
    assert {"duck", "owl", "bird"} <= kinds.members("bird")
    assert kinds.members("dog") == {"dog"}
    assert all(names <= kinds.kinds.keys() for names in kinds.purposes.values())


@pytest.mark.parametrize("name", sorted(WEIGHTS | MARKED))
def test_every_kind_of_question_finds_lists_that_carry_it(name: str) -> None:
    images = [
        listed(
            [finding("dog", x=x, y=y, area=a) for x, y, a in ((0.1, 0.2, 0.02), (0.7, 0.6, 0.3))]
            + [finding("dog head")]
        ),
        listed([finding("cat", x=0.5), finding("sofa", x=0.9), finding("person"), finding("coat")]),
    ]
    made = [getattr(Questions(images, KINDS, np.random.default_rng(k)), f"ask_{name}")() for k in range(30)]
    assert any(made)


@given(st.integers(0, 10**9))
def test_every_conversation_holds_together(seed: int) -> None:
    conversation = compose(known_kinds(), np.random.default_rng(seed), frequent=frequent_names())
    count = len(conversation.images)
    for exchange in conversation.exchanges:
        assert exchange.question.strip()
        assert protocol.contains_tag(exchange.question) is None
        parsed = protocol.parse(exchange.answer.markup, count)
        assert parsed.text == exchange.answer.text
        assert (parsed.unplaced, parsed.notes) == ((), ())
        assert len(parsed.groundings) == len(exchange.found)
        asked = protocol.parse_question(exchange.question, count)
        assert [k for r in asked.regions for k in r.image_indices] == [k for k, _ in exchange.regions]
        for k, found in exchange.found:
            if any(marked is found for _, marked in conversation.regions):
                continue  # what lies under a mark need not be what the image's list says
            assert found in conversation.images[k]
            assert found.presence >= (HEDGED if "may be" in exchange.answer.text else CLAIMED)
    assert len(conversation.wanted) == sum(len(e.found) for e in conversation.exchanges)


def test_the_same_seed_draws_the_same() -> None:
    first, again = (compose(known_kinds(), np.random.default_rng(3)).turns for _ in range(2))
    assert first == again


def test_held_out_wordings_are_used_and_never_trained() -> None:
    table = wordings()
    for kind, held in table["held_out"].items():
        assert not set(held) & set(table["train"][kind])
    asked = [
        Questions(IMAGES, KINDS, np.random.default_rng(k), held_out=True, free=False).ask_list().question
        for k in range(20)
    ]
    assert any(q.startswith(("Which items", "Give an overview", "Summarise", "What would I")) for q in asked)


def test_what_is_easily_taken_for_a_name() -> None:
    kinds = known_kinds()
    assert {"horse head", "person head"} <= kinds.near("cow head")
    assert not {"cow head", "person hand", "cow"} & kinds.near("cow head")
    assert {"cat", "dog head"} <= kinds.near("dog")
    assert kinds.near("grobolin") == set()


def test_heads_of_different_animals_come_together() -> None:
    def together(owners: float) -> int:
        """Of 60 conversations those with heads of two kinds."""
        makers = [ListMaker(known_kinds(), np.random.default_rng(seed), owners=owners) for seed in range(60)]
        found = [{f.name for image in m.images(2) for f in image} for m in makers]
        return sum(len({name for name in names if name.endswith(" head")}) > 1 for names in found)

    assert together(0.0) <= 3
    assert together(1.0) >= 12


def test_the_parts_of_what_is_not_there_are_refused() -> None:
    """A dog's head is there, and somebody asks for the parts of the cat."""
    image = listed([finding("dog"), finding("dog head", x=0.2)])
    kinds = Kinds({**KINDS.kinds, "cat head": Kind("cat head", Thing("head", "cat"))})
    asked = [Questions([image], kinds, np.random.default_rng(k)).ask_parts() for k in range(40)]
    said = {e.said: e.answer.markup for e in asked if e}
    assert said == {
        "dog": "In image 1 you can see the <p> dog's head </p> [SEG] (IMAGE1).",
        "cat": "There is no cat in image 1.",
    }


def test_all_images_are_listed_when_all_are_spoken_of() -> None:
    made = [Questions(IMAGES, KINDS, np.random.default_rng(k), free=False).ask_list() for k in range(60)]
    all_of_them = set(wordings()["train"]["list_all"])
    asked = [e for e in made if e.question in all_of_them]
    assert asked
    assert all(e.scope == (0, 1) for e in asked)
    one = [Questions(IMAGES[:1], KINDS, np.random.default_rng(k), free=False).ask_list() for k in range(60)]
    assert not [e for e in one if e.question in all_of_them]


def test_what_pictures_cannot_tell_is_not_answered() -> None:
    asked = [Questions(IMAGES, KINDS, np.random.default_rng(k)).ask_world() for k in range(60)]
    assert {e.answer.markup for e in asked} == {
        "I can only answer about what I see in these images: a dog and a cat."
    }


def said(kind: str, images: list[list[Finding]] = IMAGES) -> dict[str, set[str]]:
    """What some draws of a kind of question are answered, by what they ask for."""
    found: dict[str, set[str]] = {}
    for seed in range(120):
        made = getattr(Questions(images, KINDS, np.random.default_rng(seed), free=False), f"ask_{kind}")()
        if made is not None:
            found.setdefault(made.said, set()).add(made.answer.markup)
    return found


def test_all_of_a_kind_may_be_one_or_none() -> None:
    dogs, cat = "<p> dogs </p> [SEG] (IMAGE1) [SEG] (IMAGE1) in image 1", "<p> cat </p> [SEG] (IMAGE2)"
    asked = said("every")
    assert f"Here are the {dogs} and the {cat} in image 2." in asked["animal"]
    assert f"Here is the {cat} in image 2." in asked["animal"] & asked["cat"]
    assert {"There is no duck in image 1.", "There is no duck in image 2."} <= asked["duck"]


def test_whether_all_images_show_it() -> None:
    cat = finding("cat", x=0.2)
    asked = said("everywhere", [[*IMAGES[0], cat], IMAGES[1]])
    shown = "<p> cat </p> [SEG] (IMAGE{})"
    assert asked["cat"] == {
        f"Yes, there is a {shown.format(1)} in image 1 and a {shown.format(2)} in image 2."
    }
    assert asked["sofa"] == {
        "Not in all: there is a <p> sofa </p> [SEG] (IMAGE2) in image 2. There is no sofa in image 1."
    }
    assert asked["duck"] == {"No, there is no duck in images 1 and 2."}
    assert not said("everywhere", IMAGES[:1]), "one image is all of them"


def test_colours_are_told_where_lists_tell_them() -> None:
    cat = "There is a <p> cat </p> [SEG] (IMAGE1) in image 1. I cannot tell colours."
    assert said("colour", [[finding("cat")]])["cat"] == {cat}
    red = [[Finding("cat", 0.9, (0.5, 0.5), 0.1, "red")]]
    assert said("colour", red)["cat"] == {"There is a <p> red cat </p> [SEG] (IMAGE1) in image 1."}
    assert "There is no dog in image 1." in said("colour", red)["dog"]
