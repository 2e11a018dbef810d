"""The embedded model on own data: what trains, its defaults, and three losses of its own.

Its decoder was made with the codes of phrases, so the decoder goes on learning the masks of codes and the
`[SEG]` state the codes (`CodeDistillation`, `CodePromptLoss`), and its object slots learn the names of the
data (`NameReading`). Importing this module registers the family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue.mini.code_prompts import CodePrompts, draw_code_prompts, seg_codes
from segue.mini.name_presence import NamePresence, common_names
from segue.models.auto import ModelBundle
from segue.models.mask_objective import MaskLabels
from segue.models.mini.slot_vocabulary import add_slot_names, forget_labels, reads_names
from segue.models.modeling_grounded import GroundedModel
from segue.models.segmenter import MaskPrompts
from segue.training.adapters import FinetuneFamily, register_family
from segue.training.engine.engines import Processes
from segue.training.engine.progress import tell
from segue.training.finetune.auxiliary import AuxiliaryLoss
from segue.training.finetune.example import Example
from segue.training.finetune.mixture import Mixture
from segue.training.finetune.sources import Sources
from segue.training.recipe import Recipe

Sizes = Sequence[tuple[int, int]]
Totals = dict[str, float] | None
Loss = tuple[Tensor, dict[str, float]]


class CodeDistillation:
    """Squared distance between each `[SEG]` prompt and the code of its region's phrase.

    Args:
        width: Of SAM's prompts.
        weight: Of the loss.
    """

    name = "codes"
    terms = frozenset({"seg"})
    uses_segmenter = False

    def __init__(self, width: int, weight: float) -> None:
        self.width, self.weight = width, weight

    def target(self, example: Example, hws: Sizes, source: Any, draw: list[int]) -> Tensor:
        """`[K, D]` codes, in text order; NaN where a phrase names several masks, see `seg_codes`."""
        return seg_codes(example.drawn.conversation, example.targets, self.width)

    def join(self, targets: Sequence[Tensor]) -> Tensor:
        """`[K, D]` over the batch."""
        return torch.cat(list(targets))

    def counts(self, targets: Tensor) -> dict[str, float]:
        """Nothing: the mean is over masks, which are counted already."""
        return {}

    def loss(self, model: Any, batch: dict[str, Any], output: Any, targets: Tensor, totals: Totals) -> Loss:
        """Mean over the masks of the step and the width of the prompts."""
        masks = totals["masks"] if totals else len(targets)
        asked = ~targets.isnan().any(dim=1)
        wanted = targets[asked].to(output.seg_prompts)
        distance = (output.seg_prompts[asked.to(output.seg_prompts.device)] - wanted).square().sum()
        distance = distance / max(masks * targets.shape[1], 1)
        return self.weight * distance, {"seg": float(distance.detach())}


class NameReading:
    """The object slots' reading of which names of the data each image shows.

    Args:
        names: What they read.
        weight: Of the loss.
    """

    name = "shown"
    terms = frozenset({"names"})
    uses_segmenter = False

    def __init__(self, names: NamePresence, weight: float) -> None:
        self.names, self.weight = names, weight

    def target(self, example: Example, hws: Sizes, source: Any, draw: list[int]) -> Tensor:
        """`[images, names]`, see `NamePresence.targets`."""
        return self.names.targets(example.drawn.conversation, source)

    def join(self, targets: Sequence[Tensor]) -> Tensor:
        """`[N, names]` over the batch."""
        return torch.cat(list(targets))

    def counts(self, targets: Tensor) -> dict[str, float]:
        """Pairs of image and name of which the answer is known."""
        return {"shown": float((targets >= 0).sum())}

    def loss(self, model: Any, batch: dict[str, Any], output: Any, targets: Tensor, totals: Totals) -> Loss:
        """Mean over the known pairs of the step."""
        total = max(totals["shown"], 1.0) if totals else None
        off = self.names.loss(model, output.visual.queries, targets, total)
        return self.weight * off, {"names": float(off.detach())}


class CodePromptLoss:
    """The model's own mask loss on regions that the decoder is asked for by the code of their phrase.

    Args:
        width: Of SAM's prompts.
        regions: How many of each image.
    """

    name = "code_prompts"
    terms = frozenset({"code_dice", "code_pixel"})
    uses_segmenter = True

    def __init__(self, width: int, regions: int) -> None:
        self.width, self.regions = width, regions

    def target(self, example: Example, hws: Sizes, source: Any, draw: list[int]) -> CodePrompts:
        """Draw regions of the conversation's images."""
        rng = np.random.default_rng([*draw, 2])
        return draw_code_prompts(example.drawn.conversation, hws, self.regions, self.width, rng)

    def join(self, targets: Sequence[CodePrompts]) -> CodePrompts:
        """Those of the batch, images counted over it."""
        return CodePrompts.join(targets)

    def counts(self, targets: CodePrompts) -> dict[str, float]:
        """Regions."""
        return {"code_prompts": float(len(targets.codes))}

    def loss(
        self, model: Any, batch: dict[str, Any], output: Any, targets: CodePrompts, totals: Totals
    ) -> Loss:
        """Weighted as the model weighs its own terms; means over the regions of the step."""
        features, device = batch["segmenter_features"], batch["input_ids"].device
        index = targets.image_index.to(device)
        codes = targets.codes.to(device, next(iter(features.values())).dtype)
        logits = model.segmenter.decode(features, MaskPrompts(codes, index))
        wanted = MaskLabels(
            [mask.to(device) for mask in targets.masks],
            index,
            batch["original_hw"],
            batch["resized_hw"],
            totals["code_prompts"] if totals else None,
        )
        terms = model.mask_terms(logits[None], wanted)
        return model.weigh(terms), {f"code_{name}": float(term.detach()) for name, term in terms.items()}


