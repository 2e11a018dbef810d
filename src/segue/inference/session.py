"""A conversation about a fixed set of images: encoded once, asked many times.

A turn is added to the history only after everything about it succeeded, so an interrupted or failed question
leaves the session as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segue import protocol
from segue.errors import InputError
from segue.images import ImageSource, content_hash
from segue.inference import inputs as given
from segue.inference.answer import SessionAnswer
from segue.inference.drawing import Wanted, draw, given_groundings
from segue.inference.encoder_cache import Encoded, EncoderCache
from segue.inference.image_encoder import ImageEncoder
from segue.inference.inputs import MAX_NEW_TOKENS, check_budget, check_question, load_images
from segue.inference.pointing import point, pooled, with_regions
from segue.inference.regions import Region
from segue.inference.streaming import AnswerWatcher, Event, TextDelta, events_of
from segue.inference.understanding import past_turns, understand
from segue.masks import Mask
from segue.models.auto import ModelBundle
from segue.models.constrained import with_grammar
from segue.models.conversation_cache import ConversationCache
from segue.models.generation import GroundedGeneration, PartialAnswer
from segue.models.segmenter import SegmenterFeatures
from segue.protocol import ParsedGrounding
from segue.records import Grounding


def collated(bundle: ModelBundle, items: list[dict[str, Any]]) -> dict[str, Any]:
    """Conversations as one batch of the model's inputs, where the model is."""
    batch = bundle.processor.collate(items).to(bundle.model.device)
    return {k: v for k, v in batch.items() if k not in ("labels", "original_hw", "resized_hw")}


