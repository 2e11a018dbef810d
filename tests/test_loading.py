"""`segue.load`: what it does around the loading itself."""

import gc

import pytest

from segue.errors import ModelError
from segue.loading import collection_paused, load


def test_garbage_is_collected_again_after_a_load_that_failed(tmp_path: object) -> None:
    with pytest.raises(ModelError):
        load(f"{tmp_path}/nothing")
    assert gc.isenabled()


def test_who_collects_no_garbage_is_left_alone() -> None:
    gc.disable()
    try:
        with collection_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
