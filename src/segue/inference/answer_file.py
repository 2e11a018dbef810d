"""The content of `answer.json`: what each field means, and its JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    """Nothing beyond the documented fields, so that a typo cannot pass for data."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OverlayFile(_Part):
    """The picture with its masks drawn in."""

    file: str = Field(description="File name beside answer.json.")
    height: int = Field(ge=1, description="Pixels; smaller than the image only above 4 megapixels.")
    width: int = Field(ge=1, description="Pixels; smaller than the image only above 4 megapixels.")


class ImageEntry(_Part):
    """One image that was asked about, in the order in which the text numbers them."""

    path: str = Field(description='As it was given, or "image N" for a picture without a path.')
    height: int = Field(ge=1, description="Pixels, EXIF orientation applied.")
    width: int = Field(ge=1, description="Pixels, EXIF orientation applied.")
    overlay: OverlayFile | None = Field(default=None, description="Absent when no overlay was written.")


class Segmentation(_Part):
    """A mask as compressed COCO run-length encoding; pycocotools decodes it."""

    size: Annotated[list[int], Field(min_length=2, max_length=2, description="[height, width] of the image.")]
    counts: str = Field(description="COCO's compressed counts.")


class PresenceEntry(_Part):
    """How sure the model is that the thing is there at all."""

    score: float = Field(ge=0, le=1, description="A probability where `calibrated`; else it only ranks.")
    calibrated: bool = Field(description="Whether `segue calibrate` brought it to measured frequencies.")
    mask: float = Field(ge=0, le=1, description="Confidence in the mask: the entry's `score`.")
    text: float | None = Field(
        ge=0, le=1, description="Confidence of the language model in phrase and [SEG]; null where not known."
    )


class GroundingEntry(_Part):
    """A phrase and one mask of it; a phrase with several masks has several entries."""

    phrase: str = Field(min_length=1, description="text[span[0]:span[1]].")
    span: Annotated[
        list[int],
        Field(
            min_length=2,
            max_length=2,
            description="Start and end in `text`, in Unicode code points, end excluded.",
        ),
    ]
    image_index: int = Field(ge=0, description="0-based place in `images`.")
    segmentation: Segmentation = Field(description="The mask at the image's original size; may be empty.")
    bbox: Annotated[
        list[float],
        Field(
            min_length=4,
            max_length=4,
            description="[x, y, width, height] in pixels; zeros for an empty mask.",
        ),
    ]
    area: int = Field(ge=0, description="Pixels of the mask.")
    score: float = Field(ge=0, le=1, description="Mean probability inside the mask; 0 for an empty mask.")
    presence: PresenceEntry | None = Field(
        default=None, description="How sure the model is that the thing is there; absent where none says."
    )


class ProblemEntry(_Part):
    """A `[SEG]` of the markup that got no phrase or no image, hence no mask."""

    seg_ordinal: int = Field(ge=0, description="Its place among all [SEG] of the markup, from 0.")
    reason: str = Field(description="Stable name of the cause, such as missing_identifier.")
    detail: str = Field(description="The cause in a sentence.")
    image_index: int | None = Field(description="0-based image where only the phrase is missing, else null.")
    span: Annotated[list[int], Field(min_length=2, max_length=2, description="Where in `text` it stood.")]


class RegionEntry(_Part):
    """A region that the question pointed at; exactly one of its three forms is there."""

    image_index: int = Field(ge=0, description="0-based place in `images`.")
    segmentation: Segmentation | None = Field(default=None, description="A mask of the image's size.")
    box: list[float] | None = Field(default=None, description="Left, top, right, bottom in pixels.")
    point: list[float] | None = Field(default=None, description="x, y in pixels.")


class AnswerFile(_Part):
    """The content of answer.json."""

    question: str = Field(description="As it was asked.")
    text: str = Field(description="The answer without tags.")
    markup: str = Field(description="The answer as the model wrote it, tags included.")
    model: str = Field(description="Preset name, or the name of the model's folder.")
    images: Annotated[list[ImageEntry], Field(min_length=1, max_length=9)]
    groundings: list[GroundingEntry] = Field(description="In the order of the text.")
    problems: list[ProblemEntry]
    notes: list[str] = Field(description="Oddities that cost no mask, in sentences.")
    finished: bool = Field(description="False when the token budget ended the answer.")
    regions: list[RegionEntry] = Field(
        default_factory=list, description="What the question's markers point at; absent without any."
    )


def answer_schema() -> dict[str, Any]:
    """The JSON Schema of answer.json; shipped as `answer.schema.json` beside this module."""
    schema = AnswerFile.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Segue answer"}
