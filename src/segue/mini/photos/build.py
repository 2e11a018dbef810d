"""Write conversations about photographs as `gconv/1` JSONL.

The photographs stay where they are: a record holds their paths. Copy them only if you may.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from segue import masks
from segue.errors import InputError
from segue.mini.photos.answers import PhotoExchange
from segue.mini.photos.dialogue import PRESENCE_WEIGHTS, compose_photo_dialogue
from segue.mini.photos.facts import PhotoRecord, load_photo_facts
from segue.mini.photos.labels import LABELS
from segue.records import Conversation, ImageRef, Meta, Region, Span, Turn, write_jsonl
from segue.records.conversation import Split

NUM_IMAGES_WEIGHTS = (0.2, 0.5, 0.3)
"""Share of sets of one, two and three photos."""
_TRIES = 8


def sample_photo_set(
    records: Sequence[PhotoRecord], rng: np.random.Generator, num_images: int | None = None
) -> list[int]:
    """Choose photos to be asked about together.

    Args:
        records: All photos.
        rng: Source of the choice.
        num_images: Size of the set; by default 1 to 3 (`NUM_IMAGES_WEIGHTS`).

    Returns:
        Positions in `records`, all different. Something is worn in just one of several photos (tried a few
        times), so that "who wears X?" has a single answer.
    """
    if num_images is None:
        num_images = int(np.searchsorted(np.cumsum(NUM_IMAGES_WEIGHTS), rng.random(), side="right")) + 1
    num_images = min(num_images, len(records))
    chosen: list[int] = []
    for _ in range(_TRIES):
        chosen = []
        while len(chosen) < num_images:
            candidate = int(rng.integers(len(records)))
            if candidate not in chosen:
                chosen.append(candidate)
        shown = [records[position].facts for position in chosen]
        if any(sum(facts.has(label) for facts in shown) == 1 for label in PRESENCE_WEIGHTS):
            break
    return chosen


def to_conversation(
    records: Sequence[PhotoRecord],
    exchanges: Sequence[PhotoExchange],
    *,
    id: str,
    split: Split,
    paths: Sequence[str] | None = None,
    source: str = "photos",
) -> Conversation:
    """Turn a composed dialogue into a record.

    Args:
        records: The photos, in the order in which they are shown.
        exchanges: The dialogue.
        id: Identifier of the conversation.
        split: `train`, `val` or `test`.
        paths: Paths to write instead of the photos' own.
        source: Prefix of the image ids.

    Returns:
        A conversation of task `photos` with every merged mask of every photo as a region; `meta["turns"]`
        describes each answer (kind, level, needs_images, template, is_follow_up).
    """
    written = [str(record.path) for record in records] if paths is None else list(paths)
    images = [
        ImageRef(image_id=f"{source}:{record.image_id}", path=path, height=record.hw[0], width=record.hw[1])
        for record, path in zip(records, written, strict=True)
    ]
    turns: list[Turn] = []
    for exchange in exchanges:
        spans = [
            Span(start=span.start, end=span.end, rids=[_rid(span.image_index, span.payload)], merge="each")
            for span in exchange.spans
        ]
        turns.append(Turn(role="user", text=exchange.question))
        turns.append(Turn(role="assistant", text=exchange.answer, spans=spans))
    meta: Meta = {
        "turns": [
            {
                "kind": exchange.kind,
                "level": exchange.level,
                "needs_images": exchange.needs_images,
                "template": exchange.template,
                "is_follow_up": exchange.is_follow_up,
            }
            for exchange in exchanges
        ]
    }
    regions = [region for index, record in enumerate(records) for region in _regions(record, index)]
    return Conversation(
        id=id, task="photos", split=split, images=images, regions=regions, turns=turns, meta=meta
    )


def _rid(image_index: int, label: str) -> str:
    return f"{image_index + 1}:{label}"


def _regions(record: PhotoRecord, image_index: int) -> Iterator[Region]:
    for label in (name for name in LABELS if name in record.rles):
        rle = record.rles[label]
        facts = record.facts.labels.get(label)
        yield Region(
            rid=_rid(image_index, label),
            image_index=image_index,
            kind="object" if label == "person" else "part",
            name=label,
            parent=None if label == "person" else _rid(image_index, "person"),
            bbox=masks.box(rle),
            area=masks.area(rle),
            mask=rle,
            source_label="+".join(facts.raw) if facts else label,
        )


def build(
    coco_json: str | Path,
    images_dir: str | Path | None,
    out_dir: str | Path,
    *,
    seed: int,
    count: int,
    split: Split,
    num_turns: int | None = None,
    cache: str | Path | None = None,
    copy_images: bool = False,
) -> Path:
    """Compose conversations and write `conversations.jsonl`.

    Conversation `i` depends on `(seed, i)` alone: a longer run begins with the shorter one's conversations.

    Args:
        coco_json: PACO-style annotations of dressed persons.
        images_dir: Folder of the photographs; by default the JSON's own folder.
        out_dir: Written into; made if absent.
        seed: Seed of every choice.
        count: Number of conversations.
        split: `train`, `val` or `test`, as written into the records.
        num_turns: Exchanges each; by default 1 to 3.
        cache: Where to keep the measured facts; see `load_photo_facts`.
        copy_images: Copy the photographs used into `out_dir/images` and refer to them relatively. Off by
            default: most photographs may not be redistributed.

    Returns:
        Path of the JSONL file.

    Raises:
        InputError: `count` is negative, or no photograph could be used.
    """
    if count < 0:
        raise InputError(
            "Cannot write a negative number of conversations.", expected=">= 0", found=str(count)
        )
    loaded = load_photo_facts(coco_json, images_dir, cache=cache)
    records = [record for record in loaded if record.facts.has("person")]
    if not records:
        raise InputError(
            "No photograph can be used.",
            expected="photos with exactly one annotated `person` each",
            found=str(loaded.report),
            where=str(coco_json),
            fix="check the images folder and the category names (`person`, `person:<part>`)",
        )
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    target = out_dir / "conversations.jsonl"
    copies = out_dir / "images" if copy_images else None
    write_jsonl(target, _conversations(records, seed, count, split, num_turns, copies))
    return target


def _conversations(
    records: Sequence[PhotoRecord],
    seed: int,
    count: int,
    split: Split,
    num_turns: int | None,
    copies: Path | None,
) -> Iterator[Conversation]:
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        exchanges: list[PhotoExchange] = []
        while not exchanges:  # a photo without any label carries no question: choose again
            shown = [records[position] for position in sample_photo_set(records, rng)]
            exchanges = compose_photo_dialogue([record.facts for record in shown], rng, num_turns)
        paths = [_path(record, copies) for record in shown]
        yield to_conversation(
            shown, exchanges, id=f"photos-{split}-{seed}-{index:06d}", split=split, paths=paths
        )


def _path(record: PhotoRecord, copies: Path | None) -> str:
    if copies is None:
        return os.path.abspath(record.path)
    copies.mkdir(parents=True, exist_ok=True)
    copied = copies / f"{record.image_id}{record.path.suffix}"
    if not copied.exists():
        shutil.copyfile(record.path, copied)
    return f"images/{copied.name}"
