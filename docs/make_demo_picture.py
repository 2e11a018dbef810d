"""Photographs the page of `segue demo` in a browser: two photographs, an answer, a marked thing found again.

python docs/make_demo_picture.py docs/images/demo.png photos/chelsea.png photos/coffee.png

It needs Chromium (`make browser`) and the development tools.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request

from playwright.sync_api import sync_playwright

QUESTION = "What do you see?"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def main(out: str, *photographs: str) -> None:
    """Start the page, ask, and write the picture of 1200 x 900 pixels."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "segue.cli", "demo", "--model", "segue-mini", "--port", str(port)]
    page_server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{port}/")
        with sync_playwright() as playwright:
            path = next(filter(None, map(shutil.which, CHROMIUM)), None)
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1200, "height": 900})
            page.goto(f"http://127.0.0.1:{port}/")
            page.set_input_files("#seg-drop input[type=file]", list(photographs))
            page.locator("figure").nth(len(photographs) - 1).wait_for()
            page.fill("#seg-question textarea", QUESTION)
            page.keyboard.press("Enter")
            page.locator('.seg-turn[aria-busy="false"]').first.wait_for()
            page.evaluate("window.scrollTo(0, 0)")
            page.wait_for_timeout(500)  # the transition of the masks
            page.screenshot(path=out)
            browser.close()
    finally:
        page_server.terminate()
        page_server.wait(30)


def _wait(address: str, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.3)


if __name__ == "__main__":
    main(*sys.argv[1:])
