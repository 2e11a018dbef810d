"""The backend as Label Studio calls it; predictions are checked by the rules of its SDK."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue import masks
from segue.apps.label_studio.pictures import LabelStudio
from segue.apps.label_studio.predict import Asking, fitting_label
from segue.apps.server.settings import TokenLimits
from serving import file_of, two

sdk = pytest.importorskip("label_studio_sdk.label_interface")
from label_studio_sdk.converter.brush import decode_rle  # noqa: E402
from label_studio_sdk.label_interface.objects import PredictionValue  # noqa: E402


def predict(served: Any, config: str, *tasks: dict[str, Any], **fields: Any) -> tuple[int, dict[str, Any]]:
    """As Label Studio's `make_predictions` asks."""
    body = {
        "tasks": list(tasks),
        "model_version": "",
        "project": "1.1700000000",
        "label_config": config,
        "params": {"login": None, "password": None, "context": fields.pop("context", None)},
    }
    status, _, content = served.send("POST", "/predict", body, fields.pop("headers", None))
    return status, content


def test_connecting(backend, config: str) -> None:
    served = backend()
    assert served.send("GET", "/health")[2]["status"] == "UP"
    assert served.send("GET", "/")[2]["status"] == "UP"
    schema = {"project": "1.17", "schema": config, "hostname": "http://localhost:8080", "access_token": "x"}
    status, _, content = served.send("POST", "/setup", schema)
    version = content["model_version"]
    assert (status, served.send("GET", "/versions")[2]) == (200, {"versions": [version]})
    assert version.startswith("tiny-taught@")
    status, _, content = served.send("POST", "/setup", schema | {"schema": "<View/>"})
    assert status == 400
    assert "nothing to draw masks with" in content["error"]["message"]


@pytest.mark.parametrize("shape", ["brush", "polygon"])
def test_a_prompt_over_all_images_becomes_regions(backend, config: str, task, tiny_model, shape: str) -> None:
    status, content = predict(backend(asking=Asking(shape=shape)), config, task)
    assert status == 200
    (prediction,) = content["results"]
    own = tiny_model.session(list(two())).ask("Which is larger?").groundings
    assert [g.phrase for g in own] == ["red mug", "lamp"]
    # What label-studio-ml's own server would have checked and sent on.
    assert PredictionValue(**prediction).model_version == content["model_version"]
    assert sdk.LabelInterface(config).validate_prediction(prediction, return_errors=True) == []
    found = {0: np.zeros((40, 60), bool), 1: np.zeros((40, 60), bool)}
    for region in prediction["result"]:
        assert (region["original_width"], region["original_height"], region["to_name"]) == (60, 40, "img")
        number, value = region["item_index"], region["value"]
        assert value[region["type"]] == [["mug"], ["lamp"]][number]
        assert region["meta"]["text"] == [own[number].phrase]
        assert region["score"] == pytest.approx(own[number].score, abs=1e-3)
        if shape == "brush":
            found[number] |= np.reshape(decode_rle(value["rle"]), (40, 60, 4))[:, :, 3] > 0
        else:
            pixels = [v * side / 100 for point in value["points"] for v, side in zip(point, (60, 40))]
            found[number] |= masks.from_polygons([np.round(pixels, 6).tolist()], (40, 60))
    assert all(np.array_equal(found[g.image_index], g.mask) for g in own)
    scores = [region["score"] for region in prediction["result"]]
    assert prediction["score"] == pytest.approx(sum(scores) / len(scores))


def test_without_a_prompt_each_label_is_asked_for(backend, config: str, task, monkeypatch) -> None:
    served, asked = backend(asking=Asking(question="Any {label}?")), []
    job = served.app.state.service.job

    def watched(dialogue: Any, *rest: Any, **named: Any) -> Any:
        asked.append(dialogue.question)
        return job(dialogue, *rest, **named)

    monkeypatch.setattr(served.app.state.service, "job", watched)
    del task["data"]["prompt"]
    status, content = predict(served, config, task)
    assert status == 200
    assert sorted(asked) == ["Any lamp?", "Any mug?"]
    labels = [region["value"]["brushlabels"] for region in content["results"][0]["result"]]
    # The tiny model marks both things whatever is asked; what was asked for is what regions are called.
    assert labels == [["mug"], ["mug"], ["lamp"], ["lamp"]]
    # What is typed just now comes first.
    typed = {"result": [{"type": "textarea", "value": {"text": ["lamps"]}}]}
    asked.clear()
    predict(served, config, task | {"data": task["data"] | {"prompt": "mug"}}, context=typed)
    assert asked == ["Segment lamps."]


