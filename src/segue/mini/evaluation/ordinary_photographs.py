"""Twelve ordinary photographs, three questions each: what the model answers, also where it is wrong.

python -m segue.mini.evaluation.ordinary_photographs segue-mini --data ../shared/data --out photographs.md
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from segue.files import write_atomic
from segue.images import load_image
from segue.inference.answer import SessionAnswer
from segue.inference.loaded_model import LoadedModel
from segue.loading import load

SHIPPED = "scikit-image"


@dataclass(frozen=True)
class Asked:
    """A photograph with its questions, and what is right, as a person sees it.

    Attributes:
        source: `scikit-image` or a folder of the data.
        name: of the picture there.
        shows: for readers, who do not see it.
        questions: each with a right answer.
    """

    source: str
    name: str
    shows: str
    questions: tuple[tuple[str, str], ...]


TWELVE = (
    Asked(
        SHIPPED,
        "chelsea",
        "the head of a tabby cat, close",
        (
            ("What is this?", "a cat"),
            ("Where is the cat's head?", "nearly everywhere"),
            ("Is there a dog?", "no"),
        ),
    ),
    Asked(
        SHIPPED,
        "coffee",
        "a cup of coffee on a saucer with a spoon, on a wooden table",
        (
            ("What is on the table?", "a cup of coffee, a saucer, a spoon"),
            ("Where is the cup?", "in the middle"),
            ("Is there a spoon?", "yes, on the left of the cup"),
        ),
    ),
    Asked(
        SHIPPED,
        "astronaut",
        "a woman in an orange space suit before a flag and the model of a shuttle, her helmet beside her",
        (
            ("Who is this?", "it cannot know; a person"),
            ("Where is the helmet?", "at the bottom right"),
            ("What is behind her?", "a flag, the model of a space shuttle"),
        ),
    ),
    Asked(
        SHIPPED,
        "rocket",
        "a rocket on its pad at dusk, with lights and towers",
        (
            ("What does the picture show?", "a rocket"),
            ("Where is the rocket?", "in the middle"),
            ("Is there an airplane?", "no"),
        ),
    ),
    Asked(
        SHIPPED,
        "stereo_motorcycle",
        "a motorcycle in a garage",
        (
            ("What is in the picture?", "a motorcycle, tools, shelves"),
            ("Where is the motorcycle?", "in the middle"),
            ("How many wheels are there?", "two"),
        ),
    ),
    Asked(
        "everyday",
        "val/2008_003094.jpg",
        "three cows at a river before hills, a boy on the right one",
        (
            ("How many cows are there?", "three"),
            ("Where is the black cow?", "on the left"),
            ("Is anybody riding?", "yes, a person on the right cow"),
        ),
    ),
    Asked(
        "everyday",
        "val/scene_000627.jpg",
        "a blue goods train in autumn",
        (
            ("What is this?", "a train"),
            ("Show me the train.", "in the middle and on the right"),
            ("What colour is the train?", "blue"),
        ),
    ),
    Asked(
        "everyday",
        "val/2008_004767.jpg",
        "a long-haired cat asleep on a cushion, a packet behind it",
        (
            ("Where is the cat?", "in the middle"),
            ("Segment the cushion.", "under the cat"),
            ("Is the cat awake?", "no"),
        ),
    ),
    Asked(
        "everyday",
        "val/2008_005934.jpg",
        "a brown horse with a rider over a jump, white trailers behind",
        (
            ("What is the horse doing?", "it jumps"),
            ("Where is the rider?", "at the top right"),
            ("Where is the horse's head?", "at the top, left of the rider"),
        ),
    ),
    Asked(
        "everyday",
        "val/2009_000771.jpg",
        "a cow's head, close, another cow behind it",
        (
            ("Which animal is this?", "a cow"),
            ("Segment the head of the cow.", "on the right"),
            ("How many cows do you see?", "two"),
        ),
    ),
    Asked(
        "everyday",
        "val/scene_000614.jpg",
        "a black and white cat on a chair at a table with pumpkins",
        (
            ("Where are the pumpkins?", "on the table: on the left, in the middle"),
            ("Where is the cat?", "on the left, at the bottom"),
            ("What can I sit on?", "the chairs, on the right"),
        ),
    ),
    Asked(
        "everyday",
        "val/ho51.jpg",
        "a spotted horse with a saddle in a field",
        (
            ("What is on the horse's back?", "a saddle"),
            ("Where is the head of the horse?", "on the left"),
            ("Is there a person on the horse?", "no"),
        ),
    ),
)


def opened(asked: Asked, data: Path) -> Image.Image:
    """The picture of one of `TWELVE`; of a stereo pair the left one."""
    if asked.source != SHIPPED:
        return load_image(data / asked.source / asked.name)
    import skimage.data

    found = getattr(skimage.data, asked.name)()
    return Image.fromarray(found[0] if isinstance(found, tuple) else found)


def marked(answer: SessionAnswer) -> str:
    """Each mask of an answer: its phrase, how much of the picture it takes, and where its middle lies."""
    pieces = []
    for g in answer.groundings:
        height, width = g.mask.shape
        left, top, w, h = g.box
        across, down = (left + w / 2) / width, (top + h / 2) / height
        pieces.append(f"{g.phrase}: {g.mask.mean():.0%}, {across:.0%} from the left, {down:.0%} from the top")
    return "; ".join(pieces) or "nothing"


def report(model: LoadedModel, data: Path, photographs: Sequence[Asked] = TWELVE) -> str:
    """The document: a table for each photograph; questions about one are asked in one conversation."""
    lines = [
        "# Twelve ordinary photographs",
        "",
        f"Three natural questions each to `{model.name}`, asked one after the other, first answers, nothing",
        "left out. What is right stands beside; it was written before the model was asked. Photographs of",
        "scikit-image come with that package, the others are every seventieth of `everyday/val`. Written by",
        "`python -m segue.mini.evaluation.ordinary_photographs segue-mini --data ../shared/data --out FILE`.",
    ]
    for number, asked in enumerate(photographs, 1):
        session = model.session([opened(asked, data)])
        lines += ["", f"## {number}. {asked.shows.capitalize()}", "", f"{asked.source}: `{asked.name}`", ""]
        lines += ["| question | answer | marked | right |", "|---|---|---|---|"]
        for question, right in asked.questions:
            answer = session.ask(question)
            lines.append(f"| {question} | {answer.text} | {marked(answer)} | {right} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the document, or print it."""
    parser = argparse.ArgumentParser(description="Ask about twelve ordinary photographs.")
    parser.add_argument("model", help="name or folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of everyday/")
    parser.add_argument("--out", type=Path, help="Markdown file")
    options = parser.parse_args(arguments)
    text = report(load(options.model), options.data)
    if options.out:
        write_atomic(options.out, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
