"""Errors: the message is built from its fields, and the built-in parents keep `except ValueError` working."""

import copy
import pickle

import pytest

from segue import errors
from segue.errors import (
    AlignmentError,
    ContextError,
    ImageError,
    InputError,
    ModelError,
    RecordError,
    SegueError,
)

ALL = [SegueError, InputError, ImageError, ContextError, RecordError, AlignmentError, ModelError]


def test_the_message_names_all_fields_in_order() -> None:
    error = InputError("It is wrong.", expected="a", found="b", where="c", fix="d")
    assert str(error) == "It is wrong.\n  expected: a\n  found:    b\n  where:    c\n  do this:  d"


def test_empty_fields_are_left_out() -> None:
    assert str(SegueError("Only this.")) == "Only this."
    assert str(SegueError("It is wrong.", fix="d")) == "It is wrong.\n  do this:  d"


def test_long_and_broken_fields_stay_readable() -> None:
    lines = str(SegueError("It is wrong.", found="x\ny\t" + "z" * 10_000, where="w")).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("  found:    x y zzz")
    assert lines[1].endswith("...")
    assert len(lines[1]) < 500


@pytest.mark.parametrize(
    ("error", "parent"),
    [
        (InputError, ValueError),
        (ImageError, InputError),
        (ContextError, InputError),
        (RecordError, ValueError),
        (AlignmentError, RuntimeError),
        (ModelError, RuntimeError),
    ],
)
def test_parents(error: type[SegueError], parent: type[Exception]) -> None:
    assert issubclass(error, SegueError)
    with pytest.raises(parent):
        raise error("It is wrong.")


@pytest.mark.parametrize("error", ALL)
def test_errors_survive_pickling_and_copying(error: type[SegueError]) -> None:
    original = error("It is wrong.", expected="a", found="b", where="c", fix="d")
    for twin in (pickle.loads(pickle.dumps(original)), copy.copy(original)):
        assert type(twin) is error
        assert str(twin) == str(original)
        assert (twin.summary, twin.where, twin.fix) == ("It is wrong.", "c", "d")


def test_repr_is_one_line() -> None:
    assert repr(ModelError("No.", where="x")) == "ModelError('No.', where='x')"


def test_every_error_is_listed() -> None:
    assert sorted(errors.__all__) == sorted(error.__name__ for error in ALL)
