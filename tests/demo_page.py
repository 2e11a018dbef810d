"""The page of `segue demo` on a port of its own, and what visitors do on it, for the tests in a browser."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiny_model import picture

if TYPE_CHECKING:
    from playwright.sync_api import Page

TELEPHONE = 390
"""Width in pixels."""


class Served:
    """The page on a port of 127.0.0.1, in a thread."""

    def __init__(self, models: Any) -> None:
        import uvicorn

        from segue.apps.demo.run import create_app

        self._bound = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = f"http://127.0.0.1:{self._bound.getsockname()[1]}/"
        self._server = uvicorn.Server(uvicorn.Config(create_app(models), log_level="warning"))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._bound]}, daemon=True
        )
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        self._bound.close()


def picture_files(folder: Path) -> list[str]:
    """Three picture files of 480 x 320 pixels."""
    found = []
    for name, shade in (("a", 60), ("b", 200), ("c", 120)):
        found.append(str(folder / f"{name}.png"))
        picture(height=320, width=480, shade=shade).save(found[-1])
    return found


def opened(page: Page, served: Served) -> Page:
    page.goto(served.address)
    page.locator("#seg-question textarea").wait_for()
    return page


def drop(page: Page, files: list[str]) -> None:
    there = page.locator("figure").count()
    page.set_input_files("#seg-drop input[type=file]", files)
    page.locator("figure").nth(there + len(files) - 1).wait_for()


def ask(page: Page, question: str = "Which?") -> None:
    answered = page.locator('.seg-turn[aria-busy="false"]').count()
    page.fill("#seg-question textarea", question)
    page.keyboard.press("Enter")
    page.locator('.seg-turn[aria-busy="false"]').nth(answered).wait_for()
