"""Renders scenes: chooses what appears, finds places where everything stays visible, and composites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segue.errors import InputError
from segue.scenes.backgrounds import background
from segue.scenes.kinds import COLOURS, HELD_OUT, KINDS, Scene, SceneObject, visible_part_pixels
from segue.scenes.paint import lay, shade_of
from segue.scenes.shapes import Pen, Raster, rasterise

SPLITS = ("train", "val", "test", "heldout")
LEAST_VISIBLE = 0.6
"""Fraction of each object's pixels that no other object and no frame may take away."""
MOST_OBJECTS = 5
SMALLEST_SIZE = 64

# Number of objects -> probability; -> range of an object's long side; -> layouts of centres (x, y). Lengths
# are shares of the image's side.
_COUNT_WEIGHTS = {2: 0.22, 3: 0.3, 4: 0.28, 5: 0.2}
_LONG_SIDES = {2: (0.44, 0.55), 3: (0.37, 0.48), 4: (0.33, 0.43), 5: (0.3, 0.38)}
_SAFE_SIDE = 0.27  # objects this long, at the slots without jitter, cannot touch each other
_TRIES = 6
_SLOTS: dict[int, tuple[tuple[tuple[float, float], ...], ...]] = {
    2: (((0.28, 0.52), (0.72, 0.52)), ((0.3, 0.34), (0.7, 0.66)), ((0.3, 0.66), (0.7, 0.34))),
    3: (
        ((0.24, 0.34), (0.5, 0.67), (0.76, 0.34)),
        ((0.24, 0.67), (0.5, 0.34), (0.76, 0.67)),
        ((0.27, 0.3), (0.28, 0.73), (0.73, 0.52)),
        ((0.73, 0.3), (0.72, 0.73), (0.27, 0.52)),
    ),
    4: (
        ((0.27, 0.29), (0.73, 0.29), (0.27, 0.72), (0.73, 0.72)),
        ((0.5, 0.24), (0.22, 0.5), (0.78, 0.5), (0.5, 0.77)),
    ),
    5: (
        ((0.2, 0.29), (0.5, 0.27), (0.8, 0.29), (0.33, 0.73), (0.68, 0.73)),
        ((0.33, 0.27), (0.68, 0.27), (0.2, 0.71), (0.5, 0.73), (0.8, 0.71)),
    ),
}


@dataclass
class _Placed:
    """A rasterised object with its place (raster corner, in pixels)."""

    kind: str
    colour: str
    raster: Raster
    left: int
    top: int


def _colour_for(kind: str, taken: set[tuple[str, str]], rng: np.random.Generator, *, held_out: bool) -> str:
    """A colour that the kind may have and that no other object of this kind has."""
    choices = [
        colour
        for colour in COLOURS
        if (colour, kind) not in taken and ((colour, kind) in HELD_OUT) == held_out
    ]
    if not choices:  # the kind's one held-out colour is taken
        return _colour_for(kind, taken, rng, held_out=False)
    return choices[int(rng.integers(len(choices)))]


def _choose(
    rng: np.random.Generator, split: str, wanted: Sequence[tuple[str, str | None]]
) -> list[tuple[str, str]]:
    """The (kind, colour) of every object of a scene, `wanted` among them."""
    count = int(rng.choice(list(_COUNT_WEIGHTS), p=list(_COUNT_WEIGHTS.values())))
    count = max(count, len(wanted))
    kinds = [kind for kind, _ in wanted]
    if len(kinds) < count and rng.random() < 0.3:  # two of a kind, to be told apart and counted
        single = [k for k in (kinds or list(KINDS)) if kinds.count(k) < 2]
        if single:
            twin = single[int(rng.integers(len(single)))]
            kinds += [twin] * min(2 - kinds.count(twin), count - len(kinds))
    others = [kind for kind in KINDS if kind not in kinds]
    kinds += [others[i] for i in rng.permutation(len(others))[: count - len(kinds)]]
    unusual = int(rng.integers(count)) if split == "heldout" else -1
    pairs: set[tuple[str, str]] = set()
    chosen: list[tuple[str, str]] = []
    # The unusual one first, while its colour is still free.
    for k in (unusual, *(k for k in range(count) if k != unusual)):
        if k < 0:
            continue
        kind, colour = kinds[k], wanted[k][1] if k < len(wanted) and k != unusual else None
        odd = k == unusual or (split == "heldout" and rng.random() < 0.2)
        if colour is None or (colour, kind) in pairs:
            colour = _colour_for(kind, pairs, rng, held_out=odd)
        pairs.add((colour, kind))
        chosen.append((kind, colour))
    return chosen


def _drawn(kind: str, colour: str, rng: np.random.Generator, size: int, side: float) -> Raster:
    """One instance of a kind whose box is `side` of the image long (slim ones somewhat longer)."""
    pen = Pen(KINDS[kind].parts, rng, colour)
    KINDS[kind].draw(pen)
    points = np.concatenate([shape for _, shape in pen.shapes])
    extent = np.ptp(points, axis=0)
    slim = 1.0 + 0.35 * max(0.0, 0.75 - extent.min() / extent.max())
    if side <= _SAFE_SIDE:
        slim = 1.0
    turn = pen.turn * (2 * rng.random() - 1)
    mirrored = bool(rng.random() < 0.5)
    rgb = shade_of(colour, rng)
    return rasterise(
        pen,
        rgb,
        long_side=size * min(0.58, side * slim),
        degrees=turn,
        mirrored=mirrored,
        edge=max(1, round(size / 224)),
        pad=max(3, round(size * side * 0.07)),
    )


