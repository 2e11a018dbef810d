"""A page in a real browser, for the tests of what people open: `browser_page`, and the pixels it shows."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType, Locator, Page, Request, Response

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# As root in a container there is no sandbox, little /dev/shm and no GPU; the rest keeps it from calling home.
FLAGS = (
    *("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
HERE = ("127.0.0.1", "localhost", "")
WIDE, NARROW = 1200, 400
"""Widths in pixels of a window on a desk, and of a telephone."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; skips the test, with what to do, where there is none.

    Of a module, not of the session: while it is open, no test in this thread can call `asyncio.run`.
    """
    api = pytest.importorskip("playwright.sync_api", reason="no Playwright: make setup installs it")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=_executable(playwright.chromium), args=FLAGS)
        yield opened
        opened.close()


def _executable(kind: BrowserType) -> str:
    own = kind.executable_path  # what `playwright install chromium` leaves
    found = next(filter(None, map(shutil.which, NAMES)), own if Path(own).exists() else None)
    if found is None:
        pytest.skip("no Chromium: run `make browser` as root, or install one of " + ", ".join(NAMES))
    return found


@pytest.fixture
def browser_page(browser: Browser) -> Iterator[Page]:
    """An empty page, 1200 pixels wide; afterwards the test fails if anything on it went wrong."""
    context = browser.new_context(viewport={"width": WIDE, "height": 900})
    page = context.new_page()
    faults = watch(page)
    yield page
    context.close()
    assert not faults, "the browser complains:\n" + "\n".join(faults)


def watch(page: Page) -> list[str]:
    """A list that fills with what goes wrong on a page: errors, failed requests, requests to elsewhere."""
    faults: list[str] = []

    def on_console(message: Any) -> None:
        if message.type == "error":
            faults.append(f"console error: {message.text}")

    def on_response(response: Response) -> None:
        if response.status >= 400:
            faults.append(f"status {response.status}: {response.url}")

    def on_request(request: Request) -> None:
        if urlsplit(request.url).hostname not in (None, *HERE):
            faults.append(f"asks for something elsewhere: {request.url[:200]}")

    page.on("console", on_console)
    page.on("response", on_response)
    page.on("request", on_request)
    page.on("pageerror", lambda error: faults.append(f"page error: {error}"))

    def on_failure(request: Request) -> None:
        # Gradio's page ends its stream of events itself when there is nothing to wait for.
        if not (request.failure == "net::ERR_ABORTED" and "/queue/data?" in request.url):
            faults.append(f"failed: {request.url[:200]} ({request.failure})")

    page.on("requestfailed", on_failure)
    return faults


def pixels(shown: Page | Locator, **options: Any) -> np.ndarray:
    """What a page or an element looks like, uint8 `[height, width, 3]`, when its transitions are over."""
    with Image.open(io.BytesIO(shown.screenshot(animations="disabled", **options))) as picture:
        return np.asarray(picture.convert("RGB"))


def part_of(whole: np.ndarray, shown: Locator) -> np.ndarray:
    """The pixels of an element in a picture of the whole page, which must not be scrolled."""
    box = shown.bounding_box()
    assert box is not None, "the element is not visible"
    left, top = round(box["x"]), round(box["y"])
    return whole[top : top + round(box["height"]), left : left + round(box["width"])]


def is_coloured(whole: np.ndarray, shown: Locator, rgb: tuple[int, int, int]) -> bool:
    """Whether a colour, as that of an underline, is seen in an element; of a few letters at least."""
    return bool((np.abs(part_of(whole, shown).astype(int) - rgb).max(axis=2) <= 2).sum() >= 30)


def fits(page: Page, width: int) -> bool:
    """Whether the page can be read at a width without scrolling sideways."""
    height = (page.viewport_size or {"height": 900})["height"]
    page.set_viewport_size({"width": width, "height": height})
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def has_basics(page: Page) -> bool:
    """Whether a page has a title, a language, and the width of the screen that it is on."""
    content = page.evaluate("document.querySelector('meta[name=viewport]')?.content ?? ''")
    language = page.evaluate("document.documentElement.lang")
    return bool(page.title().strip() and language and "width=device-width" in content)
