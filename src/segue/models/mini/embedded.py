"""The embedded model: it finds things in pictures, reads what was found, and draws what it speaks of.

    picture -> trunk -> names' heat -> findings -> spelled as visual tokens -> language model
                                |                                                   |
                                +-- heat of the phrase's name --> mask decoder <----+ point of the [SEG]

Legend: N images, K masks, F findings an image, W words a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segue.models.dense_features import SEGMENTER_STREAM, DenseMap
from segue.models.mini.find import FAINTEST
from segue.models.mini.findings import Finding
from segue.models.mini.names import NameTable, left_to_trunk, name_table, with_branches
from segue.models.mini.point_prompt import nearest_thing, point_prompt
from segue.models.mini.segmenter_mini import MiniSegmenter
from segue.models.mini.spelled_findings import FindingSpeller
from segue.models.mini.talking import TalkingConfig, TalkingModel
from segue.models.segmenter import MaskPrompts, SegmenterFeatures

CELLS_WEIGHT = 0.7
"""Of the readout's cells in matching; the trunk's stride 32 has the rest. Source: `docs/matching.md`."""


class EmbeddedConfig(TalkingConfig):
    """What the language half needs to spell findings and to look names up without a tokenizer."""

    model_type = "prima_embedded"

    word_ids: Any = None
    """Names and the words that are said of findings, each with its token ids within a sentence."""

    phrase_end_token_id: int = -1
    """Id of `</p>`."""

    phrase_names: Any = None
    """Token ids of phrases, joined by blanks, to the name that each means ("dogs" and "dog's heads" too)."""

    own_names: Any = None
    """For each run on own data the names that it taught, see `names.with_branches`."""

    left_out: tuple[str, ...] | list[str] = ()
    """Names that were kept from all training of the seeing half, see `names.left_to_trunk`."""

    def table(self) -> NameTable:
        """The names that the model knows."""
        return with_branches(left_to_trunk(name_table(), self.left_out), self.own_names or ())


class EmbeddedModel(TalkingModel):
    """The language half and the seeing half in one.

    Source: PRIMA section 3.2 for the frame; findings as visual tokens and heat as dense prompt are ours.
    """

    config_class = EmbeddedConfig
    encodes_together = True
    match_threshold = 0.4
    images_read_together = False
    encoder_parts = ("seeing",)

    def __init__(self, config: EmbeddedConfig) -> None:
        super().__init__(config)
        self.seeing = MiniSegmenter(config.table())
        self.read_words()
        self.post_init()

    def read_words(self) -> None:
        """Take the words of the configuration, which own data may have added to."""
        self.spell = FindingSpeller(known=dict(self.config.word_ids or {}))

    @property
    def unsaved_encoders(self) -> dict[str, nn.Module]:
        """The trunk, which comes with a package of its own."""
        return {"trunk": self.seeing.outside[0]}

    @property
    def segmenter(self) -> MiniSegmenter:
        """Sees names, finds things and draws masks."""
        return self.seeing

    def encode(self, streams: dict[str, Tensor]) -> tuple[dict[str, Tensor], SegmenterFeatures]:
        """Pictures `[N, 3, S, S]` are looked at once, for words and for masks."""
        features = self.segmenter.encode(streams["pixel_values_sam"])
        return {"finding_ids": self.spell(self.segmenter.find(features)).to(self.device)}, features

    @torch.no_grad()
    def pool_regions(self, visual: dict[str, Tensor], drawable: SegmenterFeatures, grids: Tensor) -> Tensor:
        """What lies under regions of one image, each as a spelled finding: ids `[R, W]` as floats."""
        found = [self.segmenter.under(drawable, grid) for grid in grids]
        return self.spell.rows(found, self.region_width).to(grids.device)

    def dense_maps(self, visual: dict[str, Tensor], drawable: SegmenterFeatures) -> list[DenseMap]:
        """The readout's cells, which know everyday kinds and parts, and the trunk's for all others."""
        maps = [DenseMap(drawable["cells"][0], SEGMENTER_STREAM, CELLS_WEIGHT)]
        # Features that an earlier release kept on the disk lack the trunk's.
        if "stride32" in drawable:
            maps.append(DenseMap(drawable["stride32"][0], SEGMENTER_STREAM, 1 - CELLS_WEIGHT))
        return maps

    def draw_masks(
        self, features: SegmenterFeatures, seg_prompts: Tensor, image_index: Tensor, phrases: list[Tensor]
    ) -> Tensor:
        """Mask logits `[K, h, w]`: the heat of each phrase's name, at the place that its `[SEG]` says.

        What a picture does not show at all has an empty mask, whatever the language model says of it.
        """
        found = self.segmenter.find(features)
        names = [
            self.name_of(p.tolist(), found[k]) for p, k in zip(phrases, image_index.tolist(), strict=True)
        ]
        dense = self.segmenter.heat_prompts(features, names, image_index)
        sparse = self.placed(seg_prompts, names, [found[k] for k in image_index.tolist()])
        logits = self.segmenter.decode(features, MaskPrompts(sparse, image_index, dense), names)
        columns = [self.segmenter.eyes.prompts.rows[name] for name in names]
        unseen = features["presence"][image_index, columns] < FAINTEST
        return logits.masked_fill(unseen[:, None, None], torch.finfo(logits.dtype).min)

    def placed(self, prompts: Tensor, names: Sequence[str], found: Sequence[Sequence[Finding]]) -> Tensor:
        """Prompts `[K, C]`, each moved onto the nearest finding of its name.

        Which of several things is meant is the language model's to say, where exactly it lies was seen. The
        gradient is that of the prompts as they came; a name without findings keeps its prompt.

        Args:
            names: of the K phrases.
            found: findings of each phrase's image.
        """
        moved = prompts.detach().clone()
        for row, (name, findings) in enumerate(zip(names, found, strict=True)):
            own = [f for f in findings if f.name == name]
            if own:
                centres = torch.tensor([f.centre_yx for f in own], device=prompts.device)
                areas = torch.tensor([f.area for f in own], device=prompts.device)
                points = point_prompt(centres, areas, prompts.shape[1]).to(prompts)
                moved[row] = points[nearest_thing(moved[row : row + 1], points)[0]]
        return prompts + (moved - prompts.detach())

    def name_of(self, phrase: list[int], findings: list[Finding]) -> str:
        """The name that a phrase means; of an unknown phrase that of the finding that shares most with it."""
        tags = (self.config.phrase_token_id, self.config.phrase_end_token_id)
        words = [i for i in phrase if i not in tags]
        # From the front on, so that "brown teddy bear" is a teddy bear and no bear.
        for start in range(len(words)):
            name = self.config.phrase_names.get(" ".join(map(str, words[start:])))
            if name is not None:
                return str(name)
        names = [f.name for f in findings] or list(self.segmenter.eyes.table.names)
        return max(names, key=lambda name: len(set(words) & set(self.config.word_ids[name])))
