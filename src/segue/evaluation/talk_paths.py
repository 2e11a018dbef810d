"""One talk answered in three ways by the same weights: ours, as a careful peer would, and as published.

All three give the same answers; they differ in what they compute again. `AsPublished` is written out here,
token by token, because nothing else in Segue generates in this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from segue.inference.answer import SessionAnswer
from segue.inference.loaded_model import LoadedModel
from segue.inference.session import GroundingSession, collated
from segue.models.constrained import grammar_processor
from segue.models.generation import GroundedGeneration, end_ids, grounded
from segue.models.seg_prompts import NormHook
from segue.models.splice import TextInputs


class Ours:
    """A session: each image goes through each tower once, each token through the language model once.

    Args:
        model: Who is asked.
        images: Of the talk.
        max_new_tokens: Budget of each answer.
    """

    def __init__(self, model: LoadedModel, images: Sequence[Image.Image], max_new_tokens: int) -> None:
        self.model, self.images, self.max_new_tokens = model, list(images), max_new_tokens
        self.session = fresh_session(model, self.images)

    def ask(self, question: str) -> SessionAnswer:
        """The next turn."""
        return self.session.ask(question, max_new_tokens=self.max_new_tokens)


class PerTurn(Ours):
    """A careful peer: a KV cache and one decoder call for each image within a turn, all again every turn."""

    def ask(self, question: str) -> SessionAnswer:
        """The next turn, by a session that knows the earlier answers as text only."""
        self.session = with_history(self.model, self.images, self.session.history)
        return super().ask(question)


class AsPublished(Ours):
    """GLaMM's and LISA's code: images and dialogue again every turn, no KV cache.

    Every token reads the whole conversation, and runs the vision encoders for it; the segmenter's encoder
    runs once in a turn for each image that gets masks (there for every image).

    Source: GLaMM's and LISA's code (`generate` with `use_cache` off, `prepare_inputs` from pixels each step).
    """

    def __init__(self, model: LoadedModel, images: Sequence[Image.Image], max_new_tokens: int) -> None:
        super().__init__(model, images, max_new_tokens)
        self.made: list[GroundedGeneration] = []
        """What was generated in each turn."""

    def ask(self, question: str) -> SessionAnswer:
        """The next turn."""
        self.session = with_history(self.model, self.images, self.session.history)
        self.made.append(self.generate(question))
        return self.draw(question, self.made[-1])

    def draw(self, question: str, made: GroundedGeneration) -> SessionAnswer:
        """The answer with its masks, which is added to the talk."""
        answer = self.session._understand(question, made, {})
        self.session._answers.append(answer)
        return answer

    @torch.no_grad()
    def generate(self, question: str) -> GroundedGeneration:
        """The answer, greedily and within the grammar as in a session."""
        model = self.model.model
        inputs = self.inputs(question)
        rules = grammar_processor(model, self.model.processor, [len(self.images)])
        ids: list[int] = []
        states: list[Tensor] = []
        while len(ids) < self.max_new_tokens and not (ids and ids[-1] in end_ids(model)):
            logits, state = self.step(inputs, ids)
            states.append(state)
            said = torch.tensor([ids], dtype=torch.long, device=logits.device)
            ids.append(int(rules(said, logits).argmax()))
        segs = [place for place, token in enumerate(ids) if token == model.config.seg_token_id]
        if model.prompt_state.position == "at":
            if segs and segs[-1] + 1 == len(states):
                states.append(self.step(inputs, ids)[1])
            segs = [place + 1 for place in segs]
        spoken = torch.cat(states)
        return grounded(model, torch.tensor(ids, device=spoken.device), spoken[: len(ids)], spoken[segs])

    def inputs(self, question: str) -> dict[str, Any]:
        """The whole conversation, pixels included."""
        session, processor = self.session, self.model.processor
        turns = [*session._past_turns(), ("user", question)]
        item: dict[str, Any] = processor.encode_turns(turns, len(self.images), add_generation_prompt=True)
        names = tuple(name for name in processor.streams if name != "pixel_values_sam")
        pixels = processor.encode_pixels(session.images, names)
        kind = self.model.model.dtype
        item |= {k: v.to(kind) if v.is_floating_point() else v for k, v in pixels.items()}
        return collated(self.model, [item | {"num_images": len(self.images)}])

    def step(self, inputs: dict[str, Any], ids: list[int]) -> tuple[Tensor, Tensor]:
        """Logits `[1, V]` of the next token, and the state `[1, D]` that predicts it."""
        model = self.model.model
        streams = dict(inputs)
        text = TextInputs(streams.pop("input_ids"), streams.pop("attention_mask"))
        counts = streams.pop("num_images").tolist()
        embeds, visual = model.embed(text, counts, **streams)
        reading = model.reading(text, visual)
        if ids:
            said = torch.tensor([ids], device=embeds.device)
            embeds = torch.cat([embeds, model.get_input_embeddings()(said)], dim=1)
            reading = {name: _longer(name, value, len(ids)) for name, value in reading.items()}
        with NormHook(model.final_norm, model.prompt_state.norm, last_only=True) as caught:
            hidden = model.text_model(inputs_embeds=embeds, use_cache=False, **reading).last_hidden_state
        # At the last place alone; published code does it at all of them, which is not held against it.
        return model.language_model.lm_head(hidden[:, -1]), caught.states[0]


def _longer(name: str, value: Any, more: int) -> Any:
    """An argument of `GroundedModel.reading` for so many words more than the prompt has."""
    if name == "position_ids":
        return torch.cat([value, value[..., -1:] + torch.arange(1, more + 1, device=value.device)], dim=-1)
    # Words are no placeholders: a tensor says nothing at them, and a list has no rows for them.
    return torch.nn.functional.pad(value, (0, more)) if isinstance(value, Tensor) else value


def fresh_session(model: LoadedModel, images: Sequence[Image.Image]) -> GroundingSession:
    """A session that shares nothing with any other."""
    alone = LoadedModel(model.model, model.processor, model.name, model.path)
    return alone.session(list(images))


def with_history(
    model: LoadedModel, images: Sequence[Image.Image], history: Sequence[SessionAnswer]
) -> GroundingSession:
    """A fresh session that knows these turns as text."""
    session = fresh_session(model, images)
    for answer in history:
        session.add_turn(answer.question, answer.markup)
    return session
