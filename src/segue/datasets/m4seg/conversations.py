"""Stage 5: pairs through the filters, identifiers to masks, `gconv/1` records out; rejects are kept too.

Source: PRIMA sec. A.3 ("identifiers are later used to extract the corresponding grounding") and A.4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segue.datasets.m4seg.absence import lexicon_of
from segue.datasets.m4seg.filters import QAPair, Verdict, judge
from segue.datasets.m4seg.images import ImageStore, StoredImage
from segue.datasets.m4seg.lexicon import Lexicon
from segue.datasets.m4seg.listing import ListedRegion, Listing, list_images
from segue.datasets.m4seg.mentions import GroundedPhrase
from segue.datasets.m4seg.pointing import PICTURES, judge_all, listing_of
from segue.datasets.m4seg.sampling import ImageSet
from segue.datasets.stages.stages import MapFn, ShardWriter, StageOutput, StoredLines, ranges, run_stage
from segue.files import relative_path
from segue.records import Conversation, ImageRef, Meta, Region, Span, Turn
from segue.records.conversation import Split

VERSION = 1
SHARD = 500
DROPPED = "dropped"
"""Output of rejected pairs. Its shards are not called `rejected`, which is the name of the finished file."""

MaskForm = Literal["inline", "store"]


def conversation(
    verdicts: Verdict | Sequence[Verdict],
    id: str,
    split: Split,
    *,
    folder: Path,
    masks: MaskForm = "inline",
    meta: Meta | None = None,
) -> Conversation:
    """The record of a pair that was kept, or of several that are one conversation.

    Regions are those that questions point at and answers name, and the objects of the parts among them.

    Args:
        verdicts: Of `judge`; all of one listing.
        id: Of the record.
        split: Of the record.
        folder: That image paths shall be relative to.
        masks: `inline`, or `store` for a `mask_ref` into the stage of the images, `image_id#rid`: inline
            masks repeat those of an image in every record about it. Masks of retakes, which are no images of
            the stage, are always inline.
        meta: Further entries.
    """
    pairs = [verdict.pair for verdict in ([verdicts] if isinstance(verdicts, Verdict) else verdicts)]
    listing = pairs[0].listing
    turns: list[Turn] = []
    named: set[str] = set()
    for pair in pairs:
        answer, phrases = pair.answer.clean()
        question = Turn(role="user", text=pair.question.clean()[0])
        if pair.marks:
            question = Turn(role="user", text=question.text, spans=_spans(pair.marks, listing))
        turns += [question, Turn(role="assistant", text=answer, spans=_spans(phrases, listing))]
        named |= {code for phrase in (*pair.marks, *phrases) for code in phrase.codes}
    # A part's record names its object, so that must be there even where the text speaks of the part alone.
    named |= {parent for code in named if (parent := listing.by_code[code].parent)}
    kept: Meta = {
        "raw_question": pairs[0].question.raw,
        "raw_answer": pairs[0].answer.raw,
        # Identifiers of a question are cut out of the text and kept here, with their places.
        "question_refs": [
            {"start": p.start, "end": p.end, "codes": list(p.codes)} for p in pairs[0].question.clean()[1]
        ],
    }
    if len(pairs) > 1:
        kept["raw_follow_ups"] = [
            {"question": pair.question.raw, "answer": pair.answer.raw} for pair in pairs[1:]
        ]
    return Conversation(
        id=id,
        task="m4seg",
        split=split,
        images=[_image(image, folder) for image in listing.images],
        regions=[_region(entry, listing, masks) for entry in listing.entries if entry.code in named],
        turns=turns,
        meta={**(meta or {}), **kept},
    )


def _spans(phrases: Sequence[GroundedPhrase], listing: Listing) -> list[Span]:
    return [
        Span(start=p.start, end=p.end, rids=[rid_of(listing.by_code[code]) for code in p.codes])
        for p in phrases
    ]


def rid_of(entry: ListedRegion) -> str:
    """The region's name in a record: "i1o1", "i1o1p2" for 101, 10102."""
    # "20103" is image 2, object 1, part 3: "i2o1p3".
    thing = f"i{entry.code[0]}o{int(entry.code[1:3])}"
    return thing if entry.parent is None else f"{thing}p{int(entry.code[3:])}"


def _image(image: StoredImage, folder: Path) -> ImageRef:
    path = relative_path(image.path, folder)
    return ImageRef(image_id=image.image_id, path=path, height=image.height, width=image.width)


def _region(entry: ListedRegion, listing: Listing, masks: MaskForm) -> Region:
    region = entry.region
    where: dict[str, Any] = (
        {"mask": region.rle}
        if masks == "inline" or listing.images[entry.image_index].retake is not None
        else {"mask_ref": f"{listing.images[entry.image_index].image_id}#{region.rid}"}
    )
    return Region(
        rid=rid_of(entry),
        image_index=entry.image_index,
        kind=region.kind,
        name=entry.name,
        parent=None if entry.parent is None else rid_of(listing.by_code[entry.parent]),
        code=entry.code,
        bbox=list(region.bbox),
        area=region.area,
        source_label=region.source_label,
        **where,
    )


