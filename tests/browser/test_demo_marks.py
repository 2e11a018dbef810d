"""Marks on the page of `segue demo`: by pointer, by numbers, by touch; found elsewhere, or asked about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from browser_page import fits, pixels, watch
from demo_page import TELEPHONE, Served, ask, drop, opened, picture_files
from scripted_model import scripted

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytest.importorskip("gradio", reason="no Gradio: pip install '.[demo]'")

FIELDS = ("Image", "Left, or x", "Top, or y", "Right", "Bottom")


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    return scripted("first", "second")


@pytest.fixture(scope="module")
def served(models: Any) -> Iterator[Served]:
    found = Served(models)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return picture_files(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def page(browser_page: Page, served: Served, files: list[str]) -> Page:
    opened(browser_page, served)
    drop(browser_page, files[:2])
    browser_page.get_by_role("button", name="Mark a thing").click()
    browser_page.wait_for_function("document.body.classList.contains('seg-is-marking')")
    return browser_page


def drag(page: Page, stack: Locator, *at: float) -> None:
    """From one place of a picture to another, in fractions of its sides."""
    stack.scroll_into_view_if_needed()
    box = stack.bounding_box()
    assert box is not None
    x, y = ([box[k] + part * box[side] for part in at[n::2]] for n, (k, side) in enumerate(SIDES))
    page.mouse.move(x[0], y[0])
    page.mouse.down()
    page.mouse.move(sum(x) / 2, sum(y) / 2)
    page.mouse.move(x[1], y[1])
    page.mouse.up()


SIDES = (("x", "width"), ("y", "height"))


def numbers(page: Page) -> list[float | None]:
    shown = [page.get_by_label(name, exact=True).input_value() for name in FIELDS]
    return [float(value) if value else None for value in shown]


def said(page: Page, text: str) -> None:
    page.locator(".seg-status", has_text=text).wait_for()


def test_a_box_is_dragged_and_found_in_the_others(page: Page) -> None:
    stack = page.locator(".seg-stack").first
    drag(page, stack, 0.25, 0.25, 0.75, 0.5)
    said(page, "Marked a box in image 1.")
    assert numbers(page) == pytest.approx([1, 120, 80, 360, 160], abs=2)
    mark = stack.locator(".seg-marked")
    assert mark.get_attribute("aria-label") == "the mark, a box in image 1"
    inside, outside = mark.bounding_box(), stack.bounding_box()
    assert inside is not None
    assert outside is not None
    assert inside["width"] / outside["width"] == pytest.approx(0.5, abs=0.02)
    assert inside["x"] - outside["x"] == pytest.approx(0.25 * outside["width"], abs=4)
    page.get_by_role("button", name="Find it in the others").click()
    page.locator('.seg-turn[aria-busy="false"]').wait_for()
    assert page.locator(".seg-question").text_content() == "Find this in the other images."
    assert [
        m.evaluate("m => m.closest('figure').dataset.image") for m in page.locator(".seg-mask").all()
    ] == [
        "1",
        "2",
    ]
    assert "marked thing" in (page.locator(".seg-phrase").text_content() or "")
    # The mark stays until it is taken away, by its own button.
    page.locator(".seg-stack .seg-unmark").click()
    said(page, "The mark is gone.")
    assert page.locator(".seg-marked").count() == 0
    assert numbers(page)[1:] == [None] * 4


def test_a_click_is_a_point_and_can_be_asked_about(page: Page, models: Any) -> None:
    drag(page, page.locator(".seg-stack").nth(1), 0.5, 0.5, 0.5, 0.5)
    said(page, "Marked a point in image 2.")
    assert numbers(page) == pytest.approx([2, 240, 160, *[None] * 2], abs=2)
    assert page.locator(".seg-hint", has_text="Write [this] in a question").is_visible()
    ask(page, "Which is like [this]?")
    (region,) = models["first"].sessions[-1].regions
    assert (region.image_index, region.form) == (1, "point")
    ask(page, "And which is not?")
    assert models["first"].sessions[-1].regions == []


def test_a_mark_is_set_by_keyboard_alone(page: Page) -> None:
    page.get_by_label(FIELDS[0], exact=True).focus()
    for value in ("2", "10", "20", "110", "90"):
        page.keyboard.press("Control+a")
        page.keyboard.type(value)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the button behind the fields
    said(page, "Marked a box in image 2.")
    assert page.locator('figure[data-image="2"] .seg-marked').count() == 1
    page.get_by_label("Right", exact=True).fill("9999")
    page.get_by_role("button", name="Set the mark").click()
    page.locator(".seg-wrong", has_text="A box lies outside of its image.").wait_for()
    assert page.locator(".seg-wrong").text_content().count("480") == 1
    page.get_by_role("button", name="Remove the mark").click()
    said(page, "The mark is gone.")
    page.get_by_role("button", name="Find it in the others").click()
    page.locator(".seg-wrong", has_text="There is nothing to find.").wait_for()


def test_marks_are_private_and_end_with_the_mode(page: Page, served: Served, files: list[str]) -> None:
    drag(page, page.locator(".seg-stack").first, 0.1, 0.1, 0.4, 0.4)
    said(page, "Marked a box")
    browser: Browser = page.context.browser  # type: ignore[assignment]
    context = browser.new_context()
    other = opened(context.new_page(), served)
    faults = watch(other)
    drop(other, files[:2])
    assert other.locator(".seg-marked").count() == 0
    context.close()
    assert not faults
    page.get_by_role("button", name="Stop marking").click()
    page.wait_for_function("!document.body.classList.contains('seg-is-marking')")
    drag(page, page.locator(".seg-stack").nth(1), 0.1, 0.1, 0.4, 0.4)
    page.wait_for_timeout(300)
    # The mark is still there, and no other was set.
    assert page.locator('figure[data-image="1"] .seg-marked').count() == 1
    assert page.locator(".seg-marked").count() == 1


def test_on_a_telephone(browser: Browser, served: Served, files: list[str]) -> None:
    context = browser.new_context(viewport={"width": TELEPHONE, "height": 844}, has_touch=True)
    page = context.new_page()
    faults = watch(page)
    opened(page, served)
    drop(page, files[:2])
    page.get_by_role("button", name="Mark a thing").tap()
    page.wait_for_function("document.body.classList.contains('seg-is-marking')")
    before = pixels(page.locator(".seg-stack").first).astype(int)
    box = page.locator(".seg-stack").first.bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + 0.5 * box["width"], box["y"] + 0.75 * box["height"])
    said(page, "Marked a point in image 1.")
    after = pixels(page.locator(".seg-stack").first).astype(int)
    # It is seen, and near the place that was tapped; by half a pixel the picture may have moved.
    rows = min(len(before), len(after))
    changed = np.argwhere(np.abs(after[:rows] - before[:rows]).max(axis=2) > 60)
    assert np.abs(changed.mean(axis=0) / after.shape[:2] - (0.75, 0.5)).max() < 0.05
    assert fits(page, TELEPHONE)
    # Numbers of four digits can be read in their fields, and words of buttons in theirs.
    for name in FIELDS:
        field = page.get_by_label(name, exact=True)
        assert field.evaluate("field => field.clientWidth") >= 60, name
    for name in ("Set the mark", "Find it in the others", "Remove the mark"):
        assert page.get_by_role("button", name=name).evaluate("b => b.scrollWidth <= b.clientWidth"), name
    context.close()
    assert not faults
