"""Masks of a prompt, by a form."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from segue import masks
from segue.apps.server.segmentations import question_of
from segue.inference import LoadedModel, Region
from serving import Served, file_of, form_of, two

PATH = "/v1/images/segmentations"


@pytest.fixture
def files() -> list[bytes]:
    return [file_of(image) for image in two()]


@pytest.mark.parametrize("name", ["image", "image[]"])
def test_masks_of_several_pictures(served: Served, tiny_model, files: list[bytes], name: str) -> None:
    sent = form_of((name, files[0]), (name, files[1]), ("prompt", "Which is larger?"), ("mask_format", "rle"))
    status, _, answer = served.send("POST", PATH, *sent)
    own = tiny_model.session(list(two())).ask("Which is larger?")
    assert status == 200
    assert [s["image_index"] for s in answer["data"]] == [0, 1]
    for entry, grounding in zip(answer["data"], own.groundings, strict=True):
        assert np.array_equal(masks.decode(entry["mask"]), grounding.mask)
        x, y, width, height = grounding.box
        assert entry["box"] == [x, y, x + width, y + height]
        assert entry["score"] == pytest.approx(grounding.score, abs=1e-5)


def test_masks_as_png(served: Served, tiny_model, files: list[bytes]) -> None:
    sent = form_of(("image", files[0]), ("image", files[1]), ("prompt", "Which is larger?"), ("boxes", "[]"))
    answer = served.send("POST", PATH, *sent)[2]
    own = tiny_model.session(list(two())).ask("Which is larger?")
    found = Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["mask"])))
    assert np.array_equal(np.asarray(found).astype(bool), own.groundings[0].mask)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ([("boxes", "[[0, 0, 9, 9]]")], "boxes"),
        ([("points", "[[3, 3]]")], "points"),
        ([("mask", b"x")], "mask"),
        ([("mask_format", "svg")], "mask_format"),
        ([("regions", "[")], "regions"),
        ([("regions", '[{"image_index": 0, "point": [1, 1]}]')], "regions"),
        ([("n", "2")], "n"),
        ([("response_format", "url")], "response_format"),
        ([("model", "other")], "model"),
        ([("image", "not a file")], "image"),
        ([("image", b"<svg/>")], "image"),
    ],
)
def test_what_cannot_be_honoured_is_named(served: Served, files: list[bytes], fields, param: str) -> None:
    sent = form_of(("image", files[0]), ("prompt", "What is there?"), *fields)
    status, _, answer = served.send("POST", PATH, *sent)
    assert status in (400, 404)
    assert answer["error"]["param"] == param


def test_forms_that_are_none(served: Served, files: list[bytes]) -> None:
    for body, headers in (
        (b"", {"Content-Type": "multipart/form-data; boundary=edge"}),
        (b"{}", {"Content-Type": "application/json"}),
        (form_of(("image", files[0]))[0][:80], {"Content-Type": "multipart/form-data; boundary=edge"}),
        (form_of(("prompt", "a"))[0], {"Content-Type": "multipart/form-data"}),
        form_of(("prompt", "a")),
        form_of(("image", files[0])),
        form_of(("image", files[0]), ("prompt", "  ")),
        form_of(*[("image", files[0])] * 10, ("prompt", "a")),
        form_of(*[("image", files[0])] * 100, ("prompt", "a")),
    ):
        status, _, answer = served.send("POST", PATH, body, headers)
        assert status == 400
        assert answer["error"]["message"]


def test_a_prompt_may_point(serve, pointing: LoadedModel, files: list[bytes]) -> None:
    regions = [{"image_index": 0, "box": [2, 2, 12, 20]}]
    sent = form_of(
        *[("image", file) for file in files], ("prompt", "[this]"), ("mask_format", "rle"),
        ("regions", json.dumps(regions)),
    )  # fmt: skip
    status, _, answer = serve(pointing).send("POST", PATH, *sent)
    own = pointing.session(list(two())).ask("Segment [this].", regions=[Region(**regions[0])])
    assert status == 200
    assert (answer["text"], answer["usage"]["prompt_tokens"]) == (own.text, own.prompt_tokens)


def test_a_file_may_be_called_anything(served: Served, files: list[bytes], tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("../../etc/passwd", "/etc/passwd", "a\\..\\b", "%2e%2e%2f", "x" * 5000):
        sent = form_of(("image", files[0]), ("image", files[1]), ("prompt", "What is there?"), filename=name)
        status, _, answer = served.send("POST", PATH, *sent)
        assert status in (200, 400)
        assert "passwd" not in str(answer)
    assert list(tmp_path.iterdir()) == []


def test_names_of_things_become_a_request() -> None:
    assert question_of("the red mug") == "Segment the red mug."
    assert question_of("Which is larger?") == "Which is larger?"
