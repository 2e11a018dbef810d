"""The part of the page that marks a thing in a picture: by pointer (`page.js`), or by numbers."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from segue.apps.demo.visitor import Visitor
from segue.errors import InputError

_FIELDS = ("Left, or x", "Top, or y", "Right", "Bottom")


class MarkPanel:
    """Gradio's parts: a button that shows the others, numbers, and what to do with the mark.

    Made inside of the column in which it stands.
    """

    def __init__(self) -> None:
        self.toggle = gr.Button("Mark a thing", size="sm", elem_id="seg-mark-toggle")
        with gr.Column(visible=False, elem_id="seg-marking") as self.panel:
            gr.HTML(
                '<p class="seg-hint">Click a point in a picture, drag a box, or type pixels of the picture, '
                "counted from its top left corner; a point needs no right and bottom.</p>",
                apply_default_css=False,
            )
            with gr.Row(elem_classes="seg-numbers"):
                self.image = gr.Number(1, label="Image", precision=0, minimum=1, min_width=84)
                self.at = [gr.Number(None, label=name, min_width=84) for name in _FIELDS]
            with gr.Row(elem_classes="seg-buttons"):
                self.apply = gr.Button("Set the mark", min_width=90)
                self.find = gr.Button("Find it in the others", variant="primary", min_width=185)
                self.remove = gr.Button("Remove the mark", min_width=110, elem_id="seg-unmark")
        # Written by page.js, and read by nobody.
        self.drawn = gr.Textbox(visible="hidden", elem_id="seg-drawn", container=False)

    @property
    def numbers(self) -> list[Any]:
        """The fields that show a mark."""
        return [self.image, *self.at]


def values_of(visitor: Visitor) -> list[Any]:
    """What the fields show: image from 1, and pixels; None where there is nothing."""
    mark = visitor.mark
    if mark is None:
        return [gr.skip(), None, None, None, None]
    at = [round(float(value), 1) for value in (mark.box or mark.point or ())]
    return [mark.image_index + 1, *at, *[None] * (4 - len(at))]


def mark_typed(visitor: Visitor, image: float | None, *at: float | None) -> str:
    """Mark what the fields say; says so.

    Raises:
        InputError: Numbers are missing, or lie outside.
    """
    given = [value for value in at if value is not None]
    if image is None or len(given) not in (2, 4) or at[: len(given)] != tuple(given):
        raise InputError(
            "The mark has not all its numbers.", expected="x and y of a point, or all four of a box",
            found=f"{len(given)}", where="the mark", fix="fill in the fields",
        )  # fmt: skip
    return visitor.point(int(image), given)


def mark_drawn(visitor: Visitor, text: str) -> str:
    """Mark what `page.js` wrote, such as {"image": 1, "at": [3, 4]}; says so.

    Raises:
        InputError: It is something else, or lies outside.
    """
    try:
        value = json.loads(text)
        image, at = value["image"], [float(number) for number in value["at"]]
        if type(image) is not int or len(at) not in (2, 4):
            raise ValueError(text)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise InputError(
            "The mark cannot be read.", expected="a point or a box in a picture", found=repr(text)[:80],
            where="the mark", fix="draw it once more",
        ) from None  # fmt: skip
    return visitor.point(image, at)
