"""The description of the API: what `/openapi.json` and `/docs` say of requests and answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from segue.inference.answer_file import GroundingEntry, PresenceEntry, ProblemEntry


class _Open(BaseModel):
    """Further fields are let be, as OpenAI's own API does."""

    model_config = ConfigDict(extra="allow")


class RegionInput(_Open):
    """A region that a question points at: exactly one of box, point, segmentation and mask."""

    image_index: int = Field(ge=0, description="0-based number of the image in the conversation.")
    box: Annotated[list[float], Field(min_length=4, max_length=4)] | None = Field(
        default=None, description="[left, top, right, bottom] in pixels of the image, upright."
    )
    point: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="[x, y] in pixels."
    )
    segmentation: dict[str, Any] | None = Field(
        default=None, description="COCO RLE, {size: [height, width], counts: ...}, of the image's size."
    )
    mask: str | None = Field(
        default=None, description="PNG of the image's size in base64 (a data URL is as good), black outside."
    )


class SentBack(_Open):
    """`segue` of an assistant's message, sent back as it came: the conversation goes on from it."""

    groundings: list[dict[str, Any]] | None = Field(
        default=None, description="`span`, `image_index` and `phrase` are read."
    )


class Message(_Open):
    """One message; several user messages in a row are one question."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[str | dict[str, Any]] | None = Field(
        default=None,
        description='A text, or parts: {"type": "text", "text": ...}, {"type": "image_url", "image_url": '
        '{"url": "data:image/png;base64,..."}, "uuid": ...}; with a `uuid` that the server knows, '
        "`image_url` may be null.",
    )
    name: str | None = Field(default=None, description="Written ahead of the text.")
    segue: SentBack | None = None
    regions: list[RegionInput] | None = Field(
        default=None,
        description="What the markers of a user's text point at, in order, such as [this] in "
        '"Find [this] in the other images."',
    )


class StreamOptions(_Open):
    """What a stream tells beside the answer."""

    include_usage: bool | None = None


class ChatRequest(_Open):
    """A chat completion. null is as good as absent; known fields that are not honoured are refused."""

    model: str | None = Field(default=None, description="As GET /v1/models names it.")
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None, description="Greedy without one, and below 0.01."
    )
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: int | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: Literal[1] | None = None


class ImageInfo(BaseModel):
    """A picture of the conversation, in the order in which the answer numbers them."""

    index: int
    uuid: str = Field(description="Send it with `image_url: null` in place of the picture.")
    width: int
    height: int


class Grounding(GroundingEntry):
    """A phrase and one mask of it."""

    index: int = Field(description="Number of the mask in the answer.")


class Problem(ProblemEntry):
    """A mask that was announced and could not be placed."""

    index: int


class Remark(BaseModel):
    """An oddity, in a sentence."""

    index: int
    text: str


class RegionSeen(BaseModel):
    """What the question pointed at, as the mask that was made of it."""

    index: int
    image_index: int
    segmentation: dict[str, Any] = Field(description="COCO RLE.")


class SegueFields(BaseModel):
    """`message.segue`, and in pieces `delta.segue`: each item of each list once and complete."""

    images: list[ImageInfo]
    groundings: list[Grounding]
    problems: list[Problem]
    notes: list[Remark]
    regions: list[RegionSeen]


class AnswerMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"]
    content: str
    refusal: None
    segue: SegueFields


class Choice(BaseModel):
    """The one choice."""

    index: int
    message: AnswerMessage
    logprobs: None
    finish_reason: Literal["stop", "length"]


class Usage(BaseModel):
    """Counts of tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatAnswer(BaseModel):
    """A whole chat completion; a stream sends chunks of it as `data:` lines."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class ErrorFields(_Open):
    """An error in OpenAI's form."""

    message: str
    type: str
    param: str | None
    code: str | None
    segue: dict[str, str] = Field(description="summary, expected, found, where, fix.")


class ErrorAnswer(BaseModel):
    """Every status from 400 on."""

    error: ErrorFields


