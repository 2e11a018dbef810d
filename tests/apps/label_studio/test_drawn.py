"""What an annotator draws becomes the region of a question, or the mark of a match; over the protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from segue import masks
from segue.apps.label_studio import brush
from segue.apps.label_studio.predict import Asking, groups_of
from segue.apps.server.errors import ApiError
from segue.inference import LoadedModel, Region
from serving import data_url, two
from tiny_model import picture

sdk = pytest.importorskip("label_studio_sdk.label_interface")
from label_studio_sdk.converter.brush import decode_rle  # noqa: E402

CONFIG = """<View>
  <Image name="img" valueList="$images"/>
  <BrushLabels name="brush" toName="img"><Label value="mug"/><Label value="lamp"/></BrushLabels>
  <RectangleLabels name="box" toName="img" smart="true"><Label value="lamp"/><Label value="other"/></RectangleLabels>
  <KeyPointLabels name="point" toName="img" smart="true"><Label value="mug"/></KeyPointLabels>
  <TextArea name="prompt" toName="img"/>
</View>"""  # noqa: E501
BOX = (15, 10, 30, 20)
INSIDE = np.zeros((40, 60), bool)
INSIDE[10:20, 15:30] = True


def drawn(kind: str, value: dict[str, Any], label: str = "", item: int = 0, **fields: Any) -> dict[str, Any]:
    """A region as the editor sends it while it is being drawn."""
    named = {kind: [label]} if label else {}
    return {
        "id": "aB3", "from_name": "x", "to_name": "img", "type": kind, "origin": "manual",
        "original_width": 60, "original_height": 40, "image_rotation": 0, "item_index": item,
        "value": value | named, **fields,
    }  # fmt: skip


RECTANGLE = drawn(
    "rectanglelabels", {"x": 25.0, "y": 25.0, "width": 25.0, "height": 25.0, "rotation": 0}, "lamp"
)
POINT = drawn("keypointlabels", {"x": 100 / 3, "y": 30.0, "width": 0.5}, "mug", item=1)
STROKE = drawn("brushlabels", {"format": "rle", "rle": brush.encode(INSIDE)}, "mug")
TYPED = {"type": "textarea", "value": {"text": ["Find [this] in the other image."]}}


def task(*images: Any, **data: Any) -> dict[str, Any]:
    return {"id": 7, "data": {"images": [data_url(image) for image in images or two()], **data}}


def predict(served: Any, *results: Any, config: str = CONFIG, **fields: Any) -> tuple[int, Any]:
    body = {
        "tasks": [fields.pop("task", task(prompt="Which is larger?"))],
        "label_config": config,
        "params": {"context": {"result": list(results)}},
    }
    status, _, content = served.send("POST", "/predict", body)
    return status, content


def shown(content: Any) -> list[tuple[int, str, np.ndarray]]:
    """Picture, label and mask of each region of the one prediction."""
    (prediction,) = content["results"]
    assert sdk.LabelInterface(CONFIG).validate_prediction(prediction, return_errors=True) == []
    found = []
    for region in prediction["result"]:
        hw = (region["original_height"], region["original_width"])
        mask = np.reshape(decode_rle(region["value"]["rle"]), (*hw, 4))[:, :, 3] > 0
        found.append((region["item_index"], region["value"]["brushlabels"][0], mask))
    return found


def test_a_rectangle_is_found_elsewhere_and_becomes_a_mask(
    backend, tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_model.model, "match_threshold", 0.0)
    status, content = predict(backend(), RECTANGLE)
    own = tiny_model.match(list(two()), Region(image_index=0, box=BOX))
    assert status == 200
    assert [m.is_there for m in own.matches] == [True]
    found = shown(content)
    assert [(item, label) for item, label, _ in found] == [(0, "lamp"), (1, "lamp")]
    assert all(np.array_equal(mask, g.mask) for (_, _, mask), g in zip(found, own.groundings, strict=True))
    region = content["results"][0]["result"][0]
    assert region["meta"]["text"] == ["marked thing"]


def test_a_point_marks_the_picture_that_it_is_on(backend, tiny_model: LoadedModel) -> None:
    status, content = predict(backend(), POINT)
    own = tiny_model.match(list(two()), Region(image_index=1, point=(20, 12)))
    assert status == 200
    assert [(item, label) for item, label, _ in shown(content)] == [
        (g.image_index, "mug") for g in own.groundings
    ]


def test_what_was_painted_is_not_painted_again(
    backend, tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_model.model, "match_threshold", 0.0)
    own = tiny_model.match(list(two()), Region(image_index=0, mask=INSIDE))
    for stroke in (STROKE, drawn("polygonlabels", polygon(INSIDE), "mug")):
        status, content = predict(backend(), stroke)
        ((item, label, mask),) = shown(content)
        assert (status, item, label) == (200, 1, "mug")
        assert np.array_equal(mask, own.matches[0].mask)


def polygon(mask: np.ndarray) -> dict[str, Any]:
    (outline,) = masks.polygons(mask)
    points = [[100 * x / 60, 100 * y / 40] for x, y in zip(outline[::2], outline[1::2], strict=True)]
    return {"points": points, "closed": True}


def test_a_label_of_another_control_gives_way(backend, tiny_model: LoadedModel) -> None:
    # "other" can be drawn as a rectangle, not as a mask.
    status, content = predict(
        backend(), RECTANGLE | {"value": RECTANGLE["value"] | {"rectanglelabels": ["other"]}}
    )
    assert status == 200
    assert {label for _, label, _ in shown(content)} == {"mug"}


def test_a_single_picture_gets_the_mask_of_its_box(backend, tiny_model: LoadedModel) -> None:
    config = CONFIG.replace("valueList", "value")
    one = {"id": 7, "data": {"images": data_url(two()[0])}}
    lone = {name: value for name, value in RECTANGLE.items() if name != "item_index"}
    status, content = predict(backend(), lone, config=config, task=one)
    own = tiny_model.match([two()[0]], Region(image_index=0, box=BOX))
    assert status == 200
    (region,) = content["results"][0]["result"]
    mask = np.reshape(decode_rle(region["value"]["rle"]), (40, 60, 4))[:, :, 3] > 0
    assert np.array_equal(mask, own.mark)


@pytest.mark.parametrize("typed", [True, False])
def test_a_text_with_a_marker_asks_about_what_was_drawn(
    backend, serve, pointing: LoadedModel, monkeypatch: pytest.MonkeyPatch, typed: bool
) -> None:
    served, jobs = backend(model=pointing), []
    submit = served.engine.submit
    monkeypatch.setattr(served.engine, "submit", lambda job: jobs.append(job) or submit(job))
    text = TYPED["value"]["text"][0]
    status, content = predict(
        served, RECTANGLE, *([TYPED] if typed else []), task=task(prompt="Other?" if typed else text)
    )
    assert status == 200
    own = pointing.session(list(two())).ask(text, regions=[Region(image_index=0, box=BOX)])
    assert [item for item, _, _ in shown(content)] == [g.image_index for g in own.groundings if g.mask.any()]
    (job,) = jobs
    assert (job.question, job.pointed[0][0].to_json()) == (
        text,
        {"image_index": 0, "box": list(map(float, BOX))},
    )


def test_weights_that_never_saw_regions_say_so(backend) -> None:
    status, content = predict(backend(), RECTANGLE, TYPED)
    assert (status, content["error"]["code"]) == (400, "regions_not_supported")


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([drawn("ellipselabels", {"x": 3, "y": 4, "radiusX": 1, "radiusY": 2})], "a rectangle, a point"),
        ([POINT | {"is_positive": False}], "exclude"),
        ([RECTANGLE | {"item_index": 5}], "no picture of the task"),
        ([RECTANGLE | {"to_name": "else"}], "no picture of the task"),
        ([RECTANGLE | {"image_rotation": 90}], "turned"),
        ([drawn("rectangle", {"x": 1, "y": 2, "width": "3", "height": 4})], "no numbers"),
        ([drawn("rectangle", {"x": 1, "y": 2, "width": 0, "height": 4})], "outside of its image"),
        ([drawn("brush", {"rle": [1, 2]})], "damaged brush"),
        ([drawn("brush", {"rle": brush.encode(INSIDE[:, :-1])}, original_width=59)], "another size"),
        ([drawn("keypoint", {"x": 1})], "no numbers"),
        ([RECTANGLE, {"type": "textarea", "value": {"text": "a lamp"}}], "does not speak of what was drawn"),
        ([RECTANGLE] * 17, "at most 16"),
    ],
)
def test_what_cannot_be_read_is_said(backend, results: list[Any], said: str) -> None:
    status, content = predict(backend(), *results)
    assert (status, content["error"]["param"]) == (400, "params.context")
    assert said in content["error"]["message"]


def test_more_pictures_than_a_conversation_holds(
    backend, tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_model.model, "match_threshold", 0.0)
    many = [picture(shade=shade) for shade in range(40, 240, 20)]
    status, content = predict(backend(asking=Asking()), POINT, task=task(*many))
    assert status == 200
    assert sorted(item for item, _, _ in shown(content)) == list(range(10))


def test_groups_have_what_is_marked() -> None:
    assert groups_of(12, {3}) == [list(range(9)), [3, 9, 10, 11]]
    assert groups_of(10, ()) == [list(range(9)), [9]]
    assert groups_of(1, {0}) == [[0]]
    assert groups_of(0, ()) == []
    assert groups_of(9, set(range(9))) == [list(range(9))]
    with pytest.raises(ApiError, match="Too many pictures are marked"):
        groups_of(10, set(range(9)))