@dataclass(frozen=True)
class FilterPairs:
    """The work of the stage.

    Attributes:
        store: The images.
        sets, pairs: Lines of the stages before.
        lexicon: Names of the whole build.
        folder: That image paths shall be relative to.
        masks: See `conversation`.
        test_share: Of the pairs, with `random_qa`; else None, and the set's split is the pair's.
    """

    store: ImageStore
    sets: StoredLines
    pairs: StoredLines
    lexicon: Lexicon
    folder: Path
    masks: MaskForm
    test_share: float | None = None

    def __call__(self, chunk: range, shard: ShardWriter) -> None:
        for row in chunk:
            line = self.pairs[row]
            image_set = ImageSet.from_json(self.sets[line["set"]])
            images = [self.store[n] for n in image_set.rows]
            listing = list_images(images)
            shard.count("unlisted objects and parts", listing.unlisted)
            for number, pair in enumerate(line["qa"]):
                id = f"m4seg/{image_set.id}/q{number}"
                shard.count("pairs")
                if "marks" in pair:
                    own = listing_of(pair, images, self.folder / PICTURES)
                    verdicts = judge_all(pair, own, self.lexicon)
                else:
                    verdicts = [judge(QAPair(pair["question"], pair["answer"]), listing, self.lexicon)]
                self._judged(verdicts, id, line["generator"], pair, image_set, shard)

    def _judged(
        self,
        verdicts: Sequence[Verdict],
        id: str,
        generator: str,
        pair: dict[str, Any],
        image_set: ImageSet,
        shard: ShardWriter,
    ) -> None:
        """Write what the filters kept, or why they did not."""
        last = verdicts[-1]
        if not last.kept:
            shard.count(f"rejected ({last.letter}) {last.reason}")
            told = {"id": id, "filter": last.letter, "reason": last.reason, "detail": last.detail}
            shard.line(DROPPED, told | {"generator": generator, **pair})
            return
        meta: Meta = {"generator": generator, "kind": pair["kind"]}
        images = last.pair.listing.images
        if [image.image_id for image in images] == [self.store[n].image_id for n in image_set.rows]:
            meta["sampling"] = {
                "criterion": image_set.criterion,
                # 1-based, as texts and listings number images.
                "anchor": image_set.anchor + 1,
                "distances": list(image_set.distances),
                "classes": list(image_set.classes),
            }
        if "turns" in pair:
            meta["turns"] = pair["turns"]
            self._count_pointing(pair, images, image_set, shard)
        split = self._split(id, image_set)
        kept = conversation(verdicts, id, split, folder=self.folder, masks=self.masks, meta=meta)
        shard.line(split, kept.to_json())
        shard.count(f"kept, {split}")
        shard.count(f"kept, {pair['kind']}")

    def _count_pointing(
        self, pair: dict[str, Any], images: Sequence[StoredImage], image_set: ImageSet, shard: ShardWriter
    ) -> None:
        """Count what a conversation that points asks, and note the pictures that it needs."""
        for turn in pair["turns"]:
            shard.count(f"kept, {pair['kind']}, {turn['template']}")
        for entry, image in zip(pair["images"], images, strict=True):
            if image.retake is not None:
                row = image_set.rows[entry["place"]]
                shard.line(PICTURES, {"file": Path(image.path).name, "row": row, "retake": image.retake})

    def _split(self, id: str, image_set: ImageSet) -> Literal["train", "test"]:
        if self.test_share is None:
            return "test" if image_set.split == "test" else "train"
        # 64 bits of a hash over 2 to the 64: uniform in [0, 1), and the same for this id in every build.
        chance = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big") / 2**64
        return "test" if chance < self.test_share else "train"


def filter_pairs(
    folder: Path,
    images: StageOutput,
    sets: StageOutput,
    pairs: StageOutput,
    vocabulary: Mapping[str, set[str]],
    *,
    out: Path,
    masks: MaskForm = "inline",
    test_share: float | None = None,
    map_fn: MapFn = map,
    progress: bool = True,
) -> StageOutput:
    """Run the stage: its outputs are `train`, `test` and `DROPPED`, and `PICTURES` where some are seen again.

    Args:
        folder: Of the stage.
        images, sets, pairs: The stages before.
        vocabulary: Objects with their parts, of the whole build.
        out: Folder that image paths shall be relative to.
        masks: See `conversation`.
        test_share: For `random_qa`; see `FilterPairs`.
        map_fn, progress: See `run_stage`.
    """
    lines = StoredLines(pairs, "pairs")
    # Sorted: sets have another order in every process, and this goes into the stage's hash.
    names = {owner: sorted(parts) for owner, parts in sorted(vocabulary.items())}
    work = FilterPairs(
        ImageStore(images),
        StoredLines(sets, "sets"),
        lines,
        lexicon_of({owner: set(parts) for owner, parts in names.items()}),
        out.resolve(),
        masks,
        test_share,
    )
    # `out` is part of the key, because the paths of images in the records are relative to it.
    told = {"version": VERSION, "masks": masks, "vocabulary": names, "out": str(out.resolve())}
    return run_stage(
        folder,
        ranges(len(lines), SHARD),
        work,
        config={**told, "test_share": test_share},
        inputs={"images": images.hash, "sets": sets.hash, "pairs": pairs.hash},
        map_fn=map_fn,
        total=-(-len(lines) // SHARD),
        progress=progress,
    )
