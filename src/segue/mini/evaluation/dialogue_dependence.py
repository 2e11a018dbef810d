"""Does the mask depend on the dialogue? The same images and the same last request, after two histories.

"Where is the teapot in image 1?" and "Where is the chair in image 2?" are both followed by "And its largest
part?". The words of the last request tell nothing; only the turn before does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segue.files import write_atomic
from segue.inference.loaded_model import LoadedModel
from segue.loading import load
from segue.masks import Mask
from segue.metrics.segmentation import iou
from segue.scenes.kinds import Scene
from segue.scenes.questions.facts import Facts, Thing, beside
from segue.scenes.questions.replies import PLURAL_KINDS
from segue.scenes.questions.topics import largest_part
from segue.scenes.render import render_set


@dataclass(frozen=True)
class Target:
    """What the last request means after one of the two histories."""

    history: str
    image_index: int
    mask: Mask


@dataclass(frozen=True)
class Pair:
    """Two histories of one set of images that end in the same request."""

    images: list[Image.Image]
    request: str
    targets: tuple[Target, Target]


Meaning = Callable[[Facts, Thing], tuple[Thing, str | None] | None]


def _largest_part(facts: Facts, thing: Thing) -> tuple[Thing, str | None] | None:
    part = largest_part(thing)
    return (thing, part) if part is not None else None


def _right_neighbour(facts: Facts, thing: Thing) -> tuple[Thing, str | None] | None:
    found = beside(thing, facts.images[thing.image_index], "right")
    return (found[0], None) if found is not None and len(found) == 1 else None


REQUESTS: dict[str, Meaning] = {
    "And its largest part?": _largest_part,
    "What is to the right of it?": _right_neighbour,
}
"""Last request -> what it means for the thing that the turn before was about; None where that is not sure."""


def draw_pairs(count: int, seed: int, size: int = 240) -> Iterator[Pair]:
    """Pairs over sets of one to three new scenes, requests in turn.

    The two targets never overlap: they are different things, or in different images.
    """
    rng, drawn = np.random.default_rng([seed, 77]), 0
    requests = list(REQUESTS)
    while drawn < count:
        scenes = render_set(rng, split="test", size=size)
        pair = _pair(scenes, requests[drawn % len(requests)], rng)
        if pair is not None:
            drawn += 1
            yield pair


def _pair(scenes: Sequence[Scene], request: str, rng: np.random.Generator) -> Pair | None:
    facts = Facts([scene.objects for scene in scenes])
    found = []
    for thing in facts.things:
        alone = len(facts.of_kind(thing.kind, thing.image_index)) == 1
        meant = REQUESTS[request](facts, thing) if alone and thing.kind not in PLURAL_KINDS else None
        if meant is not None and facts.is_unique(meant[0]):
            found.append((thing, *meant))
    if len(found) < 2:
        return None
    places = rng.permutation(len(found))[:2]
    (one, one_meant, one_part), (two, two_meant, two_part) = (found[int(k)] for k in places)
    if one_meant is two_meant:
        return None
    targets = (
        _target(scenes, one, one_meant, one_part, facts.num_images),
        _target(scenes, two, two_meant, two_part, facts.num_images),
    )
    return Pair([Image.fromarray(scene.image) for scene in scenes], request, targets)


def _target(scenes: Sequence[Scene], thing: Thing, meant: Thing, part: str | None, num_images: int) -> Target:
    where = f" in image {thing.image_index + 1}" if num_images > 1 else ""
    mask = scenes[meant.image_index].mask(meant.object_index, part)
    return Target(f"Where is the {thing.kind}{where}?", meant.image_index, mask)


def measure_pair(model: LoadedModel, pair: Pair) -> list[tuple[float, float]]:
    """For each history: IoU with its own target, and IoU with the other history's.

    Both turns are generated freely. All masks of the last answer count, in whatever image: what lies outside
    the target's image adds to the union.
    """
    results = []
    for own, other in (pair.targets, pair.targets[::-1]):
        session = model.session(pair.images)
        session.ask(own.history)
        answer = session.ask(pair.request)
        shown = [np.zeros((image.height, image.width), bool) for image in pair.images]
        for grounding in answer.groundings:
            if grounding.mask is not None:
                shown[grounding.image_index] |= grounding.mask
        results.append((_iou(shown, own), _iou(shown, other)))
    return results


def _iou(shown: Sequence[Mask], target: Target) -> float:
    truth = [np.zeros_like(mask) for mask in shown]
    truth[target.image_index] = target.mask
    return iou(np.stack(shown), np.stack(truth))


def dialogue_dependence(model: LoadedModel, *, count: int = 100, seed: int = 0) -> dict[str, Any]:
    """Mean IoU against the right target minus against the other's, over pairs of histories.

    A model that does not use the history gives the same mask twice: its difference is 0.

    Args:
        count: pairs; each is two dialogues.
        seed: of the scenes; they are new to every model trained on other seeds.

    Returns:
        `difference`, `iou_right`, `iou_other`, `count`, and the difference `by_request`.

    Source: paper silent; ours (the test that a mask can depend on the dialogue).
    """
    rows: dict[str, list[tuple[float, float]]] = {request: [] for request in REQUESTS}
    for pair in draw_pairs(count, seed):
        rows[pair.request] += measure_pair(model, pair)
    everything = np.array([row for found in rows.values() for row in found])
    right, other = everything.mean(axis=0)
    return {
        "difference": float(right - other),
        "iou_right": float(right),
        "iou_other": float(other),
        "count": count,
        "by_request": {
            request: float(np.subtract(*np.array(found).T).mean()) for request, found in rows.items() if found
        },
    }


def main() -> None:
    """`python -m segue.mini.evaluation.dialogue_dependence [--model M] [--count N] [--out FILE]`."""
    parser = argparse.ArgumentParser(description=dialogue_dependence.__doc__)
    parser.add_argument("--model", default="segue-scenes")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    result = dialogue_dependence(load(arguments.model), count=arguments.count, seed=arguments.seed)
    print(json.dumps(result))
    if arguments.out is not None:
        write_atomic(arguments.out, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
