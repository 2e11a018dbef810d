"""The catalogue of the pipelines knows all data sets that people bring, and drawn scenes."""

from pathlib import Path

import pytest

from segue.data.sources import SOURCES as BROUGHT
from segue.datasets.sources import SOURCES, open_source, source_class
from segue.errors import InputError


def test_scenes_come_in_addition() -> None:
    assert set(SOURCES) == {*BROUGHT, "scenes"}
    assert [source_class(name).name for name in SOURCES] == list(SOURCES)


def test_a_mistaken_name_is_answered_with_all_of_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"paco_lvis.*labelme, scenes"):
        open_source("scene", tmp_path)
    with pytest.raises(InputError, match="no such option"):
        open_source("scenes", tmp_path, colours=True)
    with pytest.raises(InputError, match="true or false"):
        open_source("scenes", tmp_path, attributes="yes")
