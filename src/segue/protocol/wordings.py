"""Questions as published models were trained to be asked: for a thing by its expression, for a description.

    word_question("refer", "the red mug", "sa2va")   "Please segment the red mug in this image."

A model answers a question in other words too, but often without a mask.
"""

from __future__ import annotations

from typing import Literal

from segue.errors import InputError

Wording = Literal["refer", "describe"]

_DESCRIBE = "Please respond with interleaved segmentation masks for the corresponding parts of the answer."
WORDINGS: dict[str, dict[str, str]] = {
    "sa2va": {
        "refer": "Please segment {x} in this image.",
        "describe": f"Could you please give me a brief description of the image? {_DESCRIBE}",
    },
    "glamm": {
        "refer": "Can you segment the {x} in this image?",
        "describe": f"Could you please give me a detailed description of the image? {_DESCRIBE}",
    },
    "lisa": {"refer": "What is {x} in this image? Please output segmentation mask."},
}
"""Dialect -> wording -> question; `x` is the expression. Source: what the evaluation of
Sa2VA's, GLaMM's and LISA's own code asks."""


def word_question(wording: Wording, text: str, dialect: str) -> str:
    """The question that a family was trained to be asked.

    Args:
        wording: "refer" asks for the thing that `text` names; "describe" for the whole image, without a text.
        text: An expression such as "the red mug".
        dialect: The model's.

    Raises:
        InputError: The family has no such wording, or the text is missing or too much.
    """
    question = WORDINGS.get(dialect, {}).get(wording)
    if question is None:
        having = ", ".join(name for name, wordings in WORDINGS.items() if wording in wordings)
        raise InputError(
            "This model was trained on no wording of its own.",
            expected=f"a model that writes as {having}",
            found=dialect,
            where=f"wording {wording}",
            fix="ask in your own words",
        )
    text = text.strip().rstrip("?.!")
    if bool(text) != (wording == "refer"):
        raise InputError(
            "The wording and the text do not fit.",
            expected='an expression such as "the red mug"' if wording == "refer" else "no text of your own",
            found=repr(text),
            where=f"wording {wording}",
            fix="name the thing with `refer`, and nothing with `describe`",
        )
    if dialect == "glamm":
        # Its wording brings the article.
        text = text.removeprefix("the ")
    return question.format(x=text)
