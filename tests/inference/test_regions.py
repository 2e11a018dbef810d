"""Regions that users mark: what they may be, where they must lie, and how they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segue import masks, records
from segue.errors import ImageError, InputError
from segue.inference.regions import Region, as_region, read_mask, read_region

HWS = [(30, 50), (60, 40)]
INSIDE = np.zeros((30, 50), bool)
INSIDE[5:10, 7:20] = True


@pytest.mark.parametrize(
    "given", [{}, {"mask": INSIDE, "box": (0, 0, 4, 4)}, {"box": (1, 2), "point": (1, 2)}]
)
def test_exactly_one_form(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="mask, a box or a point"):
        Region(image_index=0, **given)


@pytest.mark.parametrize(
    "given", [{"box": (1, 2, 3)}, {"box": (0, 0, 1, float("nan"))}, {"point": "ab"}, {"point": (1, 2, 3)}]
)
def test_wrong_numbers(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="This is no"):
        Region(image_index=0, **given)


@pytest.mark.parametrize(
    "given",
    [{"box": (0, 0, 51, 30)}, {"box": (20, 5, 10, 9)}, {"box": (-1, 0, 3, 3)}, {"point": (50, 2)}],
)
def test_outside_of_the_image(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="outside of its image"):
        Region(image_index=0, **given).checked(HWS)
    assert Region(image_index=0, box=(0, 0, 50, 30)).checked(HWS).box == (0, 0, 50, 30)
    assert Region(image_index=0, point=(49.7, 29.9)).checked(HWS).form == "point"


def test_an_image_that_is_not_there() -> None:
    with pytest.raises(InputError, match="image 1 to 2") as caught:
        Region(image_index=2, point=(1, 1)).checked(HWS)
    assert "image 3" in caught.value.found


def test_masks_have_the_size_of_their_image_and_are_not_empty(tmp_path: Path) -> None:
    Image.fromarray(INSIDE).save(tmp_path / "m.png")
    for given in (INSIDE, INSIDE.astype(np.uint8), masks.encode(INSIDE), tmp_path / "m.png"):
        assert np.array_equal(Region(image_index=0, mask=given).checked(HWS).mask, INSIDE)
    with pytest.raises(InputError, match="another size"):
        Region(image_index=1, mask=INSIDE).checked(HWS)
    with pytest.raises(InputError, match="empty"):
        Region(image_index=0, mask=np.zeros((30, 50), bool)).checked(HWS)
    with pytest.raises(InputError, match="float64"):
        Region(image_index=0, mask=INSIDE * 0.5).checked(HWS)


def mask_pictures() -> dict[str, Image.Image]:
    """The same mask as programs save it."""
    seen = np.zeros((30, 50, 4), np.uint8)
    seen[INSIDE, 3] = 255
    palette = Image.fromarray(INSIDE.astype(np.uint8)).convert("P")
    return {
        "bits": Image.fromarray(INSIDE),
        "grey": Image.fromarray(INSIDE.astype(np.uint8) * 255),
        "label": Image.fromarray(INSIDE.astype(np.uint8) * 3),
        "colour": Image.fromarray(np.repeat(INSIDE[:, :, None], 3, 2).astype(np.uint8) * 255),
        "opaque": Image.fromarray(INSIDE.astype(np.uint8) * 255).convert("RGBA"),
        "cutout": Image.fromarray(seen),
        "palette": palette,
        "deep": Image.fromarray(INSIDE.astype(np.uint16) * 40000),
    }


@pytest.mark.parametrize("name", sorted(mask_pictures()))
def test_every_way_to_save_a_mask(name: str, tmp_path: Path) -> None:
    mask_pictures()[name].save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), INSIDE)


def test_unreadable_masks(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="nothing"):
        read_mask(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("words")
    with pytest.raises(ImageError, match="mask cannot be read"):
        read_mask(tmp_path / "text.png")


def test_regions_of_a_command_line() -> None:
    box, point, mask = (read_region(text) for text in ("2:1,2,30.5,4", "1:7,8", "1:a,b.png"))
    assert (box.image_index, box.box) == (1, [1, 2, 30.5, 4])
    assert (point.image_index, point.point) == (0, [7, 8])
    assert (mask.image_index, mask.mask) == (0, "a,b.png")
    for wrong in ("m.png", "0:1,2", "1:", "x:1,2", "1:1,2,3"):
        with pytest.raises(InputError, match="cannot be read"):
            read_region(wrong)


def test_what_callers_have() -> None:
    recorded = records.Region(rid="r", image_index=1, kind="region", name="x", bbox=[3, 4, 10, 20], mask=None)
    assert as_region(recorded).box == (3, 4, 13, 24)
    assert as_region({"image_index": 0, "point": [1, 2]}).point == [1, 2]
    region = Region(image_index=0, point=(1, 2))
    assert as_region(region) is region
    for wrong in (INSIDE, {"mask": INSIDE}, {"image_index": 0, "point": (1, 2), "colour": 3}, "1:2,3"):
        with pytest.raises(InputError):
            as_region(wrong)
