"""answer.html of `segue ask` as a browser shows it: pictures, masks in place and colour, phrases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from browser_page import NARROW, WIDE, fits, has_basics, is_coloured, part_of, pixels
from segue import masks
from segue.inference.answer import SessionAnswer
from segue.inference.visualize import FILL_ALPHA, PALETTE
from segue.protocol import Reason, Unplaced
from segue.records import Grounding

if TYPE_CHECKING:
    from playwright.sync_api import Page

GREY = 150
HWS = (240, 320), (300, 200)
"""A wide picture and a tall one."""
TEXT = (
    "The red mug in image 1 has a <b>handle</b>; the lamp & its shade are in image 2. " + "More of it. " * 8
)
# Phrase, image, rows and columns of its mask as shares of the picture. The handle lies inside the mug.
THINGS = [
    ("red mug", 0, (0.2, 0.8), (0.2, 0.7)),
    ("<b>handle</b>", 0, (0.4, 0.6), (0.4, 0.6)),
    ("lamp & its shade", 1, (0.1, 0.5), (0.3, 0.9)),
]


@pytest.fixture
def answer() -> SessionAnswer:
    groundings = []
    for phrase, image, rows, columns in THINGS:
        mask = np.zeros(HWS[image], bool)
        (top, bottom), (left, right) = (
            [round(share * side) for share in shares]
            for shares, side in zip((rows, columns), HWS[image], strict=True)
        )
        mask[top:bottom, left:right] = True
        start = TEXT.index(phrase)
        span = (start, start + len(phrase))
        groundings.append(Grounding(phrase, span, image, mask, 0.9, masks.box(mask)))
    return SessionAnswer(
        question="Where is it? " + "unbroken" * 30,
        text=TEXT,
        markup="<p> red mug </p> [SEG] (IMAGE1) ...",
        groundings=groundings,
        problems=[Unplaced(3, Reason.NO_PHRASE, "no phrase before [SEG]", 0, (5, 5))],
        image_hws=list(HWS),
        model="segue-mini",
        images=["a.png", "a-very-long-name-without-a-place-to-break-it-" * 4 + ".png"],
        notes=["the answer was cut off after 7 tokens"],
        finished=False,
        pictures=tuple(Image.new("RGB", hw[::-1], (GREY, GREY, GREY)) for hw in HWS),
    )


def blended(number: int) -> np.ndarray:
    """The colour of grey under the inside of a mask."""
    return (1 - FILL_ALPHA) * GREY + FILL_ALPHA * np.asarray(PALETTE[number])


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_masks_lie_where_they_should_in_the_colour_of_their_phrase(
    browser_page: Page, answer: SessionAnswer, tmp_path: Path, width: int
) -> None:
    answer.save(tmp_path)
    browser_page.goto((tmp_path / "answer.html").as_uri())
    assert has_basics(browser_page)
    assert fits(browser_page, width)
    shown = pixels(browser_page, full_page=True)
    pictures = [part_of(shown, stack) for stack in browser_page.locator(".stack").all()]
    for picture, hw in zip(pictures, HWS, strict=True):
        assert picture.shape[1] / picture.shape[0] == pytest.approx(hw[1] / hw[0], rel=0.02)
    for number, (_, image, rows, columns) in enumerate(THINGS):
        height, width = pictures[image].shape[:2]
        inside = pictures[image][
            round(rows[0] * height) + 9 : round(rows[1] * height) - 9,
            round(columns[0] * width) + 9 : round(columns[1] * width) - 9,
        ]
        if number == 0:  # what is left of the mug beside its handle and the handle's label
            inside = inside[: round(0.15 * height), : round(0.05 * width)]
        under = blended(0) if number == 1 else None
        expected = (
            blended(number)
            if under is None
            else ((1 - FILL_ALPHA) * under + FILL_ALPHA * np.asarray(PALETTE[1]))
        )
        assert np.abs(inside - expected).max() <= 4
    corner = pictures[0][: round(0.12 * pictures[0].shape[0]), 20:-20]
    assert np.abs(corner[10:].astype(int) - GREY).max() <= 3
    for number, phrase in enumerate(browser_page.locator(".phrase").all()):
        assert is_coloured(shown, phrase, PALETTE[number])


def test_a_phrase_in_text_or_table_shows_its_mask_alone(
    browser_page: Page, answer: SessionAnswer, tmp_path: Path
) -> None:
    answer.save(tmp_path)
    browser_page.goto((tmp_path / "answer.html").as_uri())
    # High enough that nothing scrolls away from under the pointer.
    browser_page.set_viewport_size({"width": WIDE, "height": 1600})
    assert browser_page.locator(".phrase").all_text_contents() == [
        "red mug1",
        "<b>handle</b>1",
        "lamp & its shade2",
    ]
    for item in (browser_page.locator(".phrase").nth(1), browser_page.locator("tbody tr").nth(1)):
        item.hover()
        stack = pixels(browser_page.locator(".stack").first)
        height, width = stack.shape[:2]
        handle, mug = stack[height // 2, width // 2], stack[round(0.3 * height), round(0.3 * width)]
        # Red hardly tints the dimmed grey any more; blue does as before.
        assert int(mug[0]) - int(mug[2]) < 20
        assert int(handle[2]) - int(handle[0]) > 60
        browser_page.mouse.move(0, 0)
    assert browser_page.locator(".lit").count() == 0
    # By keyboard too, and the lamp is lit in the other picture.
    browser_page.keyboard.press("Tab")
    assert browser_page.locator(".mask.lit").get_attribute("alt") == "red mug, score 0.90"


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_labels_stand_over_their_masks_inside_the_picture(
    browser_page: Page, answer: SessionAnswer, tmp_path: Path, width: int
) -> None:
    answer.save(tmp_path)
    browser_page.goto((tmp_path / "answer.html").as_uri())
    browser_page.set_viewport_size({"width": width, "height": 1600})
    for tag, (phrase, image, rows, columns) in zip(browser_page.locator(".tag").all(), THINGS, strict=True):
        assert tag.text_content() == phrase
        label, stack = tag.bounding_box(), browser_page.locator(".stack").nth(image).bounding_box()
        assert label is not None
        assert stack is not None
        assert stack["x"] <= label["x"]
        assert label["x"] + label["width"] <= stack["x"] + stack["width"]
        assert stack["y"] <= label["y"]
        bottom = label["y"] + label["height"] - stack["y"]
        assert bottom <= max(rows[0] * stack["height"], 1.4 * 16) + 1
        middle = (label["x"] + label["width"] / 2 - stack["x"]) / stack["width"]
        assert columns[0] <= middle <= columns[1]


def test_what_went_wrong_is_said(browser_page: Page, answer: SessionAnswer, tmp_path: Path) -> None:
    answer.save(tmp_path)
    browser_page.goto((tmp_path / "answer.html").as_uri())
    remarks = browser_page.locator(".remarks li").all_text_contents()
    assert remarks == ["[SEG] 4: no phrase before [SEG]", "the answer was cut off after 7 tokens"]
    assert not browser_page.locator("pre").is_visible()
    browser_page.locator("summary").click()
    assert browser_page.locator("pre").text_content() == answer.markup


def test_an_answer_without_masks(browser_page: Page, answer: SessionAnswer, tmp_path: Path) -> None:
    bare = SessionAnswer(
        question="Is there a cat?", text="No.", markup="No.", groundings=[], problems=[],
        image_hws=[HWS[1]], model="segue-mini", images=["a.png"], pictures=answer.pictures[1:],
    )  # fmt: skip
    bare.save(tmp_path)
    browser_page.goto((tmp_path / "answer.html").as_uri())
    assert not browser_page.locator("table").is_visible()
    assert not browser_page.locator(".remarks").is_visible()
    # A tall picture alone is not blown up to the width of the window.
    box = browser_page.locator(".stack").bounding_box()
    assert box is not None
    assert box["height"] <= 720
