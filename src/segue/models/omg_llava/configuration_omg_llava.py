"""Configuration of OMG-LLaVA: a frozen segmenter of everything, whose objects a language model reads."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, Mask2FormerConfig
from transformers.configuration_utils import SubConfigSpec

from segue.models.configuration_grounded import GroundedConfig


class PerceptionConfig(Mask2FormerConfig):
    """OMG-Seg: OpenCLIP's ConvNeXt-L under a Mask2Former of 300 queries, classes named by text.

    Source: OMG-Seg's and OMG-LLaVA's code; fields that are not here are Mask2Former's.
    """

    model_type = "omg_perception"
    sub_configs_defaults = {
        "backbone_config": SubConfigSpec(config_class=AutoConfig, model_type="convnext"),
    }
    backbones_supported = ["convnext"]

    backbone_config: Any = None
    """The trunk; its `image_size` is the side in pixels of the square that pictures lie in."""

    num_queries: int = 300
    """Learned queries, each of which finds at most one object."""

    decoder_layers: int = 10
    """Predictions: one before the first layer, then one behind each of 9 layers."""

    num_classes: int = 133
    """Classes that an object's score is the best of (COCO panoptic). A query without one of them is void."""

    prompts_per_class: int = 1
    """Ways in which each class is put into words; the best one counts. A checkpoint's file of class texts
    says how many."""

    class_width: int = 768
    """Width of the class texts."""

    logit_scale: float = 4.6052
    """Logarithm of what cosines are multiplied by: 100. Source: CLIP."""

    shuffle: int = 2
    """Cells of the trunk's last map that one visual token covers, per side: 32 x 32 become 16 x 16."""

    point_half_width: float = 3.0
    """A point is a box of this many pixels to each side. Source: OMG-LLaVA's code."""

    @property
    def cells_per_side(self) -> int:
        """Visual tokens along a side of the square."""
        # The trunk's patches of 4 pixels are halved three times.
        return int(self.backbone_config.image_size) // (32 * self.shuffle)


class OmgLlavaConfig(GroundedConfig):
    """OMG-LLaVA: pixel tokens, object tokens, and `[SEG]` as one more query of the mask decoder.

    Source: OMG-LLaVA's paper and code.
    """

    model_type = "omg_llava"
    sub_configs_defaults = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
        "perception_config": PerceptionConfig,
    }

    perception_config: Any = None
    """OMG-Seg. Stream `pixel_values_sam`: the language model and the masks look with one trunk."""

    mark_token_id: int = -1
    """Id of `<mark>`, which stands for a point prompt; beyond the vocabulary, for it is always replaced."""

    region_token_id: int = -1
    """Id of `<region>`, which stands for a box or a mask."""

    pixel_loss: str = "bce"
    """Plain binary cross-entropy. Source: OMG-LLaVA's code."""

    num_points: int = 12544
    """Points at which a mask is compared, 112 x 112. Source: Mask2Former's and OMG-LLaVA's code."""

    @property
    def prompt_width(self) -> int:
        """A prompt is a query and its position side by side."""
        return 2 * int(self.perception_config.hidden_dim)
