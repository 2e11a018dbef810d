"""Which frame annotations lie on: tables of sizes in, a frame or a reason out."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from segue.data.formats.frames import FrameVotes, Reach, UnclearFrame, UnusableFrame, choose_frame
from segue.data.formats.image_header import ImageHeader, turned_upright

PORTRAIT = ImageHeader((240, 320), orientation=6)  # stored on its side; upright it is 320 high, 240 wide
PLAIN = ImageHeader((240, 320))
TALL, WIDE, SMALL = Reach(310, 200), Reach(200, 310), Reach(100, 100)


def frame(
    header: ImageHeader, stated: tuple[int, int] | None, *reaches: Reach
) -> tuple[tuple[int, int], int]:
    found = choose_frame(stated, header, reaches, FrameVotes())
    return found.hw, found.orientation


def test_the_coordinates_tell_which_frame_is_meant() -> None:
    for stated in (None, (240, 320), (320, 240)):
        assert frame(PORTRAIT, stated, TALL, SMALL) == ((320, 240), 1)
        assert frame(PORTRAIT, stated, WIDE, SMALL) == ((240, 320), 6)
        assert frame(PORTRAIT, stated, Reach(240, 320, exact=True)) == ((240, 320), 6)
    assert frame(PORTRAIT, (320, 240), SMALL) == ((320, 240), 1)
    assert frame(PLAIN, (240, 320), WIDE) == ((240, 320), 1)
    assert frame(PLAIN, (320, 240), WIDE) == ((240, 320), 1)  # height and width were swapped in the file


@pytest.mark.parametrize(
    ("header", "stated", "reaches", "reason"),
    [
        (PLAIN, (480, 640), [SMALL], "image size differs from its record"),
        (PLAIN, (320, 240), [TALL], "image size differs from its record"),
        (PLAIN, (240, 320), [Reach(400, 600)], "coordinates lie beyond the image"),
        (PORTRAIT, (240, 320), [TALL, WIDE], "coordinates of both frames"),
    ],
)
def test_what_does_not_belong_together_is_refused_with_both_sizes(
    header: ImageHeader, stated: tuple[int, int], reaches: list[Reach], reason: str
) -> None:
    with pytest.raises(UnusableFrame) as caught:
        choose_frame(stated, header, reaches, FrameVotes())
    assert reason in caught.value.args[0]
    assert "320 x 240" in caught.value.args[1]


def test_other_images_settle_what_one_leaves_open() -> None:
    votes = FrameVotes()
    with pytest.raises(UnclearFrame):
        choose_frame((240, 320), PORTRAIT, [SMALL], votes)
    choose_frame((240, 320), PORTRAIT, [WIDE], votes)
    votes.settle = True
    assert choose_frame((240, 320), PORTRAIT, [SMALL], votes).orientation == 6
    choose_frame((240, 320), PORTRAIT, [TALL], votes)
    with pytest.raises(UnclearFrame):  # the others disagree
        choose_frame((240, 320), PORTRAIT, [SMALL], votes)


def test_one_stray_outline_does_not_cost_the_image() -> None:
    assert frame(PLAIN, (240, 320), SMALL, SMALL, Reach(900, 900)) == ((240, 320), 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_turn_as_pictures_do(orientation: int) -> None:
    mask = np.zeros((3, 5), bool)
    mask[0, 1:4] = mask[2, 4] = True
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.info["exif"] = exif.tobytes()
    upright = np.asarray(ImageOps.exif_transpose(picture)) > 0
    np.testing.assert_array_equal(turned_upright(mask, orientation), upright)
