"""Pictures for rule-based dialogues: scenes drawn on the spot, or annotated images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.datasets.prist.offline.build import Picture
from segue.datasets.prist.outlines import digest_of
from segue.errors import InputError
from segue.files import atomic_path, relative_path
from segue.scenes.kinds import KINDS, Scene
from segue.scenes.render import SPLITS, render_scene

_MOST_ABSENT = 6
_SALT = 11  # scenes of this use are other scenes than those of `segue data scenes` with the same seed

Source = tuple[str, Callable[[], Picture]]


def annotated_scene(scene: Scene, name: str, path: Path) -> AnnotatedImage:
    """A scene in the form of every other annotated image: "red mug", with its visible parts."""
    regions = []
    for number, thing in enumerate(scene.objects):
        rid = f"o{number + 1}"
        whole = masks.encode(scene.mask(number))
        regions.append(AnnotatedRegion(rid, "object", thing.phrase, None, whole, thing.phrase))
        for part in thing.parts:
            label = thing.part_phrase(part)
            rle = masks.encode(scene.mask(number, part))
            regions.append(AnnotatedRegion(f"{rid}:{part}", "part", part, rid, rle, label))
    height, width = scene.image.shape[:2]
    return AnnotatedImage(name, path, height, width, tuple(regions))


def scene_pictures(out: Path, count: int, *, seed: int, split: str, size: int) -> Iterator[Source]:
    """Scenes number 0, 1, ...; each is drawn, and its image saved below `out`, when it is asked for.

    Raises:
        InputError: No such split of scenes.
    """
    if split not in SPLITS:
        raise InputError(
            "Scenes have no such split.",
            expected=", ".join(SPLITS),
            found=repr(split),
            where="--split",
            fix="choose one of them",
        )
    (out / "images").mkdir(parents=True, exist_ok=True)

    def draw(number: int) -> Picture:
        rng = np.random.default_rng((seed, SPLITS.index(split), number, _SALT))
        scene = render_scene(rng, size=size, split=split)
        name = f"{split}_{seed}_{number:06d}"
        path = out / "images" / f"{name}.png"
        with atomic_path(path) as unfinished:
            Image.fromarray(scene.image).save(unfinished, format="PNG", compress_level=1)
        there = {thing.kind for thing in scene.objects}
        others = [kind for kind in KINDS if kind not in there]
        absent = tuple(others[int(k)] for k in rng.permutation(len(others))[:_MOST_ABSENT])
        return Picture(annotated_scene(scene, name, path), f"images/{name}.png", absent)

    for number in range(count):
        # `number=number` fixes the value: a plain closure would see the last one when it is called.
        yield f"scene {seed} {split} {size} {number}", lambda number=number: draw(number)  # type: ignore[misc]


def annotated_pictures(images: Sequence[AnnotatedImage], out: Path) -> Iterator[Source]:
    """A user's annotated images; what others of them show may be asked for where it is known to be absent."""
    names = sorted({region.name for image in images for region in image.objects})

    def open_(image: AnnotatedImage) -> Picture:
        there = {region.name for region in image.regions} | image.unsure
        known = names if image.absent is None else [name for name in names if name in image.absent]
        missing = [name for name in known if name not in there]
        return Picture(image, relative_path(image.path, out), tuple(missing[: _MOST_ABSENT * 4]))

    for image in images:
        key = f"{image.image_id} {relative_path(image.path, out)} {digest_of(image)}"
        # Fixed as the default, like the number of a scene.
        yield key, lambda image=image: open_(image)  # type: ignore[misc]
