"""The archive of a conversation, and the examples that need no files."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from scripted_model import PHRASES, block, scripted
from segue import masks
from segue.apps.demo.downloads import FORMATS, archive_of
from segue.apps.demo.examples import examples_for
from segue.apps.demo.pictures import picture_of
from segue.apps.demo.visitor import Models, Visitor


def test_everything_is_in_the_archive() -> None:
    visitor = Visitor(Models(scripted("m")))
    visitor.take([picture_of(Image.new("RGB", (80, 60)), f"{name}.png") for name in "ab"])
    for _ in range(2):
        for _ in visitor.ask("Which?"):
            pass
    with zipfile.ZipFile(io.BytesIO(archive_of(visitor.answers))) as archive:
        names = archive.namelist()
        content = json.loads(archive.read("turn_2/answer.json"))
        with Image.open(io.BytesIO(archive.read("turn_1/index-png/image_1_index.png"))) as picture:
            index = np.asarray(picture)
    for turn in ("turn_1", "turn_2"):
        there = {name.removeprefix(f"{turn}/").split("/")[0] for name in names if name.startswith(turn)}
        assert there == {"answer.json", "answer.html", "image_1.png", "image_2.png", *FORMATS}
    assert [g["phrase"] for g in content["groundings"]] == [phrase for phrase, _ in PHRASES]
    expected = block(0, (60, 80))
    assert (masks.decode(content["groundings"][0]["segmentation"]) == expected).all()
    assert ((index > 0) == expected).all()


@pytest.mark.parametrize(
    ("names", "questions"),
    [
        (["segue-mini", "segue-scenes"], ["Where is the cat?", "What do you see?", "Compare the guitars."]),
        (["agent:qwen"], ["Where is the cat?", "What do you see?"]),
    ],
)
def test_examples_fit_the_models(names: list[str], questions: list[str]) -> None:
    pytest.importorskip("skimage")
    examples = examples_for(names)
    assert [example.question for example in examples] == questions
    for example in examples:
        assert all(min(picture.image.size) >= 300 for picture in example.load())


def test_an_example_keeps_the_model_that_is_chosen_if_it_knows_such_pictures() -> None:
    pytest.importorskip("skimage")
    names = ["segue-mini", "segue-scenes", "agent:qwen"]
    photographs, _, scenes = examples_for(names)
    assert photographs.model_of(names, "agent:qwen") == "agent:qwen"
    assert photographs.model_of(names, "segue-scenes") == "segue-mini"
    assert scenes.model_of(names, "segue-mini") == "segue-scenes"
