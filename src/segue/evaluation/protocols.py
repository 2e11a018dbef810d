"""Protocols: which scores a benchmark asks for, and what each answer contributes to them.

| protocol | scores |
|---|---|
| `m4seg` | PRIMA's and the phrases' (`metrics/m4seg.py`), absence, text |
| `prist` | pixels of a whole dialogue (`metrics/referring.py`), text |
| `reasonseg`, `refcoco` | one region an expression, whatever it is called (`metrics/referring.py`) |
| `gcg` | GLaMM's beside ours, AP50, text |
| `hallusegbench` | official and strict (`metrics/hallusegbench.py`) |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from segue.errors import InputError, RecordError
from segue.evaluation.predictions import Answer
from segue.evaluation.samples import Sample
from segue.masks import RLE
from segue.metrics.absence import absence_tallies
from segue.metrics.average_precision import average_precision
from segue.metrics.hallusegbench import VARIANTS, official_tallies, strict_tallies
from segue.metrics.language import TextScores, text_scores
from segue.metrics.m4seg import (
    IOU_THRESHOLD,
    Comparison,
    TargetScore,
    class_mean,
    compare,
    comparison_tallies,
    target_scores,
)
from segue.metrics.matching import GroundedMask, areas
from segue.metrics.referring import (
    RegionCounts,
    count_regions,
    harmonic_mean,
    prist_tallies,
    referring_tallies,
)
from segue.metrics.similarity import SemanticSimilarity
from segue.metrics.tally import Tallies, Tally, score
from segue.metrics.text import count_phrases, match_phrases
from segue.records import Conversation


@dataclass(frozen=True)
class Item:
    """A sample with its answer.

    Attributes:
        similarity: Of phrases; None where there is no embedder.
    """

    sample: Sample
    answer: Answer
    similarity: SemanticSimilarity | None = None
    _kept: dict[str, dict[str, Tally]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def failure(self) -> str:
        """Why the item counts zero, if it does for another reason than its masks and words."""
        return self.sample.problem or self.answer.failure

    @property
    def drawn(self) -> tuple[GroundedMask, ...]:
        """The answer's masks; none where the item failed."""
        return () if self.failure else self.answer.masks

    @cached_property
    def comparison(self) -> Comparison:
        """Every pair of mask and target."""
        return compare(self.drawn, self.sample.targets, self.similarity, self.sample.ignore)

    @cached_property
    def target_scores(self) -> list[TargetScore]:
        """What became of each target."""
        return target_scores(self.comparison)

    def contributions(self, protocol: Protocol) -> dict[str, Tally]:
        """The answer's contributions under a protocol; computed once, however many strata ask for them."""
        if protocol.name not in self._kept:
            self._kept[protocol.name] = protocol.answer(self)
        return self._kept[protocol.name]

    @cached_property
    def counts(self) -> RegionCounts:
        """Pixels of all masks united against all targets united; a target without mask counts one pixel."""
        found = count_regions(self.drawn, self.sample.targets, self.sample.ignore)
        unknown = sum(target.rle is None for target in self.sample.targets)
        return RegionCounts(found.intersection, found.predicted, found.target + unknown)


class Protocol:
    """What an evaluation computes; subclasses say it for a benchmark.

    Attributes:
        name: As `--protocol` takes it.
        headline: The scores that a table shows first.
        tells_targets: Whether masks of single targets are scored, and told apart by size and the like.
        texts: Scores of answers as texts against the record's; of `segue.metrics.language.NAMES`.
    """

    name = ""
    headline: tuple[str, ...] = ()
    tells_targets = False
    texts: tuple[str, ...] = ()

    def unit_of(self, sample: Sample) -> str:
        """What a sample stands or falls together with: its conversation."""
        return sample.conversation_id

    def answer(self, item: Item) -> dict[str, Tally]:
        """One answer's contributions, by which strata are scored."""
        raise NotImplementedError

    def unit(self, items: Sequence[Item]) -> Tallies:
        """A unit's contributions to the overall scores: the sums of its answers'."""
        return summed(item.contributions(self) for item in items)

    def corpus(self, items: Sequence[Item], values: Mapping[str, float | None]) -> TextScores:
        """Scores that no sum over answers gives.

        Args:
            items: All of them.
            values: The scores that sums give.
        """
        if not self.texts:
            return TextScores()
        spoken = [i for i in items if i.sample.reference.strip()]
        return text_scores(
            ["" if i.failure else i.answer.text for i in spoken],
            [i.sample.reference for i in spoken],
            self.texts,
        )