class SegmentationRequest(_Open):
    """A prompt over one to nine pictures, as a form."""

    image: list[Annotated[bytes, Field(json_schema_extra={"format": "binary"})]] = Field(
        description="Picture files; `image[]` is as good."
    )
    prompt: str
    model: str | None = None
    mask_format: Literal["png", "rle"] | None = None
    regions: str | None = Field(
        default=None, description="What markers such as [this] point at: a JSON list as in messages."
    )
    boxes: str | None = Field(default=None, description="Refused: a prompt in words is needed.")
    box_labels: str | None = Field(default=None, description="Refused with `boxes`.")


class MatchRequest(_Open):
    """A mark in one picture, as a form: exactly one of box, point, segmentation and mask."""

    image: list[Annotated[bytes, Field(json_schema_extra={"format": "binary"})]] = Field(
        description="Two to nine picture files, the one with the mark first."
    )
    image_index: int | None = Field(default=None, ge=0, description="Number of the marked one, if not 0.")
    box: str | None = Field(default=None, description="[left, top, right, bottom] in pixels.")
    point: str | None = Field(default=None, description="[x, y] in pixels.")
    segmentation: str | None = Field(default=None, description="COCO RLE as JSON.")
    mask: str | None = Field(
        default=None, description="A picture file of the marked one's size, black outside; or base64 of it."
    )
    threshold: float | None = Field(default=None, ge=0, description="Score from which it is there.")
    model: str | None = None


class MatchEntry(BaseModel):
    """Whether the marked thing is in one picture, and where."""

    image_index: int
    path: str
    score: float = Field(description="0 for nothing alike, about 1 for the marked thing itself.")
    is_there: bool
    segmentation: dict[str, Any] | None = Field(description="COCO RLE; null where it is not there.")
    bbox: list[float] | None = Field(description="[x, y, width, height] in pixels.")
    area: int


class MatchResult(BaseModel):
    """The content of `match.json`, and the same in words."""

    created: int
    text: str
    model: str
    threshold: float
    region: dict[str, Any] = Field(description="The mark: as it was given, and its mask as COCO RLE.")
    matches: list[MatchEntry] = Field(description="Of every other picture, in order.")


class Segment(BaseModel):
    """One mask."""

    mask: str | dict[str, Any] = Field(description="PNG in base64, or COCO RLE.")
    score: float
    box: list[float] = Field(description="[x1, y1, x2, y2] in pixels.")
    image_index: int
    phrase: str
    area: int
    presence: PresenceEntry | None = Field(
        default=None, description="How sure the model is that the thing is there; says if it is calibrated."
    )


class SegmentationAnswer(BaseModel):
    """All masks of all pictures."""

    created: int
    model: str
    data: list[Segment]
    text: str = Field(description="The answer that the masks belong to.")
    usage: Usage


_REQUESTS = (ChatRequest, SegmentationRequest, MatchRequest)
_ANSWERS = (ChatAnswer, SegmentationAnswer, MatchResult, ErrorAnswer)


def component_schemas() -> dict[str, Any]:
    """All of these, for `components.schemas`."""
    wanted: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        *((model, "validation") for model in _REQUESTS),
        *((model, "serialization") for model in _ANSWERS),
    ]
    _, schema = models_json_schema(wanted, ref_template="#/components/schemas/{model}")
    found: dict[str, Any] = schema["$defs"]
    return found


def described(
    answer: type[BaseModel] | None, request: type[BaseModel] | None = None, media: str = "application/json"
) -> dict[str, Any]:
    """What a route's description says of its request and answers, for `openapi_extra`."""

    def content(model: type[BaseModel], kind: str = "application/json") -> dict[str, Any]:
        return {"content": {kind: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}}

    error = {"description": "What is wrong, in OpenAI's form", **content(ErrorAnswer)}
    found: dict[str, Any] = {"responses": {"default": error}}
    if answer is not None:
        found["responses"]["200"] = {"description": "The answer", **content(answer)}
    if request is not None:
        found["requestBody"] = {"required": True, **content(request, media)}
    return found
