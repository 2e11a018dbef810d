"""The language half of the embedded model by itself: it reads findings and needs no picture.

Its parts (`language_model`, `seg_projection`) are trained from drawn-up lists of findings and taken over by
the whole model, which reads the findings of real pictures in the same places.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, BatchFeature
from transformers.configuration_utils import SubConfigSpec
from transformers.models.sam import SamConfig

from segue.models.configuration_grounded import GroundedConfig
from segue.models.mini.question_words import narrower_words, read_question, unheard_words
from segue.models.mini.spelled_findings import SAID, embed_findings, stack_finding_ids
from segue.models.modeling_grounded import GroundedModel
from segue.models.processing_grounded import GroundedProcessor
from segue.models.visual_tokens import VisualTokens

TALKING_TEMPLATE = {"system": "", "user": " USER:", "assistant": " ASSISTANT:", "end": "</s>"}
"""As `SHORT_TEMPLATE`; the blank before a question is the question's own."""


class TalkingConfig(GroundedConfig):
    """A small language model that reads findings."""

    model_type = "prima_talking"
    sub_configs_defaults = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
        "sam_config": SamConfig,
    }

    num_free_tokens: int = 4
    """Visual tokens an image beside the findings: places for those that a Q-Former will say."""

    region_words: int = 8
    """Tokens of the longest name that a marked region can have."""


class SpelledRegionReader(nn.Module):
    """A marked region as a word: the finding that lies under it, spelled as the findings of images are.

    Nothing is learned here, so what a `<region>` shows is looked up in other images as any name is.

    Args:
        model: whose embeddings are read, also after they were exchanged.

    Source: paper silent; ours.
    """

    def __init__(self, model: GroundedModel) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple, so that it does not become a part of its own part

    def forward(self, ids: Tensor) -> Tensor:
        """Ids `[R, W]` of a `FindingSpeller`, as floats, to tokens `[R, D]`."""
        embedding = cast(nn.Embedding, self._model[0].get_input_embeddings())
        return embed_findings(embedding, ids.long()[None])[0][0]


class TalkingModel(GroundedModel):
    """The shared forward pass over spelled findings in place of encoded pictures.

    Source: paper silent; ours.
    """

    config_class = TalkingConfig

    def __init__(self, config: TalkingConfig) -> None:
        super().__init__(config)
        self.switch_region_tokens(config.region_token_id, config.region_tokens)
        self.post_init()

    def switch_region_tokens(self, region_token_id: int, region_tokens: bool = True) -> None:
        """As in other families; the reader is `SpelledRegionReader`, which has no weights."""
        self.config.region_tokens, self.config.region_token_id = region_tokens, region_token_id
        self.region_reader = SpelledRegionReader(self) if region_tokens else None  # type: ignore[assignment]

    @property
    def region_width(self) -> int:
        """Ids of a spelled finding, as many as the longest name needs."""
        return SAID + self.config.region_words

    def encode_images(  # type: ignore[override]
        self, num_images: list[int], finding_ids: Tensor, free_tokens: Tensor | None = None, **_: Any
    ) -> VisualTokens:
        """Findings to visual tokens.

        Args:
            num_images: B counts that sum to N.
            finding_ids: `[N, F, W]` of a `FindingSpeller`.
            free_tokens: `[N, num_free_tokens, D]`; nothing (zeros) when None.
        """
        embedding = cast(nn.Embedding, self.get_input_embeddings())
        spelled, there = embed_findings(embedding, finding_ids)
        if free_tokens is None:
            free_tokens = spelled.new_zeros(len(spelled), self.config.num_free_tokens, spelled.shape[-1])
        tokens = torch.cat([spelled, free_tokens.to(spelled)], dim=1)
        mask = torch.cat([there, there.new_ones(free_tokens.shape[:2])], dim=1)
        order = torch.cat([torch.arange(n, device=tokens.device) for n in num_images])
        names = torch.tensor(list(self.config.identifier_token_ids), device=tokens.device)[order]
        return VisualTokens(tokens + embedding(names)[:, None], mask, spelled)


class TalkingProcessor(GroundedProcessor):
    """Reads questions in the words that the model knows.

    Args:
        own_names: names that own data taught; none is read as the broader name that the table has for it.
    """

    _known: frozenset[str] | None = None

    def __init__(
        self,
        tokenizer: Any = None,
        image_streams: dict[str, dict[str, Any]] | None = None,
        num_query_tokens: int = 32,
        template: dict[str, str] | None = None,
        image_wrap: list[str] | None = None,
        own_names: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(tokenizer, image_streams, num_query_tokens, template, image_wrap, **kwargs)
        self.own_names = own_names or []

    def learn_names(self, tokenizer: Any, names: Sequence[str]) -> None:
        """Take a tokenizer with more words, and names that it spells."""
        self.tokenizer, self._known = tokenizer, None
        self.own_names = sorted({*self.own_names, *names})

    @property
    def known_words(self) -> frozenset[str]:
        """Words that are one token within a sentence."""
        if self._known is None:
            found = (token[1:] for token in self.tokenizer.get_vocab() if token.startswith("Ġ"))
            self._known = frozenset(word for word in found if word.isalpha() and word.islower())
        return self._known

    @property
    def other_words(self) -> Mapping[str, str]:
        """Words for names, each with its name, as `read_question` takes them."""
        # Whoever taught the model wheels asks for those, and not for car wheels. A chain copies no table.
        return ChainMap({name: name for name in self.own_names}, narrower_words())

    def encode_turns(
        self,
        turns: list[tuple[str, str]],
        num_images: int,
        add_generation_prompt: bool = False,
        tokens_per_image: int | None = None,
    ) -> dict[str, list[int]]:
        """As in other families, with each question as `read_question` gives it.

        Args:
            tokens_per_image: in place of `num_query_tokens`.
        """
        narrower, known = self.other_words, self.known_words
        read = [
            (role, read_question(text, known, narrower) if role == "user" else text) for role, text in turns
        ]
        usual = self.num_query_tokens
        self.num_query_tokens = usual if tokens_per_image is None else tokens_per_image
        try:
            return super().encode_turns(read, num_images, add_generation_prompt)
        finally:
            self.num_query_tokens = usual

    def question_notes(self, question: str) -> list[str]:
        """What a reader of the answer should know: words of the question that the model does not."""
        unheard = unheard_words(question, self.known_words, self.other_words)
        return [f"words that this model does not know: {', '.join(unheard)}"] if unheard else []

    def collate(self, items: list[dict[str, Any]]) -> BatchFeature:
        """As in other families, with the findings of all images in order."""
        batch = super().collate(items)
        if "finding_ids" in items[0]:
            batch["finding_ids"] = stack_finding_ids([item["finding_ids"] for item in items])
        return batch
