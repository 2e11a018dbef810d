"""Configurations of the grounded models; every field says its meaning, its unit and its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec
from transformers.models.dinov2_with_registers import Dinov2WithRegistersConfig
from transformers.models.instructblip import InstructBlipQFormerConfig, InstructBlipVisionConfig
from transformers.models.sam import SamConfig

from segue.errors import ModelError

MODULES_WITH_QUERIES = ("fusion", "square")
"""Visual modules in which a Q-Former reads the images."""


class GroundedConfig(PreTrainedConfig):
    """Fields that every grounded family shares: a causal LM, SAM, special tokens and the loss.

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
    the decoder's grid, which costs far less. `points`: there, at sampled points, and the pixel loss is BCE.
    Source: `original` GLaMM's code; `decoder` ours; `points` Sa2VA's code."""

    mask_loss_points: int = 12544
    """Points of each mask, most of them where the model is not sure, with `mask_loss_resolution = "points"`.
    Source: Sa2VA's code, after Mask2Former."""

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

    region_tokens: bool = False
    """Let questions speak of regions: `<region>` is read as features pooled under a mask, see
    `segue.models.region_tokens`. Off, the model has no weights for it. Source: ours, after OMG-LLaVA's visual
    prompts; off in every published model."""

    region_token_id: int = -1
    """Id of `<region>`; it may lie beyond the vocabulary, for the model never writes it."""

    mask_memory: bool = False
    """With `region_tokens`: each later question also speaks of the masks of the answer before it. Source:
    ours, after SegLLM; off in every published model."""

    max_training_images: int | None = None
    """Most images of one conversation in training: an answer about more says so in its notes. None says
    nothing. Source: ours."""

    @property
    def prompt_width(self) -> int:
        """Width of a mask prompt: SAM's, unless a family draws with something else."""
        return int(self.sam_config.mask_decoder_config.hidden_size)

    @classmethod
    def claims(cls, content: Mapping[str, Any]) -> bool:
        """Whether a config.json that names another `model_type` is nevertheless of this family.

        So it is with folders that were written before a family had a `model_type` of its own; see
        `segue.models.auto.load_config`.
        """
        return False

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
        if self.mask_loss_resolution not in ("original", "decoder", "points"):
            raise ModelError(
                "unknown mask loss resolution",
                expected="'original', 'decoder' or 'points'",
                found=repr(self.mask_loss_resolution),
                where="config.mask_loss_resolution",
                fix="choose one of them",
            )


VISUAL_MODULES = ("fusion", "square", "projection", "pooling")
"""Values of `PrimaConfig.visual_module`."""


class PrimaConfig(GroundedConfig):
    """PRIMA: EVA-CLIP and DINOv2 fused by cross-attention, read by an instruction-aware Q-Former.

    Source: PRIMA section 3.2; `square` from the paper's newer version.
    """

    model_type = "prima"
    sub_configs_defaults = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
        "sam_config": SamConfig,
        "vision_config": InstructBlipVisionConfig,
        "aux_vision_config": Dinov2WithRegistersConfig,
        "qformer_config": InstructBlipQFormerConfig,
    }

    vision_config: Any = None
    """EVA-CLIP-g/14 as InstructBLIP ships it. Stream `pixel_values`."""

    aux_vision_config: Any = None
    """DINOv2-L with registers. Stream `pixel_values_aux`."""

    qformer_config: Any = None
    """The instruction-aware Q-Former; `encoder_hidden_size` follows the vision tower."""

    visual_module: str = "fusion"
    """How an image's features become visual tokens.

    `fusion`: the paper, queries of the Q-Former. `square`: adds relational queries that attend over all
    images together (SQuARE). `projection`: no Q-Former, every patch is a token. `pooling`: no Q-Former,
    patches averaged over a grid of `num_query_tokens` cells. Source: PRIMA table 4, and the newer version's
    rows in which SQuARE is replaced by pooling and by a projection; how is not said, so that the plainest
    reading is ours.
    """

    projector_layers: int = 1
    """Linear layers of the projection into the LM, with GELU between them. Source: 1 PRIMA; 2 GLaMM."""

    projector_hidden_size: int | None = None
    """Width between the layers of a projection of two; that of the language model when None (GLaMM's)."""

    relational_key_width: int | None = None
    """Width to which a linear layer brings the features before SQuARE's attention reads them; None reads
    them as they are. Source: dimensions are not published; an attention whose queries and keys are equally
    wide needs such a layer."""

    relational_norm: bool = False
    """Add SQuARE's queries to what their attention found and norm the sum, as BERT's attention does. Source:
    not published; False ours, True for checkpoints that have such a norm."""

    aux_vision: bool = True
    """Whether there is DINOv2, whose features are fused into CLIP's. Source: PRIMA table 4."""

    num_query_tokens: int = 32
    """Learnable queries an image (BLIP-2's 32)."""

    keep_text_outputs: bool = True
    """Keep the Q-Former's outputs at the instruction's positions: 32 + about 26 = about 58 tokens an
    image."""

    instruction_cross_attention: bool = False
    """Let the instruction's positions cross-attend to the image too, with the queries' own weights.

    In InstructBLIP's Q-Former, which is read as it is when False, the query positions alone do: the kept text
    outputs know of the image only what self-attention brings them from the queries, one layer later. The
    paper's q (+) T_Q reads as if both did. Source: False InstructBLIP's code and weights; True the paper's
    wording.
    """

    fusion_heads: int = 16
    """Heads of the CLIP x DINO cross-attention; must divide the CLIP width. Source: paper silent; ours."""

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        # At the paper's sizes they agree; a preset that changes the tower need not say so twice.
        self.qformer_config.encoder_hidden_size = self.vision_config.hidden_size
        if self.visual_module not in VISUAL_MODULES:
            raise ModelError(
                "unknown visual module",
                expected=" or ".join(map(repr, VISUAL_MODULES)),
                found=repr(self.visual_module),
                where="config.visual_module",
                fix="choose one of them",
            )

    @property
    def has_queries(self) -> bool:
        """Whether a Q-Former reads the images; otherwise patches themselves become tokens."""
        return self.visual_module in MODULES_WITH_QUERIES

    @property
    def keeps_text(self) -> bool:
        """Whether the instruction's outputs are visual tokens too, which takes a Q-Former."""
        return self.keep_text_outputs and self.has_queries

    @property
    def tokens_per_image(self) -> int:
        """Visual tokens of one image, before kept text outputs: the queries, cells, or patches."""
        if self.visual_module == "projection":
            return int((self.vision_config.image_size // self.vision_config.patch_size) ** 2)
        return self.num_query_tokens
