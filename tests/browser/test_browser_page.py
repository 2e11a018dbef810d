"""The harness itself: a page with a fault is found out, and a sound one is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from browser_page import NARROW, WIDE, fits, has_basics, pixels, watch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FAULTS = {
    "page error": "<script>nothing.there()</script>",
    "console error": "<script>console.error('broken')</script>",
    "failed": "<img src='absent.png'>",
    "asks for something elsewhere": "<img src='http://example.com/a.png'>",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_told(browser: Browser, tmp_path: Path, fault: str) -> None:
    (tmp_path / "page.html").write_text(FAULTS[fault])
    page = browser.new_page()
    # Nothing leaves the machine even if it could.
    page.route("http://**", lambda route: route.abort())
    faults = watch(page)
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_load_state("load")
    page.close()
    assert any(told.startswith(fault) for told in faults), faults


def test_what_a_page_looks_like(browser_page: Page, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        "<style>body{margin:0}</style><div style='width:600px;height:20px;background:#0f8'></div>"
    )
    browser_page.goto((tmp_path / "page.html").as_uri())
    shown = pixels(browser_page.locator("div"))
    assert shown.shape == (20, 600, 3)
    assert np.all(shown == (0, 255, 136))
    assert fits(browser_page, WIDE)
    assert not fits(browser_page, NARROW)


def test_a_page_without_basics(browser_page: Page) -> None:
    parts = ('<html lang="en">', '<meta name="viewport" content="width=device-width">', "<title>T</title>")
    browser_page.set_content("".join(parts))
    assert has_basics(browser_page)
    for part in parts:
        browser_page.set_content("".join(parts).replace(part, ""))
        assert not has_basics(browser_page)
