"""The one forward pass: encode -> splice -> language model -> gather [SEG] -> masks -> loss."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import MODEL_MAPPING, AutoModelForCausalLM, PreTrainedModel, Sam2Model, SamModel
from transformers.utils import ModelOutput

from segue.errors import AlignmentError
from segue.models.configuration_grounded import GroundedConfig
from segue.models.conversation_cache import ConversationCache
from segue.models.dense_features import DenseMap, default_maps
from segue.models.generation import GroundedGeneration, PartialAnswer, generate
from segue.models.losses import text_loss
from segue.models.mask_objective import MaskLabels, mask_terms
from segue.models.region_alignment import RegionAlignment, phrase_state_columns
from segue.models.region_reading import RegionReading
from segue.models.region_tokens import RegionReader
from segue.models.seg_prompts import NormHook, PromptState, SegProjection
from segue.models.segmenter import MaskPrompts, Segmenter, SegmenterFeatures
from segue.models.segmenter_sam import SamSegmenter
from segue.models.segmenter_sam2 import Sam2Segmenter
from segue.models.splice import (
    TextInputs,
    expand_placeholders,
    seg_state_positions,
    splice_visual_tokens,
)
from segue.models.visual_tokens import VisualTokens

SEGMENTERS: dict[type[PreTrainedModel], Callable[..., Segmenter]] = {
    SamModel: SamSegmenter,
    Sam2Model: Sam2Segmenter,
}
"""The weights that `GroundedModel.sam` may be -> what draws with them."""


@dataclass
class GroundedOutput(ModelOutput):
    """Output of a grounded model.

    Attributes:
        loss: alpha text + beta Dice + gamma pixel, when labels are given.
        loss_terms: each term before its weight, detached.
        logits: `[B, L, V]` of the language model.
        mask_logits: `[K, h, w]` on the decoder's grid, in text order over the batch.
        seg_prompts: `[K, D_S]` projected states that predict `[SEG]`.
        visual: the visual tokens.
    """

    loss: Tensor | None = None
    loss_terms: dict[str, Tensor] | None = None
    logits: Tensor | None = None
    mask_logits: Tensor | None = None
    seg_prompts: Tensor | None = None
    visual: VisualTokens | None = None


class GroundedModel(RegionReading, PreTrainedModel):
    """A causal LM that sees images and draws a mask for every `[SEG]`.

    Families differ in two places: `encode_images` (images to visual tokens) and `segmenter` (prompts to
    masks); `prompt_state` says which state a prompt is read from.

    Source: PRIMA section 3.2; the frame that LISA, GLaMM and PRIMA share.
    """

    config_class = GroundedConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    # forward takes **kwargs, from which the Trainer would conclude that the loss divides by
    # num_items_in_batch.
    accepts_loss_kwargs = False

    prompt_state = PromptState()
    """Hidden state that is the mask prompt of a `[SEG]`: a property of the family."""

    seg_activation: type[nn.Module] = nn.ReLU
    """Between the two layers of the `[SEG]` projection: a property of the family, and without weights."""

    expands_placeholders = False
    """Whether the processor writes one `<image>` per image because the number of visual tokens depends on
    its content (OMG-LLaVA): images are encoded first, placeholders repeated after."""

    encodes_together = False
    """Whether both halves look with one trunk, so that `encode` alone (both at once) may be asked."""

    segmenter_options: Mapping[str, Any] = {}
    """Options of the segmenter that a family draws with otherwise than by default."""

    counts_on_shapes = False
    """Whether compute can be counted on shapes although the number of visual tokens depends on content."""

    images_read_together = True
    """Whether an image's visual tokens may depend on the other images, as SQuARE's do; families whose do not
    say so. Then an image that is added to a conversation leaves the others as they were read."""

    encoder_parts: tuple[str, ...] = ("vision_model", "aux_vision_model", "sam.vision_encoder")
    """Parts whose outputs depend on an image alone; while they are frozen these may be kept."""

    def __init__(self, config: GroundedConfig) -> None:
        super().__init__(config)
        self.language_model = self.build_language_model(config)
        self.add_segmenter(config)
        width = config.text_config.hidden_size
        self.seg_projection = SegProjection(
            width,
            config.seg_projection_hidden_size or width,
            config.prompt_width,
            self.seg_activation,
        )
        self.region_alignment = RegionAlignment(config) if config.region_alignment else None
        self.region_reader = RegionReader(self.region_width, width) if config.region_tokens else None

    def build_language_model(self, config: Any) -> PreTrainedModel:
        """The causal language model; families whose words are read by another class build theirs."""
        built: PreTrainedModel = AutoModelForCausalLM.from_config(config.text_config)
        return built

    def add_segmenter(self, config: Any) -> None:
        """The weights that `segmenter` draws with; families without SAM add theirs."""
        # The class that transformers has for this configuration: SAM, or SAM 2 and 2.1.
        self.sam = MODEL_MAPPING[type(config.sam_config)](config.sam_config)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, RegionAlignment):
            module.reset()

    def _initialize_weights(self, module: nn.Module, is_custom_code: bool = False) -> None:
        # For models from outside of transformers, it takes every module without parameters of its own for
        # loaded, and would never ask `_init_weights` how such a module of ours starts.
        ours = type(module).__module__.startswith("segue.")
        super()._initialize_weights(module, is_custom_code and not ours)

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def encode_images(self, num_images: list[int], **streams: Any) -> VisualTokens:
        """Images to visual tokens; the one thing in which families differ."""
        raise NotImplementedError

    def encode_features(self, **streams: Tensor) -> dict[str, Tensor]:
        """Pixel streams (without the segmenter's) to what `encode_images` accepts in their place, by name.

        Args:
            **streams: `[N, 3, S, S]` each, S the stream's own size.

        Returns:
            Features, `[N, ...]` each.

        It must not depend on the question: sessions keep it for as long as they keep the image.
        """
        raise NotImplementedError

    def encode_pair(self, streams: dict[str, Tensor | None], **features: Tensor | None) -> dict[str, Tensor]:
        """Features of a family that may have two encoders: those given, or the pixels' own.

        Args:
            streams: pixels `[N, 3, S, S]` by the names of the processor's streams; all of them, unless the
                features of both encoders (of the one, without `pixel_values_aux`) are given.
            **features: `[N, ...]` by the names of `encode_features`.

        Raises:
            AlignmentError: Neither all features nor all pixel streams are there.
        """
        given = {name: value for name, value in features.items() if value is not None}
        needed = {"vision_features", "aux_features"} if "pixel_values_aux" in streams else {"vision_features"}
        if needed <= given.keys():
            return given
        shown = {name: value for name, value in streams.items() if value is not None}
        if shown.keys() != streams.keys():
            raise AlignmentError(
                "no images",
                expected=f"{' and '.join(streams)}, or {' and '.join(sorted(needed, reverse=True))}",
                found=" and ".join(shown) or "no pixels",
                where="encode_images",
                fix="pass what the processor returns",
            )
        return self.encode_features(**shown)

    @property
    def unsaved_encoders(self) -> dict[str, nn.Module]:
        """Encoders that are not saved with the model, by name; none by default."""
        return {}

    @property
    def segmenter(self) -> Segmenter:
        """What draws with `sam`: SAM, or SAM 2. Families that draw with something else return their own."""
        return SEGMENTERS[type(self.sam)](self.sam, **self.segmenter_options)

    def encode(self, streams: dict[str, Tensor]) -> tuple[dict[str, Tensor], SegmenterFeatures]:
        """All that is kept of images: what `encode_images` takes, and what the segmenter takes.

        Args:
            streams: the processor's pixel streams `[N, 3, S, S]`, the segmenter's among them. A family whose
                two halves share a trunk runs it once by filling this method.
        """
        # A copy: the caller's batch keeps its SAM stream.
        shown = dict(streams)
        features = self.segmenter.encode(shown.pop("pixel_values_sam"))
        return self.encode_features(**shown), features

    takes_visual_prompts = True
    """Whether the segmenter learned to draw from points, boxes and maps as SAM did, not just from `[SEG]`."""

    match_threshold = 0.5
    """Score from which a marked thing counts as found in another picture, see `segue.models.match_heat`."""

    def dense_maps(self, visual: dict[str, Tensor], drawable: SegmenterFeatures) -> list[DenseMap]:
        """Features of one picture at every place, by which like is found; see `default_maps`.

        Args:
            visual: `[1, ...]` of `encode_features`.
            drawable: `[1, ...]` of the segmenter.
        """
        return default_maps(visual, drawable)

    def dense_prompts(
        self, phrases: list[Tensor], image_index: Tensor, features: SegmenterFeatures
    ) -> Tensor | None:
        """Maps `[K, h, w]` of where each phrase's thing may be, for families that know; None by default.

        Args:
            phrases: K tensors `[L_k]` of token ids, the opening tag included; empty where there is none.
            image_index: `[K]`.
            features: of the segmenter, N images.
        """
        return None

    def draw_masks(
        self, features: SegmenterFeatures, seg_prompts: Tensor, image_index: Tensor, phrases: list[Tensor]
    ) -> Tensor:
        """Mask logits `[K, h, w]` over the segmenter's square, in the order of the prompts.

        Args:
            features: of `segmenter.encode`, N images.
            seg_prompts: `[K, C]`.
            image_index: `[K]` in 0..N-1.
            phrases: see `dense_prompts`.
        """
        dense = self.dense_prompts(phrases, image_index, features)
        return self.segmenter.decode(features, MaskPrompts(seg_prompts, image_index, dense))

    def draw_rounds(
        self, features: SegmenterFeatures, seg_prompts: Tensor, image_index: Tensor, phrases: list[Tensor]
    ) -> Tensor:
        """Mask logits `[R, K, h, w]` that training compares; the last of R rounds are the masks.

        One round by default. Segmenters that refine a mask layer by layer learn from every one of them.

        Args:
            features, seg_prompts, image_index, phrases: see `draw_masks`.
        """
        return self.draw_masks(features, seg_prompts, image_index, phrases)[None]

    @property
    def phrase_tokens(self) -> tuple[int, int]:
        """Ids of the token that opens a phrase and of `[SEG]`."""
        return self.config.phrase_token_id, self.config.seg_token_id

    def align(self, prompts: Tensor, phrases: list[Tensor]) -> Tensor:
        """Mask prompts `[K, D_S]` aligned with their phrases, K tensors `[L_k, D]` of the LM's states.

        Source: MIRAS (semantic region alignment); see `segue.models.region_alignment`.
        """
        if self.region_alignment is None or len(prompts) == 0:
            return prompts
        projected = self.seg_projection(torch.cat(phrases)).split([len(states) for states in phrases])
        return self.region_alignment(prompts, projected)

    def switch_region_alignment(
        self, phrase_token_id: int, region_alignment: bool = True, **options: Any
    ) -> None:
        """Switch region alignment on or off after the model was made.

        Args:
            phrase_token_id: id of the token that opens a phrase.
            region_alignment: on; a model that has it keeps its weights, another one gets it as new.
            **options: `region_alignment_heads`, `region_alignment_residual` of the new one.
        """
        had = self.region_alignment
        self.config.region_alignment = region_alignment
        if not region_alignment or had is not None:
            self.region_alignment = had if region_alignment else None
            return
        self.config.phrase_token_id = phrase_token_id
        for name, value in options.items():
            setattr(self.config, name, value)
        place = next(self.seg_projection.parameters())
        self.region_alignment = RegionAlignment(self.config).to(place.device, place.dtype)
        self.region_alignment.reset()

    def embed(self, text: TextInputs, num_images: list[int], **streams: Any) -> tuple[Tensor, VisualTokens]:
        """Embedded text with visual tokens in place, `[B, L, D]`, and `region_features` `[R, C]` in theirs.

        `text` is changed where placeholders are expanded after encoding: L is the length after it.
        """
        region_features = streams.pop("region_features", None)
        visual = self.encode_images(num_images, **streams)
        if self.expands_placeholders:
            expand_placeholders(text, self.config.image_token_id, visual.mask.sum(1))
        embedded = self.look_up(text.input_ids, region_features)
        return splice_visual_tokens(
            embedded, text.input_ids, self.config.image_token_id, visual.tokens, visual.mask
        ), visual

    @property
    def text_model(self) -> nn.Module:
        """The language model without its head: embeddings, layers and the last norm."""
        body: nn.Module = self.language_model.model
        return body

    @property
    def final_norm(self) -> nn.Module:
        """The language model's last norm."""
        return cast(nn.Module, self.text_model.norm)

    def reading(self, text: TextInputs, visual: VisualTokens) -> dict[str, Any]:
        """Further arguments of `text_model`, for families that read with more than embedded text.

        `position_ids` `[..., B, L]` may be among them. All others belong to the placeholders: tensors
        `[..., B, L]`, or lists of tensors `[T, D]` with a row for each of them.
        """
        return {}

    def hidden_states(
        self, embeds: Tensor, attention_mask: Tensor | None, **reading: Any
    ) -> tuple[Tensor, Tensor]:
        """States `[B, L, D]` that words are read from, and those that mask prompts are read from."""
        with NormHook(self.final_norm, self.prompt_state.norm, last_only=False) as caught:
            hidden = self.text_model(
                inputs_embeds=embeds, attention_mask=attention_mask, use_cache=False, **reading
            ).last_hidden_state
        return hidden, caught.states[0]

    def forward(
        self,
        input_ids: Tensor,
        num_images: Tensor | list[int],
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        pixel_values_sam: Tensor | None = None,
        segmenter_features: SegmenterFeatures | None = None,
        seg_image_index: Tensor | None = None,
        mask_labels: list[Tensor] | None = None,
        original_hw: Tensor | None = None,
        resized_hw: Tensor | None = None,
        token_weights: Tensor | None = None,
        loss_totals: dict[str, float] | None = None,
        region_masks: Tensor | None = None,
        region_image_index: Tensor | None = None,
        **streams: Any,
    ) -> GroundedOutput:
        """Run a batch of conversations of any numbers of images, turns and masks.

        Args:
            input_ids: `[B, L]`, right-padded, placeholders expanded.
            num_images: B counts; images of all conversations are concatenated, N in all.
            attention_mask: `[B, L]`.
            labels: `[B, L]`; without them no loss and no masks are computed.
            pixel_values_sam: `[N, 3, S, S]` of the segmenter; or `segmenter_features` of N images where they
                are kept. Without both, the text loss alone is computed.
            seg_image_index: `[K]` image (counted over the batch) of every labelled `[SEG]` in text order.
            mask_labels: N tensors `[K_i, H_i, W_i]`, masks of image i in text order; None gives mask logits
                only.
            original_hw: `[N, 2]` sizes of the photographs.
            resized_hw: `[N, 2]` their sizes inside SAM's square.
            token_weights: `[V]` weights of target ids in the text loss.
            loss_totals: `text` (weight of all targets) and `masks` (their number) of a whole step, of which
                this batch is a part: the terms divide by them, so that the parts' losses add up.
            region_masks: `[R, G, G]` of the regions that questions speak of, see `region_tokens.region_grid`;
                with `region_image_index` `[R]`, their images, counted over the batch.
            **streams: the family's image inputs (`pixel_values`, `pixel_values_aux`, ...).

        Returns:
            A `GroundedOutput`.

        Raises:
            AlignmentError: placeholders, `[SEG]` tokens, masks or image indices do not agree.
        """
        counts = num_images.tolist() if isinstance(num_images, Tensor) else list(num_images)
        text = TextInputs(input_ids, attention_mask, labels)
        if self.encodes_together and segmenter_features is None and pixel_values_sam is not None:
            seen, segmenter_features = self.encode({"pixel_values_sam": pixel_values_sam})
            streams |= seen
        if region_masks is not None and region_image_index is not None and len(region_masks):
            streams = self.region_features(streams, segmenter_features, region_masks, region_image_index)
        embeds, visual = self.embed(text, counts, **streams)
        # From here on `text`, never the arguments: its placeholders may have been expanded.
        hidden, states = self.hidden_states(embeds, text.attention_mask, **self.reading(text, visual))
        logits = self.language_model.lm_head(hidden)
        output = GroundedOutput(logits=logits, visual=visual)
        if text.labels is None:
            return output
        totals = loss_totals or {}
        terms = {"text": text_loss(logits, text.labels, token_weights, totals.get("text"))}
        output.seg_prompts, phrases = self.seg_prompts(states, text.input_ids, text.labels)
        if segmenter_features is None and pixel_values_sam is not None and seg_image_index is not None:
            segmenter_features = self.segmenter.encode(pixel_values_sam)
        if seg_image_index is not None and segmenter_features is not None:
            wanted = MaskLabels(mask_labels, seg_image_index, original_hw, resized_hw, totals.get("masks"))
            # Before anything is drawn: a mask in the wrong image would train without an error.
            wanted.check(len(output.seg_prompts), sum(counts))
            rounds = self.draw_rounds(segmenter_features, output.seg_prompts, seg_image_index, phrases)
            output.mask_logits = rounds[-1]
            if mask_labels is not None:
                terms |= self.mask_terms(rounds, wanted)
        output.loss = self.weigh(terms)
        output.loss_terms = {name: term.detach() for name, term in terms.items()}
        return output

    def seg_prompts(self, states: Tensor, input_ids: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Mask prompts of the labelled `[SEG]` and the token ids of their phrases.

        Args:
            states: `[B, L, D]` that prompts are read from.
            input_ids: `[B, L]`.
            labels: `[B, L]`.

        Returns:
            `[K, C]`, and K tensors `[L_k]`, by conversation and then by position.
        """
        rows, columns = seg_state_positions(
            input_ids, labels, self.config.seg_token_id, self.prompt_state.position
        )
        prompts = self.seg_projection(states[rows, columns])
        # A phrase's states stand one column before its tokens, see `phrase_state_columns`.
        places = phrase_state_columns(input_ids, labels, *self.phrase_tokens)
        if self.region_alignment is not None:
            prompts = self.align(prompts, [states[row, p.start : p.stop] for row, p in places])
        phrases = [input_ids[row, p.start + 1 : p.stop + 1] if p else input_ids[row, :0] for row, p in places]
        return prompts, phrases

    def mask_terms(self, rounds: Tensor, labels: MaskLabels) -> dict[str, Tensor]:
        """Dice and pixel terms of `[R, K, h, w]` logits, see `segue.models.mask_objective`; of the last
        round.

        Args:
            rounds: see `draw_rounds`.
            labels: what the masks should have been.
        """
        return mask_terms(self.config, self.segmenter, rounds[-1], labels, self.no_mask_loss(rounds))

    def no_mask_loss(self, rounds: Tensor) -> Tensor:
        """Loss `[]` 0 of a batch without masks, which depends on all that is trained on the way to one."""
        # Without any `[SEG]` the logits are a fresh empty tensor; the bias keeps the gradient's way open.
        bias = cast(nn.Linear, self.seg_projection[2]).bias
        return rounds.sum() * 0.0 + bias.sum() * 0.0

    def weigh(self, terms: dict[str, Tensor]) -> Tensor:
        """The loss `[]`, alpha text + beta Dice + gamma pixel, of such terms `[]`.

        Source: PRIMA section 3.2, training objective.
        """
        weights = {
            "text": self.config.text_loss_weight,
            "dice": self.config.dice_loss_weight,
            "pixel": self.config.pixel_loss_weight,
        }
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum()

    @torch.no_grad()
    def generate_grounded(
        self,
        input_ids: Tensor,
        num_images: Tensor | list[int],
        attention_mask: Tensor | None = None,
        *,
        max_new_tokens: int = 512,
        watch: Callable[[PartialAnswer], None] | None = None,
        generation_options: dict[str, Any] | None = None,
        cache: ConversationCache | None = None,
        images: Hashable = None,
        **streams: Any,
    ) -> GroundedGeneration:
        """Answer one conversation, `input_ids` and `attention_mask` `[1, L]`.

        See `segue.models.generation.generate`, which this calls.
        """
        return generate(
            self,
            TextInputs(input_ids, attention_mask),
            num_images,
            max_new_tokens=max_new_tokens,
            watch=watch,
            generation_options=generation_options,
            cache=cache,
            images=images,
            **streams,
        )
