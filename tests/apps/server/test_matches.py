"""A mark in one picture, found in others over HTTP."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segue import masks
from segue.inference import LoadedModel, Region
from serving import Served, file_of, form_of, two
from tiny_model import picture

PATH = "/v1/images/matches"
BOX = (15, 10, 30, 20)
INSIDE = np.zeros((40, 60), bool)
INSIDE[10:20, 15:30] = True


def send(served: Served, *fields: tuple[str, str | bytes], pictures: int = 2) -> tuple[int, Any]:
    shown = [*two(), picture(shade=120)][:pictures]
    parts = [("image", file_of(image)) for image in shown]
    status, _, content = served.send("POST", PATH, *form_of(*parts, *fields))
    return status, content


@pytest.mark.parametrize("box", ["[15, 10, 30, 20]", "15,10,30,20"])
def test_it_is_what_match_json_says(served: Served, tiny_model: LoadedModel, box: str) -> None:
    status, content = send(served, ("box", box), ("model", "tiny-taught"), ("threshold", "0"), pictures=3)
    images = [*two(), picture(shade=120)]
    own = tiny_model.match(images, Region(image_index=0, box=BOX), threshold=0.0)
    assert status == 200
    assert content.pop("text") == own.text
    assert content.pop("created") > 0
    assert content == json.loads(json.dumps(own.to_match_json()))
    assert [m["is_there"] for m in content["matches"]] == [True, True]
    assert masks.decode(content["matches"][0]["segmentation"]).shape == (40, 60)


@pytest.mark.parametrize(
    "field",
    [
        ("mask", file_of(Image.fromarray(INSIDE))),
        ("mask", base64.b64encode(file_of(Image.fromarray(INSIDE))).decode()),
        ("segmentation", json.dumps(masks.encode(INSIDE))),
    ],
    ids=["file", "base64", "rle"],
)
def test_masks_are_taken_in_any_form(served: Served, tiny_model: LoadedModel, field: Any) -> None:
    status, content = send(served, field, ("image_index", "1"))
    own = tiny_model.match(list(two()), Region(image_index=1, mask=INSIDE))
    assert status == 200
    assert [(m["image_index"], m["score"]) for m in content["matches"]] == [
        (0, pytest.approx(own.matches[0].score, abs=1e-4))
    ]
    assert np.array_equal(masks.decode(content["region"]["segmentation"]), INSIDE)


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ([], "box", "Nothing is marked"),
        ([("box", "1,1,9,9"), ("point", "3,3")], "box", "box and point"),
        ([("box", "1,1,9")], "box", "left, top, right, bottom"),
        ([("box", "1,1,9,x")], "box", "left, top, right, bottom"),
        ([("point", "[99, 3]")], "point", "0 <= x < 60"),
        ([("point", "3,3"), ("image_index", "5")], "point", "image 1 to 2"),
        ([("point", "3,3"), ("image_index", "-1")], "image_index", "from 0"),
        ([("point", "3,3"), ("threshold", "NaN")], "threshold", "a number from 0"),
        ([("point", "3,3"), ("threshold", "high")], "threshold", "a number from 0"),
        ([("point", "3,3"), ("prompt", "the mug")], "prompt", "no words"),
        ([("point", "3,3"), ("model", "other")], "model", "no such model"),
        ([("mask", b"no picture")], "mask", "mask cannot be read"),
        ([("mask", file_of(Image.new("1", (3, 3))))], "mask", "another size"),
        ([("mask", "/etc/passwd")], "mask", "in base64"),
        ([("segmentation", "{}")], "segmentation", "damaged"),
        ([("segmentation", "[")], "segmentation", "COCO RLE"),
        ([("other", b"x")], "other", "cannot be used"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(served: Served, fields: Any, param: str, said: str) -> None:
    status, content = send(served, *fields)
    assert status in (400, 404)
    assert content["error"]["param"] == param
    assert said in content["error"]["message"]


def test_one_picture_is_too_few(served: Served) -> None:
    status, content = send(served, ("point", "3,3"), pictures=1)
    assert (status, content["error"]["param"]) == (400, "image")
    assert "one or more to look in" in content["error"]["message"]
