"""The same photograph again: masks stay on their pixels, whatever is cut, mirrored or recoloured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.pointing.retakes import (
    GAINS,
    LEAST_SIDE,
    OFFSET,
    RETAKES,
    Retake,
    file_name,
    recolour,
    retake_of,
    retaken_image,
    retakes_of,
    write_retake,
)
from segue.errors import ImageError

FILE = Path("seen.jpg")


@st.composite
def photographs(draw: st.DrawFn) -> AnnotatedImage:
    """An image of up to four rectangular objects, of which the first may have a part."""
    height, width = draw(st.integers(8, 60)), draw(st.integers(8, 60))
    regions: list[AnnotatedRegion] = []
    for number in range(draw(st.integers(1, 4))):
        mask = np.zeros((height, width), bool)
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        mask[top : top + draw(st.integers(1, height)), left : left + draw(st.integers(1, width))] = True
        parent = "0" if number and draw(st.booleans()) else None
        name = draw(st.sampled_from(["mug", "lamp", "left hand", "lefty"]))
        regions.append(
            AnnotatedRegion(
                str(number), "part" if parent else "object", name, parent, masks.encode(mask), name
            )
        )
    return AnnotatedImage(draw(st.text("abc1", min_size=1)), Path("a.png"), height, width, tuple(regions))


@given(photographs())
def test_masks_follow_their_pixels(image: AnnotatedImage) -> None:
    for retake in retakes_of(image):
        for region in image.regions:
            # A picture whose red is the mask: seen again, its red has to be the mask that was seen again.
            pixels = np.zeros((*image.hw, 3), np.uint8)
            pixels[region.mask, 0] = 255
            seen = Retake(retake.window, retake.mirrored).picture(pixels)
            mask = masks.decode(retake.mask(region.rle))
            np.testing.assert_array_equal(seen[..., 0] == 255, mask)
            assert retake.shows_whole(region) == (mask.sum() == region.area)


@given(photographs())
def test_an_image_has_the_same_few_retakes(image: AnnotatedImage) -> None:
    found = retakes_of(image)
    assert found == retakes_of(image)
    assert len(found) == RETAKES
    assert found[0].window is None
    assert [retake.window is None for retake in found[1:]] == [False] * (RETAKES - 1)
    sided = any(region.name == "left hand" for region in image.regions)
    assert any(retake.mirrored for retake in found) == (not sided)
    assert not found[1].recoloured
    for retake in found:
        assert retake.words(), "something is always done"
        assert all(gain == 1 or GAINS[0] <= gain <= GAINS[1] for gain in retake.gains)
        assert abs(retake.offset) <= OFFSET
        if retake.window is not None:
            top, left, height, width = retake.window
            assert LEAST_SIDE * image.height <= height <= image.height - top
            assert LEAST_SIDE * image.width <= width <= image.width - left


@given(photographs(), st.integers(0, 9))
def test_the_marked_region_is_whole_in_the_retake_that_is_chosen(image: AnnotatedImage, seed: int) -> None:
    for region in image.regions:
        number = retake_of(image, region, np.random.default_rng(seed))
        seen = retaken_image(image, number, FILE)
        (again,) = (r for r in seen.regions if r.rid == region.rid)
        assert again.area == region.area
        assert (again.name, again.kind, again.parent) == (region.name, region.kind, region.parent)


@given(photographs(), st.integers(0, RETAKES - 1))
def test_a_retaken_image_is_annotated_like_any_other(image: AnnotatedImage, number: int) -> None:
    seen = retaken_image(image, number, FILE)
    assert seen.image_id == f"{image.image_id}~{number}"
    assert seen.path == FILE
    rids = [region.rid for region in seen.regions]
    assert rids == [region.rid for region in image.regions if region.rid in rids]
    for region in seen.regions:
        assert region.rle["size"] == [seen.height, seen.width]
        assert region.area > 0
        assert region.parent is None or region.parent in rids
    gone = {region.name for region in image.regions} - {region.name for region in seen.regions}
    retake = retakes_of(image)[number]
    for region in image.regions:
        if region.name in gone and region.parent is None and masks.area(retake.mask(region.rle)):
            assert region.name in seen.unsure, "of a few pixels nothing is said"


def test_mirroring_by_hand() -> None:
    mask = np.array([[1, 0, 0], [0, 0, 1]], bool)
    assert masks.decode(Retake(mirrored=True).mask(masks.encode(mask))).tolist() == [[0, 0, 1], [1, 0, 0]]
    cut = Retake(window=(0, 1, 2, 2), mirrored=True).mask(masks.encode(mask))
    assert masks.decode(cut).tolist() == [[0, 0], [1, 0]]


def test_colours_change_by_channel_and_stay_in_range() -> None:
    pixels = np.array([[[100, 100, 100], [250, 0, 9]]], np.uint8)
    assert recolour(pixels, (1.5, 1.0, 0.5), 10).tolist() == [[[160, 110, 60], [255, 10, 14]]]
    assert recolour(pixels, (1.0, 1.0, 1.0), -20).tolist() == [[[80, 80, 80], [230, 0, 0]]]


def photograph(folder: Path, hw: tuple[int, int] = (40, 60)) -> AnnotatedImage:
    path = folder / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    mask = np.zeros(hw, bool)
    mask[5:20, 5:20] = True
    return AnnotatedImage(
        "a", path, *hw, (AnnotatedRegion("1", "object", "mug", None, masks.encode(mask), "mug"),)
    )


def test_files_are_drawn_once_and_are_the_same(tmp_path: Path) -> None:
    image = photograph(tmp_path)
    for number in range(RETAKES):
        seen = retaken_image(image, number, tmp_path / "pictures" / file_name(image, number, "abc"))
        write_retake(image, number, seen.path)
        with Image.open(seen.path) as opened:
            assert (opened.height, opened.width) == seen.hw
        before = seen.path.read_bytes()
        seen.path.unlink()
        write_retake(image, number, seen.path)
        assert seen.path.read_bytes() == before
    assert len(list((tmp_path / "pictures").iterdir())) == RETAKES
    kept = file_name(image, 0, "abc")
    assert kept == file_name(image, 0, "abc")
    assert kept not in (file_name(image, 1, "abc"), file_name(image, 0, "abd"))
    (tmp_path / "pictures" / kept).write_bytes(b"there")
    write_retake(image, 0, tmp_path / "pictures" / kept)
    assert (tmp_path / "pictures" / kept).read_bytes() == b"there"


def test_masks_that_would_not_fit_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ImageError, match=r"another size than its annotation(?s:.*)\(50, 60\)(?s:.*)\(40, 60\)"
    ):
        write_retake(photograph(tmp_path, (50, 60)), 0, tmp_path / "seen.jpg")
    assert not (tmp_path / "seen.jpg").exists()
