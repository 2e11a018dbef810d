"""The table of names is whole: every word leads to one name, and what the readout lacks the trunk knows."""

import pytest

from segue.errors import InputError
from segue.models.mini.names import NUM_KINDS, left_to_trunk, name_table, table_of, with_branches

TABLE = name_table()


def test_words_lead_to_names():
    assert TABLE.find("Beagle") == "dog"
    assert TABLE.find("studio couch") == TABLE.find("couch") == "sofa"
    assert TABLE.find("dog  head") == "dog head"
    assert TABLE.find("justice") is None


def test_every_name_is_seen_by_something():
    assert all(name.kinds or name.trained for name in TABLE.names.values())
    assert all(0 <= kind < NUM_KINDS for name in TABLE.names.values() for kind in name.kinds)
    assert len(TABLE.folded()) >= 400


def test_broader_kinds_hold_their_names():
    broader = TABLE.broader()
    assert {"dog", "bird", "owl"} <= set(broader["animal"])
    assert broader["bird"][0] == "bird"
    assert "owl" in broader["bird"]
    assert all(member in TABLE.names for members in broader.values() for member in members)


def test_purposes_name_things():
    assert {"chair", "sofa", "bench"} <= set(TABLE.purposes["sit on"])
    assert "pizza" in TABLE.purposes["eat"]
    assert all(name in TABLE.names for names in TABLE.purposes.values() for name in names)


def test_parts_have_wholes():
    assert TABLE.parts_of("dog") == ("dog head",)
    assert {"person head", "person hand", "hair"} <= set(TABLE.parts_of("person"))
    assert all(name.whole is None or name.whole in TABLE.names for name in TABLE.names.values())


@pytest.mark.parametrize("claim", [{"kinds": "3-5"}, {"synonyms": ["a"]}, {"narrower": ["x"]}])
def test_what_belongs_to_two_names_is_refused(claim):
    first = {"name": "a", "kinds": "1 3", "synonyms": ["x"]}
    with pytest.raises(InputError, match="two names"):
        table_of({"names": [first, {"name": "b", **claim}], "purposes": {}})


def test_own_data_bring_names_in_branches():
    first = [{"name": "zorble"}, {"name": "dog"}, {"name": "car wheel", "whole": "car", "part": "wheel"}]
    first[2]["under"] = "car"
    table = with_branches(TABLE, [first, [{"name": "zorble"}, {"name": "blick"}]])
    assert table.trained() == (*TABLE.trained(), "zorble", "car wheel", "blick")
    assert [table.block(name) for name in ("dog", "zorble", "car wheel", "blick", "pizza")] == [0, 1, 1, 2, 0]
    assert [table.drawn_by(name) for name in ("dog", "zorble", "pizza")] == [(0, 1), (1, 2), (0,)]
    assert table.folded() == TABLE.folded(), "stored probabilities keep their columns"
    assert table.names["car wheel"].whole == "car"
    assert table.under == {"car wheel": "car"}
    assert table.find("zorble") == "zorble"
    assert list(table.names)[: len(TABLE.names)] == list(TABLE.names)


def test_names_can_be_left_to_the_trunk():
    left = left_to_trunk(TABLE, ["sheep", "bus"])
    gone = {"sheep", "sheep head", "bus"}
    assert left.shipped() == tuple(name for name in TABLE.shipped() if name not in gone)
    assert left.folded() == TABLE.folded()
    with pytest.raises(InputError, match="person"):
        left_to_trunk(TABLE, ["person"])
