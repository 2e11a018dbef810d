"""An answer while it grows: text, phrases and masks as events, each as soon as it is certain."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segue import protocol
from segue.protocol import ParsedGrounding
from segue.records import Grounding

if TYPE_CHECKING:
    # Not at run time: an agent's answers are streamed without torch.
    from segue.inference.answer import SessionAnswer
    from segue.models.generation import PartialAnswer


@dataclass(frozen=True)
class TextDelta:
    """A further piece of the clean text; all pieces joined are the answer's text."""

    text: str


@dataclass(frozen=True)
class PhraseOpened:
    """A grounded phrase begins; its words follow as text.

    Attributes:
        index: 0-based number of the phrase in the answer.
        start: Its first character in the clean text.
    """

    index: int
    start: int


@dataclass(frozen=True)
class MaskReady:
    """A mask is drawn.

    Attributes:
        index: Number of the `[SEG]` in the answer, 0-based. Several may belong to one phrase.
        grounding: As it will stand in the answer.
    """

    index: int
    grounding: Grounding


@dataclass(frozen=True)
class Done:
    """The whole answer, which is now part of the history."""

    answer: SessionAnswer


Event = TextDelta | PhraseOpened | MaskReady | Done


class Cancelled(Exception):
    """Nobody listens any more: generation stops at the next token, and the turn is forgotten."""


class AnswerWatcher:
    """Looks at an answer after every token and tells what became certain with it.

    Args:
        decode: Ids to markup.
        num_images: How many the conversation shows.
        dialect: Of the markup.
        tell: Called with each event.
        draw: Draws one mask; None where masks are not wanted before the end.
    """

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        num_images: int,
        dialect: str,
        tell: Callable[[Event], None],
        draw: Callable[[ParsedGrounding, PartialAnswer], Grounding] | None = None,
    ) -> None:
        self._decode = decode
        self._num_images, self._dialect = num_images, dialect
        self._tell, self._draw = tell, draw
        self._sent, self._phrases = "", 0
        self.drawn: dict[int, Grounding] = {}
        """Masks by the number of their `[SEG]`; the final answer takes them over."""

    def token(self, partial: PartialAnswer) -> None:
        """Take the answer as it stands after one more token."""
        parsed, markup = self._parsed(partial.ids)
        # What could still change is held back: blanks before a tag, half a character.
        self._send(parsed.text.rstrip("\ufffd").rstrip())
        # A dialect has one of the two.
        opened = markup.count(protocol.PHRASE_START) + markup.count(protocol.OBJ_TOKEN)
        while self._phrases < opened:
            self._tell(PhraseOpened(self._phrases, len(self._sent)))
            self._phrases += 1
        for found in parsed.groundings:
            number = found.seg_ordinal
            if self._draw is None or number in self.drawn or not partial.knows(number):
                continue
            self.drawn[number] = self._draw(found, partial)
            self._tell(MaskReady(number, self.drawn[number]))

    def end(self, ids: list[int]) -> None:
        """Send the rest of the text."""
        self._send(self._parsed(ids)[0].text)

    def _parsed(self, ids: list[int]) -> tuple[Any, str]:
        # All of it each time: a new token can change what stood before it (half a character, half a tag).
        markup = self._decode(ids)
        return protocol.parse(markup, self._num_images, self._dialect), markup

    def _send(self, text: str) -> None:
        # What was sent cannot be taken back.
        if text.startswith(self._sent) and len(text) > len(self._sent):
            self._tell(TextDelta(text[len(self._sent) :]))
            self._sent = text


def events_of(run: Callable[[Callable[[Event], None]], SessionAnswer]) -> Iterator[Event]:
    """Events of a call that tells them one by one, while it runs in a thread of its own.

    Args:
        run: Gets the function to tell events with; returns the whole answer.

    Yields:
        The events, and `Done` at the end. Closing the iterator earlier stops the call at its next event.

    Raises:
        Whatever `run` raises, in the thread that listens.
    """
    events: queue.Queue[Event | BaseException] = queue.Queue()
    left = threading.Event()

    def tell(event: Event) -> None:
        if left.is_set():
            raise Cancelled
        events.put(event)

    def work() -> None:
        try:
            events.put(Done(run(tell)))
        except BaseException as error:  # told where somebody listens, KeyboardInterrupt included
            events.put(error)

    thread = threading.Thread(target=work, name="segue-answer", daemon=True)
    thread.start()
    try:
        while True:
            event = events.get()
            if isinstance(event, BaseException):
                raise event
            yield event
            if isinstance(event, Done):
                return
    finally:
        left.set()
        # The next turn must not meet this one still at work on the same cache.
        thread.join()
