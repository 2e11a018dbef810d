"""The training-free backend: a chat model says what is where, SAM draws it; the same sessions and answers.

This is the paper's "post-hoc grounding": the model's own boxes are given to SAM. It needs no weights of ours
and answers as well as the chat model behind the address does.

Source: the newer version of PRIMA, its baseline table (boxes of general models given to SAM); the prompts,
the reading of replies and the verify step are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch

from segue.agent.address import PREFIX, AgentSettings, read_address
from segue.agent.box_masks import BoxFiller, SamMaskMaker, load_mask_maker
from segue.agent.likeness import matcher, told
from segue.agent.turn import AgentAnswer, AgentTurn
from segue.chat_model import ChatModel, OpenAIChatModel, RetryPolicy
from segue.errors import InputError
from segue.images import ImageSource
from segue.inference.answer import SessionAnswer
from segue.inference.inputs import MAX_NEW_TOKENS, check_budget, check_question
from segue.inference.loaded_model import LoadedModel
from segue.inference.matching import MatchAnswer
from segue.inference.regions import Region
from segue.inference.session import GroundingSession
from segue.inference.streaming import Event, MaskReady, TextDelta, events_of
from segue.masks import Mask

_SAMPLING = ("temperature", "top_p", "seed")


@dataclass
class AgentModel(LoadedModel):
    """A chat model and a SAM that are asked like any model.

    `model` is what runs here, the SAM (None of it with `sam=none`), and `processor` what drives it; the chat
    model runs elsewhere.

    Attributes:
        chat: Who answers.
        settings: Options of the address.
    """

    chat: ChatModel = field(kw_only=True)
    settings: AgentSettings = field(kw_only=True)

    @property
    def mask_maker(self) -> SamMaskMaker | BoxFiller:
        """Maker of masks from boxes."""
        return cast(SamMaskMaker, self.processor)

    @property
    def takes_regions(self) -> bool:
        """Always: the chat model is told of them in words."""
        return True

    def match(
        self,
        images: Sequence[ImageSource] | ImageSource,
        region: Region,
        *,
        names: Sequence[str] | None = None,
        threshold: float | None = None,
    ) -> MatchAnswer:
        """Find a marked thing in the other images, by the small model of `segue.agent.likeness`."""
        return matcher().match(images, region, names=names, threshold=threshold)

    def session(
        self, images: Sequence[ImageSource] | ImageSource, *, names: Sequence[str] | None = None
    ) -> AgentSession:
        """Start a conversation about 1 to 9 images; see `AgentSession`."""
        return AgentSession(self, images, names=names)


def agent(
    chat: ChatModel, mask_maker: SamMaskMaker | BoxFiller, settings: AgentSettings | None = None
) -> AgentModel:
    """Put an agent together from parts: any `ChatModel`, also a recording.

    Args:
        chat: Who answers.
        mask_maker: From `load_mask_maker`.
        settings: The defaults, unless given; its `url`, `model` and `sam` are not looked at.
    """
    part: Any = mask_maker.sam if isinstance(mask_maker, SamMaskMaker) else mask_maker
    return AgentModel(
        model=part,
        processor=cast(Any, mask_maker),
        name=PREFIX + chat.name,
        chat=chat,
        settings=settings or AgentSettings(""),
    )


def load_agent(
    address: str,
    device: str | torch.device | None = None,
    dtype: torch.dtype | str | None = None,
    quantize: str | None = None,
) -> AgentModel:
    """Load the agent of an address such as "agent:http://localhost:8000/v1?model=NAME&sam=FOLDER".

    Args:
        address: See `segue.agent.address`.
        device: Of SAM.
        dtype: Of SAM; float32 by default.
        quantize: Must be None: the chat model runs elsewhere, and SAM is never quantised.

    Raises:
        InputError: An address that cannot be read. ModelError: no SAM, or several models to choose from.
    """
    settings = read_address(address)
    if quantize is not None:
        raise InputError(
            "An agent cannot be quantised.",
            expected="no quantize",
            found=repr(quantize),
            where="quantize",
            fix="quantise the chat model where it is served",
        )
    retry = RetryPolicy(retries=settings.retries, timeout=settings.timeout)
    # First what is wrong at once, then what takes seconds to load.
    chat = OpenAIChatModel(settings.url, settings.model or None, retry=retry)
    return agent(chat, load_mask_maker(settings.sam, device, dtype), settings)


class AgentSession(GroundingSession):
    """A conversation with an agent about a set of images; everything but `ask` is the parent's.

    Args:
        model: From `segue.load("agent:...")`.
        images: 1 to 9 sources.
        names: What to call the images.
    """

    def __init__(
        self,
        model: AgentModel,
        images: Sequence[ImageSource] | ImageSource,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(model, images, names=names)
        self._turn = AgentTurn(
            model.chat,
            model.mask_maker,
            model.settings,
            model.name,
            self.images,
            self.names,
            model.calibration,
        )

    def add_image(self, image: ImageSource, name: str | None = None) -> int:
        """Add an image to the conversation; the chat model is shown it with the next question."""
        number = super().add_image(image, name)
        self._turn.add_image(self.images[-1], self.names[-1])
        return number

    def add_turn(
        self,
        question: str,
        markup: str,
        regions: Sequence[Any] = (),
        seg_masks: Sequence[Mask] | None = None,
    ) -> SessionAnswer:
        """Add a turn whose answer is given; its regions are told in words, see `ask`."""
        said = told(question, regions, self.images) if regions else question
        return super().add_turn(said, markup, seg_masks=seg_masks)

    @property
    def batches(self) -> bool:
        """Never: a chat model answers one question at a time."""
        return False

    @property
    def dialect(self) -> str:
        """Dialect of the markup; a chat model has no markup of its own."""
        return "prima"

    def ask(
        self,
        text: str,
        *,
        max_new_tokens: int = MAX_NEW_TOKENS,
        stream: Callable[[str], None] | None = None,
        regions: Sequence[Any] = (),
        **generation_options: Any,
    ) -> AgentAnswer:
        """Ask a question; earlier questions and answers of the session are its context.

        Args:
            text: The question, in words.
            max_new_tokens: Budget of the answer's words; the JSON around them has its own (`tokens=`).
            stream: Called once, with the whole text: a reply can be read only when it is complete.
            regions: What markers such as [this] point at. The chat model is told their boxes, and where the
                other images show what looks like them, see `segue.agent.likeness`; the answer's `question`
                says what it was told.
            **generation_options: `temperature`, `top_p`, `seed` for the chat model, `do_sample=False` for
                temperature 0; greedy by default.

        Returns:
            The answer. Also appended to `history`.

        Raises:
            InputError: An empty question or an unknown option. ModelError: no usable answer could be had.
        """
        question = check_question(text)
        check_budget(max_new_tokens)
        sampling = _sampling(generation_options)
        if regions:
            question = told(question, regions, self.images)
        answer = self._turn.answer(question, self._answers, max_new_tokens, sampling)
        if stream is not None:
            stream(answer.text)
        self._answers.append(answer)
        return answer

    def stream(
        self, text: str, *, max_new_tokens: int = MAX_NEW_TOKENS, **generation_options: Any
    ) -> Iterator[Event]:
        """Events of an answer, all of them when it is complete: a reply cannot be read before."""

        def run(tell: Callable[[Event], None]) -> AgentAnswer:
            answer = self.ask(text, max_new_tokens=max_new_tokens, **generation_options)
            tell(TextDelta(answer.text))
            for index, grounding in enumerate(answer.groundings):
                tell(MaskReady(index, grounding))
            return answer

        check_question(text)
        check_budget(max_new_tokens)
        return events_of(run)


def _sampling(options: dict[str, Any]) -> dict[str, float | int]:
    unknown = sorted(set(options) - {*_SAMPLING, "do_sample"})
    if unknown:
        raise InputError(
            "A chat model behind an address does not know this option.",
            expected=", ".join((*_SAMPLING, "do_sample")),
            found=", ".join(unknown),
            where="ask",
            fix="leave it out",
        )
    chosen = {name: options[name] for name in _SAMPLING if name in options}
    # A temperature alone asks for sampling; nothing at all asks for none.
    if not options.get("do_sample", bool(chosen)):
        chosen["temperature"] = 0.0
    return chosen
