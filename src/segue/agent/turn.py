"""One turn of an agent: question -> reply -> boxes -> masks, each mask shown back where that is asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from segue import masks, protocol
from segue.agent.address import AgentSettings
from segue.agent.box_masks import BoxFiller, Drawn, SamMaskMaker
from segue.agent.boxes import Box, BoxUnits, choose_units, family_units, to_pixels, to_thousand
from segue.agent.prompts import prompt
from segue.agent.reply import REPLY_SCHEMA, AgentReply, Pointing, markup_of, read_reply
from segue.agent.verify import MOST_VERIFIED, Judgement, Verdict, judge
from segue.chat_model import ChatModel, ChatReply, Message
from segue.chat_model.json_reply import without_reasoning
from segue.errors import ModelError
from segue.images import content_hash
from segue.inference.answer import SessionAnswer
from segue.records import Grounding
from segue.records.presence import Calibration, presence_of


@dataclass(frozen=True)
class AgentTrace:
    """Account of how an answer came about.

    Attributes:
        replies: What the chat model wrote, verbatim, verdicts included.
        units: How the boxes were counted; None without boxes.
        boxes: The box of each grounding in pixels of its image: left, top, right, bottom.
        requests: HTTP requests, repetitions included.
        tokens: Of prompts and replies, as far as the server counts them.
    """

    replies: tuple[str, ...] = ()
    units: BoxUnits | None = None
    boxes: tuple[Box, ...] = ()
    requests: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class AgentAnswer(SessionAnswer):
    """A session's answer that also tells how it came about."""

    trace: AgentTrace = field(default_factory=AgentTrace, repr=False)


@dataclass
class _Placed:
    """A pointing whose box can be used, and its mask once it is drawn."""

    pointing: Pointing
    image_index: int
    box: Box
    drawn: Drawn | None = None
    dropped: bool = False


