"""Drawn scenes as a source of annotated images."""

from pathlib import Path

import pytest

from segue.datasets.sources import open_source
from segue.errors import InputError
from segue.records import read_jsonl
from segue.scenes.build import build
from segue.scenes.kinds import KINDS


def test_scenes_give_kinds_and_every_region_of_the_records(tmp_path: Path) -> None:
    file = build(tmp_path, seed=3, count=3, split="test", size=96, progress=False)
    source = open_source("scenes", tmp_path, split="test")
    images = list(source)
    regions = [region for record in read_jsonl(file) for region in record.regions]
    assert sum(len(image.regions) for image in images) == len(regions)
    for image in images:
        assert image.path.is_file()
        for thing in image.objects:
            assert thing.name in KINDS
            assert {part.name for part in image.parts_of(thing.rid)} <= set(KINDS[thing.name].parts)
            assert thing.source_label.endswith(thing.name)
    with_colours = open_source("scenes", tmp_path, split="test", attributes=True)
    assert {o.name for image in with_colours for o in image.objects} == {
        r.name for r in regions if r.kind == "object"
    }
    assert list(open_source("scenes", tmp_path, split="train")) == []
    images[0].path.unlink()
    assert len(list(source)) == len(images) - 1
    assert source.report.dropped == {"image file not found": 1}
    with pytest.raises(InputError, match="did you mean"):
        open_source("scenes", tmp_path / "images")
