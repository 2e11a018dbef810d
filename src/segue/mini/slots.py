"""Targets and losses of the object slots: what the visual tokens must be able to name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segue.mini.photos.facts import MIN_AREA, PhotoFacts
from segue.mini.vocabulary import CLASS_INDEX, COLOUR_INDEX, IGNORED, NOTHING, PHOTO_LABELS
from segue.models.mini.configuration_mini import MiniConfig
from segue.models.mini.slots import ObjectSlotHeads
from segue.scenes.kinds import SceneObject


@dataclass(frozen=True)
class SlotTargets:
    """What one image's slots should say.

    Attributes:
        classes, colours: `[slots]`; slot k is the k-th object from the left, `NOTHING` after the last one.
        geometry: `[slots, 3]` x, y of the centre and log10 of the area.
        presence: `[labels]` 1 / 0 / -1 (not known) for photographs' labels, all -1 for scenes.
        label_colours: `[labels]`.
        asked: `[slots]` 1 / 0 whether the instruction asks for the slot's object, `IGNORED` where that is not
            known.
    """

    classes: NDArray[np.int64]
    colours: NDArray[np.int64]
    geometry: NDArray[np.float32]
    presence: NDArray[np.int64]
    label_colours: NDArray[np.int64]
    asked: NDArray[np.int64]

    def asking(self, objects: set[int]) -> SlotTargets:
        """The same for an instruction that asks for these objects, counted like the slots."""
        real = (self.classes != IGNORED) & (self.classes != NOTHING)
        asked = np.isin(np.arange(len(self.classes)), list(objects)).astype(np.int64)
        return replace(self, asked=np.where(real, asked, IGNORED))

    def without_colours(self) -> SlotTargets:
        """The same, naming no colour."""
        return replace(
            self,
            colours=np.full_like(self.colours, IGNORED),
            label_colours=np.full_like(self.label_colours, IGNORED),
        )


def scene_targets(things: Sequence[SceneObject], slots: int, mirrored: bool = False) -> SlotTargets:
    """Targets of a scene; a mirrored one counts from the other side."""
    ordered = list(reversed(things)) if mirrored else list(things)
    classes, colours = np.full(slots, NOTHING), np.full(slots, IGNORED)
    geometry = np.full((slots, 3), np.nan, np.float32)
    for k, thing in enumerate(ordered[:slots]):
        classes[k], colours[k] = CLASS_INDEX[thing.kind], COLOUR_INDEX[thing.colour]
        x = 1 - thing.center[0] if mirrored else thing.center[0]
        geometry[k] = x, thing.center[1], np.log10(max(thing.area, 1e-4))
    empty = np.full(len(PHOTO_LABELS), -1)
    unknown = np.full(slots, IGNORED)
    return SlotTargets(classes, colours, geometry, empty, np.full(len(PHOTO_LABELS), IGNORED), unknown)


def photo_targets(facts: PhotoFacts, label_map: NDArray[np.uint8] | None, slots: int) -> SlotTargets:
    """Targets of a photograph: which labels are there, and their colours; slots themselves are free.

    Args:
        facts: of the whole photograph.
        label_map: labels of the part of it that is shown; None when all of it is.
    """
    presence, colours = np.full(len(PHOTO_LABELS), -1), np.full(len(PHOTO_LABELS), IGNORED)
    areas = None if label_map is None else np.bincount(label_map.ravel(), minlength=len(PHOTO_LABELS) + 1)[1:]
    for k, name in enumerate(PHOTO_LABELS):
        shown = areas is None or label_map is None or areas[k] >= MIN_AREA * label_map.size
        if facts.lacks(name):
            presence[k] = 0
        elif facts.has(name) and shown:
            presence[k], colours[k] = 1, COLOUR_INDEX.get(facts.labels[name].colour, IGNORED)
    return SlotTargets(
        np.full(slots, IGNORED),
        np.full(slots, IGNORED),
        np.full((slots, 3), np.nan, np.float32),
        presence,
        colours,
        np.full(slots, IGNORED),
    )


def stack_targets(targets: Sequence[SlotTargets]) -> dict[str, Tensor]:
    """Targets of several images as tensors."""
    names = ("classes", "colours", "geometry", "presence", "label_colours", "asked")
    return {name: torch.from_numpy(np.stack([getattr(t, name) for t in targets])) for name in names}


def free_queries(config: MiniConfig) -> int:
    """Queries beside the object slots."""
    return config.num_query_tokens - config.num_object_slots


def slot_counts(targets: dict[str, Tensor], silent_photos: bool = False) -> dict[str, float]:
    """What each term of `slot_losses` is a mean over: labels that are known, by name of the target."""
    if silent_photos:
        photos = {"photos": float((targets["presence"] >= 0).any(1).sum())}
    else:
        photos = {
            "presence": float((targets["presence"] >= 0).sum()),
            "label_colours": float((targets["label_colours"] != IGNORED).sum()),
        }
    return photos | {
        "classes": float((targets["classes"] != IGNORED).sum()),
        "colours": float((targets["colours"] != IGNORED).sum()),
        "geometry": float((~targets["geometry"].isnan()).sum()),
        "scenes": float((targets["classes"] != IGNORED).any(1).sum()),
        "asked": float((targets["asked"] != IGNORED).sum()),
    }


def slot_losses(
    heads: ObjectSlotHeads,
    queries: Tensor,
    targets: dict[str, Tensor],
    totals: dict[str, float] | None = None,
    asked: Tensor | None = None,
    *,
    silent_photos: bool = False,
) -> tuple[Tensor, dict[str, float]]:
    """Losses and readings of the slots.

    Scenes: cross-entropy of class and colour and smooth L1 of the geometry, slot by slot. Photographs: a
    label is there if any query says so (log-sum-exp), and its colour is told by the queries that say so. The
    other queries of a scene should name nothing.

    Args:
        heads: the model's auxiliary heads.
        queries: `[N, Q, C]`; the last ones are the slots.
        targets: of `stack_targets`.
        totals: `slot_counts` of the whole step of which these targets are a part; their own when None.
        asked: `[N, slots]` logits of the slots' relevance, where the model has them.
        silent_photos: of photographs no query names anything, see `silent_loss`.

    Returns:
        The loss, and `slot_classes`, `slot_colours`, `asked`, `presence` accuracies.
    """
    classes, colours, geometry = heads(queries)
    totals = totals or slot_counts(targets, silent_photos)
    n = targets["classes"].shape[1]
    loss, readings = queries.sum() * 0.0, {}
    for name, logits in (("classes", classes[:, -n:]), ("colours", colours[:, -n:])):
        wanted = targets[name]
        if bool((wanted != IGNORED).any()):
            summed = F.cross_entropy(
                logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="sum"
            )
            loss = loss + summed / totals[name]
            real = (wanted != IGNORED) & (wanted != NOTHING) if name == "classes" else wanted != IGNORED
            readings[f"slot_{name}"] = (
                float((logits.argmax(-1) == wanted)[real].float().mean()) if real.any() else 0.0
            )
    scenes = (targets["classes"] != IGNORED).any(1)
    others = classes[scenes, :-n]
    if others.numel():
        # What they say is spelled to the language model too; untrained, they name things at random.
        loss = loss + nothing_loss(others, totals["scenes"])
    known = ~targets["geometry"].isnan()
    if bool(known.any()):
        summed = F.smooth_l1_loss(
            geometry[:, -n:][known], targets["geometry"][known], beta=0.1, reduction="sum"
        )
        loss = loss + summed / totals["geometry"]
    if asked is not None:
        relevance, judged = relevance_losses(asked, targets, totals)
        loss, readings = loss + relevance, readings | judged
    if silent_photos:
        return loss + silent_loss(classes, targets["presence"], totals["photos"]), readings
    presence, readings_photo = presence_losses(classes, colours, targets, totals)
    return loss + presence, readings | readings_photo


def relevance_losses(
    asked: Tensor, targets: dict[str, Tensor], totals: dict[str, float]
) -> tuple[Tensor, dict[str, float]]:
    """The part of `slot_losses` that judges what the instruction asks for; counted twice.

    Of all that a fresh language model must learn, picking the object that is meant took it longest.
    """
    known = targets["asked"] != IGNORED
    if not bool(known.any()):
        return asked.sum() * 0.0, {}
    judged, wanted = asked[known], targets["asked"][known].float()
    loss = 2.0 * F.binary_cross_entropy_with_logits(judged, wanted, reduction="sum") / totals["asked"]
    return loss, {"asked": float(((judged > 0).float() == wanted).float().mean())}


def presence_loss(
    labels: Tensor, presence: Tensor, total: float | None = None
) -> tuple[Tensor, dict[str, float]]:
    """How wrong an image's queries are about what it shows: a label is there if any query says so.

    Args:
        labels: `[N, Q, L]` logits of every query.
        presence: `[N, L]` 1 / 0 / -1 (not known).
        total: number of known ones that the loss is a mean over; their own number when None.

    Returns:
        Binary cross-entropy of the log-mean-exp over queries, and its accuracy as `presence`.
    """
    known = presence >= 0
    if not bool(known.any()):
        return labels.sum() * 0.0, {}
    there = labels.logsumexp(1) - float(np.log(labels.shape[1]))
    wanted = presence[known].float()
    loss = F.binary_cross_entropy_with_logits(there[known], wanted, reduction="sum")
    right = ((there[known].detach() > 0).float() == wanted).float().mean()
    return loss / (total if total is not None else len(wanted)), {"presence": float(right)}


def own_query_loss(classes: Tensor, numbers: Tensor, presence: Tensor) -> tuple[Tensor, float]:
    """Cross-entropy of "this name" against "nothing", the k-th name at the k-th query.

    Args:
        classes: `[N, Q, classes + 1]` logits; the last class is nothing.
        numbers: `[K]` classes of the names, at most Q.
        presence: `[N, K]` 1 / 0 / -1 (not known).

    Returns:
        The sum over what is known, and the share of it that is said rightly (0 when nothing is).
    """
    known = presence >= 0
    said = classes[:, : len(numbers)][known]
    wanted = torch.where(presence == 1, numbers, classes.shape[-1] - 1)[known]
    right = float((said.argmax(-1) == wanted).float().mean()) if len(wanted) else 0.0
    return F.cross_entropy(said, wanted, reduction="sum"), right


def silent_loss(classes: Tensor, presence: Tensor, total: float) -> Tensor:
    """Cross-entropy of "nothing" at every query of the photographs.

    What they show is told by the label reader, which was trained for longer and on more views; queries that
    tell it too are right about the photographs of the training and mislead about others.

    Args:
        classes: `[N, Q, classes + 1]` logits; the last class is nothing.
        presence: `[N, labels]`, -1 everywhere for what is no photograph.
        total: number of photographs that the loss is a mean over.
    """
    said = classes[(presence >= 0).any(1)]
    if not said.numel():
        return classes.sum() * 0.0
    return nothing_loss(said, total)


def nothing_loss(said: Tensor, total: float) -> Tensor:
    """Cross-entropy of "nothing" at `[N, Q, classes + 1]`: the mean over queries and `total` images."""
    nothing = torch.full(said.shape[:2], NOTHING, device=said.device)
    summed = F.cross_entropy(said.flatten(0, 1), nothing.flatten(), reduction="sum")
    return summed / (total * said.shape[1])


def presence_losses(
    classes: Tensor, colours: Tensor, targets: dict[str, Tensor], totals: dict[str, float] | None = None
) -> tuple[Tensor, dict[str, float]]:
    """The photographs' part of `slot_losses`."""
    first = CLASS_INDEX[PHOTO_LABELS[0]]
    labels = classes[..., first : first + len(PHOTO_LABELS)]
    loss, readings = presence_loss(labels, targets["presence"], totals["presence"] if totals else None)
    coloured = targets["label_colours"] != IGNORED
    if readings and bool(coloured.any()):
        mixed = torch.einsum("nql,nqc->nlc", labels.softmax(1), colours)
        summed = F.cross_entropy(mixed[coloured], targets["label_colours"][coloured], reduction="sum")
        loss = loss + summed / (totals["label_colours"] if totals else int(coloured.sum()))
    return loss, readings
