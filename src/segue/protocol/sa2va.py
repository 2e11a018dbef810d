r"""How Sa2VA writes: as LISA and GLaMM about one image; about several, each image is asked for itself.

Its `[SEG]` names no image, so that an answer about several is the answers about each, joined under headings:

    prompt  "<image>\nPlease segment the mug in this image."
    answer  "Sure, it is [SEG]."                              one image
    answer  "Image 1: Sure, it is [SEG].\nImage 2: [SEG]."    two, joined by whoever asked
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from segue.errors import InputError
from segue.protocol.answers import MarkedSpan, ParsedAnswer
from segue.protocol.glamm import LisaDialect
from segue.protocol.prima import PrimaDialect
from segue.protocol.tags import IMAGE_TOKEN, PHRASE_END, PHRASE_START, SEG_TOKEN

_HEADING = re.compile(r"^Image ([1-9]): ", re.MULTILINE | re.ASCII)


def heading(image_index: int) -> str:
    """What stands before the answer about an image, counted from 0; people count from 1."""
    return f"Image {image_index + 1}: "


def join_answers(answers: Sequence[str]) -> str:
    """Answers (or their markups) about images 0, 1, ... as one, a line or more each."""
    return "\n".join(heading(k) + answer for k, answer in enumerate(answers))


def split_answer(text: str, num_images: int) -> list[tuple[int | None, str, str]]:
    """The inverse: image (None before the first heading), heading, and text, which keeps its line breaks."""
    places = [m for m in _HEADING.finditer(text) if int(m[1]) <= num_images]
    ends = [*(m.start() for m in places[1:]), *([len(text)] if places else [])]
    found: list[tuple[int | None, str, str]] = []
    before = text[: places[0].start()] if places else text
    if before:
        found.append((None, "", before))
    for match, end in zip(places, ends, strict=True):
        found.append((int(match[1]) - 1, match[0], text[match.end() : end]))
    return found


class Sa2vaDialect(LisaDialect):
    """Sa2VA on Qwen3-VL.

    Source: Sa2VA's code (prompts and answers); the headings are ours.
    """

    name = "sa2va"
    one_by_one = True

    def names_images(self, num_images: int) -> bool:
        """Never: a `[SEG]` lies in whichever image was asked about."""
        return False

    def opening(self, num_images: int) -> str:
        """The image alone on a line; several, as frames of a video, stand side by side."""
        return IMAGE_TOKEN * num_images + "\n"

    def as_past_turn(self, markup: str, num_images: int) -> str:
        """As PRIMA: there are no identifiers that GLaMM's way would take out."""
        return PrimaDialect.as_past_turn(self, markup, num_images)

    def render(self, text: str, spans: Sequence[MarkedSpan], num_images: int | None = None) -> str:
        """As LISA, without identifiers; about several images a span must stand under its image's heading.

        Raises:
            InputError: It does not, or see `PrimaDialect.render`.
        """
        if num_images is not None and num_images > 1:
            _check_places(text, spans, num_images)
        return super().render(text, spans, num_images)

    def marked(self, text: str, span: MarkedSpan, num_images: int | None) -> str:
        """One span with its tags: `<p> mugs </p> [SEG]`."""
        masks = " ".join(SEG_TOKEN for _ in span.image_indices)
        if span.start == span.end:
            return masks
        return f"{PHRASE_START} {text[span.start : span.end]} {PHRASE_END} {masks}"

    def parse(self, markup: str, num_images: int, *, lenient: bool = False) -> ParsedAnswer:
        """As LISA; about several images, what stands under a heading is about its image. Never raises."""
        if num_images == 1:
            return super().parse(markup, num_images, lenient=lenient)
        whole = ParsedAnswer("", (), ())
        for image, title, body in split_answer(markup, num_images):
            # Before any heading nothing says which image is meant.
            shown = num_images if image is None else 1
            part = super().parse(body, shown, lenient=lenient)
            whole = _joined(replace(whole, text=whole.text + title), part, image)
        return whole


def _joined(whole: ParsedAnswer, part: ParsedAnswer, image: int | None) -> ParsedAnswer:
    """An answer and a further part of it, which is about an image."""
    shift, counted = len(whole.text), whole.num_segs
    groundings = [
        replace(
            g,
            span=(g.span[0] + shift, g.span[1] + shift),
            image_index=g.image_index if image is None else image,
            seg_ordinal=g.seg_ordinal + counted,
        )
        for g in part.groundings
    ]
    unplaced = [
        replace(
            u,
            span=(u.span[0] + shift, u.span[1] + shift),
            image_index=u.image_index if image is None or u.image_index is None else image,
            seg_ordinal=u.seg_ordinal + counted,
        )
        for u in part.unplaced
    ]
    notes = [replace(note, offset=note.offset + shift) for note in part.notes]
    return ParsedAnswer(
        whole.text + part.text,
        (*whole.groundings, *groundings),
        (*whole.unplaced, *unplaced),
        (*whole.notes, *notes),
    )


def _check_places(text: str, spans: Sequence[MarkedSpan], num_images: int) -> None:
    done = 0
    places: list[tuple[int, int, int | None]] = []
    for image, title, body in split_answer(text, num_images):
        places.append((done, done + len(title) + len(body), image))
        done = places[-1][1]
    for span in spans:
        under = {image for start, end, image in places if start <= span.start and span.end <= end}
        if not set(span.image_indices) <= under:
            raise InputError(
                "This way of writing cannot say which image a mask is in.",
                expected='each mask under the heading of its image, such as "Image 2: "',
                found=f"a mask in image {span.image_indices[0] + 1} at character {span.start}",
                where=repr(text[:60]),
                fix="train with PRIMA's protocol (`segue init segue-4b --from`), whose [SEG] names its image",
            )
