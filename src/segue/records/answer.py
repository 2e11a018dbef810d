"""Answer of a session: its text, its phrases with masks, and what could not be placed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from segue import masks
from segue.masks import Mask
from segue.protocol import Unplaced
from segue.records.presence import Presence


@dataclass(frozen=True, slots=True, eq=False)
class Grounding:
    """A phrase of an answer and its mask.

    Args:
        phrase: `answer.text[span[0]:span[1]]`.
        span: Character range in the answer's text.
        image_index: 0-based image that the mask lies in.
        mask: Boolean, `[height, width]` of the original image.
        score: Mean foreground probability of the pixels inside the mask, 0 to 1; 0 for an empty mask. How
            sure the decoder is of these pixels, not whether they are the right thing.
        box: `[x, y, width, height]` around the mask in pixels; [0, 0, 0, 0] when it is empty.
        presence: How sure the model is that the thing is there at all; None where nothing said so.
    """

    phrase: str
    span: tuple[int, int]
    image_index: int
    mask: Mask
    score: float
    box: list[float]
    presence: Presence | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; the mask as COCO RLE in `segmentation`, `image_index` from 0.

        `presence` is absent where nothing said so.
        """
        return {
            "phrase": self.phrase,
            "span": list(self.span),
            "image_index": self.image_index,
            "segmentation": masks.encode(self.mask),
            # Python's numbers: `json` refuses NumPy's.
            "bbox": [float(value) for value in self.box],
            "area": masks.area(self.mask),
            "score": float(self.score),
            **({} if self.presence is None else {"presence": self.presence.to_json()}),
        }


@dataclass(frozen=True, slots=True, eq=False)
class GroundedAnswer:
    """A model's answer to one question.

    Args:
        question: As it was asked.
        text: The answer without tags.
        markup: The answer as the model wrote it.
        groundings: Its phrases with masks, in order.
        problems: The `[SEG]` that could not be placed, with reasons.
        image_hws: (height, width) of each image.
        model: Name of the model that answered.
        images: What the images are called: paths, or "image 1".
    """

    question: str
    text: str
    markup: str
    groundings: list[Grounding] = field(default_factory=list)
    problems: list[Unplaced] = field(default_factory=list)
    image_hws: list[tuple[int, int]] = field(default_factory=list)
    model: str = ""
    images: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `answer.json`.

        `images` lists `{path, height, width}`; `groundings` see `Grounding.to_json`; `problems` lists
        `{seg_ordinal, reason, detail, image_index, span}` for each `[SEG]` that got no phrase or no image.
        """
        # A session may know the sizes only (arrays have no names) and some names may be longer than others.
        names = [*self.images, *(f"image {k + 1}" for k in range(len(self.images), len(self.image_hws)))]
        return {
            "question": self.question,
            "text": self.text,
            "markup": self.markup,
            "model": self.model,
            "images": [
                {"path": str(name), "height": int(height), "width": int(width)}
                for name, (height, width) in zip(names, self.image_hws, strict=True)
            ],
            "groundings": [grounding.to_json() for grounding in self.groundings],
            "problems": [
                {
                    "seg_ordinal": problem.seg_ordinal,
                    "reason": problem.reason.value,
                    "detail": problem.detail,
                    "image_index": problem.image_index,
                    "span": list(problem.span),
                }
                for problem in self.problems
            ],
        }
