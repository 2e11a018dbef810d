"""The embedded model: PRIMA whose visual tokens also spell, in words, what small readers see in the image."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from segue.errors import AlignmentError
from segue.models.configuration_grounded import PrimaConfig
from segue.models.gradients import gradients_of
from segue.models.mini.configuration_mini import MiniConfig
from segue.models.mini.label_reader import LabelReader, contrasted, spelled
from segue.models.mini.slots import ObjectSlotHeads, start_positions
from segue.models.mini.visual_tokens_mini import MiniFusion, MiniQueries
from segue.models.modeling_prima import PrimaModel
from segue.models.visual_tokens import VisualTokens


class MiniModel(PrimaModel):
    """PRIMA with object slots, a label reader and words added to its visual tokens, each an option.

    Source: paper silent; ours.
    """

    config_class = MiniConfig
    encoder_parts = (*PrimaModel.encoder_parts, "label_reader")
    takes_visual_prompts = False
    match_threshold = 0.6
    fusion_class = MiniFusion
    reader_class = MiniQueries
    slot_heads: ObjectSlotHeads | None
    label_reader: LabelReader | None

    @property
    def images_read_together(self) -> bool:  # type: ignore[override]
        """True also with a label reader, whose labels are contrasted over the images of a conversation."""
        return self.label_reader is not None or super().images_read_together

    def add_parts(self, config: PrimaConfig) -> None:
        assert isinstance(config, MiniConfig)
        self.slot_heads = ObjectSlotHeads(config) if config.num_object_slots else None
        self.label_reader = LabelReader(config) if config.label_reader_config is not None else None

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MiniQueries) and module.content is not None:
            # Content must not be drowned by untrained cross-attention.
            for layer in module.qformer.encoder.layer:
                if layer.has_cross_attention:
                    init.zeros_(layer.crossattention.output.dense.weight)
        elif isinstance(module, MiniFusion) and module.positions is not None:
            # Not in __init__: from_pretrained builds modules on the meta device, where nothing can be
            # computed.
            _, length, width = module.positions.shape
            init.copy_(module.positions, start_positions(int((length - 1) ** 0.5), width))
        elif isinstance(module, ObjectSlotHeads) and module.mark is not None:
            init.normal_(module.mark, std=self.config.text_config.initializer_range)
        elif isinstance(module, LabelReader):
            module.reset()

    def encode_features(self, **streams: Tensor) -> dict[str, Tensor]:
        """PRIMA's features, and `label_features` `[N, K, 1 + A]` where there is a label reader."""
        features = super().encode_features(**streams)
        if self.label_reader is not None:
            with gradients_of(self.label_reader):
                features["label_features"] = self.label_reader(streams["pixel_values_labels"])
        return features

    def encode_images(  # type: ignore[override]
        self,
        num_images: list[int],
        qformer_input_ids: Tensor,
        qformer_attention_mask: Tensor,
        pixel_values: Tensor | None = None,
        pixel_values_aux: Tensor | None = None,
        pixel_values_labels: Tensor | None = None,
        vision_features: Tensor | None = None,
        aux_features: Tensor | None = None,
        label_features: Tensor | None = None,
        **_: Any,
    ) -> VisualTokens:
        """PRIMA's visual tokens, and on them the words that slots and label reader say.

        Args:
            num_images: B counts that sum to N.
            qformer_input_ids: `[B, Lq]`, the instruction in the Q-Former's own vocabulary.
            qformer_attention_mask: `[B, Lq]`.
            pixel_values: `[N, 3, Hc, Wc]`; with `pixel_values_aux` `[N, 3, Hd, Wd]`, and for a model that
                has a label reader `pixel_values_labels` `[N, 3, S, S]`.
            vision_features: `[N, Lc, Dc]` and `aux_features` `[N, Ld, Dd]` in place of pixels where the
                frozen towers' outputs are cached.
            label_features: `[N, K, 1 + A]` of the label reader, beside those two; without it no label is
                spelled, which the queries do not depend on.

        Returns:
            Their tokens, padding and queries, see `VisualTokens`.
        """
        streams = {"pixel_values": pixel_values, "pixel_values_aux": pixel_values_aux}
        if self.label_reader is not None:
            streams["pixel_values_labels"] = pixel_values_labels
        features = self.encode_pair(
            streams,
            vision_features=vision_features,
            aux_features=aux_features,
            label_features=label_features,
        )
        visual = super().encode_images(num_images, qformer_input_ids, qformer_attention_mask, **features)
        if self.config.visual_token_rms:
            normed = F.rms_norm(visual.tokens, visual.tokens.shape[-1:])
            visual.tokens = self.config.visual_token_rms * normed
        if self.config.slot_word_ids:
            self._spell(visual, features.get("label_features"), num_images)
        if self.slot_heads is not None and self.slot_heads.mark is not None:
            self._mark_asked(visual, qformer_input_ids, num_images)
        if self.config.image_index_embedding:
            self._number_images(visual, num_images)
        return visual

    def _spell(self, visual: VisualTokens, label_features: Tensor | None, num_images: list[int]) -> None:
        """Add to the tokens the words of the slots, `[N, Q, D]`, and of the label reader, `[N, K, D]`."""
        table = self.word_table()
        said = [self.spell_slots(visual.queries, table)]
        if label_features is not None:
            said.append(spelled(contrasted(label_features, num_images), *self.label_words(table)))
        for words in said:
            # The k-th word stands on the k-th token; tokens of the instruction carry none.
            short = visual.tokens.shape[1] - words.shape[1]
            visual.tokens = visual.tokens + F.pad(words, (0, 0, 0, short))

    def _mark_asked(self, visual: VisualTokens, instruction_ids: Tensor, num_images: list[int]) -> None:
        """Add the mark to the tokens of slots as far as the `[B, Lq]` instruction asks for their object."""
        assert self.slot_heads is not None
        assert self.slot_heads.mark is not None
        counts = torch.tensor(num_images, device=visual.tokens.device)
        named = self.named_slots(instruction_ids).repeat_interleave(counts, dim=0)
        asked = self.slot_heads.asked(visual.queries, named.to(visual.queries))
        total = self.config.num_query_tokens
        # Slots are the last queries, and the tokens of the instruction come after them.
        marks = F.pad(asked.sigmoid(), (total - asked.shape[1], visual.tokens.shape[1] - total))
        visual.tokens = visual.tokens + marks[..., None] * self.slot_heads.mark

    def _number_images(self, visual: VisualTokens, num_images: list[int]) -> None:
        """Add the embeddings of `(IMAGEi)`, and of " i" where they are known, to the tokens of image i."""
        known = list(self.config.identifier_token_ids)
        if max(num_images) > len(known):
            raise AlignmentError(
                "more images than identifiers",
                expected=f"at most {len(known)} images",
                found=f"{max(num_images)} images",
                where="config.identifier_token_ids",
                fix="show fewer images in one conversation",
            )
        indices = torch.cat([torch.arange(n) for n in num_images])
        for names in (known, list(self.config.image_number_ids)):
            if names:
                ids = torch.tensor(names)[indices].to(visual.tokens.device)
                visual.tokens = visual.tokens + self.get_input_embeddings()(ids)[:, None]

    def named_slots(self, instruction_ids: Tensor) -> Tensor:
        """Names of slots in instructions, `[B, Lq]` to `[B, classes + attributes]`: 1 where it is there."""
        names = self.config.slot_name_ids
        found = instruction_ids.new_zeros(
            (len(instruction_ids), len(self.config.slot_classes) + max(1, len(self.config.slot_attributes)))
        )
        for k, ids in enumerate(names):
            wanted = torch.tensor(list(ids), dtype=instruction_ids.dtype, device=instruction_ids.device)
            found[:, k] = torch.isin(instruction_ids, wanted).any(1)
        return found.float()

    def spell_slots(self, queries: Tensor, table: Tensor) -> Tensor:
        """Readings of the slot heads, of `[N, Q, C]` queries, as words of the `word_table`: `[N, Q, D]`."""
        assert self.slot_heads is not None
        classes, attributes, _ = self.slot_heads(queries)
        seen = classes.softmax(-1)[..., :-1]
        mixed = torch.cat([seen, seen.sum(-1, keepdim=True) * attributes.softmax(-1)], dim=-1)
        return mixed @ table

    def word_table(self) -> Tensor:
        """LM embeddings of the names of all slot classes and then attributes, `[classes + attributes, D]`."""
        embedding = self.get_input_embeddings()
        names = [embedding(torch.tensor(i, device=self.device)) for i in self.config.slot_word_ids]
        return torch.stack([name.mean(0) for name in names])

    def label_words(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """The label reader's names `[K, D]` and the attributes `[A, D]` out of the `word_table`."""
        classes = list(self.config.slot_classes)
        chosen = [classes.index(name) for name in self.config.label_reader_names]
        return table[chosen], table[len(classes) :]
