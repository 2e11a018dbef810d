"""PRIMA: EVA-CLIP x DINOv2 -> instruction-aware Q-Former -> projection, on the shared forward pass."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Dinov2WithRegistersModel, InstructBlipVisionModel
from transformers import initialization as init

from segue.errors import AlignmentError
from segue.models.configuration_grounded import PrimaConfig
from segue.models.gradients import gradients_of
from segue.models.mini.label_reader import LabelReader, contrasted, spelled
from segue.models.modeling_grounded import GroundedModel
from segue.models.visual_tokens import (
    FeatureFusion,
    InstructionQueries,
    ObjectSlotHeads,
    RelationalQueries,
    VisualTokens,
    start_positions,
)


class PrimaModel(GroundedModel):
    """PRIMA for grounded conversations over one or more images.

    Source: PRIMA section 3.2.
    """

    config_class = PrimaConfig
    encoder_parts = (*GroundedModel.encoder_parts, "label_reader")

    def __init__(self, config: PrimaConfig) -> None:
        super().__init__(config)
        self.vision_model = InstructBlipVisionModel(config.vision_config)
        self.aux_vision_model = Dinov2WithRegistersModel(config.aux_vision_config)
        self.fusion = FeatureFusion(config)
        self.reader = InstructionQueries(config)
        self.image_projection = nn.Linear(config.qformer_config.hidden_size, config.text_config.hidden_size)
        self.slot_heads = ObjectSlotHeads(config) if config.num_object_slots else None
        self.label_reader = LabelReader(config) if config.label_reader_config is not None else None
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, InstructionQueries):
            init.normal_(module.query_tokens, std=0.02)
            if module.content is not None:
                # Content must not be drowned by untrained cross-attention.
                for layer in module.qformer.encoder.layer:
                    if layer.has_cross_attention:
                        init.zeros_(layer.crossattention.output.dense.weight)
        elif isinstance(module, ObjectSlotHeads):
            if module.mark is not None:
                init.normal_(module.mark, std=self.config.text_config.initializer_range)
        elif isinstance(module, LabelReader):
            module.reset()
        elif isinstance(module, RelationalQueries):
            init.normal_(module.queries, std=0.02)
            reset_attention(module.attention)
        elif isinstance(module, FeatureFusion):
            reset_attention(module.attention)
            if module.positions is not None:
                # Not in __init__: from_pretrained builds modules on the meta device, where nothing can be
                # computed.
                _, length, width = module.positions.shape
                init.copy_(module.positions, start_positions(int((length - 1) ** 0.5), width))

    def encode_towers(self, pixel_values: Tensor, pixel_values_aux: Tensor) -> tuple[Tensor, Tensor]:
        """CLIP `[N, Lc, Dc]` and DINOv2 `[N, Ld, Dd]` features; without gradient while a tower is frozen."""
        features = []
        for tower, pixels in ((self.vision_model, pixel_values), (self.aux_vision_model, pixel_values_aux)):
            with gradients_of(tower):
                features.append(tower(pixels).last_hidden_state)
        return features[0], features[1]

    def encode_features(self, **streams: Tensor) -> dict[str, Tensor]:
        vision, aux = self.encode_towers(streams["pixel_values"], streams["pixel_values_aux"])
        features = {"vision_features": vision, "aux_features": aux}
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
        """Images and instructions to visual tokens.

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
        fused = self.fusion(features["vision_features"], features["aux_features"])
        outputs, mask = self.reader(fused, qformer_input_ids, qformer_attention_mask, num_images)
        tokens, asked = self.image_projection(outputs), None
        if self.config.visual_token_rms:
            tokens = self.config.visual_token_rms * F.rms_norm(tokens, tokens.shape[-1:])
        if self.config.slot_word_ids:
            table = self.word_table()
            said = [self.spell_slots(outputs[:, : self.config.num_query_tokens], table)]
            if "label_features" in features:
                readings = contrasted(features["label_features"], num_images)
                said.append(spelled(readings, *self.label_words(table)))
            for words in said:
                tokens = tokens + F.pad(words, (0, 0, 0, tokens.shape[1] - words.shape[1]))
        if self.slot_heads is not None and self.slot_heads.mark is not None:
            named = self.named_slots(qformer_input_ids).repeat_interleave(
                torch.tensor(num_images, device=tokens.device), dim=0
            )
            asked = self.slot_heads.asked(outputs[:, : self.config.num_query_tokens], named.to(outputs))
            before = self.config.num_query_tokens - asked.shape[1]
            marks = F.pad(asked.sigmoid(), (before, tokens.shape[1] - self.config.num_query_tokens))
            tokens = tokens + marks[..., None] * self.slot_heads.mark
        if self.config.image_index_embedding:
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
                    ids = torch.tensor(names)[indices].to(tokens.device)
                    tokens = tokens + self.get_input_embeddings()(ids)[:, None]
        return VisualTokens(tokens, mask, outputs[:, : self.config.num_query_tokens], asked)

    def named_slots(self, instruction_ids: Tensor) -> Tensor:
        """Which names of slots instructions contain: `[B, Lq]` to `[B, classes + attributes]`, 0 or 1."""
        names = self.config.slot_name_ids
        found = instruction_ids.new_zeros(
            (len(instruction_ids), len(self.config.slot_classes) + max(1, len(self.config.slot_attributes)))
        )
        for k, ids in enumerate(names):
            wanted = torch.tensor(list(ids), dtype=instruction_ids.dtype, device=instruction_ids.device)
            found[:, k] = torch.isin(instruction_ids, wanted).any(1)
        return found.float()

    def spell_slots(self, queries: Tensor, table: Tensor) -> Tensor:
        """What the slot heads read from `[N, Q, C]` queries in words of the `word_table`, `[N, Q, D]`."""
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
        """Of the `word_table` the label reader's names `[K, D]` and the attributes `[A, D]`."""
        classes = list(self.config.slot_classes)
        chosen = [classes.index(name) for name in self.config.label_reader_names]
        return table[chosen], table[len(classes) :]


def reset_attention(attention: nn.MultiheadAttention) -> None:
    """Xavier inputs and a zero output projection: the block starts as the identity on its residual."""
    for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
        weight = getattr(attention, name, None)
        if weight is not None:
            init.xavier_uniform_(weight)
    if attention.in_proj_bias is not None:
        init.zeros_(attention.in_proj_bias)
    init.zeros_(attention.out_proj.weight)
    init.zeros_(attention.out_proj.bias)
