"""HTML of a conversation and of its pictures. All that people or models wrote is escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence

from segue import masks
from segue.apps.demo.pictures import Picture
from segue.apps.demo.visitor import Turn, Visitor
from segue.inference.mask_parts import without_specks
from segue.inference.regions import Region
from segue.inference.report import css_colour, label_tag, mask_url, ratio_style
from segue.inference.visualize import colour, colour_numbers, hatching, ink_on
from segue.masks import Mask, resize_mask
from segue.records import Grounding


def phrase_key(turn: int, number: int) -> str:
    """What pairs a phrase with its masks on the page: turn and number of the phrase, from 0."""
    return f"{turn}-{number}"


# ---- the conversation --------------------------------------------------------------------------------------


def conversation_html(turns: Sequence[Turn]) -> str:
    """Questions and answers, phrases in the colours of their masks."""
    return f'<div class="seg-talk">{"".join(_turn(turn, k) for k, turn in enumerate(turns))}</div>'


def _turn(turn: Turn, index: int) -> str:
    grows = turn.answer is None
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in turn.notes)
    waiting = '<span class="seg-wait" role="img" aria-label="answering"></span>' if grows else ""
    return (
        f'<article class="seg-turn" data-turn="{index}" aria-busy="{str(grows).lower()}">'
        f'<p class="seg-question">{html.escape(turn.question)}</p>'
        f'<p class="seg-answer">{_phrases(turn, index)}{waiting}</p>'
        + (f'<ul class="seg-notes">{notes}</ul>' if notes else "")
        + "</article>"
    )


def _phrases(turn: Turn, index: int) -> str:
    numbers = colour_numbers([g.span for g in turn.groundings])
    found: dict[tuple[int, int], tuple[int, list[int]]] = {}
    for grounding, number in zip(turn.groundings, numbers, strict=True):
        images = found.setdefault(grounding.span, (number, []))[1]
        if grounding.image_index + 1 not in images:
            images.append(grounding.image_index + 1)
    parts, done = [], 0
    for (start, end), (number, images) in sorted(found.items()):
        parts.append(html.escape(turn.text[done:start]))
        parts.append(_phrase(turn.text[start:end], phrase_key(index, number), number, images))
        done = end
    if turn.opened is not None and turn.opened >= done:
        # Its mask is not there yet: the colour that it will have, without a pair.
        parts.append(html.escape(turn.text[done : turn.opened]))
        done = turn.opened
        if turn.text[done:]:
            style = _colours(len(set(numbers)))
            words = html.escape(turn.text[done:])
            parts.append(f'<span class="seg-phrase seg-open" style="{style}">{words}</span>')
        done = len(turn.text)
    return "".join(parts) + html.escape(turn.text[done:])


def _phrase(words: str, key: str, number: int, images: Sequence[int]) -> str:
    where = " and ".join(map(str, images))
    return (
        f'<span class="seg-phrase" role="button" tabindex="0" aria-pressed="false" data-phrase="{key}" '
        f'style="{_colours(number)}">{html.escape(words)}'
        f'<span class="seg-where" aria-label="in image {where}">{",".join(map(str, images))}</span></span>'
    )


def _colours(number: int) -> str:
    tint = colour(number)
    return f"--tint: {css_colour(tint)}; --ink: {css_colour(ink_on(tint))}"


# ---- the pictures ------------------------------------------------------------------------------------------


class PictureView:
    """The pictures of a visitor with their masks; keeps what it has drawn for as long as it is shown.

    Args:
        visitor: Whose pictures.
    """

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._drawn: dict[tuple[int, int, str], tuple[Grounding, str]] = {}

    def html(self) -> str:
        """Figures with layers; those of earlier answers wait until their phrase is pointed at."""
        turns, pictures = self._visitor.turns, self._visitor.pictures
        layers: list[list[tuple[int, str]]] = [[] for _ in pictures]
        kept = {}
        for index, turn in enumerate(turns):
            numbers = colour_numbers([g.span for g in turn.groundings])
            for place, (grounding, number) in enumerate(zip(turn.groundings, numbers, strict=True)):
                name = (index, place, phrase_key(index, number))
                before = self._drawn.get(name)
                same = before is not None and before[0].mask is grounding.mask
                picture = pictures[grounding.image_index]
                drawn = before[1] if before and same else _layer(grounding, picture, number, name[2])
                kept[name] = (grounding, drawn)
                old = " seg-old" if index < len(turns) - 1 else ""
                size = masks.area(grounding.mask)
                layers[grounding.image_index].append((size, f'<div class="seg-layer{old}">{drawn}</div>'))
        self._drawn = kept
        figures = []
        for k, (picture, own) in enumerate(zip(pictures, layers, strict=True)):
            mark = self._visitor.mark
            here = mark if mark is not None and mark.image_index == k else None
            # Large masks below, so that a part can be seen and pointed at on its object.
            stack = "".join(layer for _, layer in sorted(own, key=lambda item: -item[0]))
            if here is not None:
                stack += mark_html(here, picture)
            figures.append(_figure(picture, k + 1, stack, self._hint() if here is not None else ""))
        return f'<div class="seg-pictures">{"".join(figures)}</div>'

    def _hint(self) -> str:
        """What can be done with the mark."""
        visitor = self._visitor
        asks = "Write [this] in a question to ask about it."
        if not visitor.models[visitor.model].takes_regions:
            asks = f"{visitor.model} reads no marks in questions."
        more = "It can be found in the other pictures. " if len(visitor.pictures) > 1 else ""
        return f'<p class="seg-hint">The mark is set. {more}{html.escape(asks)}</p>'


def mark_html(mark: Region, picture: Picture) -> str:
    """The mark over its picture, in percent of its sides, with a button that takes it away."""
    height, width = picture.image.height, picture.image.width
    left, top, right, bottom = (*mark.box,) if mark.box is not None else (*(mark.point or ()),) * 2
    number = mark.image_index + 1
    share = {"left": left / width, "top": top / height}
    share |= {"width": (right - left) / width, "height": (bottom - top) / height}
    style = "; ".join(f"{name}: {100 * part:.2f}%" for name, part in share.items())
    return (
        f'<div class="seg-marked seg-{mark.form}" style="{style}" role="img" '
        f'aria-label="the mark, a {mark.form} in image {number}"></div>'
        f'<button type="button" class="seg-unmark" style="--x: {100 * right / width:.2f}%; '
        f'--y: {100 * top / height:.2f}%" aria-label="take the mark away">\u00d7</button>'
    )


def _figure(picture: Picture, number: int, stack: str, hint: str) -> str:
    height, width = picture.shown_hw
    name = html.escape(picture.name)
    return (
        f'<figure class="seg-picture" data-image="{number}" data-width="{picture.image.width}" '
        f'data-height="{picture.image.height}" style="{ratio_style(picture.shown_hw)}">'
        f'<div class="seg-stack"><img class="seg-photo" src="picture/{picture.key}" width="{width}" '
        f'height="{height}" alt="image {number}: {name}" draggable="false">{stack}</div>'
        f"<figcaption><b>image {number}</b> {name}{hint}</figcaption></figure>"
    )


def _layer(grounding: Grounding, picture: Picture, number: int, key: str) -> str:
    mask = without_specks(resize_mask(grounding.mask, picture.shown_hw))
    if not mask.any():
        return ""
    phrase = html.escape(grounding.phrase, quote=True)
    height, width = picture.shown_hw
    url = mask_url(mask, colour(number), hatching(number, picture.shown_hw))
    # The image is what is seen; the outline over it is what is pointed at, or reached by the keyboard.
    return (
        f'<img class="seg-mask" data-phrase="{key}" src="{url}" alt="">'
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none"><path role="button" tabindex="0" '
        f'aria-pressed="false" data-phrase="{key}" aria-label="mask of {phrase} in image '
        f'{grounding.image_index + 1}" d="{_path(mask)}"></path></svg>'
        + label_tag(mask, grounding.phrase, number, key)
    )


def _path(mask: Mask) -> str:
    return "".join(
        "M" + " ".join(f"{value:.0f}" for value in outline) + "z" for outline in masks.polygons(mask)
    )