def test_two_images_beside_each_other_have_no_item_index(backend, task) -> None:
    config = """<View><Image name="a" value="$one"/><Image name="b" value="$two"/>
    <BrushLabels name="x" toName="a"><Label value="mug"/></BrushLabels>
    <PolygonLabels name="y" toName="b"><Label value="thing"/></PolygonLabels></View>"""
    one, other = task["data"]["images"]
    status, content = predict(
        backend(), config, {"data": {"one": one, "two": other, "prompt": "Which is larger?"}}
    )
    assert status == 200
    first, *rest = content["results"][0]["result"]
    assert (first["from_name"], first["to_name"], first["value"]["brushlabels"]) == ("x", "a", ["mug"])
    assert {(r["from_name"], r["to_name"], r["value"]["polygonlabels"][0]) for r in rest} == {
        ("y", "b", "thing")
    }
    assert not any("item_index" in region for region in (first, *rest))
    assert sdk.LabelInterface(config).validate_prediction(content["results"][0], return_errors=True) == []


def test_one_task_that_fails_leaves_the_others_theirs(backend, config: str, task) -> None:
    served = backend()
    broken = {"id": 8, "data": {"images": ["data:image/png;base64,AAAA"], "prompt": "x"}}
    status, content = predict(served, config, broken, task)
    assert status == 200
    assert content["results"][0] == []
    assert content["results"][1]["result"]
    (error,) = content["errors"]
    assert error["param"] == "tasks.0.data.images.0"
    status, content = predict(served, config, broken)
    assert (status, content["error"]["code"]) == (400, "invalid_image")


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/a.png", "file:///etc/passwd", "/data/upload/a.png", 3, ""]
)
def test_addresses_that_lead_elsewhere_are_refused(backend, config: str, address: Any) -> None:
    status, content = predict(backend(), config, {"data": {"images": [address], "prompt": "x"}})
    assert status == 400
    assert content["error"]["param"] == "tasks.0.data.images.0"


def test_pictures_in_label_studio_are_read_with_its_token(backend, config: str, studio) -> None:
    task = {"data": {"images": ["/data/upload/1/0.png", f"{studio.url}/data/upload/1/1.png"], "prompt": "x"}}
    served = backend(label_studio=LabelStudio(studio.url, "legacy"))
    status, content = predict(served, config, task)
    assert status == 200
    assert [region["item_index"] for region in content["results"][0]["result"]] == [0, 1]
    head = base64.urlsafe_b64encode(b'{"alg":"HS256"}').decode().rstrip("=")
    studio.refresh, studio.seen[:] = f"{head}.e30.sig", []
    status, _ = predict(backend(label_studio=LabelStudio(studio.url, studio.refresh)), config, task)
    assert status == 200
    assert [(method, seen) for method, _, seen in studio.seen] == [("POST", 200), ("GET", 200), ("GET", 200)]
    status, content = predict(backend(label_studio=LabelStudio(studio.url, "wrong")), config, task)
    assert (status, content["error"]["code"]) == (400, "image_not_fetched")


def test_local_files_stay_in_their_folder(backend, config: str, tmp_path: Path) -> None:
    (tmp_path / "served" / "sub").mkdir(parents=True)
    (tmp_path / "served" / "sub" / "a b.png").write_bytes(file_of(two()[0]))
    (tmp_path / "secret.png").write_bytes(file_of(two()[1]))
    (tmp_path / "served" / "link.png").symlink_to(tmp_path / "secret.png")
    served = backend(label_studio=LabelStudio(local_files=tmp_path / "served"))

    def status_of(name: str) -> int:
        task = {"data": {"images": [f"/data/local-files/?d={name}"] * 2, "prompt": "x"}}
        return predict(served, config, task)[0]

    assert status_of("sub/a%20b.png") == 200
    assert {status_of(name) for name in ("../secret.png", "%2e%2e/secret.png", "link.png", "", "no.png")} == {
        400
    }
    assert status_of("/sub/a%20b.png") == 200


