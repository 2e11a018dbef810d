"""HTML of the page: phrases and masks are paired, and nothing that anybody wrote is markup."""

import re
from typing import Any

import pytest
from PIL import Image

from scripted_model import PHRASES, scripted
from segue.apps.demo.pictures import picture_of
from segue.apps.demo.view import PictureView, conversation_html
from segue.apps.demo.visitor import Models, Visitor

HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture
def visitor() -> Visitor:
    found = Visitor(Models(scripted("m")))
    found.take([picture_of(Image.new("RGB", (80, 60)), f"{HOSTILE}{k}.png") for k in range(2)])
    return found


def ask(visitor: Visitor, steps: int | None = None) -> Any:
    growing = visitor.ask(HOSTILE)
    for step, _ in enumerate(growing, 1):
        if step == steps:
            break
    return growing


def keys(kind: str, text: str) -> list[str]:
    return re.findall(rf'<{kind}[^>]* data-phrase="([^"]+)"', text)


def test_phrases_and_masks_are_paired(visitor: Visitor) -> None:
    view = PictureView(visitor)
    for _ in range(2):
        ask(visitor)
    assert keys("span", conversation_html(visitor.turns)) == ["0-0", "0-1", "1-0", "1-1"]
    shown = view.html()
    # In picture 1 both turns' first phrases, in picture 2 the second ones: the image, and what is pointed at.
    assert keys("img", shown) == keys("path", shown) == ["0-0", "1-0", "0-1", "1-1"]
    assert shown.count("seg-old") == 2  # those of the first turn wait


def test_nothing_that_was_written_is_markup(visitor: Visitor) -> None:
    ask(visitor)
    shown = conversation_html(visitor.turns) + PictureView(visitor).html()
    assert "<script" not in shown
    assert "<i>" not in shown
    assert "<b>note" not in shown
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;") == 5  # question, 2 x 2 names
    assert PHRASES[1][0] == "<i>lamp</i>"
    assert "&lt;i&gt;lamp&lt;/i&gt;" in shown


def test_an_open_phrase_has_the_colour_that_it_will_have(visitor: Visitor) -> None:
    growing = ask(visitor, 4)  # begun, "The ", opened, "red mug"
    half = conversation_html(visitor.turns)
    assert 'aria-busy="true"' in half
    (style,) = re.findall(r'seg-open" style="([^"]+)">red mug<', half)
    for _ in growing:
        pass
    whole = conversation_html(visitor.turns)
    assert 'aria-busy="false"' in whole
    assert re.findall(r'data-phrase="0-0" style="([^"]+)">red mug<', whole) == [style]


def test_what_is_drawn_is_kept(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    view = PictureView(visitor)
    ask(visitor)
    first = view.html()
    monkeypatch.setattr("segue.apps.demo.view.mask_url", None)  # drawing again would fail
    assert view.html() == first
    visitor.undo()
    assert "<path" not in view.html()
