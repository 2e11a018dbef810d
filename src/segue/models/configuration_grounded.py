"""Configurations of the grounded models; every field says its meaning, its unit and its source."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec
from transformers.models.dinov2_with_registers import Dinov2WithRegistersConfig
from transformers.models.instructblip import InstructBlipQFormerConfig, InstructBlipVisionConfig
from transformers.models.resnet import ResNetConfig
from transformers.models.sam import SamConfig

from segue.errors import ModelError


class GroundedConfig(PreTrainedConfig):
    """What every grounded family shares: a causal LM, SAM, special tokens and the loss.

    Families add how images become visual tokens.

    Source: PRIMA section 3.2; LISA and GLaMM share the same frame.
    """

    model_type = "grounded"

    # Sub-configurations are given as mappings or as configurations, and are configurations once constructed.
    sam_config: Any = None
    """SAM: encoder, prompt encoder and mask decoder. Its prompt width is the output width of
    `seg_projection`."""

    text_config: Any = None
    """The causal language model (Vicuna-7B in the paper)."""

    image_token_id: int = -1
    """Id of `<image>`; it is repeated once per visual token, so positions are literal."""

    seg_token_id: int = -1
    """Id of `[SEG]`. The state that predicts it is the mask prompt."""

    identifier_token_ids: list[int] | tuple[int, ...] = ()
    """Ids of `(IMAGE1)`, `(IMAGE2)`, ... where the tokenizer has each as one token; empty otherwise."""

    seg_projection_hidden_size: int | None = None
    """Inner width of the two-layer text-to-segmentation projection; the LM's width when None (GLaMM's
    choice)."""

    text_loss_weight: float = 1.0
    """alpha of the training objective. Source: GLaMM's and LISA's code (`ce_loss_weight`)."""

    dice_loss_weight: float = 0.5
    """beta of the training objective. Source: GLaMM's and LISA's code; the paper gives no value."""

    pixel_loss_weight: float = 2.0
    """gamma of the training objective. Source: GLaMM's and LISA's code (`bce_loss_weight`)."""

    pixel_loss: str = "focal"
    """`focal` (the paper's text) or `bce` (what the code bases that it cites compute)."""

    focal_alpha: float = 0.25
    """Weight of foreground pixels in the focal loss; negative switches the weighting off."""

    focal_gamma: float = 2.0
    """Focusing exponent of the focal loss."""

    mask_loss_resolution: str = "original"
    """`original`: logits are brought to the photograph's size first (GLaMM). `decoder`: labels are brought to
    the decoder's grid, which costs far less. Source: `original` GLaMM's code; `decoder` ours."""

    phrase_token_id: int = -1
    """Id of the token that opens a phrase: `<p>`, or `[OBJ]` in MIRAS. Read by region alignment alone."""

    region_alignment: bool = False
    """Let each mask prompt attend to the states of its phrase, see `segue.models.region_alignment`. Source:
    MIRAS; on in `miras-7b`, an option of every other family."""

    region_alignment_heads: int = 8
    """Heads of that attention; must divide the prompt's width. Source: MIRAS's code."""

    region_alignment_residual: bool = True
    """Add what was attended to (it starts at zero), or put it in the prompt's place. Source: True ours;
    False MIRAS's code."""

    @property
    def prompt_width(self) -> int:
        """Width of a mask prompt: SAM's, unless a family draws with something else."""
        return int(self.sam_config.mask_decoder_config.hidden_size)

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.pixel_loss not in ("focal", "bce"):
            raise ModelError(
                "unknown pixel loss",
                expected="'focal' or 'bce'",
                found=repr(self.pixel_loss),
                where="config.pixel_loss",
                fix="choose one of the two",
            )
        if self.mask_loss_resolution not in ("original", "decoder"):
            raise ModelError(
                "unknown mask loss resolution",
                expected="'original' or 'decoder'",
                found=repr(self.mask_loss_resolution),
                where="config.mask_loss_resolution",
                fix="choose one of the two",
            )


class PrimaConfig(GroundedConfig):
    """PRIMA: EVA-CLIP and DINOv2 fused by cross-attention, read by an instruction-aware Q-Former.

    The options from `content_queries` on are ours, made for training a small model from scratch; all of them
    are off in `prima-7b`.

    Source: PRIMA section 3.2; `square` from the paper's newer version.
    """

    model_type = "prima"
    sub_configs_defaults = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
        "sam_config": SamConfig,
        "vision_config": InstructBlipVisionConfig,
        "aux_vision_config": Dinov2WithRegistersConfig,
        "qformer_config": InstructBlipQFormerConfig,
        "label_reader_config": SubConfigSpec(config_class=ResNetConfig, optional=True),
    }

    vision_config: Any = None
    """EVA-CLIP-g/14 as InstructBLIP ships it. Stream `pixel_values`."""

    aux_vision_config: Any = None
    """DINOv2-L with registers. Stream `pixel_values_aux`."""

    qformer_config: Any = None
    """The instruction-aware Q-Former; `encoder_hidden_size` follows the vision tower."""

    visual_module: str = "fusion"
    """`fusion`: the paper. `square`: adds relational queries that attend over all images together
    (SQuARE)."""

    num_query_tokens: int = 32
    """Learnable queries an image (BLIP-2's 32)."""

    keep_text_outputs: bool = True
    """Keep the Q-Former's outputs at the instruction's positions: 32 + about 26 = about 58 tokens an
    image."""

    fusion_heads: int = 16
    """Heads of the CLIP x DINO cross-attention; must divide the CLIP width. Source: paper silent; ours."""

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

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.qformer_config.encoder_hidden_size = self.vision_config.hidden_size
        if self.visual_module not in ("fusion", "square"):
            raise ModelError(
                "unknown visual module",
                expected="'fusion' or 'square'",
                found=repr(self.visual_module),
                where="config.visual_module",
                fix="choose one of the two",
            )
        if self.content_queries**2 + self.num_object_slots > self.num_query_tokens:
            raise ModelError(
                "too few query tokens",
                expected=f"num_query_tokens >= {self.content_queries**2 + self.num_object_slots}",
                found=str(self.num_query_tokens),
                where="PrimaConfig",
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
                where="PrimaConfig",
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
