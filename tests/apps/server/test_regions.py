"""Questions that point, over HTTP: what is read of them, what a model gets to see, and what is refused."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image

from segue import masks
from segue.apps.server.errors import ApiError
from segue.apps.server.regions import FORMS, checked_region, read_regions
from segue.inference import LoadedModel, Region
from serving import Served, data_url, file_of, shown, two
from tiny_model import picture

QUESTION = "Find [this] in the other image."
BOX = {"image_index": 0, "box": [2, 2, 12, 20]}
INSIDE = np.zeros((40, 60), bool)
INSIDE[2:20, 2:12] = True
PNG = file_of(Image.fromarray(INSIDE))
HWS = [(40, 60), (40, 60)]


def points(*regions: Any, text: str = QUESTION, number: int = 2) -> dict[str, Any]:
    return shown(*two()[:number], text=text) | {"regions": list(regions)}


@pytest.fixture
def taught(serve: Callable[..., Served], pointing: LoadedModel) -> Served:
    """A server of the model that takes regions."""
    return serve(pointing)


@pytest.mark.parametrize(
    "given",
    [
        {"segmentation": masks.encode(INSIDE)},
        {"mask": base64.b64encode(PNG).decode()},
        {"mask": data_url(Image.fromarray(INSIDE)), "box": None},
    ],
    ids=["rle", "base64", "data-url"],
)
def test_spellings_of_a_mask(given: dict[str, Any]) -> None:
    (ref,) = read_regions([{"image_index": 1, **given}], "regions", 1)
    region = checked_region(ref, HWS)
    assert (region.image_index, region.form) == (1, "mask")
    assert np.array_equal(masks.decode(region.mask), INSIDE)


def test_boxes_and_points_are_numbers() -> None:
    refs = read_regions([BOX, {"image_index": 1, "point": [3.5, 4]}], "regions", 2)
    box, point = (checked_region(ref, HWS) for ref in refs)
    assert (box.box, point.point) == ([2, 2, 12, 20], [3.5, 4])
    assert read_regions(None, "regions", 2) == read_regions([], "regions", 2) == ()


@pytest.mark.parametrize(
    ("given", "param", "said"),
    [
        ("box", "regions", "no list of regions"),
        ([BOX] * 3, "regions", "too many regions"),
        (["box"], "regions.0", "no object"),
        ([{"box": [0, 0, 9, 9]}], "regions.0.image_index", "names no image"),
        ([{"image_index": True, "point": [1, 1]}], "regions.0.image_index", "names no image"),
        ([{"image_index": 0}], "regions.0", "exactly one of box, point, segmentation, mask"),
        ([{"image_index": 0, "box": [0, 0, 9, 9], "point": [1, 1]}], "regions.0", "box and point"),
        ([{"image_index": 0, "box": [0, 0, 9]}], "regions.0.box", "left, top, right, bottom"),
        ([{"image_index": 0, "point": ["1", 1]}], "regions.0.point", "no point"),
        ([{"image_index": 0, "point": [10**400, 1]}], "regions.0.point", "no point"),
        ([{"image_index": 0, "segmentation": [[1, 2, 3]]}], "regions.0.segmentation", "no RLE"),
        ([{"image_index": 0, "mask": "/etc/passwd"}], "regions.0.mask", "in base64"),
        ([{"image_index": 0, "mask": "http://127.0.0.1/a.png"}], "regions.0.mask", "in base64"),
        ([{"image_index": 0, "mask": "data:image/png;base64,A"}], "regions.0.mask", "not base64"),
    ],
)  # fmt: skip
def test_what_is_no_region(given: Any, param: str, said: str) -> None:
    with pytest.raises(ApiError) as refused:
        read_regions(given, "regions", 2)
    assert (refused.value.status, refused.value.param) == (400, param)
    assert said in str(refused.value)
    assert set(refused.value.body()["error"]["segue"]) == {"summary", "expected", "found", "where", "fix"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"image_index": 2, "point": [1, 1]}, "image 1 to 2"),
        ({"image_index": 2, "mask": base64.b64encode(PNG).decode()}, "image 1 to 2"),
        ({"image_index": 0, "box": [0, 0, 99, 9]}, "0 <= left < right <= 60"),
        ({"image_index": 0, "point": [-1, 1]}, "0 <= x < 60"),
        ({"image_index": 0, "segmentation": masks.encode(INSIDE[:, :-1])}, "another size"),
        ({"image_index": 0, "segmentation": {"size": [10**9, 10**9], "counts": "1"}}, "at most 200,000,000"),
        ({"image_index": 0, "segmentation": {"size": [40, 60], "counts": "ab"}}, "damaged"),
        ({"image_index": 0, "segmentation": {"counts": None}}, "damaged"),
        ({"image_index": 0, "segmentation": masks.encode(INSIDE & False)}, "empty"),
        ({"image_index": 0, "mask": data_url(Image.new("1", (9, 9)))}, "another size"),
        ({"image_index": 0, "mask": data_url(Image.new("1", (60, 40)))}, "empty"),
        ({"image_index": 0, "mask": "data:image/png;base64,AAAA"}, "mask cannot be read"),
    ],
)
def test_regions_that_do_not_fit(given: dict[str, Any], said: str) -> None:
    (ref,) = read_regions([given], "messages.0.regions", 1)
    with pytest.raises(ApiError) as refused:
        checked_region(ref, HWS)
    assert (refused.value.status, refused.value.param) == (400, "messages.0.regions.0")
    assert said in str(refused.value)


def test_an_answer_is_that_of_a_session(taught: Served, pointing: LoadedModel) -> None:
    client = openai.OpenAI(base_url=taught.base, api_key="none", max_retries=0)
    point = {"image_index": 1, "point": [20, 12]}
    asked = points(BOX, point, text="Is [this] like [that]?")
    message = client.chat.completions.create(model="tiny-taught", messages=[asked]).choices[0].message
    own = pointing.session(list(two())).ask(
        "Is [this] like [that]?", regions=[Region(**BOX), Region(**point)]
    )
    assert message.content == own.text
    assert [g["bbox"] for g in message.segue["groundings"]] == [list(g.box) for g in own.groundings]
    # What was pointed at comes back as the masks that were made of it.
    for sent, region in zip(message.segue["regions"], own.regions, strict=True):
        assert sent["image_index"] == region.image_index
        assert np.array_equal(masks.decode(sent["segmentation"]), region.mask)
    with client.chat.completions.stream(model="tiny-taught", messages=[asked]) as stream:
        streamed = stream.get_final_completion().choices[0].message
    assert streamed.content == message.content
    assert streamed.segue == message.segue


def test_earlier_questions_still_point(
    taught: Served, pointing: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = (picture(shade=64), picture(shade=204))
    seen: list[dict[str, Any]] = []
    generate = pointing.model.generate_grounded
    monkeypatch.setattr(
        pointing.model, "generate_grounded", lambda **inputs: seen.append(inputs) or generate(**inputs)
    )
    first = shown(*pictures, text=QUESTION) | {"regions": [BOX]}
    said = taught.chat(first)[2]["choices"][0]["message"]
    status, _, answer = taught.chat(first, said, {"role": "user", "content": "And the other one?"})
    assert (status, answer["choices"][0]["message"]["segue"]["regions"]) == (200, [])
    session = pointing.session(list(pictures))
    session.ask(QUESTION, regions=[Region(**BOX)])
    session.ask("And the other one?")
    assert seen[1]["input_ids"].tolist() == seen[3]["input_ids"].tolist()
    assert [len(inputs["region_features"]) for inputs in seen] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("message", "param", "said"),
    [
        (points(BOX, text="What is there?"), "messages.0.regions", "more regions than markers"),
        (points(BOX, text="Is [this] like [that]?"), "messages.0.regions", "more markers than regions"),
        (points(BOX | {"image_index": 2}), "messages.0.regions.0", "not there"),
        (points(BOX, BOX | {"box": [0, 0, 99, 9]}, text="[a] [b]?"), "messages.0.regions.1", "outside"),
        (points(*[BOX] * 17, text="[a] " * 17), "messages.0.regions", "at most 16"),
    ],
)
def test_what_does_not_fit_is_named(served: Served, message: Any, param: str, said: str) -> None:
    status, _, answer = served.chat(message)
    assert (status, answer["error"]["param"]) == (400, param)
    assert said in answer["error"]["message"]


def test_regions_stand_where_a_user_asks(served: Served) -> None:
    answer = {"role": "assistant", "content": "A mug.", "regions": [BOX]}
    for messages, fields, param in (
        ([shown(*two()), answer, {"role": "user", "content": "And?"}], {}, "messages.1.regions"),
        ([{"role": "system", "content": "a", "regions": [BOX]}, shown(*two())], {}, "messages.0.regions"),
        ([shown(*two())], {"regions": [BOX]}, "regions"),
    ):
        status, _, content = served.chat(*messages, **fields)
        assert (status, content["error"]["param"]) == (400, param)
        assert "in the user message whose question points at them" in content["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_never_saw_regions_says_so(served: Served, stream: bool) -> None:
    status, _, answer = served.chat(points(BOX), stream=stream)
    assert (status, answer["error"]["code"]) == (400, "regions_not_supported")
    assert "/v1/images/matches" in answer["error"]["segue"]["fix"]
    # Also where only an earlier question pointed.
    said = {"role": "assistant", "content": "Yes."}
    status, _, answer = served.chat(points(BOX), said, {"role": "user", "content": "And?"}, stream=stream)
    assert (status, answer["error"]["code"]) == (400, "regions_not_supported")
    assert served.chat(points())[0] == 200  # no regions: brackets are text


JUNK = [0, True, "x", "\ud800", [], {}, [None], [[]], {"size": 3}, {"size": ["a"] * 2, "counts": []}, 1e308]


def test_junk_in_regions_is_no_500(taught: Served) -> None:
    for form in FORMS:
        for junk in JUNK:
            status, _, answer = taught.chat(points({"image_index": 0, form: junk}))
            assert status == 400, (form, junk, answer)
    for junk in JUNK:
        assert taught.chat(points() | {"regions": junk})[0] == (200 if junk == [] else 400), junk
