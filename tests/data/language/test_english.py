"""Grammar for names that come out of a file."""

import pytest

from segue.data.language import english
from segue.data.own.things import Thing


@pytest.mark.parametrize(
    ("one", "many"),
    [
        *[("car", "cars"), ("knife", "knives"), ("person", "people"), ("bus", "buses"), ("sheep", "sheep")],
        *[
            ("wine glass", "wine glasses"),
            ("toothbrush", "toothbrushes"),
            ("berry", "berries"),
            ("key", "keys"),
        ],
        *[("chest of drawers", "chests of drawers"), ("fireman", "firemen"), ("human", "humans")],
        *[("trousers", "trousers"), ("hair", "hair"), ("potato", "potatoes"), ("photo", "photos")],
        *[("box", "boxes"), ("roof", "roofs"), ("couch", "couches"), ("class 1", "class 1s")],
    ],
)
def test_plurals(one: str, many: str) -> None:
    assert english.plural(one) == many
    assert english.plural(many) == many or one == "class 1"


@pytest.mark.parametrize(
    "noun", ["bus", "glass", "lens", "tennis", "cactus", "gas", "canvas", "chess", "axis"]
)
def test_singulars_that_end_in_s(noun: str) -> None:
    assert not english.is_plural(noun)


@pytest.mark.parametrize("noun", ["trousers", "sunglasses", "skis", "people", "pizzas", "menus", "scissors"])
def test_plurals_are_known(noun: str) -> None:
    assert english.is_plural(noun)


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("apple", "an"),
        ("hour hand", "an"),
        ("unicycle", "a"),
        ("umbrella", "an"),
        ("uniform", "a"),
        ("car", "a"),
    ],
)
def test_articles(noun: str, expected: str) -> None:
    assert english.article(noun) == expected


def test_possessives_and_lists() -> None:
    assert [english.possessive(noun) for noun in ("car", "cars", "people", "bus")] == [
        *["car's", "cars'", "people's", "bus's"]
    ]
    assert english.listed(["a", "b", "c"]) == "a, b and c"
    assert english.number(12) == "12"
    assert [english.ordinal(n) for n in (1, 9, 10)] == ["first", "ninth", "10th"]


def test_parts_are_named_by_their_object() -> None:
    wheel = Thing("wheel", "car")
    assert wheel.phrase() == "car's wheel"
    assert wheel.phrase(2) == "car's wheels"
    assert wheel.phrase(2, 2) == "cars' wheels"
    assert wheel.of(2, 2) == "wheels of the cars"
    assert wheel.indefinite() == "a car's wheel"
    assert Thing("hair", "person").indefinite() == "a person's hair"
    assert Thing("hair").indefinite() == "hair"
    assert Thing("apple").indefinite() == "an apple"