class M4SegProtocol(Protocol):
    """PRIMA's benchmark; also for scenes and for data that people bring."""

    name = "m4seg"
    headline = ("mean_iou", "recall", "ss", "siou", "phrase_f1", "image_id_accuracy")
    tells_targets = True
    texts = ("meteor",)

    def answer(self, item: Item) -> dict[str, Tally]:
        return comparison_tallies(item.comparison) | phrase_tallies(item) | absence(item)

    def corpus(self, items: Sequence[Item], values: Mapping[str, float | None]) -> TextScores:
        found = super().corpus(items, values)
        found.values["mean_iou_by_class"] = class_mean(
            (label, target.iou)
            for item in items
            for label, target in zip(item.sample.labels, item.target_scores, strict=True)
        )
        return found


class PristProtocol(Protocol):
    """PRIST: the pixels of a dialogue's masks, all answers united, and its words."""

    name = "prist"
    texts = ("bleu_4", "rouge_l", "meteor", "dist_1", "dist_2")
    headline = ("mean_iou", "pixel_precision", "pixel_recall", "pixel_f1", "bleu_4", "rouge_l", "meteor")

    def answer(self, item: Item) -> dict[str, Tally]:
        # Dialogues draw in their last answer; one that neither draws nor should says nothing about pixels.
        return prist_tallies(item.counts) if item.sample.targets or item.drawn else {}

    def unit(self, items: Sequence[Item]) -> Tallies:
        targets = [target for item in items for target in item.sample.targets]
        found = count_regions(
            [mark for item in items for mark in item.drawn], targets, items[0].sample.ignore
        )
        unknown = sum(target.rle is None for target in targets)
        return prist_tallies(RegionCounts(found.intersection, found.predicted, found.target + unknown))

    def corpus(self, items: Sequence[Item], values: Mapping[str, float | None]) -> TextScores:
        found = super().corpus(items, values)
        for suffix in ("", "_macro"):
            found.values[f"pixel_f1{suffix}"] = harmonic_mean(
                values.get(f"pixel_precision{suffix}"), values.get(f"pixel_recall{suffix}")
            )
        return found


class ReferringProtocol(Protocol):
    """ReasonSeg, RefCOCO and gRefCOCO: a region for an expression; the phrase does not count."""

    name = "reasonseg"
    headline = ("mean_iou", "cumulative_iou", "precision_at_50", "precision_at_70", "precision_at_90",
                "no_target_accuracy", "target_accuracy")  # fmt: skip

    def answer(self, item: Item) -> dict[str, Tally]:
        found = referring_tallies(item.counts) | absence(item)
        if item.failure and not item.counts.target:
            # Saying nothing is not knowing that nothing is there.
            found |= {name: Tally(0.0, 1) for name in ("mean_iou", "no_target_accuracy")}
        return found


class RefCocoProtocol(ReferringProtocol):
    """The same for RefCOCO, whose tables begin with the cumulative IoU."""

    name = "refcoco"
    headline = ("cumulative_iou", "mean_iou", *ReferringProtocol.headline[2:])


class GcgProtocol(Protocol):
    """Grounded captions as GLaMM scores them, ours beside."""

    name = "gcg"
    texts = ("meteor", "cider", "bleu_4", "rouge_l")
    headline = ("meteor", "cider", "ap50", "mean_iou_matched", "recall_glamm", "mean_iou", "recall")
    tells_targets = True

    def answer(self, item: Item) -> dict[str, Tally]:
        return comparison_tallies(item.comparison) | phrase_tallies(item)

    def corpus(self, items: Sequence[Item], values: Mapping[str, float | None]) -> TextScores:
        found = super().corpus(items, values)
        images = [pair for item in items for pair in _by_image(item)]
        found.values |= average_precision(images)
        return found


class HalluSegBenchProtocol(Protocol):
    """Pairs of an original and an edited picture, two labels each; see `metrics/hallusegbench.py`.

    A record is one question; its meta say `pair`, a name that the four of a pair share, and `variant`.
    """

    name = "hallusegbench"
    headline = ("delta_iou_textual", "delta_iou_visual", "confusion_factual", "confusion_counterfactual",
                "strict_delta_iou_textual", "strict_delta_iou_visual")  # fmt: skip

    def unit_of(self, sample: Sample) -> str:
        return sample.pair

    def answer(self, item: Item) -> dict[str, Tally]:
        return absence(item)

    def unit(self, items: Sequence[Item]) -> Tallies:
        by_variant = {item.sample.variant: item for item in items}
        if len(by_variant) < len(items) or not by_variant.keys() <= set(VARIANTS):
            raise RecordError(
                "The records of a pair do not fit HalluSegBench.",
                expected='one record each of "variant": ' + ", ".join(VARIANTS),
                found=", ".join(sorted(item.sample.variant or "none" for item in items)),
                where=f"pair {items[0].sample.pair!r}",
                fix='write "pair" and "variant" into the meta of each record (docs/evaluation.md)',
            )
        held = {
            "orgl_orgi": "orgl_orgi",
            "edtl_orgi": "orgl_orgi",
            "orgl_edti": "edtl_edti",
            "edtl_edti": "edtl_edti",
        }
        counts: dict[str, RegionCounts | None] = {}
        for variant, item in by_variant.items():
            target = by_variant.get(held[variant])
            if target is not None:
                drawn = [mark for mark in item.drawn if mark.rle is not None]
                found = count_regions(drawn, target.sample.targets, target.sample.ignore)
                counts[variant] = found if drawn else None
        failed = frozenset(variant for variant, item in by_variant.items() if item.failure)
        return official_tallies(counts) | strict_tallies(counts, failed)


