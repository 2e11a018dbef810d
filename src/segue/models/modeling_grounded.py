"""The one forward pass: encode -> splice -> language model -> gather [SEG] -> masks -> loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel, SamModel
from transformers.utils import ModelOutput

from segue.errors import AlignmentError, InputError
from segue.models.configuration_grounded import GroundedConfig
from segue.models.losses import bce_loss, dice_loss, focal_loss, resize_logits, shrink_masks, text_loss
from segue.models.mask_decoder import SegProjection, decode_masks
from segue.models.region_alignment import RegionAlignment, phrase_state_columns, phrases_of
from segue.models.splice import (
    check_image_indices,
    check_image_masks,
    check_seg_count,
    seg_predictor_positions,
    splice_visual_tokens,
)
from segue.models.visual_tokens import VisualTokens


@dataclass
class GroundedOutput(ModelOutput):
    """Output of a grounded model.

    Attributes:
        loss: alpha text + beta Dice + gamma pixel, when labels are given.
        loss_terms: each term before its weight, detached.
        logits: `[B, L, V]` of the language model.
        mask_logits: `[K, h, w]` on the decoder's grid, in text order over the batch.
        seg_prompts: `[K, D_S]` projected states that predict `[SEG]`.
        visual: the visual tokens, for auxiliary losses.
    """

    loss: Tensor | None = None
    loss_terms: dict[str, Tensor] | None = None
    logits: Tensor | None = None
    mask_logits: Tensor | None = None
    seg_prompts: Tensor | None = None
    visual: VisualTokens | None = None


@dataclass
class GroundedGeneration:
    """One generated answer.

    Attributes:
        token_ids: `[T]` new ids, the end token included when it was reached.
        seg_prompts: `[K, D_S]` one per generated `[SEG]`, in order.
        finished: False when the token budget ended the answer.
    """

    token_ids: Tensor
    seg_prompts: Tensor
    finished: bool


def gradients_of(part: nn.Module) -> torch.set_grad_enabled:
    """Where a part of a model runs: without gradient while the part is frozen."""
    trains = any(p.requires_grad for p in part.parameters())
    return torch.set_grad_enabled(trains and torch.is_grad_enabled())


class GroundedModel(PreTrainedModel):
    """A causal LM that sees images and draws a mask for every `[SEG]`; families fill `encode_images`.

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

    def __init__(self, config: GroundedConfig) -> None:
        super().__init__(config)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.sam = SamModel(config.sam_config)
        width = config.text_config.hidden_size
        self.seg_projection = SegProjection(
            width,
            config.seg_projection_hidden_size or width,
            config.sam_config.mask_decoder_config.hidden_size,
        )
        self.region_alignment = RegionAlignment(config) if config.region_alignment else None

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
        """Pixel streams (without SAM's) to what `encode_images` accepts in their place, by name.

        It must not depend on the question: sessions keep it for as long as they keep the image.
        """
        raise NotImplementedError

    def encode_pair(self, streams: dict[str, Tensor | None], **features: Tensor | None) -> dict[str, Tensor]:
        """Features of a family that has two encoders: those given, or the pixels' own.

        Args:
            streams: pixels by the names of the processor's streams; all of them, unless the features of
                both encoders are given.
            **features: by the names of `encode_features`.

        Raises:
            AlignmentError: Neither both features nor all pixel streams are there.
        """
        given = {name: value for name, value in features.items() if value is not None}
        if {"vision_features", "aux_features"} <= given.keys():
            return given
        shown = {name: value for name, value in streams.items() if value is not None}
        if shown.keys() != streams.keys():
            raise AlignmentError(
                "no images",
                expected=f"{' and '.join(streams)}, or vision_features and aux_features",
                found=" and ".join(shown) or "no pixels",
                where="encode_images",
                fix="pass what the processor returns",
            )
        return self.encode_features(**shown)

    def encode_sam(self, pixel_values_sam: Tensor) -> Tensor:
        """`[N, 3, S, S]` to `[N, C, S/16, S/16]` embeddings; without gradient while the encoder is frozen."""
        with gradients_of(self.sam.vision_encoder):
            return self.sam.vision_encoder(pixel_values_sam)[0]

    def decode_masks(self, image_embeddings: Tensor, prompts: Tensor, image_index: Tensor) -> Tensor:
        """See `segue.models.mask_decoder.decode_masks`."""
        return decode_masks(self.sam, image_embeddings, prompts, image_index)

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

    def embed(self, input_ids: Tensor, num_images: list[int], **streams: Any) -> tuple[Tensor, VisualTokens]:
        """Embedded text with the visual tokens in place, `[B, L, D]`."""
        visual = self.encode_images(num_images, **streams)
        # The placeholder may lie beyond the vocabulary (LISA, GLaMM): the model can then never write it.
        placeholders = input_ids == self.config.image_token_id
        text = self.get_input_embeddings()(input_ids.masked_fill(placeholders, 0))
        return splice_visual_tokens(
            text, input_ids, self.config.image_token_id, visual.tokens, visual.mask
        ), visual

    def forward(
        self,
        input_ids: Tensor,
        num_images: Tensor | list[int],
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        pixel_values_sam: Tensor | None = None,
        image_embeddings: Tensor | None = None,
        seg_image_index: Tensor | None = None,
        mask_labels: list[Tensor] | None = None,
        original_hw: Tensor | None = None,
        resized_hw: Tensor | None = None,
        token_weights: Tensor | None = None,
        loss_totals: dict[str, float] | None = None,
        **streams: Any,
    ) -> GroundedOutput:
        """Run a batch of conversations of any numbers of images, turns and masks.

        Args:
            input_ids: `[B, L]`, right-padded, placeholders expanded.
            num_images: B counts; images of all conversations are concatenated, N in all.
            attention_mask: `[B, L]`.
            labels: `[B, L]`; without them no loss and no masks are computed.
            pixel_values_sam: `[N, 3, S, S]`; or `image_embeddings` `[N, C, h, w]` where they are cached.
                Without both, the text loss alone is computed.
            seg_image_index: `[K]` image (counted over the batch) of every labelled `[SEG]` in text order.
            mask_labels: N tensors `[K_i, H_i, W_i]`, masks of image i in text order; None gives mask logits
                only.
            original_hw: `[N, 2]` sizes of the photographs.
            resized_hw: `[N, 2]` their sizes inside SAM's square.
            token_weights: `[V]` weights of target ids in the text loss.
            loss_totals: `text` (weight of all targets) and `masks` (their number) of a whole step, of which
                this batch is a part: the terms divide by them, so that the parts' losses add up.
            **streams: the family's image inputs (`pixel_values`, `pixel_values_aux`, ...).

        Returns:
            A `GroundedOutput`.

        Raises:
            AlignmentError: placeholders, `[SEG]` tokens, masks or image indices do not agree.
        """
        counts = num_images.tolist() if isinstance(num_images, Tensor) else list(num_images)
        embeds, visual = self.embed(input_ids, counts, **streams)
        hidden = self.language_model.model(
            inputs_embeds=embeds, attention_mask=attention_mask, use_cache=False
        ).last_hidden_state
        logits = self.language_model.lm_head(hidden)
        output = GroundedOutput(logits=logits, visual=visual)
        if labels is None:
            return output
        totals = loss_totals or {}
        terms = {"text": text_loss(logits, labels, token_weights, totals.get("text"))}
        rows, columns = seg_predictor_positions(input_ids, labels, self.config.seg_token_id)
        output.seg_prompts = self.seg_projection(hidden[rows, columns])
        if self.region_alignment is not None:
            places = phrase_state_columns(input_ids, labels, *self.phrase_tokens)
            phrases = [hidden[row, place.start : place.stop] for row, place in places]
            output.seg_prompts = self.align(output.seg_prompts, phrases)
        if seg_image_index is not None and (pixel_values_sam is not None or image_embeddings is not None):
            num_masks = sum(len(m) for m in mask_labels) if mask_labels is not None else len(seg_image_index)
            check_seg_count(len(rows), num_masks, len(seg_image_index))
            check_image_indices(seg_image_index, sum(counts))
            if image_embeddings is None:
                assert pixel_values_sam is not None
                image_embeddings = self.encode_sam(pixel_values_sam)
            output.mask_logits = self.decode_masks(image_embeddings, output.seg_prompts, seg_image_index)
            if mask_labels is not None:
                terms |= self.mask_terms(
                    output.mask_logits,
                    seg_image_index,
                    mask_labels,
                    original_hw,
                    resized_hw,
                    totals.get("masks"),
                )
        output.loss = self.weigh(terms)
        output.loss_terms = {name: term.detach() for name, term in terms.items()}
        return output

    def mask_terms(
        self,
        mask_logits: Tensor,
        seg_image_index: Tensor,
        mask_labels: list[Tensor],
        original_hw: Tensor | None,
        resized_hw: Tensor | None,
        total: float | None = None,
    ) -> dict[str, Tensor]:
        """Dice and pixel terms: the mean over the masks of the batch (zero masks give zero terms).

        Args:
            total: number of masks to divide by, when the batch is a part of a larger one.

        Source: GLaMM's code (sum over masks / number of masks); PRIMA's text names focal in place of BCE.
        """
        cfg = self.config
        side = cfg.sam_config.vision_config.image_size
        zero = mask_logits.sum() * 0.0 + cast(nn.Linear, self.seg_projection[2]).bias.sum() * 0.0
        dice, pixel, count = zero, zero, 0
        for index, masks in enumerate(mask_labels):
            chosen = mask_logits[seg_image_index == index]
            check_image_masks(index, len(chosen), len(masks))
            if len(masks) == 0:
                continue
            inside = tuple(resized_hw[index].tolist()) if resized_hw is not None else (side, side)
            if cfg.mask_loss_resolution == "original":
                outside = masks.shape[-2:] if original_hw is None else original_hw[index].tolist()
                chosen = resize_logits(chosen, inside, (outside[0], outside[1]), side)
                targets = masks
            else:
                targets = shrink_masks(masks, inside, chosen.shape[-1], side)
            dice = dice + dice_loss(chosen, targets).sum()
            pixel = pixel + self.pixel_loss(chosen, targets).sum()
            count += len(masks)
        divisor = max(count if total is None else total, 1)
        return {"dice": dice / divisor, "pixel": pixel / divisor}

    def pixel_loss(self, mask_logits: Tensor, masks: Tensor) -> Tensor:
        """Focal or BCE, one value per mask, as the configuration says."""
        if self.config.pixel_loss == "bce":
            return bce_loss(mask_logits, masks)
        return focal_loss(mask_logits, masks, alpha=self.config.focal_alpha, gamma=self.config.focal_gamma)

    def weigh(self, terms: dict[str, Tensor]) -> Tensor:
        """alpha text + beta Dice + gamma pixel. Source: PRIMA section 3.2, training objective."""
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
        streamer: Any = None,
        generation_options: dict[str, Any] | None = None,
        **streams: Any,
    ) -> GroundedGeneration:
        """Answer one conversation and keep, for each generated `[SEG]`, the state that predicted it.

        With a KV cache that is the last state of the step that emitted the token; a hook on the final norm
        keeps just this vector per step, never all layers.

        Args:
            input_ids: `[1, L]`.
            num_images: one count.
            streamer: a Hugging Face streamer for the new ids.
            generation_options: passed to `generate` (`do_sample`, `temperature`, ...); greedy by default.

        Raises:
            AlignmentError: more than one conversation.
            InputError: beam search, whose steps do not belong to one answer.
        """
        if len(input_ids) != 1:
            raise AlignmentError(
                "one conversation at a time",
                expected="input_ids of shape [1, L]",
                found=f"{len(input_ids)} conversations",
                where="generate_grounded",
                fix="answer the conversations one after the other",
            )
        options: dict[str, Any] = {"do_sample": False, "num_beams": 1} | (generation_options or {})
        if options["num_beams"] != 1:
            raise InputError(
                "beam search cannot be grounded",
                expected="num_beams=1",
                found=f"num_beams={options['num_beams']}",
                where="generation_options",
                fix="generate greedily or with do_sample",
            )
        counts = num_images.tolist() if isinstance(num_images, Tensor) else list(num_images)
        embeds, _ = self.embed(input_ids, counts, **streams)
        states: list[Tensor] = []
        hook = self.language_model.model.norm.register_forward_hook(
            lambda module, args, out: states.append(out[0, -1].detach())
        )
        try:
            new_ids = self.language_model.generate(
                inputs_embeds=embeds,
                attention_mask=attention_mask,
                max_new_tokens=max_new_tokens,
                use_cache=True,
                streamer=streamer,
                **options,
            )[0]
        finally:
            hook.remove()
        ids = new_ids.tolist()
        width = self.config.text_config.hidden_size
        spoken = torch.stack(states) if states else embeds.new_zeros((0, width))
        prompts = self.seg_projection(spoken[[i for i, t in enumerate(ids) if t == self.config.seg_token_id]])
        if self.region_alignment is not None:
            phrases = [spoken[p.start : p.stop] for p in phrases_of(ids, *self.phrase_tokens)]
            prompts = self.align(prompts, phrases)
        end = self.language_model.generation_config.eos_token_id
        ends = set(end) if isinstance(end, list) else {end}
        finished = len(new_ids) > 0 and int(new_ids[-1]) in ends
        return GroundedGeneration(new_ids, prompts, finished)