def _fits(placed: list[_Placed], new: _Placed, owner: NDArray[np.uint8]) -> bool:
    """Paints the new object into `owner` if it and those behind it stay visible enough; says whether."""
    mask = new.raster.parts > 0
    height, width = mask.shape
    size = owner.shape[0]
    y0, x0, y1, x1 = (
        max(new.top, 0),
        max(new.left, 0),
        min(new.top + height, size),
        min(new.left + width, size),
    )
    inside = mask[y0 - new.top : y1 - new.top, x0 - new.left : x1 - new.left]
    # Most of it in the frame; the rest of the loss that `LEAST_VISIBLE` allows is for objects in front.
    if np.count_nonzero(inside) < 0.93 * np.count_nonzero(mask):
        return False
    window = owner[y0:y1, x0:x1]
    for number, other in enumerate(placed, start=1):
        lost = np.count_nonzero((window == number) & inside)
        if lost:
            visible = np.count_nonzero(owner == number) - lost
            if visible < LEAST_VISIBLE * np.count_nonzero(other.raster.parts):
                return False
    # Only after every check: an object that is refused leaves the map as it was.
    window[inside] = len(placed) + 1
    return True


def _arrange(
    chosen: list[tuple[str, str]], rng: np.random.Generator, size: int, attempt: int
) -> tuple[list[_Placed], NDArray[np.uint8]] | None:
    """Draws and places all objects, from back to front; None if they do not fit.

    Each attempt is tamer than the one before; attempt 3 puts small objects at the slots and always fits.
    """
    layouts = _SLOTS[len(chosen)]
    slots = layouts[int(rng.integers(len(layouts)))]
    order = rng.permutation(len(chosen))
    low, high = _LONG_SIDES[len(chosen)]
    calm = (1.0, 0.7, 0.4, 0.0)[attempt]
    owner = np.zeros((size, size), np.uint8)
    placed: list[_Placed] = []
    # By height in the picture: what stands lower is nearer and drawn later, over the others.
    for (x, y), which in sorted(zip(slots, order, strict=True), key=lambda pair: pair[0][1]):
        kind, colour = chosen[which]
        side = _SAFE_SIDE if attempt == 3 else (low + (high - low) * rng.random()) * (1 - 0.06 * attempt)
        raster = _drawn(kind, colour, rng, size, side)
        height, width = raster.parts.shape
        for _ in range(_TRIES):
            jitter = calm * 0.09 * (2 * rng.random(2) - 1)
            # Pushed back into the frame, up to a small crop (2 % of the image) when things are not calm.
            low_edge, slack = -raster.pad - 0.02 * size * calm, 2 * raster.pad + 0.04 * size * calm
            left = np.clip((x + jitter[0]) * size - width / 2, low_edge, low_edge + size + slack - width)
            top = np.clip((y + jitter[1]) * size - height / 2, low_edge, low_edge + size + slack - height)
            new = _Placed(kind, colour, raster, round(float(left)), round(float(top)))
            if _fits(placed, new, owner):
                placed.append(new)
                break
        else:
            return None
    return placed, owner


def _described(
    placed: list[_Placed], owner: NDArray[np.uint8], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[SceneObject, ...]]:
    """Object map, part map and objects, from left to right."""
    part_map = np.zeros_like(owner)
    found: list[tuple[float, int, SceneObject]] = []
    for number, item in enumerate(placed, start=1):
        height, width = item.raster.parts.shape
        y0, x0 = max(item.top, 0), max(item.left, 0)
        window = np.s_[y0 : min(item.top + height, size), x0 : min(item.left + width, size)]
        mine = owner[window] == number
        parts = item.raster.parts[y0 - item.top :, x0 - item.left :][: mine.shape[0], : mine.shape[1]] * mine
        part_map[window] += parts
        names = KINDS[item.kind].parts
        areas = [np.count_nonzero(parts == k + 1) for k in range(len(names))]
        rows, columns = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
        top, bottom, left, right = rows[0] + y0, rows[-1] + 1 + y0, columns[0] + x0, columns[-1] + 1 + x0
        shown = [k for k in range(len(names)) if areas[k] >= visible_part_pixels(size)]
        total = size * size
        thing = SceneObject(
            kind=item.kind,
            colour=item.colour,
            parts=tuple(names[k] for k in shown),
            part_areas={names[k]: areas[k] / total for k in shown},
            center=(float(left + right) / 2 / size, float(top + bottom) / 2 / size),
            box=tuple(float(v) / size for v in (left, top, right - left, bottom - top)),  # type: ignore[arg-type]
            area=sum(areas) / total,
        )
        found.append((thing.center[0], number, thing))
    found.sort(key=lambda entry: entry[:2])
    # Objects were painted from back to front, and are numbered from left to right: paint 3 may become object
    # 1.
    renumber = np.zeros(len(placed) + 1, np.uint8)
    for position, (_, number, _) in enumerate(found, start=1):
        renumber[number] = position
    return np.take(renumber, owner), part_map, tuple(thing for _, _, thing in found)