class AgentTurn:
    """Answers questions about one set of images; keeps what a session may reuse, and no history.

    Args:
        chat: Who answers.
        mask_maker: Boxes to masks.
        settings: Options.
        name: For answers.
        images: RGB.
        names: What to call them.
        calibration: Of presence scores.
    """

    def __init__(
        self,
        chat: ChatModel,
        mask_maker: SamMaskMaker | BoxFiller,
        settings: AgentSettings,
        name: str,
        images: Sequence[Image.Image],
        names: Sequence[str],
        calibration: Calibration | None = None,
    ) -> None:
        self._chat = chat
        self._calibration = calibration
        self._mask_maker = mask_maker
        self._settings = settings
        self._name = name
        self._images = list(images)
        self._names = list(names)
        self._sent = [shrink(image, settings.side) for image in images]
        self._keys = [content_hash(image) for image in images]
        self._encoded: dict[str, Any] = {}
        self._units = family_units(chat.name)
        # Below 1 after a server has found the images too large for its context.
        self._image_scale = 1.0

    def add_image(self, image: Image.Image, name: str) -> None:
        """Show a further image from the next question on."""
        self._images.append(image)
        self._names.append(name)
        self._sent.append(shrink(image, self._settings.side))
        self._keys.append(content_hash(image))

    @property
    def _hws(self) -> list[tuple[int, int]]:
        return [(image.height, image.width) for image in self._images]

    @property
    def _sent_hws(self) -> list[tuple[int, int]]:
        scale = self._image_scale
        return [(round(image.height * scale), round(image.width * scale)) for image in self._sent]

    def answer(
        self,
        question: str,
        past: Sequence[SessionAnswer],
        max_new_tokens: int,
        sampling: dict[str, float | int],
    ) -> AgentAnswer:
        """Answer one question.

        Args:
            question: In words.
            past: Earlier answers, oldest first.
            max_new_tokens: Budget of the words.
            sampling: For the chat model.

        Raises:
            ModelError: The model cannot be reached, refused without a word, or said nothing twice.
        """
        messages = self._messages(question, past)
        reply, chats = self._converse(messages, max_new_tokens + self._settings.tokens, sampling)
        notes = [*reply.notes, *dict.fromkeys(note for chat in chats for note in chat.notes)]
        # Before boxes are read: "pixels of the sent image" are those of what was sent in the end.
        self._image_scale = chats[-1].image_scale
        units, placed = self._place(reply, notes)
        self._draw(placed)
        judgements = self._verify(placed, reply.text, units, notes) if self._settings.verify else []
        kept = [p for p in placed if not p.dropped]
        # Kept in the markup, so that `parse` counts and reports them as it does for every model.
        unknown = [p for p in reply.pointings if p.image_index(len(self._images)) is None]
        ordered = [p for p in reply.pointings if p in unknown or any(k.pointing is p for k in kept)]
        markup = markup_of(reply.text, ordered)
        parsed = protocol.parse(markup, len(self._images))
        groundings, boxes = _groundings(parsed, ordered, kept, self._calibration)
        if chats[-1].cut_off:
            notes.append("the answer was cut off by the token budget")
        return AgentAnswer(
            question=question,
            text=parsed.text,
            markup=markup,
            groundings=groundings,
            problems=list(parsed.unplaced),
            image_hws=self._hws,
            model=self._name,
            images=list(self._names),
            notes=[note.detail for note in parsed.notes] + notes,
            finished=not chats[-1].cut_off,
            pictures=tuple(self._images),
            trace=AgentTrace(
                replies=(*(c.text or c.refusal for c in chats), *(j.raw for j in judgements)),
                units=units,
                boxes=tuple(boxes),
                requests=sum(c.attempts for c in chats) + len(judgements),
                tokens=sum(sum(c.usage.values()) for c in chats),
            ),
        )

    # ---- asking ------------------------------------------------------------------------------------------

    def _messages(self, question: str, past: Sequence[SessionAnswer]) -> list[Message]:
        """The conversation; instructions and images stand in the first message, the others are words.

        There is no system message: some models' chat templates refuse one.
        """
        number = len(self._images)
        images = "1 image" if number == 1 else f"{number} images"
        opening: list[str | Image.Image] = [prompt("agent_instructions", images=images, number=str(number))]
        for k, image in enumerate(self._sent, start=1):
            opening += [f"Image {k}:", image]
        messages = []
        for earlier in past:
            messages += [
                Message("user", (*opening, earlier.question)),
                Message("assistant", (as_reply(earlier),)),
            ]
            opening = []
        return [*messages, Message("user", (*opening, question))]

    def _converse(
        self, messages: list[Message], max_tokens: int, sampling: dict[str, float | int]
    ) -> tuple[AgentReply, list[ChatReply]]:
        """Ask; once more, with a reminder of the form, when nothing can be read from the reply."""
        chats: list[ChatReply] = []
        words = AgentReply("")
        for _ in range(2):
            chat = self._chat.complete(messages, schema=REPLY_SCHEMA, max_tokens=max_tokens, **sampling)
            chats.append(chat)
            if chat.refusal or chat.finish_reason == "content_filter":
                return self._refused(chat), chats
            reply = read_reply(chat.text, len(self._images), chat.places())
            if reply.is_json and reply.text:
                return reply, chats
            words = reply if reply.text and not words.text else words
            # Characters. A model that went round in circles must not fill the context with it once more.
            said = without_reasoning(chat.text).strip()[:4000] or "(nothing)"
            messages = [
                *messages,
                Message("assistant", (said,)),
                Message("user", (prompt("agent_reminder"),)),
            ]
        if not words.text and chats[-1].reasoning.strip() and not chats[-1].cut_off:
            # A server that takes the whole reply for reasoning: better its words than none.
            words = read_reply(chats[-1].reasoning, len(self._images))
            words = replace(words, notes=(*words.notes, "the words stand in the field for reasoning"))
        if not words.text:
            raise self._silence(chats[-1])
        note = "the reply is not the JSON that was asked for, also after a reminder; its words have no masks"
        return AgentReply(words.text, (), (*words.notes, note), is_json=False), chats

    def _silence(self, chat: ChatReply) -> ModelError:
        thought = f", after {len(chat.reasoning)} characters of reasoning" if chat.reasoning else ""
        why = chat.why_empty or f"{chat.finish_reason}{thought}"
        fix = "ask in other words, look at the server's filters, or use another model"
        if chat.cut_off or not chat.why_empty:
            fix = "give it more room (tokens=4000 in its address), or use another model"
        return ModelError(
            "The chat model said nothing.",
            expected="an answer in words",
            found=f"an empty reply, twice ({why})",
            where=self._name,
            fix=fix,
        )

    def _refused(self, chat: ChatReply) -> AgentReply:
        words = read_reply(chat.refusal or chat.text, len(self._images)).text
        if not words:
            raise ModelError(
                "The chat model refused to answer.",
                expected="an answer",
                found=f"a refusal without words ({chat.finish_reason})",
                where=self._name,
                fix="ask in other words, or use another model",
            )
        return AgentReply(words, (), ("the model refused to answer",), is_json=False)

    # ---- boxes and masks ---------------------------------------------------------------------------------

    def _place(self, reply: AgentReply, notes: list[str]) -> tuple[BoxUnits | None, list[_Placed]]:
        """Decide what the reply's numbers mean, and bring its boxes to pixels."""
        number = len(self._images)
        known = [(p, k) for p in reply.pointings if (k := p.image_index(number)) is not None]
        boxes = [(p.box, k) for p, k in known if p.box is not None]
        units = self._decide(boxes, notes) if boxes else None
        placed = []
        for pointing, k in known:
            phrase = reply.text[slice(*pointing.span)]
            if pointing.box is None or units is None:
                notes.append(f"{phrase!r} has no mask: its box is missing or cannot be read")
            elif box := to_pixels(pointing.box, units, self._sent_hws[k], self._hws[k]):
                placed.append(_Placed(pointing, k, box))
            else:
                numbers = ", ".join(f"{value:g}" for value in pointing.box)
                notes.append(
                    f"{phrase!r} has no mask: less than a pixel of its box ({numbers}) is in the image"
                )
        return units, placed

    def _decide(self, boxes: list[tuple[Box, int]], notes: list[str]) -> BoxUnits:
        if self._settings.boxes is not None:
            return self._settings.boxes
        decision = choose_units(boxes, self._sent_hws, self._hws, self._units)
        # Only what is certain: a guess must not decide how later replies are read.
        if decision.certain:
            self._units = decision.units
        # What was asked for needs no remark.
        if decision.units is not BoxUnits.THOUSAND or decision.note.startswith("boxes fit no"):
            notes.append(decision.note)
        return decision.units

    def _draw(self, placed: Sequence[_Placed]) -> None:
        """Draw what has no mask yet, all boxes of one image in one call."""
        for k in sorted({p.image_index for p in placed}):
            here = [p for p in placed if p.image_index == k and p.drawn is None]
            key = self._keys[k]
            if here and key not in self._encoded:
                self._encoded[key] = self._mask_maker.encode(self._images[k])
            drawn = (
                self._mask_maker.draw(self._encoded[key], [p.box for p in here], self._hws[k]) if here else []
            )
            for p, result in zip(here, drawn, strict=True):
                p.drawn = result

    def _verify(
        self, placed: Sequence[_Placed], text: str, units: BoxUnits | None, notes: list[str]
    ) -> list[Judgement]:
        """Show every mask back once; a redrawn one is not shown again."""
        judgements = []
        for p in placed[:MOST_VERIFIED]:
            assert p.drawn is not None
            phrase, k = text[slice(*p.pointing.span)], p.image_index
            judgement = judge(
                self._chat, self._sent[k], p.drawn[0], phrase, k + 1, text, self._settings.tokens
            )
            judgements.append(judgement)
            if judgement.note:
                notes.append(judgement.note)
            if judgement.verdict is Verdict.DROP:
                p.dropped = True
                notes.append(f"{phrase!r} in image {k + 1} has no mask: the model took it back")
            elif judgement.box is not None:
                self._redraw(p, judgement.box, phrase, units, notes)
        if len(placed) > MOST_VERIFIED:
            notes.append(f"{len(placed) - MOST_VERIFIED} of {len(placed)} masks were not verified")
        # What got a new box has no mask yet.
        self._draw(placed)
        return judgements

    def _redraw(self, p: _Placed, box: Box, phrase: str, units: BoxUnits | None, notes: list[str]) -> None:
        k = p.image_index
        chosen = (
            self._settings.boxes or choose_units([(box, 0)], [self._sent_hws[k]], [self._hws[k]], units).units
        )
        pixels = to_pixels(box, chosen, self._sent_hws[k], self._hws[k])
        if pixels is None:
            notes.append(f"{phrase!r} is kept as it is: the new box is outside the image")
            return
        p.box, p.drawn = pixels, None
        notes.append(f"{phrase!r} in image {k + 1} was drawn once more, from a new box")


