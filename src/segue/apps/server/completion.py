"""An answer as OpenAI's chat completion: whole, or in chunks."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segue.apps.server.pictures import Picture
from segue.records import Grounding

if TYPE_CHECKING:
    from segue.inference.answer import SessionAnswer


class Completion:
    """Identity of one completion, the same in all its chunks.

    Args:
        model: Name of the model.
        pictures: Of the conversation.
    """

    def __init__(self, model: str, pictures: Sequence[Picture]) -> None:
        self._model, self._pictures = model, pictures
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())

    def whole(
        self, text: str, groundings: dict[int, Grounding], answer: SessionAnswer, cut: bool
    ) -> dict[str, Any]:
        """A completion that is not streamed.

        Args:
            text: Of the answer, up to a stop text.
            groundings: By the number of their mask.
            answer: As the session gave it.
            cut: Whether a stop text ended it.
        """
        segue = {
            "images": self.images(),
            "groundings": [grounding_entry(k, g) for k, g in sorted(groundings.items())],
            **self.remarks(answer),
        }
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None, "segue": segue},
            "logprobs": None,
            "finish_reason": finish_reason(answer, cut),
        }
        return self._frame("chat.completion") | {"choices": [choice], "usage": usage_of(answer)}

    def chunk(
        self, delta: dict[str, Any], finish: str | None = None, with_usage: bool = False
    ) -> dict[str, Any]:
        """One chunk of a stream; `usage` is null in all but the last where it was asked for."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if with_usage else {}
        return self._frame("chat.completion.chunk") | {"choices": [choice]} | usage

    def usage_chunk(self, answer: SessionAnswer) -> dict[str, Any]:
        """The last chunk, where usage was asked for."""
        return self._frame("chat.completion.chunk") | {"choices": [], "usage": usage_of(answer)}

    def images(self) -> list[dict[str, Any]]:
        """The pictures as the answer numbers them, with names under which the server finds them again."""
        return [
            {"index": k, "uuid": p.uuid, "width": p.image.width, "height": p.image.height}
            for k, p in enumerate(self._pictures)
        ]

    def remarks(self, answer: SessionAnswer) -> dict[str, Any]:
        """What could not be placed, oddities, what was pointed at; items of lists, as deltas have to be."""
        notes = [note for picture in self._pictures for note in picture.notes] + answer.notes
        problems = answer.to_json()["problems"] if answer.problems else []
        return {
            "problems": [{"index": k, **problem} for k, problem in enumerate(problems)],
            "notes": [{"index": k, "text": note} for k, note in enumerate(notes)],
            "regions": [{"index": k, **region.to_json()} for k, region in enumerate(answer.regions)],
        }

    def _frame(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self._created, "model": self._model}


def finish_reason(answer: SessionAnswer, cut: bool) -> str:
    """Why the answer ended: "stop", or "length" where its budget did it."""
    return "stop" if cut or answer.finished else "length"


def usage_of(answer: SessionAnswer) -> dict[str, int]:
    """Counts of tokens, those of images and of masks' tags included."""
    shown, new = answer.prompt_tokens, answer.new_tokens
    return {"prompt_tokens": shown, "completion_tokens": new, "total_tokens": shown + new}


def grounding_entry(number: int, grounding: Grounding) -> dict[str, Any]:
    """A grounding with the number of its mask in the answer."""
    return {"index": number, **grounding.to_json()}


def numbered(answer: SessionAnswer) -> dict[int, Grounding]:
    """Groundings by the number of their mask, as it is counted while an answer is streamed."""
    lost = {problem.seg_ordinal for problem in answer.problems}
    places = (k for k in range(len(lost) + len(answer.groundings)) if k not in lost)
    return dict(zip(places, answer.groundings, strict=True))


class Stops:
    """Text of an answer up to the first of some stop texts.

    Args:
        stops: Texts; none lets everything through.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._text = ""
        self._sent = 0
        self.hit = False

    @property
    def length(self) -> int:
        """Characters that were let through."""
        return self._sent

    def push(self, piece: str) -> str:
        """Take a piece; returns what is certain not to belong to a stop text."""
        if self.hit:
            return ""
        self._text += piece
        # A stop text may begin in what was held back.
        found = [(k + len(stop), k) for stop in self._stops if (k := self._text.find(stop, self._sent)) >= 0]
        if found:
            self.hit = True
            # The one that is complete first, as if each character had come alone.
            self._text = self._text[: min(found)[1]]
            return self._upto(len(self._text))
        longest = max((len(stop) for stop in self._stops), default=1)
        for held in range(min(longest - 1, len(self._text) - self._sent), 0, -1):
            if any(stop.startswith(self._text[-held:]) for stop in self._stops):
                return self._upto(len(self._text) - held)
        return self._upto(len(self._text))

    def rest(self) -> str:
        """What was held back, at the end."""
        return "" if self.hit else self._upto(len(self._text))

    def _upto(self, end: int) -> str:
        piece = self._text[self._sent : end]
        self._sent = max(end, self._sent)
        return piece
