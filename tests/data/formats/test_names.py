"""Names stay apart, and are tidied where that costs nothing."""

from hypothesis import given
from hypothesis import strategies as st

from segue.data.formats.names import NameTable


def test_tidy_where_it_cannot_merge() -> None:
    names = ("car_(automobile)", "car_(automobile):wheel", "pool_table", "Dog", "bottle (full)")
    table = NameTable(names)
    assert [table.key(name) for name in names] == ["car", "car:wheel", "pool table", "dog", "bottle (full)"]
    assert table.notes == []


def test_names_that_cleaning_would_merge_keep_their_words() -> None:
    table = NameTable(["bow_(weapon)", "bow_(decorative_ribbons)", "Mug", "mug", "bottle (full)", "bottle"])
    assert table.object("bow_(weapon)") == "bow (weapon)"
    assert table.object("bow_(decorative_ribbons)") == "bow (decorative ribbons)"
    assert (table.object("Mug"), table.object("mug")) == ("Mug", "mug")
    assert (table.object("bottle (full)"), table.object("bottle")) == ("bottle (full)", "bottle")
    assert len(table.notes) == 2
    assert "'Mug', 'mug'" in "".join(table.notes)


@given(st.lists(st.text("aA_ ()b", min_size=1, max_size=6), max_size=8))
def test_no_two_names_become_one(names: list[str]) -> None:
    tight = {" ".join(name.split()) for name in names} - {""}
    table = NameTable(tight)
    assert len({table.object(name) for name in tight}) == len(tight)
    assert all(table.object(name).strip() for name in tight)
