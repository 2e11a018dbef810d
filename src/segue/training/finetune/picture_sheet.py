"""Pictures of a model while it learns: fixed questions, true masks on the left, its own on the right."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from segue import masks
from segue.errors import InputError, SegueError
from segue.files import atomic_path
from segue.images import load_image
from segue.inference.answer import SessionAnswer
from segue.inference.session import GroundingSession
from segue.inference.visualize import Layer, colour, draw_overlay, printable
from segue.masks import resize_mask
from segue.metrics.text import normalise_phrase
from segue.models.auto import ModelBundle
from segue.protocol import parse
from segue.records import Conversation, grounded_markup

# Pixels, but for WRAP, which is characters.
PICTURE_HEIGHT = 220
WIDEST = 340
GAP = 8
WRAP = 92
INK, PALE, PAPER = (25, 25, 30), (110, 110, 120), (255, 255, 255)


@dataclass(frozen=True)
class TrueMask:
    """A mask that the record's answer names: its phrase, image (0-based) and bool `[height, width]`."""

    phrase: str
    image_index: int
    mask: np.ndarray


class Question:
    """The first exchange of a conversation, with its images opened and its true masks.

    Raises:
        ImageError: An image cannot be opened. RecordError or InputError: the answer cannot be rendered.
    """

    def __init__(self, conversation: Conversation, root: Path, dialect: str = "prima") -> None:
        places = [k for k, turn in enumerate(conversation.turns) if turn.role == "assistant"]
        asked = [t.text for t in conversation.turns[: places[0]] if t.role == "user"] if places else []
        if not asked:
            raise InputError(
                "There is nothing to ask in this conversation.",
                expected="a user turn and an answer to it",
                found=", ".join(turn.role for turn in conversation.turns),
                where=f"conversation {conversation.id!r}",
                fix="give validation data with questions and answers",
            )
        self.pictures = [load_image(root / image.path) for image in conversation.images]
        self.text = "\n".join(asked)
        self.answer = conversation.turns[places[0]].text
        self.truth = _true_masks(conversation, places[0], dialect)
        self.session: GroundingSession | None = None


def _true_masks(conversation: Conversation, turn_index: int, dialect: str) -> list[TrueMask]:
    markup, targets = grounded_markup(conversation, turn_index, dialect)
    phrases = {g.seg_ordinal: g.phrase for g in parse(markup, len(conversation.images), dialect).groundings}
    found = []
    for ordinal, (image_index, rids) in enumerate(targets):
        parts = [masks.decode(rle) for rle in (conversation.region(rid).mask for rid in rids) if rle]
        if parts:
            found.append(TrueMask(phrases.get(ordinal, ""), image_index, masks.union(parts)))
    return found


class PictureSheets:
    """Draws sheets of one model over fixed questions.

    Args:
        bundle: The model that trains.
        questions: Conversations with the folder of their images; those that cannot be opened are left out.
        folder: Gets `step_000200.png`.
        max_new_tokens: Budget of each answer.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        questions: Sequence[tuple[Conversation, Path]],
        folder: Path,
        *,
        max_new_tokens: int = 160,
    ) -> None:
        self.bundle, self.folder, self.max_new_tokens = bundle, folder, max_new_tokens
        self.questions: list[Question] = []
        for conversation, root in questions:
            try:
                self.questions.append(Question(conversation, root, bundle.processor.dialect))
            except SegueError:
                continue  # the run itself counts and reports what it cannot use

    def draw(self, step: int) -> Path | None:
        """Ask every question and write the sheet of a step; None when there is no question."""
        if not self.questions:
            return None
        answers = [self.ask(question) for question in self.questions]
        rows = [draw_row(q, a) for q, a in zip(self.questions, answers, strict=True)]
        heading = f"{self.bundle.name}, step {step:,}: true masks on the left, the model's on the right"
        return save_sheet(stack(rows, heading), self.folder / f"step_{step:06d}.png")

    def ask(self, question: Question) -> SessionAnswer | str:
        """The model's free answer, or why there is none; training mode and random state stay as they are."""
        model: Any = self.bundle.model
        training = model.training
        model.eval()
        try:
            with torch.random.fork_rng(), torch.no_grad():
                return self.session(question).ask(question.text, max_new_tokens=self.max_new_tokens)
        except (SegueError, RuntimeError, ValueError, IndexError) as error:
            # A model in the middle of its training may answer anything; that must not end the run.
            return " ".join(f"no answer: {error}".split())
        finally:
            model.train(training)

    def session(self, question: Question) -> GroundingSession:
        """A session without history; what frozen encoders said of the images is kept between sheets."""
        from segue.models.encoder_features import encoders

        parts = encoders(self.bundle.model).values()
        frozen = not any(p.requires_grad for part in parts for p in part.parameters())
        if question.session is None or not frozen:
            question.session = GroundingSession(self.bundle, question.pictures)
        question.session.reset()
        return question.session