class GroundingSession:
    """Asks one model about one set of images, turn after turn.

    Args:
        bundle: From `segue.load`.
        images: 1 to 9 paths, PIL images, arrays or bytes; a single one need not be in a list.
        names: What to call the images in answers; by default the paths as given, else "image N".
        encoder: Shared with other sessions of the model; by default one of its own.

    Raises:
        InputError: No images or too many; ImageError for one that cannot be used.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        images: Sequence[ImageSource] | ImageSource,
        *,
        names: Sequence[str] | None = None,
        encoder: ImageEncoder | None = None,
    ) -> None:
        self.bundle = bundle
        self.images, self.names = load_images(images, names)
        # By content, not by path: the same picture twice is encoded once, a changed file is another picture.
        self._keys = [content_hash(image) for image in self.images]
        self._encoder = encoder if encoder is not None else ImageEncoder(bundle, EncoderCache())
        self._held: dict[tuple[str, str], Encoded] = {}
        self._read: ConversationCache | None = None
        self._answers: list[SessionAnswer] = []
        self._added = False

    @property
    def history(self) -> tuple[SessionAnswer, ...]:
        """The answers so far, oldest first; each knows its question."""
        return tuple(self._answers)

    @property
    def batches(self) -> bool:
        """Whether its questions may be asked in one batch with others'."""
        return True

    @property
    def images_shown(self) -> int:
        """Images that the model is shown at a time: all of them."""
        return len(self.images)

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
        constrained: bool = True,
        regions: Sequence[Region] = (),
        **generation_options: Any,
    ) -> SessionAnswer:
        """Ask a question; earlier questions and answers of the session are its context.

        Args:
            text: The question, in words; with regions it has a marker for each, "Find [this] in image 2."
            max_new_tokens: Budget of the answer; less when the model's context leaves less. An answer that
                the budget cuts off has `finished` False and says so in `notes`.
            stream: Called with each new piece of the clean text while it is generated.
            constrained: Keep the answer to its grammar: identifiers of images that exist, tags that close.
                Off, the model writes as published code lets it, and `parse` reads what it can.
            regions: What the markers point at, in order: masks, boxes or points in the images.
            **generation_options: For Hugging Face `generate`, such as `do_sample=True, temperature=0.7`;
                greedy by default.

        Returns:
            The answer with masks at the original sizes. Also appended to `history`.

        Raises:
            InputError: An empty question, a conversation longer than the model's context, or regions that do
                not fit the markers or their images. ModelError: the model takes no regions.
        """

        def tell(event: Event) -> None:
            if stream is not None and isinstance(event, TextDelta):
                stream(event.text)

        options = with_grammar(generation_options, constrained, self.bundle, [self.images_shown])
        told = tell if stream is not None else None
        return self._ask(
            text, max_new_tokens, options, told, regions=point(self, text, regions) if regions else ()
        )

    def stream(
        self,
        text: str,
        *,
        max_new_tokens: int = MAX_NEW_TOKENS,
        constrained: bool = True,
        regions: Sequence[Region] = (),
        **generation_options: Any,
    ) -> Iterator[Event]:
        """Ask a question and get its answer as it grows.

        The segmenter's encoder runs while the text is generated, and a mask is drawn as soon as the image
        that it lies in has been named, so that the first mask comes long before the end of the text.

        Args:
            text: The question, in words.
            max_new_tokens: Budget of the answer, see `ask`.
            constrained, regions: See `ask`.
            **generation_options: See `ask`.

        Yields:
            `TextDelta`, `PhraseOpened` and `MaskReady` as they become certain, `Done` with the answer at the
            end. A listener who leaves earlier (closes the iterator) stops the answer, and the session stays
            as it was.

        Raises:
            InputError: See `ask`; before the first event.
        """

        def run(tell: Callable[[Event], None]) -> SessionAnswer:
            ahead = ThreadPoolExecutor(1, thread_name_prefix="segue-segmenter")
            try:
                for index in range(len(self.images)):
                    ahead.submit(self._encode_segmenter, index)
                return self._ask(text, max_new_tokens, options, tell, draws=True, regions=pointed)
            finally:
                # Images that no mask lies in are not waited for, only the one that is being encoded.
                ahead.shutdown(cancel_futures=True)

        options = with_grammar(generation_options, constrained, self.bundle, [self.images_shown])
        check_question(text)
        check_budget(max_new_tokens)
        pointed = point(self, text, regions) if regions else ()
        return events_of(run)

    def _ask(
        self,
        text: str,
        max_new_tokens: int,
        options: dict[str, Any],
        tell: Callable[[Event], None] | None,
        draws: bool = False,
        regions: tuple[Region, ...] = (),
    ) -> SessionAnswer:
        """Answer a question and add the turn; `draws` masks as they come instead of all at the end."""
        question = check_question(text)
        check_budget(max_new_tokens)
        inputs = self._inputs(question, regions)
        budget = min(max_new_tokens, self._room(self.bundle.processor.prompt_length(inputs)))
        watcher = None
        if tell is not None:
            decode = self.bundle.processor.decode_markup
            draw = self._draw_one if draws else None
            watcher = AnswerWatcher(decode, len(self.images), self.dialect, tell, draw)
        generation = self.bundle.model.generate_grounded(
            **inputs,
            max_new_tokens=budget,
            watch=watcher.token if watcher is not None else None,
            generation_options=options,
            cache=self._conversation_cache(),
            images=self._images_read(inputs),
        )
        if watcher is not None:
            watcher.end(generation.token_ids.tolist())
        drawn = {} if watcher is None else watcher.drawn
        answer = self._understand(question, generation, drawn, inputs["input_ids"].shape[1], regions)
        if self._added and self._conversation_cache().repeated:
            number = len(self.images)
            answer.notes.append(f"image {number} was added: all {number} images were read again")
        self._answers.append(answer)
        self._added = False
        return answer

    def add_image(self, image: ImageSource, name: str | None = None) -> int:
        """Add an image to the conversation, between two questions; it gets the next number.

        Only the new image is encoded. Images stand before the first question, as in training: the language
        model reads again whatever stands behind the place where the prompts part (the turns and, in PRIMA's
        sentence, the last image), or all images where their tokens depend on each other (SQuARE), which the
        next answer's `notes` say. `undo` and `reset` forget turns and leave the images.

        Args:
            image: A path, PIL image, array or bytes.
            name: What to call it in answers; by default the path as given, else "image N".

        Returns:
            Its number, counted from 1.

        Raises:
            InputError: There are nine already; ImageError for one that cannot be used.
        """
        number = len(self.images) + 1
        given.check_number(number)
        if name is None and not isinstance(image, (str, Path)):
            name = f"image {number}"
        (picture,), (called,) = load_images([image], None if name is None else [name])
        self.images.append(picture)
        self.names.append(called)
        self._keys.append(content_hash(picture))
        self._added = True
        return number

    def add_turn(
        self,
        question: str,
        markup: str,
        regions: Sequence[Region] = (),
        seg_masks: Sequence[Mask] | None = None,
    ) -> SessionAnswer:
        """Add a turn whose answer is given, as context for later questions; no masks are drawn.

        Args:
            question: As it would have been asked.
            markup: The answer with tags, as `segue.records.grounded_markup` writes it.
            regions: That the question points at, see `ask`.
            seg_masks: One for each `[SEG]` of the answer, at the size of its image: what mask memory keeps
                of this turn; nothing without them.

        Raises:
            AlignmentError: There are more or fewer masks than `[SEG]`.
        """
        pointed = point(self, question, regions) if regions else ()
        parsed = protocol.parse(markup, len(self.images), self.dialect)
        self._answers.append(
            SessionAnswer(
                check_question(question), parsed.text, markup,
                [] if seg_masks is None else given_groundings(parsed, seg_masks),
                image_hws=self.image_hws, model=self.bundle.name, images=list(self.names),
                pictures=tuple(self.images), regions=pointed,
            )
        )  # fmt: skip
        return self._answers[-1]

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
    def dialect(self) -> str:
        """How the model writes; a key of `segue.protocol.DIALECTS`."""
        return self.bundle.processor.dialect

    def _past_turns(self) -> list[tuple[str, str]]:
        return past_turns(self._answers, len(self.images), self.dialect)

    def _inputs(self, question: str, regions: tuple[Region, ...] = ()) -> dict[str, Any]:
        """The conversation with a further question as the model's inputs."""
        return collated(self.bundle, [self._item(question, regions)])

    def _item(self, question: str, regions: tuple[Region, ...] = ()) -> dict[str, Any]:
        """The same for `collate`, image features in place of pixels."""
        turns = [*self._past_turns(), ("user", question)]
        pointed: list[Region] = []
        if self.bundle.model.region_reader is not None:
            turns, pointed = with_regions(turns, self._answers, regions, self.bundle.model.config.mask_memory)
        encoded = [self._encode_visual(k) for k in range(len(self.images))]
        processor = self.bundle.processor
        item: dict[str, Any] = processor.encode_turns(
            turns, len(self.images), add_generation_prompt=True, **processor.read_marks(len(pointed))
        )
        for name in encoded[0]:
            item[name] = torch.cat([image[name] for image in encoded])
        if self.bundle.model.region_reader is not None:
            item["region_features"] = pooled(self, pointed, encoded)
        return item | {"num_images": len(self.images)}

    def _conversation_cache(self) -> ConversationCache:
        """Cache of this session, made with its first question: an agent's session has no language model."""
        if self._read is None:
            self._read = ConversationCache(self.bundle.model.config.text_config)
        return self._read

    def _images_read(self, inputs: dict[str, Any]) -> Hashable:
        """All that the visual tokens depend on: the pictures, and the instruction that they are read with."""
        instruction = inputs.get("qformer_input_ids")
        words = () if instruction is None else tuple(instruction.flatten().tolist())
        if self.bundle.model.images_read_together:
            return (tuple(self._keys), words)
        return tuple((key, words) for key in self._keys)

    def _encode_visual(self, index: int) -> dict[str, Tensor]:
        """Features of one image for the language model; see `ImageEncoder`."""
        key = self._keys[index]
        # Held, so that they are there for as long as the session is, whatever the cache has room for.
        held = self._held["visual", key] = self._encoder.visual(self.images[index], key)
        return held.visual

    def _encode_segmenter(self, index: int) -> SegmenterFeatures:
        """What the segmenter keeps of one image; see `ImageEncoder`."""
        key = self._keys[index]
        held = self._held["drawable", key] = self._encoder.drawable(self.images[index], key)
        return held.drawable

    def _room(self, prompt_length: int) -> int:
        """Number of tokens that the context leaves for an answer."""
        context = int(self.bundle.model.config.text_config.max_position_embeddings)
        return given.check_room(context, prompt_length, len(self._answers))

    # ---- after the model ---------------------------------------------------------------------------------

    def _understand(
        self,
        question: str,
        generation: GroundedGeneration,
        drawn: dict[int, Grounding],
        shown: int = 0,
        regions: tuple[Region, ...] = (),
    ) -> SessionAnswer:
        """The answer that a generation is; some masks are `drawn`, and the prompt had `shown` tokens."""
        found = understand(self.bundle, generation, len(self.images))
        return SessionAnswer(
            question=question,
            text=found.parsed.text,
            markup=found.markup,
            groundings=self._groundings(found.parsed.groundings, generation, drawn),
            problems=list(found.parsed.unplaced),
            image_hws=self.image_hws,
            model=self.bundle.name,
            images=list(self.names),
            notes=[*found.notes, *self.bundle.processor.question_notes(question)],
            finished=generation.finished,
            prompt_tokens=shown,
            new_tokens=len(generation.token_ids),
            pictures=tuple(self.images),
            regions=regions,
        )

    def _groundings(
        self, placed: Sequence[ParsedGrounding], generation: GroundedGeneration, drawn: dict[int, Grounding]
    ) -> list[Grounding]:
        """Groundings in text order; those not drawn yet are drawn together."""
        kept = {g.seg_ordinal: drawn[g.seg_ordinal] for g in placed if g.seg_ordinal in drawn}
        missing = [
            g for g in placed if g.seg_ordinal not in kept or kept[g.seg_ordinal].image_index != g.image_index
        ]
        # Prompts are counted over all `[SEG]`, also over those that were not placed.
        sure: Sequence[float | None] = generation.confidences or [None] * len(generation.phrases)
        marks = [
            (g, generation.seg_prompts[k], generation.phrases[k], sure[k])
            for g, k in ((g, g.seg_ordinal) for g in missing)
        ]
        found = kept | dict(zip((g.seg_ordinal for g in missing), self._draw(marks), strict=True))
        # A phrase may have grown since its mask was drawn; what the whole text says of it holds.
        return [replace(found[g.seg_ordinal], phrase=g.phrase, span=g.span) for g in placed]

    def _draw_one(self, placed: ParsedGrounding, partial: PartialAnswer) -> Grounding:
        """One mask of an answer that is still being written."""
        prompt, phrase = partial.prompt(placed.seg_ordinal)
        return self._draw([(placed, prompt[0], phrase, partial.confidence(placed.seg_ordinal))])[0]

    def _draw(self, marks: Sequence[tuple[ParsedGrounding, Tensor, Tensor, float | None]]) -> list[Grounding]:
        """One mask per placed `[SEG]`, all masks of one image in one decoder call.

        Args:
            marks: K of them: the `[SEG]`, its prompt `[C]`, ids `[L]` of its phrase, the words' confidence.
        """
        if not marks:
            return []
        used = sorted({g.image_index for g, *_ in marks})
        # Masks in images 3, 0, 3: `used` is [0, 3], and their images [1, 0, 1]. Only these two are decoded.
        wanted = [
            Wanted(g, prompt, phrase, used.index(g.image_index), sure) for g, prompt, phrase, sure in marks
        ]
        features = [self._encode_segmenter(k) for k in used]
        return draw(self.bundle, wanted, features, [self.image_hws[k] for k in used])
