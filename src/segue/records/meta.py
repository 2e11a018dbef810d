"""Notes that builders leave in a record's `meta`: which keys there are, and how a reader takes them.

`meta` is free in gconv/1, so none of this is enforced when a file is read: keys that are not listed here are
kept, and a listed key that holds another type is kept too and used by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict


class TurnMeta(TypedDict, total=False):
    """Notes about one answer; the evaluation breaks its numbers down by them."""

    kind: str
    """Kind of question, such as `functional` or `comparison`."""
    level: str
    """`object`, or `part` when the answer names parts of objects."""
    needs_images: bool
    """False when the conversation alone fixes which phrases the answer names."""
    template: str
    """Wording that the question was made from."""
    is_follow_up: bool
    """Whether the question makes sense only after the turn before."""


class SamplingMeta(TypedDict):
    """How M4SEG came to show these images together."""

    criterion: str
    """`nn` (nearest neighbours) or `category`."""
    anchor: int
    """The image that the others were found for, from 1."""
    distances: list[float]
    """Distance of every image to the anchor, in feature space."""
    classes: list[str]
    """Classes that the images have in common, with the criterion `category`."""


class Meta(TurnMeta, total=False):
    """Notes about a record; those of `TurnMeta` hold for every answer that `turns` does not speak of."""

    turns: list[TurnMeta]
    """One entry for each answer, in order."""
    generator: str
    """Who wrote the text: `template`, `rules`, `chat model`, or a model's name."""

    # Own data.
    drawn_from: str
    """Name of the annotations that `segue data own` asked about."""

    # Scenes.
    wording: str
    """Ways of asking: `seen`, `unseen` or `all`."""

    # M4SEG.
    sampling: SamplingMeta
    raw_question: str
    """As generated, with the identifiers of regions in the text."""
    raw_answer: str
    raw_follow_ups: list[dict[str, str]]
    """Question and answer of each later exchange, as generated."""
    question_refs: list[dict[str, Any]]
    """Regions that the question names: `start`, `end` and `codes` of each phrase."""

    # PRIST.
    focus: str
    """Target that the dialogue ends in; the phrase of the last mask."""
    img_id: str
    """File name of the image in the release."""
    answers: str
    """Form of the last answer of a released dialogue: `named` or `plain`."""
    question: str
    """The question that the path through the reasoning tree answers."""
    rating: float
    thoughts: list[str]
    """Thoughts on the way from the root to the leaf."""
    leaf: str
    tree: dict[str, Any]
    """The whole reasoning tree."""
    steps: list[str]
    """Step that each exchange of a dialogue made by rule takes."""
    named_before: bool
    """Whether an answer has named the target before the last one."""
    masks: str
    """Where the mask comes from: `annotated`, or what drew it."""

    # Data that people bring.
    is_sentence: bool
    """ReasonSeg: whether `text` is a question rather than an expression."""
    text: str
    """Question or expression of the file."""
    texts: list[str]
    """RefCOCO: the expressions that are asked for, in order."""


_TYPES: dict[str, type] = {
    "kind": str, "level": str, "needs_images": bool, "template": str, "is_follow_up": bool
}  # fmt: skip


def turn_meta(meta: Mapping[str, Any], number: int) -> TurnMeta:
    """Collect what is noted about one answer: in `turns`, or else about the record as a whole.

    `{"kind": "spatial", "turns": [{"level": "part"}]}` notes about answer 0 a spatial question about a part.

    Args:
        meta: Of a record, as its file has it.
        number: The answer, 0-based.

    Returns:
        The notes of a known name and type; empty where there are none.

    Source: paper silent; ours.
    """
    turns = meta.get("turns")
    noted = turns[number] if isinstance(turns, list) and number < len(turns) else None
    own = noted if isinstance(noted, Mapping) else {}
    found: TurnMeta = {}
    for name, type_ in _TYPES.items():
        for source in (meta, own):
            if isinstance(source.get(name), type_):
                found[name] = source[name]  # type: ignore[literal-required]  # names of `TurnMeta`
    return found
