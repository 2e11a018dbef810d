"""Pascal-Part's layout and traps, on files written here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.data.sources import open_source
from segue.errors import InputError
from source_layouts import H, W, block, photo

CAT = block(2, 2, 20, 30)
DOG = (
    "dog",
    CAT,
    [("lfleg", block(14, 4, 20, 8)), ("rbleg", block(14, 20, 20, 24)), ("head", block(2, 2, 10, 12)),
     ("leye", block(4, 4, 6, 6)), ("rear", block(2, 8, 4, 10))],
)  # fmt: skip
Pascal = Callable[..., Path]


def names(image: Any) -> list[tuple[str, str]]:
    return [(region.kind, region.name) for region in image.regions]


def test_vocabularies_and_sides(pascal: Pascal) -> None:
    root = pascal({"2008_000001": [DOG]})
    parts = {
        key: [r.name for r in next(iter(open_source("pascal_part", root, **options))).regions[1:]]
        for key, options in {
            "93": {},
            "116 lr": {"vocabulary": "116", "split_lr": True},
            "raw": {"vocabulary": "raw"},
        }.items()
    }
    assert parts["93"] == ["leg", "head", "eye", "ear"]
    assert parts["116 lr"] == ["left leg", "right leg", "head", "left eye", "right ear"]
    assert parts["raw"] == ["lfleg", "rbleg", "head", "leye", "rear"]


def test_same_named_parts_become_one_mask_and_overlaps_stay(pascal: Pascal) -> None:
    source = open_source("pascal_part", pascal({"a": [DOG]}))
    (image,) = source
    legs, head, eye = image.regions[1:4]
    np.testing.assert_array_equal(legs.mask, DOG[2][0][1] | DOG[2][1][1])
    assert legs.source_label == "lfleg+rbleg"
    assert (head.mask & eye.mask).sum() == eye.area
    assert source.report.noticed == {"same-named parts of one object, merged": 1}
    assert {region.parent for region in image.regions[1:]} == {"o1"}


def test_numbered_parts_and_an_object_without_parts(pascal: Pascal) -> None:
    car = ("car", block(0, 0, 12, 12), [(f"wheel_{k}", block(9, 3 * k, 12, 3 * k + 2)) for k in (1, 2)])
    root = pascal({"a": [car, ("person", block(12, 12, 24, 24), [])]})
    (image,) = open_source("pascal_part", root)
    assert names(image) == [("object", "car"), ("part", "wheel"), ("object", "person")]
    assert image.absent is not None
    assert "dog" in image.absent
    assert not {"car", "person", "sofa"} & image.absent


def test_table_is_the_dining_table_and_classes_without_parts_are_a_choice(pascal: Pascal) -> None:
    root = pascal({"a": [("table", block(0, 0, 5, 5), []), DOG], "b": [("sofa", block(0, 0, 5, 5), [])]})
    source = open_source("pascal_part", root)
    assert [image.image_id for image in source] == ["a"]
    assert source.report.dropped == {
        "object class without parts in the vocabulary": 2,
        "image without usable annotation": 1,
    }
    assert len(source) == source.report.listed == 2
    kept = open_source("pascal_part", root, all_objects=True)
    assert [image.objects[0].name for image in kept] == ["dining table", "sofa"]
    assert len(source.vocabulary()) == 14
    assert len(kept.vocabulary()) == 20
    assert sum(map(len, source.vocabulary().values())) == 93


def test_what_is_broken_is_dropped_with_its_reason(pascal: Pascal) -> None:
    small = np.zeros((H - 1, W), bool)
    small[3, 3] = True
    root = pascal(
        {
            "good": [DOG],
            "renamed": [DOG],
            "mask": [("dog", small, [])],
            "unknown": [("unicorn", CAT, [])],
            "parts": [("cat", CAT, [("wing", block(2, 2, 4, 4)), ("tail", block(0, 0, 0, 0))])],
            "truncated": [DOG],
            "nothing": [],
        },
        irenamed="another",
    )
    damaged = root / "Annotations_Part" / "truncated.mat"
    damaged.write_bytes(damaged.read_bytes()[:300])
    lists = root / "VOCdevkit/VOC2010/ImageSets/Main/train.txt"
    lists.write_text(lists.read_text() + "missing\nnophoto\n")
    photo(root / "VOCdevkit/VOC2010/JPEGImages/missing.jpg")
    (root / "Annotations_Part/nophoto.mat").write_bytes((root / "Annotations_Part/good.mat").read_bytes())
    # Files of macOS' archiver are in no list, hence never read.
    (root / "Annotations_Part/._good.mat").write_bytes(b"\0" * 10)
    source = open_source("pascal_part", root)
    images = {image.image_id: image for image in source}
    assert sorted(images) == ["good", "parts"]
    assert images["parts"].unsure == {"cat:tail"}
    assert source.report.dropped == {
        "annotation of another image": 2,
        "mask size differs from image size": 1,
        "unknown class": 1,
        "unknown part name": 1,
        "empty mask": 1,
        "damaged .mat file": 1,
        "annotation file not found": 1,
        "image without usable annotation": 2,
    }
    text = "\n".join(source.report.lines())
    assert "2 of 9 images" in text
    assert "expected: one of the 20 classes of VOC" in text


def test_a_part_beyond_its_object_is_kept_and_said(pascal: Pascal) -> None:
    source = open_source("pascal_part", pascal({"a": [("dog", block(4, 4, 8, 8), [("tail", CAT)])]}))
    (image,) = source
    assert image.regions[1].area == CAT.sum()
    assert source.report.noticed["part reaches beyond its object"] == 1


def test_each_pass_starts_anew_and_the_fingerprint_follows_content(pascal: Pascal) -> None:
    root = pascal({"a": [DOG]})
    source = open_source("pascal_part", root)
    assert list(source) == list(source)
    assert source.report.images == 1
    same, other = open_source("pascal_part", root), open_source("pascal_part", root, split_lr=True)
    before = source.fingerprint()
    assert before == same.fingerprint() != other.fingerprint()
    pascal({"a": [("dog", CAT, [])]})
    assert source.fingerprint() != before


def test_a_wrong_folder_says_which_one_is_meant(pascal: Pascal) -> None:
    root = pascal({"a": [DOG]})
    for wrong in (root / "Annotations_Part", root.parent, root / "VOCdevkit"):
        with pytest.raises(InputError, match="This is not a folder of pascal_part") as caught:
            open_source("pascal_part", wrong)
        assert f"did you mean {root}?" in str(caught.value)
        assert "Annotations_Part" in caught.value.expected
    with pytest.raises(InputError) as caught:
        open_source("pascal_part", root / "nowhere" / "at" / "all" / "there")
    assert caught.value.found == "nothing"


def test_voc_may_lie_elsewhere_and_is_missed_by_name(pascal: Pascal, tmp_path: Path) -> None:
    root = pascal({"a": [DOG]})
    elsewhere = tmp_path / "elsewhere" / "VOC"
    elsewhere.parent.mkdir()
    (root / "VOCdevkit/VOC2010").rename(elsewhere)
    with pytest.raises(InputError, match="not a folder of VOC 2010"):
        open_source("pascal_part", root)
    assert len(list(open_source("pascal_part", root, voc=elsewhere))) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"split": "test"}, "train, val"),
        ({"vocabulary": "17"}, "93, 116, raw"),
        ({"split_lr": "yes"}, "true or false"),
        ({"colour": 1}, "vocabulary, split_lr, all_objects, voc"),
    ],
)
def test_wrong_options_name_the_right_ones(pascal: Pascal, arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        open_source("pascal_part", pascal({"a": [DOG]}), **arguments)
    assert expected in str(caught.value)


def test_an_unknown_source_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="no such source") as caught:
        open_source("pascal", "somewhere")
    assert "pascal_part, pascal_part116, paco_lvis" in caught.value.expected
