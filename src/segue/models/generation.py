"""Generating one grounded answer: text token by token, and the state of every `[SEG]` on the way."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import Cache

from segue.errors import AlignmentError, InputError
from segue.models.conversation_cache import ConversationCache
from segue.models.region_alignment import phrases_of
from segue.models.region_tokens import told_apart
from segue.models.seg_prompts import NormHook
from segue.models.splice import TextInputs
from segue.models.text_confidence import text_confidence

if TYPE_CHECKING:
    from segue.models.modeling_grounded import GroundedModel


SEVERAL_AT_ONCE = ("assistant_model", "prefill_chunk_size", "prompt_lookup_num_tokens")
"""Options of transformers with which a step reads or tries more than one token."""


@dataclass
class GroundedGeneration:
    """One generated answer.

    Attributes:
        token_ids: `[T]` new ids, the end token included when it was reached.
        seg_prompts: `[K, C]` one per generated `[SEG]`, in order.
        finished: False when the token budget ended the answer.
        phrases: K tensors `[L_k]`, the token ids of each `[SEG]`'s phrase; empty where there is none.
        confidences: K numbers, see `text_confidence`.
    """

    token_ids: Tensor
    seg_prompts: Tensor
    finished: bool
    phrases: list[Tensor] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)


class PartialAnswer:
    """An answer after some of its tokens, with the prompts of the `[SEG]` whose state is known by then.

    Args:
        model: that generates.
        caught: its states so far.
    """

    def __init__(self, model: GroundedModel, caught: NormHook) -> None:
        self._model, self._caught = model, caught
        self.ids: list[int] = []

    def put(self, value: Tensor) -> None:
        """Take new ids from `generate`, which first passes those of the (empty) prompt."""
        self.ids += value.reshape(-1).tolist()

    def knows(self, ordinal: int) -> bool:
        """Whether the state of the `[SEG]` of this number, counted from 0, has been computed."""
        place = self._places()[ordinal]
        # The state at a token is that of the step after it.
        return place + (self._model.prompt_state.position == "at") < len(self._caught.states)

    def prompt(self, ordinal: int) -> tuple[Tensor, Tensor]:
        """Mask prompt `[1, C]` of a `[SEG]`, and the ids `[L]` of its phrase."""
        model, spoken = self._model, torch.cat(self._caught.states)
        place = self._places()[ordinal] + (model.prompt_state.position == "at")
        prompts = model.seg_projection(spoken[place : place + 1])
        phrase = phrases_of(self.ids, *model.phrase_tokens)[ordinal]
        if model.region_alignment is not None:
            prompts = model.align(prompts, [spoken[phrase.start : phrase.stop]])
        return prompts, torch.tensor(self.ids[phrase.start : phrase.stop], device=spoken.device)

    def confidence(self, ordinal: int) -> float:
        """How sure the model was of a `[SEG]`; see `text_confidence`."""
        phrase = phrases_of(self.ids, *self._model.phrase_tokens)[ordinal]
        spoken = torch.cat(self._caught.states)
        return text_confidence(self._model, self.ids, spoken, self._places()[ordinal], phrase)

    def _places(self) -> list[int]:
        return [place for place, token in enumerate(self.ids) if token == self._model.config.seg_token_id]


class _Watched:
    """A Hugging Face streamer that shows the answer so far to whoever watches."""

    def __init__(self, partial: PartialAnswer, watch: Callable[[PartialAnswer], None]) -> None:
        self._partial, self._watch = partial, watch

    def put(self, value: Tensor) -> None:
        self._partial.put(value)
        if self._partial.ids:
            self._watch(self._partial)

    def end(self) -> None:
        """Nothing is left to show: every token was."""


@torch.no_grad()
def generate(
    model: GroundedModel,
    text: TextInputs,
    num_images: Tensor | list[int],
    *,
    max_new_tokens: int,
    watch: Callable[[PartialAnswer], None] | None = None,
    generation_options: dict[str, Any] | None = None,
    cache: ConversationCache | None = None,
    images: Hashable = None,
    **streams: Any,
) -> GroundedGeneration:
    """Answer one conversation and keep, for each generated `[SEG]`, the state that its mask is drawn from.

    With a KV cache that is the last state of one step; a hook on the final norm keeps just this vector per
    step, never all layers.

    Args:
        model: of any family.
        text: `[1, L]`.
        num_images: one count.
        max_new_tokens: budget of the answer.
        watch: called after every new token, in the thread that generates. What it raises ends the answer.
        generation_options: passed to `generate` (`do_sample`, `temperature`, ...); greedy by default.
        cache: of the conversation, kept from turn to turn; what it holds of the prompt is not read again.
        images: see `ConversationCache.begin`; needed with `cache`.
        **streams: the family's image inputs; not touched where the cache holds the images.

    Raises:
        AlignmentError: more than one conversation, or a way of generating in which a step is not a token.
        InputError: beam search, whose steps do not belong to one answer.
    """
    if len(text.input_ids) != 1:
        raise AlignmentError(
            "one conversation at a time",
            expected="input_ids of shape [1, L]",
            found=f"{len(text.input_ids)} conversations",
            where="generate_grounded",
            fix="use generate_many, or answer the conversations one after the other",
        )
    options = checked_options(generation_options)
    counts = num_images.tolist() if isinstance(num_images, Tensor) else list(num_images)
    cache = cache if cache is not None else ConversationCache(model.config.text_config)
    kept, embeds, reading = _unread(model, text, counts, cache, images, streams)
    kept = read_ahead(model, text, embeds, reading, cache.states, kept)
    positions = {name: value for name, value in reading.items() if name == "position_ids"}
    with NormHook(model.final_norm, model.prompt_state.norm, last_only=True) as caught:
        streamer = None if watch is None else _Watched(PartialAnswer(model, caught), watch)
        new_ids: Tensor = model.language_model.generate(
            inputs_embeds=embeds,
            attention_mask=text.attention_mask,
            max_new_tokens=max_new_tokens,
            past_key_values=cache.states,
            use_cache=True,
            streamer=streamer,
            **positions,
            **options,
        )[0]
    # Started from embeddings, transformers returns the new ids alone, without the prompt.
    ids = new_ids.tolist()
    # The hook saw only what was read: the first `kept` tokens came from the cache.
    spoken = caught.generated(embeds.shape[1] - kept, len(ids))[:, 0]
    states = _prompt_states(model, spoken, cache, new_ids, positions)
    read = told_apart(
        text.input_ids[0].tolist(), model.config.region_token_id, streams.get("region_features")
    )
    # An interrupted answer never comes here: the next `begin` knows only the ids from before it, and cuts off
    # whatever states it left.
    cache.end([*read, *ids])
    return grounded(model, new_ids, spoken, states)


def grounded(model: GroundedModel, new_ids: Tensor, spoken: Tensor, states: Tensor) -> GroundedGeneration:
    """The answer that these ids are.

    Args:
        model: that generated them.
        new_ids: `[T]`.
        spoken: `[T, D]`; row i predicts new id i.
        states: `[K, D]` that the prompts of the `[SEG]` are read from.
    """
    ids = new_ids.tolist()
    prompts = model.seg_projection(states)
    places = phrases_of(ids, *model.phrase_tokens)
    if model.region_alignment is not None:
        # Row i predicts new id i, so the places of a phrase's tokens are also the rows of its states.
        prompts = model.align(prompts, [spoken[p.start : p.stop] for p in places])
    finished = len(ids) > 0 and ids[-1] in end_ids(model)
    segs = [place for place, token in enumerate(ids) if token == model.config.seg_token_id]
    sure = [text_confidence(model, ids, spoken, seg, p) for seg, p in zip(segs, places, strict=True)]
    return GroundedGeneration(new_ids, prompts, finished, [new_ids[p.start : p.stop] for p in places], sure)


def end_ids(model: GroundedModel) -> list[int]:
    """Ids that end an answer."""
    end = model.language_model.generation_config.eos_token_id
    return list(end) if isinstance(end, list) else [] if end is None else [end]


def checked_options(given: dict[str, Any] | None) -> dict[str, Any]:
    """Options of `generate`, greedy where nothing else is asked for.

    Raises:
        InputError: beam search. AlignmentError: a way of generating in which a step is not a token.
    """
    options: dict[str, Any] = {"do_sample": False, "num_beams": 1} | (given or {})
    if options["num_beams"] != 1:
        raise InputError(
            "beam search cannot be grounded",
            expected="num_beams=1",
            found=f"num_beams={options['num_beams']}",
            where="generation_options",
            fix="generate greedily or with do_sample",
        )
    # The state that a step leaves behind must be the one that predicted its token. Besides, transformers
    # stumbles over the first two when it starts from embeddings (5.23: shapes that do not match).
    several = [name for name in SEVERAL_AT_ONCE if options.get(name) is not None]
    if several:
        raise AlignmentError(
            "This way of generating cannot be grounded: its steps are not tokens.",
            expected="generation that goes token by token",
            found=" and ".join(several),
            where="generation_options",
            fix="leave it out",
        )
    return options


def _unread(
    model: GroundedModel,
    text: TextInputs,
    counts: list[int],
    cache: ConversationCache,
    images: Hashable,
    streams: dict[str, Any],
) -> tuple[int, Tensor, dict[str, Any]]:
    """Number of tokens in the cache, embeddings `[1, L, D]` that are right from there on, the `reading`."""
    placeholder, kept = model.config.image_token_id, 0
    regions, region = streams.get("region_features"), model.config.region_token_id
    if images is None:
        # Nothing says whose states the cache holds.
        cache.begin([], None, placeholder)
    elif not model.expands_placeholders:
        ids = told_apart(text.input_ids[0].tolist(), region, regions)
        kept = cache.begin(ids, images, placeholder)
        if kept and placeholder not in ids[kept:]:
            # Regions among the words that were read already come first.
            new = int((text.input_ids[:, kept:] == region).sum())
            unread = None if regions is None else regions[len(regions) - new :]
            words = model.look_up(text.input_ids[:, kept:], unread)
            # `generate` cuts off what the cache holds, by length alone: zeros stand in for it.
            return kept, torch.cat([words.new_zeros(1, kept, words.shape[-1]), words], dim=1), {}
    # An added picture is embedded together with the others, which costs a projection each and no encoder.
    embeds, visual = model.embed(text, counts, **streams)
    if images is not None and model.expands_placeholders:
        # Only now are these the ids that were read: placeholders are expanded by the number of visual tokens.
        kept = cache.begin(told_apart(text.input_ids[0].tolist(), region, regions), images, placeholder)
    return kept, embeds, model.reading(text, visual)


def read_ahead(
    model: GroundedModel,
    text: TextInputs,
    embeds: Tensor,
    reading: dict[str, Any],
    states: Cache,
    kept: int = 0,
) -> int:
    """Read prompts but for their last token where more than embeddings go in at a placeholder.

    `generate` would pass such arguments on in every step, long after the placeholders that they belong to.

    Args:
        model: of any family.
        text: `[B, L]`, padding on the left.
        embeds: `[B, L, D]`.
        reading: of the model, see `GroundedModel.reading`.
        states: holds the first `kept` tokens; filled where something is read.
        kept: number of tokens that are not read again.

    Returns:
        Number of tokens that the states hold now.
    """
    # Images that are in the cache come first, so those of the rest are the last ones.
    new = int((text.input_ids[:, kept:] == model.config.image_token_id).sum())
    if new == 0 or not reading.keys() - {"position_ids"}:
        return kept
    length = embeds.shape[1] - 1
    mask = text.attention_mask
    model.text_model(
        inputs_embeds=embeds[:, kept:length],
        attention_mask=None if mask is None else mask[:, :length],
        past_key_values=states,
        use_cache=True,
        **{
            name: value[..., kept:length] if isinstance(value, Tensor) else [rows[-new:] for rows in value]
            for name, value in reading.items()
        },
    )
    return length


def _prompt_states(
    model: GroundedModel,
    spoken: Tensor,
    cache: ConversationCache,
    new_ids: Tensor,
    positions: dict[str, Tensor],
) -> Tensor:
    """States `[K, D]` that the prompts of the generated `[SEG]` are read from.

    Args:
        spoken: `[T, D]`; row i predicts new id i, so it is the state at id i - 1.
        cache: holds all but the last new id.
        new_ids: `[T]`.
        positions: `position_ids` `[..., L]` of the prompt, where the family gives them.
    """
    segs = [place for place, token in enumerate(new_ids.tolist()) if token == model.config.seg_token_id]
    if model.prompt_state.position == "before":
        return spoken[segs]
    if segs and segs[-1] + 1 == len(spoken):
        # The budget ended the answer at a `[SEG]`, which was therefore never fed: it is fed now.
        with NormHook(model.final_norm, model.prompt_state.norm, last_only=True) as caught:
            # New id i stands i + 1 behind the prompt's last position, not at the number of states.
            places = {name: value[..., -1:] + len(new_ids) for name, value in positions.items()}
            model.text_model(input_ids=new_ids[None, -1:], past_key_values=cache.states, **places)
        spoken = torch.cat([spoken, caught.states[0]])
    return spoken[[place + 1 for place in segs]]