def draw_row(question: Question, answer: SessionAnswer | str) -> Image.Image:
    """One question: true and predicted masks over its images, and the three texts."""
    numbers: dict[str, int] = {}
    for known in question.truth:
        numbers.setdefault(normalise_phrase(known.phrase), len(numbers))
    # What is called the same has the same colour on both sides.
    true = [(t.phrase, t.image_index, t.mask) for t in question.truth]
    said = (
        [(g.phrase, g.image_index, g.mask) for g in answer.groundings]
        if isinstance(answer, SessionAnswer)
        else []
    )
    for phrase, _, _ in said:
        numbers.setdefault(normalise_phrase(phrase), len(numbers))
    sides = [_drawn(question.pictures, side, numbers) for side in (true, said)]
    strip = _beside([picture for side in sides for picture in side], halves=len(sides[0]))
    text = answer.text if isinstance(answer, SessionAnswer) else answer
    return _with_texts(strip, [("asked", question.text), ("true", question.answer), ("model", text)])


def _drawn(
    pictures: Sequence[Image.Image], found: Sequence[tuple[str, int, np.ndarray]], numbers: dict[str, int]
) -> list[Image.Image]:
    """The pictures at the sheet's size with their masks."""
    drawn = []
    for index, picture in enumerate(pictures):
        scale = min(PICTURE_HEIGHT / picture.height, WIDEST / picture.width)
        hw = (max(1, round(picture.height * scale)), max(1, round(picture.width * scale)))
        layers = [
            Layer(resize_mask(mask, hw), phrase, colour(numbers[normalise_phrase(phrase)]))
            for phrase, place, mask in found
            if place == index
        ]
        drawn.append(draw_overlay(picture.resize((hw[1], hw[0]), Image.Resampling.HAMMING), layers))
    return drawn


def _beside(pictures: Sequence[Image.Image], halves: int) -> Image.Image:
    """Pictures in one line, with a wider gap between the true half and the model's."""
    middle = 3 * GAP
    # One gap less than there are pictures, and one of them is the middle.
    width = sum(p.width for p in pictures) + GAP * (len(pictures) - 2) + middle
    strip = Image.new("RGB", (width, max(p.height for p in pictures)), PAPER)
    left = 0
    for place, picture in enumerate(pictures, start=1):
        strip.paste(picture, (left, 0))
        left += picture.width + (middle if place == halves else GAP)
    return strip


def _with_texts(strip: Image.Image, texts: Sequence[tuple[str, str]]) -> Image.Image:
    font = ImageFont.load_default(size=13)
    lines: list[tuple[str, str]] = []
    for label, text in texts:
        # Six lines each: a model in the middle of its training may repeat itself up to its budget.
        wrapped = textwrap.wrap(printable(text), WRAP) or [""]
        lines += [(label if k == 0 else "", line) for k, line in enumerate(wrapped[:6])]
    width = max([strip.width, *(60 + round(font.getlength(line)) for _, line in lines)])
    row = Image.new("RGB", (width, strip.height + GAP + 17 * len(lines)), PAPER)
    row.paste(strip, (0, 0))
    draw = ImageDraw.Draw(row)
    for k, (label, line) in enumerate(lines):
        top = strip.height + GAP // 2 + 17 * k
        draw.text((0, top), label, font=font, fill=PALE)
        draw.text((52, top), line, font=font, fill=INK)
    return row


def stack(rows: Sequence[Image.Image], heading: str) -> Image.Image:
    """Rows under a heading."""
    font = ImageFont.load_default(size=15)
    width = max([round(font.getlength(heading)), *(row.width for row in rows)]) + 2 * GAP
    height = 32 + sum(row.height + 2 * GAP for row in rows)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), heading, font=font, fill=INK)
    top = 32
    for row in rows:
        sheet.paste(row, (GAP, top))
        top += row.height + 2 * GAP
        draw.line((GAP, top - GAP, width - GAP, top - GAP), fill=(225, 225, 230))
    return sheet


def save_sheet(sheet: Image.Image, path: Path) -> Path:
    """Write a PNG that appears complete or not at all; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as unfinished:
        sheet.save(unfinished, format="PNG")
    return path