def auxiliary_losses(recipe: Recipe, bundle: ModelBundle, sources: Sources) -> list[AuxiliaryLoss]:
    """Losses that the recipe's options ask for; the model learns the names of the data first.

    Their order is that in which they are added: another one would round differently.
    """
    options, width = recipe.options, bundle.model.config.prompt_width
    names = teach_names(recipe, bundle, sources.mixture)
    sources.show_all_regions(bool(options.get("code_prompts")))
    losses: list[AuxiliaryLoss] = []
    if options.get("distillation"):
        losses.append(CodeDistillation(width, options["distillation"]))
    if names is not None:
        losses.append(NameReading(names, options["name_presence"]))
    if options.get("code_prompts"):
        losses.append(CodePromptLoss(width, options["code_prompts"]))
    return losses


def teach_names(recipe: Recipe, bundle: ModelBundle, mixture: Mixture) -> NamePresence | None:
    """Give a model with object slots the names of the data, where the recipe wants them read.

    Raises:
        ModelError: it has no slots that spell what they read.
    """
    if not recipe.options.get("name_presence"):
        return None
    names = common_names(mixture.sources)
    labels = tuple(getattr(bundle.model.config, "label_reader_names", ()))
    if names and labels and not set(names) & set(labels):
        forget_labels(bundle.model, bundle.processor)
        if Processes.launched().first:
            tell([f"left out: the label reader, which knows none of these names ({', '.join(labels)})"])
    add_slot_names(bundle.model, bundle.processor, names)
    return NamePresence.of(bundle.model, names) if names else None


PARTS = (
    "language_model",
    "reader",
    "fusion",
    "image_projection",
    "seg_projection",
    "sam.mask_decoder",
    "slot_heads.classes",
)
"""Small enough to train whole parts: new words need the embeddings and all layers of the language model and
the slots' classes. The towers stay. Source: ours."""


def defaults(model: GroundedModel) -> dict[str, dict[str, Any]]:
    """Fields of a recipe; a model whose slots read no names is taught none.

    In the same time many small batches teach it far more than few large ones (docs/own_data.md).

    Source: ours.
    """
    options = {"batch_size": 2, "code_prompts": 6, "distillation": 1.0}
    if reads_names(model):
        options["name_presence"] = 0.5
    return {"options": options, "finetune": {"min_steps": 1000}}


def defaults_with_encoder(model: GroundedModel) -> Mapping[str, Mapping[str, Any]]:
    """The same, and Muon for SAM, whose encoder was made with it."""
    return defaults(model) | {"optimiser": {"muon_rate": 0.01, "muon_parts": ["sam"]}}


_OPTIONS = frozenset({"code_prompts", "distillation", "name_presence"})

# New shapes need SAM's encoder, which has seen little; while its outputs are kept it cannot learn.
register_family(
    "prima_mini",
    FinetuneFamily(
        (*PARTS, "sam.vision_encoder"),
        lora=(),
        frozen_encoders="prima_mini-frozen",
        defaults=defaults_with_encoder,
        options=_OPTIONS,
        auxiliary=auxiliary_losses,
    ),
)
register_family(
    "prima_mini-frozen",
    FinetuneFamily(PARTS, lora=(), defaults=defaults, options=_OPTIONS, auxiliary=auxiliary_losses),
)
