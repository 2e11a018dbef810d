"""Saved answers: the documented schema, the overlays, and the page."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segue import masks
from segue.errors import InputError
from segue.inference.answer import SessionAnswer
from segue.inference.answer_file import AnswerFile, answer_schema
from segue.inference.report import render_html, write_answer
from segue.inference.visualize import PALETTE
from segue.protocol import Reason, Unplaced
from segue.records import Grounding
from tiny_model import picture


def grounding(
    phrase: str, span: tuple[int, int], image_index: int, hw: tuple[int, int], score: float
) -> Grounding:
    mask = np.zeros(hw, bool)
    if score:
        mask[hw[0] // 4 : hw[0] // 2, hw[1] // 4 : hw[1] // 2] = True
    return Grounding(phrase, span, image_index, mask, score, masks.box(mask))


@pytest.fixture
def answer() -> SessionAnswer:
    text = "The <b>red & mug is larger than the lamp."
    return SessionAnswer(
        question='Which is "larger" </title><script>alert(1)</script>?',
        text=text,
        markup="The <p> <b>red & mug </p> [SEG] (IMAGE1) ...",
        groundings=[
            grounding("<b>red & mug", (4, 16), 0, (100, 150), 0.9),
            grounding("<b>red & mug", (4, 16), 1, (80, 60), 0.8),
            grounding("lamp", (36, 40), 1, (80, 60), 0.0),
        ],
        problems=[Unplaced(3, Reason.NO_PHRASE, "no phrase before [SEG]", 0, (5, 5))],
        image_hws=[(100, 150), (80, 60)],
        model="segue-mini",
        images=["a <i>.png", "image 2"],
        notes=["the answer was cut off after 7 tokens"],
        finished=False,
        pictures=(picture(100, 150), picture(80, 60)),
    )


def test_saved_files(answer: SessionAnswer, tmp_path: Path) -> None:
    written = answer.save(tmp_path / "deep" / "out")
    assert [path.name for path in written] == ["answer.json", "answer.html", "image_1.png", "image_2.png"]
    assert sorted(os.listdir(tmp_path / "deep" / "out")) == sorted(path.name for path in written)
    with Image.open(written[2]) as overlay:
        assert overlay.size == (150, 100)
        # The outline of a mask has the colour of its phrase.
        assert overlay.getpixel((60, 25)) == PALETTE[0]


def test_the_file_follows_the_schema(answer: SessionAnswer, tmp_path: Path) -> None:
    content = json.loads(answer.save(tmp_path)[0].read_text(encoding="utf-8"))
    AnswerFile.model_validate(content, strict=True)
    assert content["images"][0] == {
        "path": "a <i>.png",
        "height": 100,
        "width": 150,
        "overlay": {"file": "image_1.png", "height": 100, "width": 150},
    }
    first = content["groundings"][0]
    assert content["text"][slice(*first["span"])] == first["phrase"]
    assert masks.area(first["segmentation"]) == first["area"] == 25 * 38
    assert first["bbox"] == [37.0, 25.0, 38.0, 25.0]
    assert content["groundings"][2]["area"] == 0
    assert content["problems"][0]["reason"] == "no_phrase"
    assert content["finished"] is False


def test_the_shipped_schema_is_that_of_the_code() -> None:
    shipped = resources.files("segue.inference").joinpath("answer.schema.json").read_text(encoding="utf-8")
    assert json.loads(shipped) == answer_schema()


def test_the_schema_is_documented(repository: Path) -> None:
    text = (repository / "docs" / "answer_schema.md").read_text(encoding="utf-8")
    schema = answer_schema()
    for part in (schema, *schema["$defs"].values()):
        for name in part["properties"]:
            assert f"`{name}`" in text, f"{part['title']}.{name} is not documented"


def test_the_page_is_self_contained_and_escaped(answer: SessionAnswer) -> None:
    page = render_html(answer)
    assert "<script>alert" not in page
    assert "<b>red" not in page
    assert "&lt;b&gt;red &amp; mug" in page
    assert "a &lt;i&gt;.png" in page
    assert "default-src 'none'" in page
    for attribute in ('src="http', 'href="', "url(", "@import", "fetch("):
        assert attribute not in page
    assert page.count('class="mask"') == 3
    assert page.count('class="phrase"') == 2
    assert "prefers-color-scheme: dark" in page
    assert "cut off after 7 tokens" in page


def test_an_answer_without_phrases_is_a_page_too(answer: SessionAnswer) -> None:
    plain = SessionAnswer("q", "No.", "No.", image_hws=[(40, 60)], images=["a"], pictures=(picture(),))
    assert "<table hidden>" in render_html(plain)
    assert plain.coloured().plain == "No."


def test_above_four_megapixels_the_overlay_is_smaller_and_says_so(tmp_path: Path) -> None:
    large = Image.new("RGB", (3000, 1500), (90, 90, 90))
    answer = SessionAnswer(
        "q", "lamp", "<p> lamp </p> [SEG]", [grounding("lamp", (0, 4), 0, (1500, 3000), 0.7)],
        image_hws=[(1500, 3000)], images=["a"], pictures=(large,),
    )  # fmt: skip
    content = json.loads(answer.save(tmp_path)[0].read_text(encoding="utf-8"))
    overlay = content["images"][0]["overlay"]
    assert (overlay["height"], overlay["width"]) == (1414, 2828)
    assert content["groundings"][0]["segmentation"]["size"] == [1500, 3000]
    with Image.open(tmp_path / "image_1.png") as drawn:
        assert drawn.size == (2828, 1414)


def test_a_folder_that_cannot_be_written_is_named(answer: SessionAnswer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="choose another folder") as caught:
        write_answer(answer, tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value)


def test_saving_again_gives_the_same_bytes(answer: SessionAnswer, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in answer.save(tmp_path)}
    assert {path.name: path.read_bytes() for path in answer.save(tmp_path)} == first
