"""Turns scenes and exchanges into the conversation record gconv/1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segue import masks
from segue.errors import AlignmentError
from segue.records import Conversation, ImageRef, Meta, Region, Span, Turn, TurnMeta
from segue.scenes.kinds import KINDS, Scene
from segue.scenes.questions import Exchange


def to_conversation(
    scenes: Sequence[Scene],
    exchanges: Sequence[Exchange],
    *,
    id: str,
    split: str,
    paths: Sequence[str],
    meta: Meta | None = None,
) -> Conversation:
    """Write a dialogue about scenes as a record with a region for every object and every visible part.

    The second object of image 1 has the rid ``"i1o2"``, its part that is first in `Kind.parts` ``"i1o2p1"``.

    Args:
        scenes: the images, in the order in which the text numbers them.
        exchanges: questions and answers about them.
        id: of the conversation, such as "scenes/7/000012"; the images become "scenes:7/000012_1", ...
        split: "train", "val", "test" or "heldout".
        paths: where each image lies, relative to the folder of the file.
        meta: further entries of the record's `meta`.

    Returns:
        A conversation of task "scenes"; ``meta["turns"]`` holds, for each answer, the kind, level, template,
        `needs_images` and `is_follow_up`.

    Raises:
        AlignmentError: the numbers of scenes and paths differ.

    Source: paper silent; ours.
    """
    if len(scenes) != len(paths):
        raise AlignmentError(
            "Scenes and paths do not match.",
            expected=f"{len(scenes)} paths, one for each scene",
            found=f"{len(paths)} paths",
            where=f"conversation {id!r}",
            fix="give each scene the path under which its image is saved",
        )
    name = id.removeprefix("scenes/")
    images = [
        ImageRef(
            image_id=f"scenes:{name}_{i + 1}",
            path=path,
            height=scene.image.shape[0],
            width=scene.image.shape[1],
        )
        for i, (scene, path) in enumerate(zip(scenes, paths, strict=True))
    ]
    turns: list[Turn] = []
    for exchange in exchanges:
        turns += [Turn(role="user", text=exchange.question), _answer(exchange, scenes)]
    return Conversation(
        id=id,
        task="scenes",
        split=split,  # type: ignore[arg-type]  # the record itself says which splits there are
        images=images,
        regions=[region for i, scene in enumerate(scenes) for region in _regions(i, scene)],
        turns=turns,
        meta={**(meta or {}), "turns": [_described(exchange) for exchange in exchanges]},
    )


def region_id(image_index: int, object_index: int, kind: str, part: str | None = None) -> str:
    """Return the rid of an object or a part: "i1o2", "i1o2p1"."""
    whole = f"i{image_index + 1}o{object_index + 1}"
    return whole if part is None else f"{whole}p{KINDS[kind].parts.index(part) + 1}"


def _answer(exchange: Exchange, scenes: Sequence[Scene]) -> Turn:
    spans = []
    for span in exchange.spans:
        meant = span.payload
        kind = scenes[span.image_index].objects[meant.object_index].kind
        rid = region_id(span.image_index, meant.object_index, kind, meant.part)
        spans.append(Span(start=span.start, end=span.end, rids=[rid]))
    return Turn(role="assistant", text=exchange.answer, spans=spans)


def _described(exchange: Exchange) -> TurnMeta:
    return {
        "kind": exchange.kind,
        "level": exchange.level,
        "needs_images": exchange.needs_images,
        "template": exchange.template,
        "is_follow_up": exchange.is_follow_up,
    }


def _regions(image_index: int, scene: Scene) -> list[Region]:
    regions = []
    for k, obj in enumerate(scene.objects):
        rid = region_id(image_index, k, obj.kind)
        whole = scene.object_map == k + 1
        regions.append(_region(rid, image_index, obj.phrase, whole))
        for part in obj.parts:
            # Numbers of parts count within a kind: two mugs share them, and the object's own pixels tell them
            # apart.
            mask = whole & (scene.part_map == KINDS[obj.kind].parts.index(part) + 1)
            part_rid = region_id(image_index, k, obj.kind, part)
            regions.append(_region(part_rid, image_index, obj.part_phrase(part), mask, parent=rid))
    return regions


def _region(
    rid: str, image_index: int, name: str, mask: NDArray[np.bool_], parent: str | None = None
) -> Region:
    return Region(
        rid=rid,
        image_index=image_index,
        kind="object" if parent is None else "part",
        name=name,
        parent=parent,
        bbox=masks.box(mask),
        area=masks.area(mask),
        mask=masks.encode(mask),
    )