def shrink(image: Image.Image, side: int) -> Image.Image:
    """The image with its longest side at most `side` pixels; never enlarged."""
    longest = max(image.size)
    if longest <= side:
        return image
    width, height = (max(1, round(length * side / longest)) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def as_reply(answer: SessionAnswer) -> str:
    """An earlier answer the way the model is asked to write; one whose boxes are not known as plain words."""
    if not isinstance(answer, AgentAnswer):
        return answer.text
    spans = sorted({g.span for g in answer.groundings})
    parts, done = [], 0
    for number, (start, end) in enumerate(spans, start=1):
        # Phrases and images count from 1 and boxes from 0 to 1000, as the instructions ask.
        parts += [answer.text[done:start], f"[{answer.text[start:end]}]({number})"]
        done = end
    objects = [
        {
            "id": spans.index(g.span) + 1,
            "phrase": g.phrase,
            "image": g.image_index + 1,
            "box": to_thousand(box, answer.image_hws[g.image_index]),
        }
        for g, box in zip(answer.groundings, answer.trace.boxes, strict=True)
    ]
    return json.dumps({"answer": "".join(parts) + answer.text[done:], "objects": objects}, ensure_ascii=False)


def _groundings(
    parsed: protocol.ParsedAnswer,
    ordered: Sequence[Pointing],
    kept: Sequence[_Placed],
    calibration: Calibration | None,
) -> tuple[list[Grounding], list[Box]]:
    """The masks in the order of the text; `[SEG]` k of the markup is pointing k."""
    groundings, boxes = [], []
    for g in parsed.groundings:
        placed = next(p for p in kept if p.pointing is ordered[g.seg_ordinal])
        assert placed.drawn is not None
        mask, score = placed.drawn
        # Servers say nothing that could be compared about the probabilities of their words.
        presence = presence_of(score, None, calibration)
        groundings.append(Grounding(g.phrase, g.span, g.image_index, mask, score, masks.box(mask), presence))
        boxes.append(placed.box)
    return groundings, boxes
