"""Configuration of the embedded model: PRIMA's, and what helps a small model that is trained from scratch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from transformers.configuration_utils import SubConfigSpec
from transformers.models.resnet import ResNetConfig

from segue.errors import ModelError
from segue.models.configuration_grounded import PrimaConfig


class MiniConfig(PrimaConfig):
    """PRIMA with aids for a model of some ten million parameters; each of them is off by default.

    Source: paper silent; ours.
    """

    model_type = "prima_mini"
    sub_configs_defaults = PrimaConfig.sub_configs_defaults | {
        "label_reader_config": SubConfigSpec(config_class=ResNetConfig, optional=True)
    }

    fusion_ffn: bool = False
    """Add a feed-forward block after the cross-attention. Source: paper silent; ours."""

    fusion_pooled_skip: bool = False
    """Add DINO features, average-pooled to the CLIP grid, to the fused features. Source: ours."""

    fusion_positions: bool = False
    """Add learned positions (starting as sines) to the fused features, so that queries can ask "where".
    Towers trained on dense labels alone forget positions. Source: ours."""

    content_queries: int = 0
    """Side g of a g x g grid of queries that start from pooled image content; 0 is off. Source: ours."""

    content_skip: bool = False
    """Add the pooled content again to the outputs of the content queries. Source: ours."""

    num_object_slots: int = 0
    """The last queries are object slots with auxiliary heads; 0 is off. Source: ours."""

    slot_classes: list[str] | tuple[str, ...] = ()
    """Names that a slot may predict; one more class means "nothing"."""

    slot_attributes: list[str] | tuple[str, ...] = ()
    """Attribute names (colours) that a slot may predict."""

    slot_word_ids: list[list[int]] | tuple[tuple[int, ...], ...] = ()
    """Token ids of every slot class and then of every attribute; empty is off.

    Each query's readings are spelled to the language model: the LM embeddings of the names, weighted by
    the heads' probabilities, are added to its visual token, so that naming an object is copying a word.
    A class of "nothing" adds nothing. Source: ours.
    """

    slot_relevance: bool = False
    """Let each slot judge whether the instruction asks for its object, and mark its visual token so.

    The Q-Former reads the instruction beside the image, so it can match the two before the language model
    has to; supervised with the objects that the answer names. Source: ours.
    """

    slot_name_ids: list[list[int]] | tuple[tuple[int, ...], ...] = ()
    """Token ids of the Q-Former by which an instruction may name each slot class and then each attribute.

    With them a slot's relevance also rests on whether the instruction names what the slot reads. Source:
    ours.
    """

    visual_token_rms: float = 0.0
    """Bring each visual token to this root mean square before the image index is added; 0 leaves it as it is.

    Tokens of a fresh projection grew to twenty times the length of `(IMAGEi)`, and the model could not tell
    images apart. Text embeddings of the mini have about 0.08. Source: ours.
    """

    image_index_embedding: bool = False
    """Add the LM embedding of `(IMAGEi)` to each visual token of image i; needs `identifier_token_ids`."""

    label_reader_config: Any = None
    """A ResNet that reads which of `label_reader_names` an image shows; None is off. Stream
    `pixel_values_labels`. See `segue.models.mini.label_reader`. Source: ours."""

    label_reader_size: int = 320
    """Side in pixels of the square that the label reader sees. Source: ours; at 240, where a pair of glasses
    is two or three pixels high, it was overlooked far more often."""

    label_reader_smaller: list[int] | tuple[int, ...] = ()
    """Further sides, below `label_reader_size`, at which the label reader sees the same picture; what it says
    at all of them is averaged. Source: ours."""

    label_reader_names: list[str] | tuple[str, ...] = ()
    """Those of `slot_classes` that the label reader tells. The k-th is spelled, by its `slot_word_ids`, on
    the visual token of the k-th query. Source: ours."""

    image_number_ids: list[int] | tuple[int, ...] = ()
    """Token ids of " 1", " 2", ... (the last one of each): their LM embeddings are added beside those of the
    identifiers; empty is off.

    Questions and answers say "image 2", so that finding its tokens is matching equal words. Source: ours.
    """

    @classmethod
    def claims(cls, content: Mapping[str, Any]) -> bool:
        """Whether a config.json of PRIMA switches on what only the embedded model has.

        The embedded model was a `prima` until it had a `model_type` of its own.
        """
        if content.get("model_type") != PrimaConfig.model_type:
            return False
        own = {f.name: f.default for f in dataclasses.fields(cls)}
        for field in dataclasses.fields(PrimaConfig):
            own.pop(field.name, None)
        # JSON has lists where the defaults are tuples; an option that was saved while off claims nothing.
        return any(
            name in content and (content[name] or None) != (default or None) for name, default in own.items()
        )

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.content_queries**2 + self.num_object_slots > self.num_query_tokens:
            raise ModelError(
                "too few query tokens",
                expected=f"num_query_tokens >= {self.content_queries**2 + self.num_object_slots}",
                found=str(self.num_query_tokens),
                where="MiniConfig",
                fix="raise num_query_tokens or use a smaller grid or fewer slots",
            )
        names = len(self.slot_classes) + len(self.slot_attributes)
        if self.slot_word_ids and (len(self.slot_word_ids) != names or not self.num_object_slots):
            raise ModelError(
                "slot words do not fit the slots",
                expected=f"num_object_slots above 0 and {names} lists of token ids",
                found=f"{self.num_object_slots} slots and {len(self.slot_word_ids)} lists",
                where="config.slot_word_ids",
                fix="give the ids of each name of slot_classes and slot_attributes, or none",
            )
        self.check_label_reader()
        if self.image_index_embedding and not self.identifier_token_ids:
            raise ModelError(
                "image_index_embedding needs identifier tokens",
                expected="identifier_token_ids",
                found="none",
                where="MiniConfig",
                fix="use a tokenizer that has (IMAGE1).. as tokens",
            )

    def check_label_reader(self) -> None:
        """Refuse a label reader whose names could not be spelled.

        Raises:
            ModelError: It has no names, or others than `slot_classes`, or more than there are queries.
        """
        names = list(self.label_reader_names)
        if self.label_reader_config is None:
            return
        unknown = [name for name in names if name not in self.slot_classes]
        if not names or unknown or len(names) > self.num_query_tokens:
            raise ModelError(
                "the label reader's names do not fit",
                expected=f"1 to {self.num_query_tokens} of slot_classes",
                found=f"{len(names)} names, unknown: {', '.join(unknown) or 'none'}",
                where="config.label_reader_names",
                fix="name classes of the slots, or leave label_reader_config out",
            )
