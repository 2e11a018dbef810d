"""What comes from the page's fields becomes a mark, or is refused in words."""

import pytest
from PIL import Image

from scripted_model import scripted
from segue.apps.demo.marking import mark_drawn, mark_typed, values_of
from segue.apps.demo.pictures import picture_of
from segue.apps.demo.view import PictureView
from segue.apps.demo.visitor import Models, Visitor
from segue.errors import InputError


@pytest.fixture
def visitor() -> Visitor:
    models = scripted("<m>")
    models["<m>"].takes_regions = False  # type: ignore[misc]
    found = Visitor(Models(models))
    found.take([picture_of(Image.new("RGB", (2000, 1000)), f"{k}.png") for k in range(2)])
    return found


def test_numbers_and_drawings_are_the_same(visitor: Visitor) -> None:
    mark_typed(visitor, 2, 100, 200, 500.5, 700)
    typed = values_of(visitor)
    assert mark_drawn(visitor, '{"image": 2, "at": [100, 200, 500.5, 700], "number": 9}').endswith("image 2.")
    assert values_of(visitor) == typed == [2, 100.0, 200.0, 500.5, 700.0]
    mark_typed(visitor, 1, 3, 4, None, None)
    assert values_of(visitor) == [1, 3.0, 4.0, None, None]
    visitor.unmark()
    assert values_of(visitor)[1:] == [None] * 4


@pytest.mark.parametrize("at", [(None,) * 4, (1, None, None, None), (1, 2, 3, None), (None, None, 1, 2)])
def test_missing_numbers_are_told(visitor: Visitor, at: tuple[float | None, ...]) -> None:
    with pytest.raises(InputError, match="not all its numbers"):
        mark_typed(visitor, 1, *at)


@pytest.mark.parametrize(
    "text",
    ["", "[", "3", "{}", '{"image": "1", "at": [1, 2]}', '{"image": true, "at": [1, 2]}',
     '{"image": 1, "at": [1]}', '{"image": 1, "at": ["x", 2]}', '{"image": 1, "at": 3}', "[" * 99999],
)  # fmt: skip
def test_whatever_else_the_page_sends_is_refused(visitor: Visitor, text: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        mark_drawn(visitor, text)
    assert visitor.mark is None


def test_the_mark_is_drawn_over_its_picture_alone(visitor: Visitor) -> None:
    view = PictureView(visitor)
    assert "seg-marked" not in view.html()
    visitor.point(2, [500, 250, 1000, 500])
    shown = view.html()
    before, _, after = shown.partition('data-image="2"')
    assert "seg-marked" not in before
    assert 'data-width="2000" data-height="1000"' in after
    assert 'style="left: 25.00%; top: 25.00%; width: 25.00%; height: 25.00%"' in after
    assert "&lt;m&gt; reads no marks in questions." in after
    visitor.point(1, [1000, 250])
    assert 'style="left: 50.00%; top: 25.00%; width: 0.00%; height: 0.00%"' in view.html()
