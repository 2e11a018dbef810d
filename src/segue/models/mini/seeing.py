"""The seeing half of the embedded model by itself: it names, finds and draws, and needs no language model.

Its part `seeing` is trained from photographs and taken over by the whole model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from segue.errors import ModelError
from segue.models.mini.findings import Finding
from segue.models.mini.names import left_to_trunk, name_table
from segue.models.mini.picture import square_picture
from segue.models.mini.segmenter_mini import MiniSegmenter
from segue.models.mini.trunk import normalise_pixels
from segue.models.segmenter import SegmenterFeatures


class SeeingConfig(PreTrainedConfig):
    """What was learned for which names."""

    model_type = "prima_seeing"

    names: tuple[str, ...] | list[str] = ()
    """The table's names when the weights were made, in order; they must be those of today's table."""

    left_out: tuple[str, ...] | list[str] = ()
    """Names that were kept from all training, see `names.left_to_trunk`."""


class SeeingModel(PreTrainedModel):
    """The segmenter with nothing around it.

    Raises:
        ModelError: the weights are for another table of names.

    Source: paper silent; ours.
    """

    config_class = SeeingConfig
    base_model_prefix = ""

    def __init__(self, config: SeeingConfig) -> None:
        super().__init__(config)
        table = left_to_trunk(name_table(), config.left_out)
        config.names = list(config.names) or list(table.names)
        if list(config.names) != list(table.names):
            raise ModelError(
                "the weights were made for other names",
                expected=f"{len(config.names)} names as in its config.json",
                found=f"{len(table.names)} names in taxonomies/imagenet_names.json",
                where="SeeingModel",
                fix="train stage look again, or restore the table",
            )
        self.seeing = MiniSegmenter(table)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave all parts as they were made: each starts itself."""

    @torch.no_grad()
    def look(self, images: Sequence[Image.Image]) -> tuple[SegmenterFeatures, list[list[Finding]]]:
        """Features of RGB images, and their findings."""
        squares = [torch.from_numpy(square_picture(image)[0]) for image in images]
        features = self.seeing.encode(self._pixels(torch.stack(squares)))
        return features, self.seeing.find(features)

    def _pixels(self, squares: Tensor) -> Tensor:
        return normalise_pixels(squares).to(self.device, self.dtype)
