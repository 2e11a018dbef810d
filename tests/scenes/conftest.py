"""Facts about image sets without any image: what the question templates are tested on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from segue.scenes.kinds import COLOURS, KINDS, SceneObject

Objects = list[list[SceneObject]]


def draw_facts(rng: np.random.Generator, most_images: int = 3, twins: bool = False) -> Objects:
    """Objects of 1 to `most_images` images; with `twins`, things of one image may share kind and colour."""
    kinds, colours = tuple(KINDS), tuple(COLOURS)
    shared = kinds[rng.integers(len(kinds))] if rng.random() < 0.6 else None
    images: Objects = []
    for _ in range(rng.integers(1, most_images + 1)):
        objects: list[SceneObject] = []
        for k in range(rng.integers(2, 6)):
            kind = shared if shared and k == 0 else kinds[rng.integers(len(kinds))]
            if k and rng.random() < 0.15:
                kind = objects[-1].kind
            colour = colours[rng.integers(len(colours))]
            if not twins and any((o.colour, o.kind) == (colour, kind) for o in objects):
                continue
            area = float(rng.uniform(0.01, 0.15))
            parts = tuple(part for part in KINDS[kind].parts if rng.random() < 0.93)
            areas = {part: area * float(rng.uniform(0.05, 0.6)) for part in parts}
            x, y = float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.2, 0.9))
            objects.append(
                SceneObject(kind, colour, parts, areas, (x, y), (x - 0.1, y - 0.1, 0.2, 0.2), area)
            )
        images.append(objects)
    return images


@pytest.fixture(scope="session")
def make_facts() -> Callable[..., Objects]:
    return draw_facts
