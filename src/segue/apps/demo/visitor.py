"""One visitor: pictures, model and conversation, which no other visitor sees.

Nothing here knows of Gradio: the page calls a visitor's verbs, and shows its `turns` and `pictures`.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from segue.apps.demo.pictures import Picture, load_pictures
from segue.errors import InputError
from segue.inference.inputs import check_question
from segue.inference.regions import Region
from segue.inference.streaming import Done, MaskReady, PhraseOpened, TextDelta
from segue.protocol import markers

if TYPE_CHECKING:
    from collections.abc import Generator

    from segue.inference.answer import SessionAnswer
    from segue.inference.loaded_model import LoadedModel
    from segue.inference.session import GroundingSession
    from segue.inference.streaming import Event
    from segue.records import Grounding

LONGEST_QUESTION = 2000
FIND = "Find this in the other images."
"""What a turn says that looks for the mark."""


class Models:
    """The models named at the start, each asked by one visitor at a time.

    Args:
        loaded: Name -> model; the first is where visitors begin.
    """

    def __init__(self, loaded: Mapping[str, LoadedModel]) -> None:
        self._loaded = dict(loaded)
        # A model's hooks know one generation at a time.
        self._asked = {name: threading.Lock() for name in loaded}

    @property
    def names(self) -> list[str]:
        """As visitors see them."""
        return list(self._loaded)

    def __getitem__(self, name: str) -> LoadedModel:
        if name not in self._loaded:
            raise InputError(
                "There is no such model here.", expected=", ".join(self._loaded), found=repr(name)[:80],
                where="the model", fix="choose one of these",
            )  # fmt: skip
        return self._loaded[name]

    def asked(self, name: str) -> threading.Lock:
        """Lock that is held while a model answers."""
        return self._asked[name]


@dataclass
class Turn:
    """A question and its answer, as far as it has grown.

    Attributes:
        question: As it was asked.
        text: The clean text so far.
        groundings: Masks so far, in the order in which they came.
        opened: Where a phrase began whose mask is not there yet; None when there is none.
        notes: What to know about the answer.
        answer: The whole of it; None while it grows, and where it was stopped.
        is_match: A marked thing was looked for: the model's session knows nothing of it.
    """

    question: str
    text: str = ""
    groundings: list[Grounding] = field(default_factory=list)
    opened: int | None = None
    notes: list[str] = field(default_factory=list)
    answer: SessionAnswer | None = None
    is_match: bool = False

    def take(self, event: Event) -> None:
        """Grow by an event of `GroundingSession.stream`."""
        if isinstance(event, TextDelta):
            self.text += event.text
        elif isinstance(event, PhraseOpened):
            self.opened = event.start
        elif isinstance(event, MaskReady):
            self.groundings.append(event.grounding)
            self.opened = None
        else:
            self._finish(event)

    def _finish(self, done: Done) -> None:
        self.answer = done.answer
        self.text, self.groundings = done.answer.text, list(done.answer.groundings)
        self.opened = None
        self.notes = [problem.detail for problem in done.answer.problems] + list(done.answer.notes)


class Visitor:
    """What one visitor has given and been told.

    Args:
        models: Those that may be chosen.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        self.key = secrets.token_urlsafe(18)
        """Names the download of this visitor; cannot be guessed."""
        self.model = models.names[0]
        self.pictures: list[Picture] = []
        self.turns: list[Turn] = []
        self.mark: Region | None = None
        """A box or a point in one of the pictures."""
        self._session: GroundingSession | None = None
        self._working = threading.Lock()
        self._stopped = threading.Event()

    def __deepcopy__(self, memo: Any) -> Visitor:
        """A visitor who has done nothing yet: each new one begins as a copy of the first."""
        return Visitor(self.models)

    @property
    def answers(self) -> list[SessionAnswer]:
        """The answers so far, oldest first."""
        return [turn.answer for turn in self.turns if turn.answer is not None]

    # ---- what a visitor does -----------------------------------------------------------------------------

    def add(self, paths: Sequence[str | Path]) -> str:
        """Add pictures, also in the middle of a conversation; says so.

        Raises:
            InputError: See `load_pictures`; nothing is added then.
        """
        with self._at_work():
            self.take(load_pictures(paths, self.pictures))
            first, last = len(self.pictures) - len(paths) + 1, len(self.pictures)
            return f"Image {first} added." if first == last else f"Images {first} to {last} added."

    def take(self, pictures: Sequence[Picture]) -> None:
        """Add pictures that are loaded."""
        for picture in pictures:
            if self._session is not None:
                self._session.add_image(picture.image, picture.name)
            self.pictures.append(picture)

    def point(self, number: int, at: Sequence[float]) -> str:
        """Mark a thing in a picture, in the place of what was marked before; says so.

        Args:
            number: Of the picture, from 1.
            at: x and y of a point, or left, top, right and bottom of a box, in pixels of the picture.

        Raises:
            InputError: No such picture, or it lies outside.
        """
        form = "point" if len(at) == 2 else "box"
        if not 1 <= number <= len(self.pictures):
            raise InputError(
                "There is no such picture.", expected=f"one of the {len(self.pictures)} pictures",
                found=f"image {number}", where="the mark", fix="count the pictures as they are numbered",
            )  # fmt: skip
        region = Region(image_index=number - 1, **{form: [float(value) for value in at]})
        self.mark = region.checked([(p.image.height, p.image.width) for p in self.pictures], "the mark")
        return f"Marked a {form} in image {number}."

    def unmark(self) -> str:
        """Take the mark away; says so."""
        was, self.mark = self.mark, None
        return "The mark is gone." if was is not None else "Nothing is marked."

    def ask(self, question: str) -> Iterator[None]:
        """Ask, and go on whenever the last of `turns` has grown.

        A marker such as [this] in the question means what is marked. A question that fails, or that nobody
        waits for any more, leaves no turn.

        Raises:
            InputError: No pictures, an empty or endless question, a conversation that is too long, more
                markers than the mark, or a model that reads no marks.
        """
        with self._at_work():
            self._stopped.clear()
            session = self._ready(question)
            regions = self._meant(question)
            with self._growing(Turn(question)) as turn:
                yield
                with self.models.asked(self.model), closing(_events(session, question, regions)) as events:
                    for event in events:
                        if self._stopped.is_set() and not isinstance(event, Done):
                            break
                        turn.take(event)
                        yield

    def find(self) -> Iterator[None]:
        """Look for what is marked in the other pictures, with any model; goes on as `ask` does.

        Raises:
            InputError: Nothing is marked, or there is no other picture.
        """
        with self._at_work():
            mark, images = self.mark, [picture.image for picture in self.pictures]
            if mark is None or len(images) < 2:
                found = "no mark" if mark is None else "one picture"
                raise InputError(
                    "There is nothing to find.", expected="a mark, and two pictures or more", found=found,
                    where="the mark", fix="drag a box around a thing, or drop another picture",
                )  # fmt: skip
            with self._growing(Turn(FIND, is_match=True)) as turn:
                yield
                names = [picture.name for picture in self.pictures]
                with self.models.asked(self.model):
                    turn.take(Done(self.models[self.model].match(images, mark, names=names)))
                yield

    @contextmanager
    def _growing(self, turn: Turn) -> Iterator[Turn]:
        """A turn that stays only if it comes to an answer."""
        self.turns.append(turn)
        try:
            yield turn
        finally:
            if turn.answer is None:
                self.turns.remove(turn)

    def stop(self) -> None:
        """End the answer that grows, at its next word."""
        self._stopped.set()

    def undo(self) -> str:
        """Forget the last question and its answer; returns the question."""
        with self._at_work():
            if not self.turns:
                return ""
            turn = self.turns.pop()
            if not turn.is_match and self._session is not None:
                self._session.undo()
            return turn.question

    def choose(self, model: str) -> str:
        """Go on with another model, from the beginning of the conversation; says so."""
        with self._at_work():
            self.models[model]  # refuses what was not named at the start
            forgotten = f" The conversation with {self.model} is over." if self.turns else ""
            self.model, self._session, self.turns = model, None, []
            return f"{model} answers now.{forgotten}"

    def start_over(self) -> None:
        """Forget pictures and conversation."""
        with self._at_work():
            self._session, self.pictures, self.turns, self.mark = None, [], [], None

    def _meant(self, question: str) -> tuple[Region, ...]:
        """The mark, where the question has a marker for it."""
        if self.mark is None or not markers(question):
            return ()
        if not self.models[self.model].takes_regions:
            raise InputError(
                f"{self.model} reads no marks in questions.", expected="words without brackets",
                found=question[:80], where="the question",
                fix="find the marked thing in the other pictures, or ask in words",
            )  # fmt: skip
        return (self.mark,)

    # ---- inside ------------------------------------------------------------------------------------------

    def _ready(self, question: str) -> GroundingSession:
        check_question(question)
        if len(question) > LONGEST_QUESTION:
            raise InputError(
                "The question is too long.", expected=f"at most {LONGEST_QUESTION} characters",
                found=str(len(question)), where="the question", fix="say it in fewer words",
            )  # fmt: skip
        if not self.pictures:
            raise InputError(
                "There is no picture to ask about.", expected="one to eight", found="none",
                where="the pictures", fix="drop some, or take an example",
            )  # fmt: skip
        if self._session is None:
            names = [picture.name for picture in self.pictures]
            images = [picture.image for picture in self.pictures]
            self._session = self.models[self.model].session(images, names=names)
        return self._session

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """One thing at a time: a conversation must not change under an answer that grows."""
        if not self._working.acquire(blocking=False):
            raise InputError(
                "An answer is still growing.", expected="one thing at a time", found="two",
                where="this conversation", fix="wait for it, or stop it",
            )  # fmt: skip
        try:
            yield
        finally:
            self._working.release()


def _events(
    session: GroundingSession, question: str, regions: Sequence[Region]
) -> Generator[Event, None, None]:
    """An answer as it grows. Typed as an iterator, which cannot be closed, it is a generator."""
    return cast("Generator[Event, None, None]", session.stream(question, regions=regions))
