"""A conversation about a fixed set of images: encoded once, asked many times.

A turn is added to the history only after everything about it succeeded, so an interrupted or failed question
leaves the session as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segue import masks, protocol
from segue.errors import AlignmentError, InputError
from segue.images import ImageSource, content_hash
from segue.inference.answer import SessionAnswer
from segue.inference.inputs import MAX_NEW_TOKENS, check_budget, check_question, load_images
from segue.models.auto import ModelBundle
from segue.models.conversation_cache import ConversationCache
from segue.models.generation import GroundedGeneration
from segue.models.segmenter import SegmenterFeatures, join_features
from segue.protocol import ParsedGrounding
from segue.records import Grounding

_LEAST_ROOM = 16
"""Tokens that must be left for an answer; below that the conversation is too long."""

_NOT_FOR_THE_PROMPT = ("labels", "original_hw", "resized_hw")


@dataclass(frozen=True)
class EncodedImage:
    """Features that a session keeps of an image; they do not depend on the question.

    Attributes:
        visual: Tower features by name, `[1, L, D]` each.
        segmenter: What the segmenter keeps of it, by name, `[1, ...]` each.
    """

    visual: dict[str, Tensor]
    segmenter: SegmenterFeatures


class GroundingSession:
    """Asks one model about one set of images, turn after turn.

    Args:
        bundle: From `segue.load`.
        images: 1 to 9 paths, PIL images, arrays or bytes; a single one need not be in a list.
        names: What to call the images in answers; by default the paths as given, else "image N".

    Raises:
        InputError: No images or too many; ImageError for one that cannot be used.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        images: Sequence[ImageSource] | ImageSource,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        self.bundle = bundle
        self.images, self.names = load_images(images, names)
        # By content, not by path: the same picture twice is encoded once, a changed file is another picture.
        self._keys = [content_hash(image) for image in self.images]
        self._encoded: dict[str, EncodedImage] = {}
        self._read: ConversationCache | None = None
        self._answers: list[SessionAnswer] = []

    @property
    def history(self) -> tuple[SessionAnswer, ...]:
        """The answers so far, oldest first; each knows its question."""
        return tuple(self._answers)

    @property
    def image_hws(self) -> list[tuple[int, int]]:
        """(height, width) of each image."""
        return [(image.height, image.width) for image in self.images]

    def ask(
        self,
        text: str,
        *,
        max_new_tokens: int = MAX_NEW_TOKENS,
        stream: Callable[[str], None] | None = None,
        **generation_options: Any,
    ) -> SessionAnswer:
        """Ask a question; earlier questions and answers of the session are its context.

        Args:
            text: The question, in words.
            max_new_tokens: Budget of the answer; less when the model's context leaves less. An answer that
                the budget cuts off has `finished` False and says so in `notes`.
            stream: Called with each new piece of the clean text while it is generated.
            **generation_options: For Hugging Face `generate`, such as `do_sample=True, temperature=0.7`;
                greedy by default.

        Returns:
            The answer with masks at the original sizes. Also appended to `history`.

        Raises:
            InputError: An empty question, or a conversation longer than the model's context.
        """
        question = check_question(text)
        check_budget(max_new_tokens)
        inputs = self._inputs([*self._past_turns(), ("user", question)])
        budget = min(max_new_tokens, self._room(inputs["input_ids"].shape[1]))
        streamer = _TextStreamer(self, stream) if stream is not None else None
        generation = self.bundle.model.generate_grounded(
            **inputs,
            max_new_tokens=budget,
            streamer=streamer,
            generation_options=generation_options,
            cache=self._conversation_cache(),
            images=self._images_read(inputs),
        )
        answer = self._understand(question, generation)
        self._answers.append(answer)
        return answer

    def add_turn(self, question: str, markup: str) -> SessionAnswer:
        """Add a turn whose answer is given, as context for later questions; no masks are drawn.

        Args:
            question: As it would have been asked.
            markup: The answer with tags, as `segue.records.grounded_markup` writes it.
        """
        parsed = protocol.parse(markup, len(self.images), self._dialect)
        answer = SessionAnswer(
            check_question(question), parsed.text, markup, image_hws=self.image_hws, model=self.bundle.name,
            images=list(self.names), pictures=tuple(self.images),
        )  # fmt: skip
        self._answers.append(answer)
        return answer

    def undo(self) -> SessionAnswer:
        """Forget the last turn and return it; InputError when there is none."""
        if not self._answers:
            raise InputError(
                "There is no turn to undo.",
                expected="at least one answered question",
                found="none",
                where="undo",
                fix="ask a question first",
            )
        return self._answers.pop()

    def reset(self) -> None:
        """Forget all turns; the images stay encoded."""
        self._answers.clear()

    def save(self, folder: str | Path) -> list[Path]:
        """Save every answer: a single one into `folder` itself, several into its `turn_1`, `turn_2`, ..."""
        if len(self._answers) == 1:
            return self._answers[0].save(folder)
        return [
            path
            for k, answer in enumerate(self._answers)
            for path in answer.save(Path(folder) / f"turn_{k + 1}")
        ]

    # ---- before the model --------------------------------------------------------------------------------

    @property
    def _dialect(self) -> str:
        return self.bundle.processor.dialect

    def _as_past_turn(self, markup: str) -> str:
        return protocol.as_past_turn(markup, len(self.images), self._dialect)

    def _past_turns(self) -> list[tuple[str, str]]:
        turns = []
        for answer in self._answers:
            turns += [("user", answer.question), ("assistant", self._as_past_turn(answer.markup))]
        return turns

    def _inputs(self, turns: list[tuple[str, str]]) -> dict[str, Any]:
        """The conversation as the model's inputs, image features in place of pixels."""
        encoded = [self._encode(k) for k in range(len(self.images))]
        item: dict[str, Any] = self.bundle.processor.encode_turns(
            turns, len(self.images), add_generation_prompt=True
        )
        for name in encoded[0].visual:
            item[name] = torch.cat([image.visual[name] for image in encoded])
        item["num_images"] = len(self.images)
        batch = self.bundle.processor.collate([item]).to(self.bundle.model.device)
        return {name: value for name, value in batch.items() if name not in _NOT_FOR_THE_PROMPT}

    def _conversation_cache(self) -> ConversationCache:
        """Cache of this session, made with its first question: an agent's session has no language model."""
        if self._read is None:
            self._read = ConversationCache(self.bundle.model.config.text_config)
        return self._read

    def _images_read(self, inputs: dict[str, Any]) -> Hashable:
        """All that the visual tokens depend on: the pictures, and the instruction that they are read with."""
        instruction = inputs.get("qformer_input_ids")
        return (*self._keys, *(() if instruction is None else instruction.flatten().tolist()))

    def _encode(self, index: int) -> EncodedImage:
        """Run the encoders over one image, once per content; one at a time bounds the memory of nine."""
        key = self._keys[index]
        if key not in self._encoded:
            model = self.bundle.model
            streams = {
                name: pixels.to(model.device, model.dtype)
                for name, pixels in self.bundle.processor.encode_pixels([self.images[index]]).items()
            }
            with torch.no_grad():
                self._encoded[key] = EncodedImage(*model.encode(streams))
        return self._encoded[key]

    def _room(self, prompt_length: int) -> int:
        """Number of tokens that the context leaves for an answer."""
        context = int(self.bundle.model.config.text_config.max_position_embeddings)
        if context - prompt_length < _LEAST_ROOM:
            raise InputError(
                "The conversation is longer than the model can read.",
                expected=f"at most {context - _LEAST_ROOM} tokens of images, earlier turns and question",
                found=f"{prompt_length} tokens",
                where="question" if not self._answers else f"turn {len(self._answers) + 1}",
                fix="ask in fewer words" if not self._answers else "undo some turns, or reset and ask again",
            )
        return context - prompt_length

    # ---- after the model ---------------------------------------------------------------------------------

    def _understand(self, question: str, generation: GroundedGeneration) -> SessionAnswer:
        markup = self.bundle.processor.decode_markup(generation.token_ids)
        parsed = protocol.parse(markup, len(self.images), self._dialect)
        if parsed.num_segs != len(generation.seg_prompts):
            raise AlignmentError(
                "The answer's [SEG] and the model's mask prompts do not match.",
                expected=f"{parsed.num_segs} prompts",
                found=str(len(generation.seg_prompts)),
                where=f"answer {markup[:80]!r}",
                fix="check that [SEG] is one token of the tokenizer and that its id is config.seg_token_id",
            )
        notes = [note.detail for note in parsed.notes] + self._notes(generation)
        return SessionAnswer(
            question=question,
            text=parsed.text,
            markup=markup,
            groundings=self._draw(parsed.groundings, generation),
            problems=list(parsed.unplaced),
            image_hws=self.image_hws,
            model=self.bundle.name,
            images=list(self.names),
            notes=notes,
            finished=generation.finished,
            pictures=tuple(self.images),
        )

    def _notes(self, generation: GroundedGeneration) -> list[str]:
        notes = []
        if not generation.finished:
            notes.append(f"the answer was cut off after {len(generation.token_ids)} tokens")
        trained = self.bundle.model.config.max_training_images
        if trained is not None and len(self.images) > trained:
            notes.append(f"{len(self.images)} images: this model was trained on sets of up to {trained}")
        return notes

    def _draw(self, placed: Sequence[ParsedGrounding], generation: GroundedGeneration) -> list[Grounding]:
        """One mask per placed `[SEG]`, all masks of one image in one decoder call."""
        if not placed:
            return []
        model, processor = self.bundle.model, self.bundle.processor
        used = sorted({g.image_index for g in placed})
        features = join_features([self._encode(k).segmenter for k in used])
        # Masks in images 3, 0, 3: `used` is [0, 3], `local` [1, 0, 1]. Only those two images go to the
        # decoder.
        local = [used.index(g.image_index) for g in placed]
        # Prompts are counted over all `[SEG]`, also over those that were not placed.
        chosen = [g.seg_ordinal for g in placed]
        with torch.no_grad():
            logits = model.draw_masks(
                features,
                generation.seg_prompts[chosen],
                torch.tensor(local, device=model.device),
                [generation.phrases[k] for k in chosen],
            )
        hws = [self.image_hws[k] for k in used]
        resized = [processor.sam_stream.resized_hw(hw) for hw in hws]
        drawn = processor.post_process_masks(logits, local, torch.tensor(hws), torch.tensor(resized))
        return [
            Grounding(g.phrase, g.span, g.image_index, mask, score, masks.box(mask))
            for g, (mask, score) in zip(placed, drawn, strict=True)
        ]


class _TextStreamer:
    """Turns the ids that `generate` hands over into growing clean text; tags never reach the callback."""

    def __init__(self, session: GroundingSession, callback: Callable[[str], None]) -> None:
        self._processor = session.bundle.processor
        self._num_images = len(session.images)
        self._callback = callback
        self._ids: list[int] = []
        self._sent = ""

    def put(self, value: Tensor) -> None:
        """Take new ids; `generate` also passes the (empty) prompt ids first."""
        self._ids += value.reshape(-1).tolist()
        # What could still change is held back: blanks before a tag, half a character.
        self._send(self._text().rstrip("\ufffd").rstrip())

    def end(self) -> None:
        """Send the rest."""
        self._send(self._text())

    def _text(self) -> str:
        # All of it each time: a new token can change what stood before, the rest of a character or the end of
        # a tag.
        markup = self._processor.decode_markup(self._ids)
        return protocol.parse(markup, self._num_images, self._processor.dialect).text

    def _send(self, text: str) -> None:
        # What was sent cannot be taken back.
        if text.startswith(self._sent) and len(text) > len(self._sent):
            self._callback(text[len(self._sent) :])
            self._sent = text