PROTOCOLS: dict[str, Callable[[], Protocol]] = {
    protocol.name: protocol
    for protocol in (
        M4SegProtocol, PristProtocol, ReferringProtocol, RefCocoProtocol, GcgProtocol, HalluSegBenchProtocol
    )
}  # fmt: skip
_OF_TASK = {
    "prist": "prist",
    "reasonseg": "reasonseg",
    "refseg": "refcoco",
    "grefseg": "refcoco",
    "gcg": "gcg",
}


def protocol_of(name: str | None, conversations: Sequence[Conversation]) -> Protocol:
    """The protocol of a name, or the one that the data ask for: that of their most frequent task.

    Raises:
        InputError: There is no such protocol.
    """
    if name is None:
        if conversations and all("variant" in c.meta and "pair" in c.meta for c in conversations):
            name = "hallusegbench"
        else:
            tasks = Counter(_OF_TASK.get(c.task, "m4seg") for c in conversations)
            name = tasks.most_common(1)[0][0] if tasks else "m4seg"
    if name not in PROTOCOLS:
        raise InputError(
            "There is no such protocol.",
            expected=", ".join(PROTOCOLS),
            found=repr(name),
            where="--protocol",
            fix="choose one of them",
        )
    return PROTOCOLS[name]()


def summed(parts: Iterable[Tallies]) -> dict[str, Tally]:
    """Contributions of several answers as those of one unit."""
    found: dict[str, Tally] = {}
    for part in parts:
        for name, (value, weight) in part.items():
            before = found.get(name, Tally(0, 0))
            found[name] = Tally(before.value + value, before.weight + weight)
    return found


def phrase_tallies(item: Item) -> dict[str, Tally]:
    """What is named, without masks, and masks that must bear the right name.

    - `phrase_f1`: micro F1 of `(image, phrase)` pairs, phrases normalised; `phrase_f1_image_dependent` over
      answers whose meta says that the images are needed; `exact_match`: answers with all pairs right and none
      surplus.
    - `mean_iou_by_phrase`, `recall_at_50_by_phrase`: mean IoU, and share with IoU > 0.5, over targets, each
      paired only with what has its image and its phrase.

    Source: paper silent; ours.
    """
    predicted = [(mark.image_index, mark.phrase) for mark in item.drawn]
    truth = [(mark.image_index, mark.phrase) for mark in item.sample.targets]
    counts = count_phrases(predicted, truth)
    f1 = Tally(2 * counts.right, 2 * counts.right + counts.surplus + counts.missing)
    found = {"phrase_f1": f1, "exact_match": Tally(float(counts.exact and not item.failure), 1)}
    if item.sample.needs_images:
        found["phrase_f1_image_dependent"] = f1
    if truth:
        ious = item.comparison.ious
        pairs = match_phrases(predicted, truth, lambda i, j: float(ious[i, j]))
        found["mean_iou_by_phrase"] = Tally(sum(float(ious[pair]) for pair in pairs), len(truth))
        hits = sum(float(ious[pair]) > IOU_THRESHOLD for pair in pairs)
        found["recall_at_50_by_phrase"] = Tally(hits, len(truth))
    return found


def absence(item: Item) -> dict[str, Tally]:
    """Scores of absent things; a failed answer has refused nothing."""
    sizes = areas(item.drawn)
    drawn = [mark.image_index for mark, size in zip(item.drawn, sizes, strict=True) if size]
    targets = [mark.image_index for mark in item.sample.targets]
    found = absence_tallies(drawn, targets, item.sample.num_images)
    if item.failure:
        found |= {name: Tally(0.0, 1) for name in ("absent_refused", "cross_image_absence") if name in found}
    return found


def overall(values: Iterable[Tallies], name: str) -> float | None:
    """One score over units."""
    return score(tallies[name] for tallies in values if name in tallies)


def _by_image(item: Item) -> list[tuple[list[RLE], list[RLE]]]:
    """Predicted and true masks of each image of an answer; what was not drawn is no mask."""
    images = sorted({mark.image_index for mark in (*item.drawn, *item.sample.targets)})
    return [
        (
            [m.rle for m in item.drawn if m.image_index == k and m.rle is not None],
            [m.rle for m in item.sample.targets if m.image_index == k and m.rle is not None],
        )
        for k in images
    ]