def test_tokens_are_passwords_too(backend, config: str, task) -> None:
    served = backend(settings={"tokens": {"secret": TokenLimits()}})
    assert predict(served, config, task)[0] == 401
    for given, status in (("me:secret", 200), ("me:wrong", 401), ("secret", 401)):
        basic = {"Authorization": "Basic " + base64.b64encode(given.encode()).decode()}
        assert predict(served, config, task, headers=basic)[0] == status
    assert predict(served, config, task, headers={"Authorization": "Basic ?"})[0] == 401


def test_more_images_than_a_conversation_holds(backend, config: str, task) -> None:
    task["data"]["images"] *= 6
    status, content = predict(backend(), config, task)
    assert status == 200
    # The tiny model marks something in the first two images of each group: nine images, then three.
    assert [region["item_index"] for region in content["results"][0]["result"]] == [0, 1, 9, 10]


JUNK: list[Any] = [
    *(b"", b"[]", b"{", {}, {"tasks": 3}, {"tasks": [3], "label_config": "x"}, {"schema": 3}, {"action": []}),
    {"action": "ANNOTATION_CREATED"},
    {"action": "ANNOTATION_DELETED", "annotations": [3]},
    {"action": "ANNOTATION_CREATED", "task": [], "annotation": {"id": True}},
]
ODD_DATA: list[Any] = [
    *(None, [], {}, {"images": []}, {"images": [{}], "prompt": []}, {"images": "x" * 99, "prompt": "y"}),
    *({"images": [None], "prompt": "z"}, {"prompt": "\ud800", "images": ["data:,"]}),
]


def test_junk_is_no_500(backend, config: str, tmp_path: Path) -> None:
    served = backend(corrections=tmp_path)
    for route in ("predict", "setup", "webhook"):
        for body in JUNK:
            status, _, content = served.send("POST", f"/{route}", body)
            assert status == 400 or content == {"status": "Unknown event"}, (route, body)
    for data in ODD_DATA:
        status, content = predict(served, config, {"data": data}, context=[])
        assert status == 400 or content["results"][0]["result"] == [], data
    assert not list(tmp_path.iterdir())


def test_annotations_are_kept_as_they_are_submitted(backend, task, tmp_path: Path) -> None:
    served = backend(corrections=tmp_path / "kept")
    event = {
        "action": "ANNOTATION_CREATED",
        "project": {"id": 1},
        "task": task,
        "annotation": {"id": 5, "result": []},
    }
    status, _, content = served.send("POST", "/webhook", event)
    assert (status, content["status"]) == (201, "ok")
    (kept,) = (tmp_path / "kept").iterdir()
    assert json.loads(kept.read_text())["annotations"] == [{"id": 5, "result": []}]
    assert served.send("POST", "/webhook", {"action": "PROJECT_UPDATED"})[::2] == (
        200,
        {"status": "Unknown event"},
    )
    status, _, _ = served.send("POST", "/webhook", event | {"annotation": {"id": "../5"}})
    assert status == 400
    gone = {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 5}]}
    assert served.send("POST", "/webhook", gone)[0] == 201
    assert not list((tmp_path / "kept").iterdir())


@pytest.mark.parametrize(
    ("phrase", "question", "label"),
    [
        ("red mugs", "", "mug"),
        ("left wheel", "", "left wheel"),
        ("wheel", "", "wheel"),
        ("it", "Where is the wheel?", "wheel"),
        ("smug", "What?", "mug"),
    ],
)
def test_labels_fit_by_their_words(phrase: str, question: str, label: str) -> None:
    labels = {name: name for name in ("mug", "wheel", "left wheel")}
    assert fitting_label(labels, phrase, question) == label
    assert fitting_label({}, phrase, question) is None