def _check(size: int, split: str, asked: Sequence[str]) -> None:
    """Refuses arguments that no scene can satisfy."""
    if size < SMALLEST_SIZE:
        raise InputError(
            "The size of a scene is too small.",
            expected=f"{SMALLEST_SIZE} pixels or more",
            found=str(size),
            where="argument size",
            fix="use 128 to 768; the models look at 224 and more",
        )
    if split not in SPLITS:
        raise InputError(
            "Scenes have no such split.",
            expected=" or ".join(SPLITS),
            found=repr(split),
            where="argument split",
            fix="use one of these names",
        )
    for kind in asked:
        if kind not in KINDS:
            raise InputError(
                "Scenes have no such kind.",
                expected=", ".join(KINDS),
                found=repr(kind),
                where="argument include_kinds",
                fix="use one of these names",
            )
    if len(asked) > MOST_OBJECTS or any(asked.count(kind) > 2 for kind in asked):
        raise InputError(
            "A scene cannot hold all these kinds.",
            expected=f"at most {MOST_OBJECTS} kinds, each at most twice",
            found=", ".join(asked),
            where="argument include_kinds",
            fix="ask for fewer",
        )


def _scene(
    rng: np.random.Generator, size: int, split: str, wanted: Sequence[tuple[str, str | None]]
) -> Scene:
    """Renders a scene that contains the wanted (kind, colour or None) pairs."""
    _check(size, split, [kind for kind, _ in wanted])
    chosen = _choose(rng, split, wanted)
    arranged = None
    for attempt in range(4):
        arranged = _arrange(chosen, rng, size, attempt)
        if arranged is not None:
            break
    if arranged is None:
        raise AssertionError("objects at their slots do not touch, so the last attempt fits")
    placed, owner = arranged
    picture = background(rng, size)
    for item in placed:
        lay(picture, item.raster, item.left, item.top, rng)
    object_map, part_map, objects = _described(placed, owner, size)
    image = np.ascontiguousarray(np.clip(picture, 0, 255, out=picture).astype(np.uint8).transpose(1, 2, 0))
    return Scene(image, object_map, part_map, objects)


def render_scene(
    rng: np.random.Generator, *, size: int = 224, split: str = "train", include_kinds: Sequence[str] = ()
) -> Scene:
    """Renders one scene with 2 to 5 objects; the same generator state gives the same bytes.

    Args:
        rng: the only source of randomness.
        size: height and width of the image in pixels, 64 or more.
        split: "train", "val" and "test" never hold a pair of `HELD_OUT`; every image of "heldout" holds one
            or more.
        include_kinds: kinds that must appear; a kind may be named twice.

    Returns:
        The image with its exact maps; every object keeps at least `LEAST_VISIBLE` of its pixels.

    Raises:
        InputError: on a size below 64, an unknown split or kind, or more kinds than a scene can hold.

    Source: paper silent; ours.
    """
    return _scene(rng, size, split, [(kind, None) for kind in include_kinds])


def render_set(
    rng: np.random.Generator, *, size: int = 224, split: str = "train", num_images: int | None = None
) -> list[Scene]:
    """Renders a set of 1 to 3 scenes; at least half of the sets of several show one kind in all images.

    In half of those sets that kind has the same colour everywhere, in the others each image draws its own.

    Args:
        rng: the only source of randomness.
        size: height and width of the images in pixels.
        split: as for `render_scene`.
        num_images: number of images; None draws it.

    Source: paper silent; ours.
    """
    count = int(rng.choice((1, 2, 3), p=(0.2, 0.45, 0.35))) if num_images is None else num_images
    wanted: list[tuple[str, str | None]] = []
    if count > 1 and rng.random() < 0.5:
        kind = list(KINDS)[int(rng.integers(len(KINDS)))]
        wanted = [(kind, _colour_for(kind, set(), rng, held_out=False) if rng.random() < 0.5 else None)]
    return [_scene(rng, size, split, wanted) for _ in range(count)]


def contact_sheet(seed: int, n: int, *, size: int = 224, split: str = "train") -> Image.Image:
    """A picture with n scenes side by side, for looking at them.

    Args:
        seed: seed of the generator that draws all of them.
        n: number of scenes.
        size: height and width of each scene in pixels.
        split: as for `render_scene`.

    Source: paper silent; ours.
    """
    rng = np.random.default_rng(seed)
    columns = int(np.ceil(np.sqrt(n * 1.5)))
    sheet = Image.new("RGB", (columns * (size + 4), -(-n // columns) * (size + 4)), "white")
    for k in range(n):
        scene = render_scene(rng, size=size, split=split)
        sheet.paste(Image.fromarray(scene.image), (k % columns * (size + 4), k // columns * (size + 4)))
    return sheet
