"""The auxiliary heads' names agree with the data and with the presets."""

from __future__ import annotations

from segue.mini import vocabulary as v
from segue.mini.photos.attributes import COLOUR_NAMES
from segue.mini.photos.labels import LABELS
from segue.models.mini.presets_mini import MINI_COLOURS
from segue.models.presets import preset
from segue.scenes.kinds import COLOURS, KINDS


def test_every_name_of_the_data_has_a_number() -> None:
    assert set(KINDS) | set(LABELS) == set(v.SLOT_CLASSES)
    assert set(COLOURS) | set(COLOUR_NAMES) <= set(v.COLOUR_INDEX)
    assert len(set(v.SLOT_CLASSES)) == len(v.SLOT_CLASSES)
    assert {f"{k}:{p}" for k in KINDS for p in KINDS[k].parts} == set(v.PARTS)


def test_numbers_are_positions_and_nothing_comes_last() -> None:
    assert [v.CLASS_INDEX[n] for n in v.SLOT_CLASSES] == list(range(v.NOTHING))
    assert [v.COLOUR_INDEX[n] for n in MINI_COLOURS] == list(range(len(MINI_COLOURS)))
    assert [v.PART_INDEX[n] for n in v.PARTS] == list(range(len(v.PARTS)))
    first = v.CLASS_INDEX[v.PHOTO_LABELS[0]]
    assert v.SLOT_CLASSES[first : first + len(v.PHOTO_LABELS)] == v.PHOTO_LABELS, "slots slice this range"


def test_the_presets_heads_have_room() -> None:
    config = preset("segue-scenes").config(slot_classes=v.SLOT_CLASSES)
    assert len(config.slot_classes) == v.NOTHING
    assert list(config.slot_attributes) == list(v.COLOUR_INDEX)
