"""The agent's tool for regions: what a small grounded model matches, told to the chat model in words.

A chat model takes no masks. What a user marks is named to it by a box, and what looks like it in the other
images is found beforehand and told too: it may rely on it or not. Masks of the answer are SAM's, as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from segue import masks
from segue.agent.boxes import to_thousand
from segue.inference.loaded_model import LoadedModel
from segue.inference.regions import as_region
from segue.models import auto
from segue.protocol import mark_question, parse_question

if TYPE_CHECKING:
    from PIL import Image

MATCHER = "segue-mini"
"""Model whose features say what looks alike; part of the package, and small."""


@cache
def matcher() -> LoadedModel:
    """The model that finds what looks like a region, loaded once for all agents."""
    bundle = auto.load(MATCHER)
    return LoadedModel(bundle.model, bundle.processor, bundle.name, bundle.path)


def told(question: str, regions: Sequence[Any], images: Sequence[Image.Image]) -> str:
    """A question with its regions in words: where each lies, and what the tool found in the other images.

    Literal: "Find [this]." with a box in the first of two images becomes "Find this (in image 1, box [100,
    50, 400, 600])." and a line "What looks like it: in image 2, box [...], score 0.81." Boxes count as the
    agent's instructions say, from 0 to 1000.

    Args:
        question: With a marker for each region.
        regions: See `as_region`.
        images: RGB, of the conversation.

    Raises:
        InputError: Regions that do not fit the markers or the images.
    """
    hws = [(image.height, image.width) for image in images]
    checked = [as_region(region).checked(hws, f"regions.{k}") for k, region in enumerate(regions)]
    places = parse_question(mark_question(question, [r.image_index for r in checked]), len(images))
    text, lines, done, said = "", list[str](), 0, iter(checked)
    for place in places.regions:
        text += places.text[done : place.end]
        done = place.end
        for _ in place.image_indices:
            region = next(said)
            answer = matcher().match(list(images), region)
            assert answer.mark is not None
            box = _box(answer.mark, hws[region.image_index])
            text += f" (in image {region.image_index + 1}, box {box})"
            found = [
                f"in image {m.image_index + 1}, box {_box(m.mask, hws[m.image_index])}, score {m.score:.2f}"
                if m.is_there
                else f"nothing in image {m.image_index + 1}, score {m.score:.2f}"
                for m in answer.matches
            ]
            if found:
                lines.append(
                    f"What looks like box {box} of image {region.image_index + 1}: {'; '.join(found)}."
                )
    return "\n".join([text + places.text[done:], *lines])


def _box(mask: masks.Mask, hw: tuple[int, int]) -> list[int]:
    x, y, width, height = masks.box(mask)
    return to_thousand((x, y, x + width, y + height), hw)
