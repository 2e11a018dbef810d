"""Sessions with models that know one image at a time: each image is asked for itself, the answers are joined.

A `[SEG]` of such a model (Sa2VA) names no image. Shown several, it could not say which one it means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from segue import protocol
from segue.errors import InputError
from segue.images import ImageSource
from segue.inference.answer import SessionAnswer
from segue.inference.image_encoder import ImageEncoder
from segue.inference.regions import Region
from segue.inference.session import GroundingSession
from segue.inference.streaming import Event, MaskReady, PhraseOpened, TextDelta
from segue.masks import Mask
from segue.models.auto import ModelBundle
from segue.protocol import sa2va
from segue.records import Grounding

ASKED_APART = "each image was asked by itself: this model's masks do not name an image"
"""Note of every joined answer."""


class OneByOneSession(GroundingSession):
    """A conversation whose images do not see each other; with one image it is like any session.

    Literal, for two images::

        Image 1: Sure, it is [SEG].
        Image 2: There is no mug.

    Every image has its own turns: its earlier answers are the context of its next one. An image that is added
    later has the turns since then.

    Args:
        see `GroundingSession`.

    Source: ours; Sa2VA's own code draws every `[SEG]` in every picture.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        images: Sequence[ImageSource] | ImageSource,
        *,
        names: Sequence[str] | None = None,
        encoder: ImageEncoder | None = None,
    ) -> None:
        super().__init__(bundle, images, names=names, encoder=encoder)
        self._sessions: list[GroundingSession] = []
        # Answers about several images -> the answers about each; one about a single image is its own.
        self._parts: dict[SessionAnswer, list[SessionAnswer]] = {}

    @property
    def batches(self) -> bool:
        """Whether it can be asked together with others: about one image alone."""
        return len(self.images) == 1

    @property
    def images_shown(self) -> int:
        """Images that the model is shown at a time."""
        return 1

    def _ask(
        self,
        text: str,
        max_new_tokens: int,
        options: dict[str, Any],
        tell: Callable[[Event], None] | None,
        draws: bool = False,
        regions: tuple[Region, ...] = (),
    ) -> SessionAnswer:
        if len(self.images) == 1:
            return super()._ask(text, max_new_tokens, options, tell, draws, regions)
        self._check_regions(regions)
        answers: list[SessionAnswer] = []
        for number, session in enumerate(self._each(self._answers)):
            so_far = sa2va.join_answers([answer.text for answer in answers])
            title = ("\n" if answers else "") + sa2va.heading(number)
            part = None
            if tell is not None:
                tell(TextDelta(title))
                part = _Moved(tell, len(so_far) + len(title), number, answers)
            answers.append(session._ask(text, max_new_tokens, options, part, draws))
        joined = self._joined(answers)
        self._answers.append(joined)
        self._parts[joined] = answers
        return joined

    def add_turn(
        self,
        question: str,
        markup: str,
        regions: Sequence[Region] = (),
        seg_masks: Sequence[Mask] | None = None,
    ) -> SessionAnswer:
        """Add a turn whose answer is given, see `GroundingSession.add_turn`.

        Args:
            question: As it would have been asked.
            markup: Under the headings of its images; without any it is context for each of them, as text.
            regions: That the question points at; of the only image.
            seg_masks: See `GroundingSession.add_turn`.
        """
        self._check_regions(regions)
        whole = super().add_turn(question, markup, regions, seg_masks)
        if len(self.images) > 1:
            split = {image: body for image, _, body in sa2va.split_answer(markup, len(self.images))}
            other = whole.text if set(split) == {None} else ""
            # Its own turns, without the new one: `whole` is among the answers by now.
            sessions = self._each(self._answers[:-1])
            self._parts[whole] = [
                session.add_turn(question, split.get(number, other).strip())
                for number, session in enumerate(sessions)
            ]
        return whole

    def undo(self) -> SessionAnswer:
        """Forget the last turn, of every image, and return it; InputError when there is none."""
        answer = super().undo()
        self._parts.pop(answer, None)
        return answer

    def reset(self) -> None:
        """Forget all turns; the images stay encoded."""
        super().reset()
        self._parts.clear()

    def _check_regions(self, regions: Sequence[Region]) -> None:
        if regions and len(self.images) > 1:
            raise InputError(
                "This model is shown one image at a time.",
                expected="regions of the only image",
                found=f"{len(regions)} regions among {len(self.images)} images",
                where="regions",
                fix="ask about one image, or use model.match(images, region)",
            )

    def _each(self, answers: Sequence[SessionAnswer]) -> list[GroundingSession]:
        """A session for each image, with its part of these answers as its turns."""
        for number in range(len(self._sessions), len(self.images)):
            own = GroundingSession(
                self.bundle, [self.images[number]], names=[self.names[number]], encoder=self._encoder
            )
            self._sessions.append(own)
        for number, session in enumerate(self._sessions):
            turns = [self._parts.get(answer, [answer]) for answer in answers]
            session._answers = [parts[number] for parts in turns if number < len(parts)]
        return self._sessions

    def _joined(self, answers: Sequence[SessionAnswer]) -> SessionAnswer:
        """One answer of those about each image."""
        groundings: list[Grounding] = []
        notes = [ASKED_APART]
        for number, answer in enumerate(answers):
            before = sa2va.join_answers([a.text for a in answers[:number]])
            shift = len(before) + len(sa2va.heading(number)) + (1 if before else 0)
            groundings += [_moved(g, shift, number) for g in answer.groundings]
            notes += [f"image {number + 1}: {note}" for note in answer.notes]
        markup = sa2va.join_answers([answer.markup for answer in answers])
        return SessionAnswer(
            question=answers[0].question,
            text=sa2va.join_answers([answer.text for answer in answers]),
            markup=markup,
            groundings=groundings,
            problems=list(protocol.parse(markup, len(answers), self.dialect).unplaced),
            image_hws=self.image_hws,
            model=self.bundle.name,
            images=list(self.names),
            notes=notes,
            finished=all(answer.finished for answer in answers),
            prompt_tokens=sum(answer.prompt_tokens for answer in answers),
            new_tokens=sum(answer.new_tokens for answer in answers),
            pictures=tuple(self.images),
        )


class _Moved:
    """Tells the events of one image's answer as those of the joined answer.

    Args:
        tell: of the joined answer.
        shift: characters that stand before this image's text.
        image: number of the image, from 0.
        before: answers about the images before it.
    """

    def __init__(
        self, tell: Callable[[Event], None], shift: int, image: int, before: Sequence[SessionAnswer]
    ) -> None:
        self._tell, self._shift, self._image = tell, shift, image
        marks = "".join(answer.markup for answer in before)
        self._phrases, self._segs = marks.count(protocol.PHRASE_START), marks.count(protocol.SEG_TOKEN)

    def __call__(self, event: Event) -> None:
        if isinstance(event, PhraseOpened):
            event = PhraseOpened(event.index + self._phrases, event.start + self._shift)
        elif isinstance(event, MaskReady):
            grounding = _moved(event.grounding, self._shift, self._image)
            event = MaskReady(event.index + self._segs, grounding)
        self._tell(event)


def _moved(grounding: Grounding, shift: int, image: int) -> Grounding:
    """A grounding of a single image's answer in the joined one."""
    start, end = grounding.span
    return replace(grounding, span=(start + shift, end + shift), image_index=image)
