"""The page of `segue demo` in a browser: an answer that grows, phrases and masks that are pairs."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from browser_page import fits, pixels, watch
from demo_page import TELEPHONE, Served, ask, drop, opened, picture_files
from scripted_model import scripted
from segue.inference.visualize import PALETTE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("gradio", reason="no Gradio: pip install '.[demo]'")

HOSTILE = "Which? <img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    found = Served(scripted("first", "second", pause=0.08))
    yield found
    found.stop()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return picture_files(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def page(browser_page: Page, served: Served) -> Page:
    return opened(browser_page, served)


def lit(page: Page) -> set[str | None]:
    return {
        item.get_attribute("data-phrase") for item in page.locator(".seg-phrase.seg-lit, path.seg-lit").all()
    }


def test_text_and_masks_appear_in_order(page: Page, files: list[str]) -> None:
    drop(page, files[:2])
    page.evaluate(
        """() => { window.seen = []; new MutationObserver(() => {
            const words = document.querySelector(".seg-answer")?.textContent ?? "";
            const masks = [...document.querySelectorAll(".seg-mask")].map(
                m => m.closest("figure").dataset.image);
            const now = JSON.stringify([words, masks]);
            if (window.seen.at(-1) !== now) window.seen.push(now);
        }).observe(document.body, { childList: true, subtree: true }) }"""
    )
    ask(page, HOSTILE)
    seen = [json.loads(step) for step in page.evaluate("window.seen")]
    places = [
        next(k for k, step in enumerate(seen) if wanted(*step))
        for wanted in (
            lambda words, masks: words == "The " and masks == [],
            lambda words, masks: words == "The red mug" and masks == [],
            lambda words, masks: words == "The red mug1" and masks == ["1"],
            lambda words, masks: words.endswith("<i>lamp</i>") and masks == ["1"],
            lambda words, masks: masks == ["1", "2"],
        )
    ]
    assert places == sorted(places)
    assert len(set(places)) == len(places)
    assert page.locator(".seg-question").text_content() == HOSTILE
    assert page.title() == "Segue"
    assert page.locator(".seg-turn img, .seg-turn script, .seg-turn i").count() == 0
    # Each mask has the colour of its phrase, in its own picture.
    for number in (0, 1):
        style = page.locator(".seg-phrase").nth(number).get_attribute("style") or ""
        assert f"--tint: {' '.join(map(str, PALETTE[number]))}" in style
    shown = pixels(page.locator(".seg-stack").first).astype(int)
    height, width = shown.shape[:2]
    inside, outside = shown[height // 3, width // 5], shown[height * 3 // 4, width // 5]
    assert inside[0] - inside[2] > outside[0] - outside[2] + 60  # the first colour is red


def test_pairs_are_shown_alone_by_mouse_and_by_keyboard(page: Page, files: list[str]) -> None:
    drop(page, files[:2])
    ask(page)
    masks = page.locator(".seg-layer")
    page.locator(".seg-phrase").nth(1).hover()
    page.wait_for_function("document.body.classList.contains('seg-choosing')")
    assert lit(page) == {"0-1"}
    page.wait_for_timeout(250)  # the transition
    assert [round(float(m.evaluate("e => getComputedStyle(e).opacity")), 2) for m in masks.all()] == [0.06, 1]
    # From the mask to its phrase; the pointer is over the picture's upper left quarter.
    box = page.locator(".seg-stack").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    assert lit(page) == {"0-0"}
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.8 * box["height"])
    assert lit(page) == set()
    page.locator(".seg-phrase").first.click()
    page.mouse.move(0, 0)
    assert lit(page) == {"0-0"}  # kept
    assert page.locator(".seg-phrase").first.get_attribute("aria-pressed") == "true"
    page.keyboard.press("Escape")
    assert lit(page) == set()
    # By Tab: masks stand before the text, and each shows its pair.
    page.locator(".seg-stack path").first.focus()
    page.keyboard.press("Tab")
    assert lit(page) == {"0-1"}
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('.seg-phrase')")
    assert lit(page) == {"0-0"}
    page.keyboard.press("Enter")
    page.locator("#seg-question textarea").focus()
    assert lit(page) == {"0-0"}


def test_a_conversation_goes_on(page: Page, files: list[str]) -> None:
    drop(page, files[:1])
    ask(page)
    drop(page, files[1:2])
    assert page.locator(".seg-status").text_content() == "Image 2 added."
    ask(page, "And now?")
    assert page.locator(".seg-question").all_text_contents() == ["Which?", "And now?"]
    # Masks of the first answer wait until their phrase is pointed at.
    assert [m.is_visible() for m in page.locator(".seg-mask").all()] == [False, True, True]
    page.locator(".seg-turn").first.locator(".seg-phrase").hover()
    assert page.locator(".seg-mask").first.is_visible()
    with page.expect_download() as download:
        page.get_by_text("Download everything").click()
    names = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())).namelist()
    assert {"turn_1/answer.json", "turn_2/answer.json", "turn_2/coco/instances.json"} <= set(names)
    page.get_by_role("button", name="Undo").click()
    page.wait_for_function("document.querySelectorAll('.seg-turn').length === 1")
    assert page.locator("#seg-question textarea").input_value() == "And now?"
    page.get_by_role("button", name="Start over").click()
    page.wait_for_function("document.querySelectorAll('figure, .seg-turn').length === 0")


@pytest.mark.slow
def test_what_goes_wrong_is_said(page: Page, tmp_path: Path) -> None:
    page.fill("#seg-question textarea", "Which?")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.locator(".seg-wrong", has_text="There is no picture to ask about.").wait_for()
    assert page.locator("#seg-question textarea").input_value() == "Which?"
    (tmp_path / "<b>.png").write_bytes(b"no picture")
    page.set_input_files("#seg-drop input[type=file]", str(tmp_path / "<b>.png"))
    page.locator(".seg-wrong", has_text="The file is not an image").wait_for()


def test_visitors_see_nothing_of_each_other(page: Page, served: Served, files: list[str]) -> None:
    browser: Browser = page.context.browser  # type: ignore[assignment]
    context = browser.new_context()
    other = context.new_page()
    faults = watch(other)
    opened(other, served)
    drop(page, files[:2])
    ask(page)
    drop(other, files[2:])
    assert other.locator("figure").count() == 1
    ask(other, "Mine?")
    assert other.locator(".seg-question").all_text_contents() == ["Mine?"]
    assert page.locator(".seg-question").all_text_contents() == ["Which?"]
    links = [p.locator(".seg-download a").get_attribute("href") for p in (page, other)]
    assert links[0] != links[1]
    context.close()
    assert not faults


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_telephone(browser: Browser, served: Served, files: list[str], scheme: Any) -> None:
    context = browser.new_context(
        viewport={"width": TELEPHONE, "height": 844}, color_scheme=scheme, has_touch=True
    )
    page = context.new_page()
    faults = watch(page)
    opened(page, served)
    drop(page, files[:2])
    ask(page)
    assert fits(page, TELEPHONE)
    page.locator(".seg-phrase").nth(1).tap()
    page.wait_for_function("document.querySelector('path.seg-lit') !== null")
    assert lit(page) == {"0-1"}
    corner = pixels(page)[:20, :8].mean()
    assert corner < 60 if scheme == "dark" else corner > 200
    # Words can be read on their ground: WCAG's 4.5 to 1.
    for kind in (".seg-lead", ".seg-question", ".seg-answer", "figcaption"):
        assert contrast(page, kind) >= 4.5, kind
    context.close()
    assert not faults


def contrast(page: Page, selector: str) -> float:
    """Contrast of an element's words against the page, after WCAG 2."""
    read = "e => getComputedStyle(e)."
    words = page.locator(selector).first.evaluate(read + "color")
    ground = page.locator("body").evaluate(read + "backgroundColor")
    light, dark = sorted((luminance(words), luminance(ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(css: str) -> float:
    values = np.array([float(v) for v in css[css.index("(") + 1 : -1].split(",")[:3]]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


@pytest.mark.slow
def test_only_the_named_models_can_be_chosen(page: Page, files: list[str]) -> None:
    drop(page, files[:2])
    ask(page)
    page.locator("#seg-model input").click()
    offered = [text.strip(" \u2713\n") for text in page.get_by_role("option").all_text_contents()]
    assert offered == ["first", "second"]
    page.get_by_role("option", name="second").click()
    page.locator(
        ".seg-status", has_text="second answers now. The conversation with first is over."
    ).wait_for()
    assert page.locator(".seg-turn").count() == 0
    assert page.locator("figure").count() == 2


@pytest.mark.slow
def test_the_embedded_models_answer_about_the_examples(browser_page: Page) -> None:
    import segue

    served = Served({name: segue.load(name, device="cpu") for name in ("segue-mini", "segue-scenes")})
    page = opened(browser_page, served)
    page.get_by_role("button", name="where is the cat").click()
    page.locator('.seg-turn[aria-busy="false"]').wait_for(timeout=60_000)
    assert "cat" in (page.locator(".seg-phrase").first.text_content() or "")
    page.get_by_role("button", name="compare the guitars").click()
    page.locator('.seg-turn[aria-busy="false"] .seg-phrase', has_text="red guitar").wait_for(timeout=60_000)
    assert page.locator(".seg-mask").count() == 3
    served.stop()
