"""The page of `segue data prist stats` as a browser shows it: bars to scale, and targets lit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from browser_page import NARROW, WIDE, fits, has_basics, pixels
from segue import masks
from segue.datasets.prist.statistics import write_page
from segue.records import Conversation, ImageRef, Region, Span, Turn

if TYPE_CHECKING:
    from playwright.sync_api import Page

H, W = 120, 240
GREEN = (40, 200, 60)


def conversation(number: int, rounds: int) -> Conversation:
    target = np.zeros((H, W), bool)
    target[30:90, 60:120] = True
    talk = [Turn(role=role, text=f"Is <it> {role}?") for role in ("user", "assistant")] * rounds  # type: ignore[arg-type]
    answer = Turn(role="assistant", text="It is the green cup.", spans=[Span(start=10, end=19, rids=["r"])])
    return Conversation(
        id=f"prist/{number}/" + "a-long-name" * 8,
        task="prist",
        split="test",
        images=[
            ImageRef(image_id=f"p:{number}", path="absent.png" if number == 1 else "a.png", height=H, width=W)
        ],
        regions=[Region(rid="r", image_index=0, kind="object", name="cup", mask=masks.encode(target))],
        turns=[*talk, Turn(role="user", text="Where?"), answer],
        meta={"focus": "green cup", "masks": "annotated", "thoughts": ["It is green.", "It is a cup."]},
    )


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    Image.new("RGB", (W, H), GREEN).save(tmp_path / "a.png")
    records = [conversation(0, 2), conversation(1, 4), conversation(2, 4)]
    report = {"rejects": {"the target is named <early>": 7, "too short": 1}}
    write_page(tmp_path / "stats.html", records, tmp_path, report)
    return tmp_path / "stats.html"


def test_it_can_be_read_anywhere(browser_page: Page, page_file: Path) -> None:
    browser_page.goto(page_file.as_uri())
    assert has_basics(browser_page)
    assert fits(browser_page, NARROW)
    assert fits(browser_page, WIDE)
    assert browser_page.locator("h1").text_content() == f"Dialogues: {page_file.parent.name}"
    assert "3 dialogues about 3 images" in (browser_page.locator(".facts").text_content() or "")


def test_bars_are_to_scale(browser_page: Page, page_file: Path) -> None:
    browser_page.goto(page_file.as_uri())
    rejects = browser_page.locator("table", has_text="By broken rule")
    assert rejects.locator("td:first-child").all_text_contents() == [
        "the target is named <early>",
        "too short",
    ]
    boxes = [bar.bounding_box() for bar in rejects.locator("i").all()]
    long, short = (box["width"] for box in boxes if box is not None)
    assert short / long == pytest.approx(1 / 7, abs=0.01)
    assert long > 50
    rounds = browser_page.locator("table", has_text="Rounds before the mask")
    assert rounds.locator("td:last-child").all_text_contents() == ["1", "2"]


def test_the_target_keeps_its_colour_and_the_rest_is_dim(browser_page: Page, page_file: Path) -> None:
    browser_page.goto(page_file.as_uri())
    examples = browser_page.locator("article")
    assert examples.count() == 3
    shown = pixels(examples.first.locator("img")).astype(int)
    height, width = shown.shape[:2]
    assert width / height == pytest.approx(W / H, rel=0.02)
    scale = width / W
    rows, columns = slice(round(36 * scale), round(84 * scale)), slice(round(66 * scale), round(114 * scale))
    assert np.abs(shown[rows, columns] - GREEN).max() <= 12  # JPEG
    beside = shown[rows, round(130 * scale) : round(230 * scale)]
    assert beside[..., 1].max() < 0.6 * GREEN[1]
    outline = shown[round(30 * scale), columns]
    assert (outline[:, 0] > outline[:, 1]).all()
    phrase = examples.first.locator(".phrase")
    assert phrase.text_content() == "green cup"
    assert (np.abs(pixels(phrase).astype(int) - (239, 71, 58)).max(axis=2) <= 2).mean() > 0.03


def test_a_missing_image_and_the_reasoning(browser_page: Page, page_file: Path) -> None:
    browser_page.goto(page_file.as_uri())
    second = browser_page.locator("article").nth(1)
    assert second.locator(".missing").text_content() == "image not at hand"
    assert not second.locator("ol").is_visible()
    second.locator("summary").click()
    assert second.locator("ol li").all_text_contents() == ["It is green.", "It is a cup."]
