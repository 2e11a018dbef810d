"""Inputs of a user, checked before anything heavy is loaded: the images, the question, the budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segue.errors import ContextError, InputError
from segue.images import ImageSource, load_image
from segue.records.conversation import MAX_IMAGES

MAX_NEW_TOKENS = 256
"""Default budget of an answer; the mini's answers take about 30 to 120 tokens."""

_LEAST_ROOM = 16
"""Tokens that must be left for an answer; below that the conversation is too long."""


def load_images(
    images: Sequence[ImageSource] | ImageSource, names: Sequence[str] | None = None
) -> tuple[list[Image.Image], list[str]]:
    """Load the images of a session, all of them before anything is computed.

    Args:
        images: 1 to 9 sources; a single one need not be in a list.
        names: What to call them, one each; by default the path as given, or "image N".

    Returns:
        RGB images and their names.

    Raises:
        InputError: None, more than nine, or not as many names; ImageError names one that cannot be used.
    """
    # A single array is one image; taken for a list it would be as many as it has rows.
    listed = [images] if isinstance(images, (str, Path, bytes, Image.Image, np.ndarray)) else list(images)
    check_number(len(listed))
    # For people, hence from 1.
    if names is None:
        names = [str(s) if isinstance(s, (str, Path)) else f"image {k + 1}" for k, s in enumerate(listed)]
    elif len(names) != len(listed):
        raise InputError(
            "Images and names do not match.",
            expected=f"{len(listed)} names",
            found=str(len(names)),
            where="names",
            fix="give one name per image, or none",
        )
    return [load_image(source) for source in listed], [whole_unicode(name) for name in names]


def check_number(num_images: int) -> None:
    """Refuse a conversation about none or more than nine images, with an InputError."""
    if not 1 <= num_images <= MAX_IMAGES:
        raise InputError(
            "A conversation is about one to nine images.",
            expected=f"1 to {MAX_IMAGES} images",
            found=str(num_images),
            where="images",
            fix="choose the images that matter, or ask about them in several sessions",
        )


def check_question(text: str) -> str:
    """The question without blanks around it; InputError when nothing is left."""
    if not isinstance(text, str) or not text.strip():
        raise InputError(
            "The question is empty.",
            expected="a question in words",
            found=repr(text),
            where="question",
            fix='ask something, such as "Which image shows a red mug?"',
        )
    return whole_unicode(text).strip()


def whole_unicode(text: str) -> str:
    """The text with lone surrogates, as undecodable arguments bring them, replaced by U+FFFD."""
    # By way of UTF-16, in which the halves of a pair become one character; a lone half is replaced.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def check_budget(max_new_tokens: int) -> int:
    """The budget of an answer in tokens; InputError when it is below one."""
    if max_new_tokens < 1:
        raise InputError(
            "The token budget leaves no answer.",
            expected="max_new_tokens >= 1",
            found=str(max_new_tokens),
            where="max_new_tokens",
            fix=f"leave it out for the default of {MAX_NEW_TOKENS}",
        )
    return max_new_tokens


def check_room(context: int, prompt_length: int, num_turns: int) -> int:
    """Number of tokens that the context leaves for an answer.

    Args:
        context: Of the model, in tokens.
        prompt_length: Of images, earlier turns and question.
        num_turns: Earlier turns.

    Raises:
        ContextError: Too few are left.
    """
    if context - prompt_length < _LEAST_ROOM:
        raise ContextError(
            "The conversation is longer than the model can read.",
            expected=f"at most {context - _LEAST_ROOM} tokens of images, earlier turns and question",
            found=f"{prompt_length} tokens",
            where="question" if not num_turns else f"turn {num_turns + 1}",
            fix="ask in fewer words" if not num_turns else "undo some turns, or reset and ask again",
        )
    return context - prompt_length
