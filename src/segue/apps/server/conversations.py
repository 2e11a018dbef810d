"""Conversations kept by the content of their pictures: what was read once is not read again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING

from segue.apps.server.past_answers import PastAnswer
from segue.apps.server.pictures import Picture
from segue.apps.server.regions import Pointed

if TYPE_CHECKING:
    from segue.inference.loaded_model import LoadedModel
    from segue.inference.session import GroundingSession

_MOST_PIXELS = 100_000_000
"""Of the pictures of all kept conversations: 300 MB."""


class Conversations:
    """Sessions of one model, found by the pictures that they show.

    What a session has read is compared token by token with each new prompt, so any session about the same
    pictures gives the right answer; the one whose history is that of the request gives it soonest. Used by
    one thread.

    Args:
        model: To ask.
        most: Sessions that are kept.
    """

    def __init__(self, model: LoadedModel, most: int) -> None:
        self._model, self._most = model, most
        self._numbers = count()
        # Pictures and questions; the number keeps equal ones apart.
        self._kept: OrderedDict[tuple[int, tuple[str, ...], tuple[str, ...]], GroundingSession] = (
            OrderedDict()
        )

    def take(
        self, pictures: Sequence[Picture], turns: Sequence[tuple[str, PastAnswer]], pointed: Pointed = ()
    ) -> GroundingSession:
        """A session with these pictures and this history, which is the caller's until it is given back.

        Args:
            pictures: Of the conversation.
            turns: Questions and answers, oldest first.
            pointed: What each question points at, the next one's too; empty where none does.

        Raises:
            ApiError: An earlier answer's groundings do not fit.
        """
        session = self._found(pictures, turns)
        if session is None:
            names = [f"image {k + 1}" for k in range(len(pictures))]
            session = self._model.session([picture.image for picture in pictures], names=names)
        else:
            for picture in pictures[len(session.images) :]:
                session.add_image(picture.image)
        session.reset()
        for (question, answer), regions in zip(turns, pointed or ((),) * len(turns), strict=False):
            session.add_turn(question, answer.markup(session.dialect, len(pictures)), regions)
        return session

    def give_back(self, session: GroundingSession, pictures: Sequence[Picture]) -> None:
        """Keep a session for the next turn; not one whose answer failed or was given up."""
        content = tuple(picture.content for picture in pictures)
        asked = tuple(answer.question for answer in session.history)
        self._kept[next(self._numbers), content, asked] = session
        while len(self._kept) > self._most or (len(self._kept) > 1 and self._pixels() > _MOST_PIXELS):
            self._kept.popitem(last=False)

    def _pixels(self) -> int:
        return sum(h * w for session in self._kept.values() for h, w in session.image_hws)

    def _found(
        self, pictures: Sequence[Picture], turns: Sequence[tuple[str, PastAnswer]]
    ) -> GroundingSession | None:
        content = tuple(picture.content for picture in pictures)
        asked = tuple(question for question, _ in turns)

        def fits(key: tuple[int, tuple[str, ...], tuple[str, ...]]) -> tuple[int, int, int]:
            number, shown, questions = key
            same = 0
            while same < min(len(questions), len(asked)) and questions[same] == asked[same]:
                same += 1
            return len(shown), same, number

        keys = [key for key in self._kept if key[1] == content[: len(key[1])]]
        return self._kept.pop(max(keys, key=fits)) if keys else None
