"""A marked thing found in other images without training for it: heat of likeness, drawn by the segmenter.

Works with every grounded model, whatever it was trained for; see `docs/matching.md` for what to expect.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segue import masks, protocol
from segue.files import write_atomic
from segue.images import ImageSource, content_hash
from segue.inference.answer import SessionAnswer
from segue.inference.image_encoder import SEGMENTER_STREAM, ImageEncoder
from segue.inference.inputs import load_images
from segue.inference.regions import Region
from segue.masks import Mask
from segue.models.auto import ModelBundle
from segue.models.dense_features import onto_square, over_picture
from segue.models.losses import resize_logits
from segue.models.match_heat import Likeness, WeightedMap, prompt_of
from segue.models.segmenter import ClickSegmenter, HeatSegmenter, SegmenterFeatures
from segue.protocol import MarkedSpan
from segue.records import Grounding

if TYPE_CHECKING:
    from segue.inference.loaded_model import LoadedModel

QUESTION = "Find this in the other images."
PHRASE = "marked thing"
LIT = 0.4
"""Heat from which a place is inside, for segmenters that cannot be told heat."""


@dataclass(frozen=True, eq=False)
class ImageMatch:
    """Whether the marked thing is in one image, and where.

    Attributes:
        image_index: 0-based.
        score: 0 for nothing alike, about 1 for the marked thing itself; may be more.
        is_there: Whether the score reaches the threshold.
        mask: Bool `[height, width]` of what looks most like it, drawn whether it is there or not.
        mask_score: Mean probability inside the mask.
    """

    image_index: int
    score: float
    is_there: bool
    mask: Mask
    mask_score: float

    def to_json(self, path: str) -> dict[str, Any]:
        """The JSON form; without a mask where the thing is not there."""
        drawn: dict[str, Any] = {"segmentation": None, "bbox": None, "area": 0}
        if self.is_there:
            drawn["segmentation"] = masks.encode(self.mask)
            drawn["bbox"], drawn["area"] = masks.box(self.mask), masks.area(self.mask)
        return {
            "image_index": self.image_index,
            "path": path,
            "score": round(self.score, 4),
            "is_there": self.is_there,
            **drawn,
        }


@dataclass(frozen=True, slots=True, eq=False)
class MatchAnswer(SessionAnswer):
    """What `LoadedModel.match` returns: an answer like any other, and the scores behind it.

    Attributes:
        region: What was marked, as it was given.
        mark: Mask of the region.
        matches: Of every other image, in order.
        threshold: Score from which the thing is there.
    """

    region: Region | None = None
    mark: Mask | None = field(default=None, repr=False)
    matches: tuple[ImageMatch, ...] = ()
    threshold: float = 0.0

    def drawn_as(self, groundings: Sequence[Grounding]) -> tuple[ImageMatch, ...]:
        """The matches with the masks of groundings that were drawn anew; the first one is the mark's."""
        drawn = {g.image_index: g for g in groundings[1:]}
        return tuple(
            replace(match, mask=drawn[match.image_index].mask, mask_score=drawn[match.image_index].score)
            if match.image_index in drawn
            else match
            for match in self.matches
        )

    def to_match_json(self) -> dict[str, Any]:
        """The content of `match.json`; see docs/matching.md."""
        assert self.region is not None
        assert self.mark is not None
        values = getattr(self.region, self.region.form) if self.region.form != "mask" else None
        return {
            "model": self.model,
            "threshold": self.threshold,
            "region": {
                "image_index": self.region.image_index,
                "path": self.images[self.region.image_index],
                "given": self.region.form,
                self.region.form: None if values is None else [float(value) for value in values],
                "segmentation": masks.encode(self.mark),
            },
            "matches": [match.to_json(self.images[match.image_index]) for match in self.matches],
        }

    def save(self, folder: str | Path) -> list[Path]:
        """Write `match.json` and the files of every answer: `answer.json`, `answer.html`, overlays."""
        # A class with slots is made twice, so the bare super() would look in the wrong one.
        paths = SessionAnswer.save(self, folder)
        content = json.dumps(self.to_match_json(), ensure_ascii=False, indent=2) + "\n"
        return [write_atomic(Path(folder) / "match.json", content), *paths]


@dataclass(frozen=True)
class Seen:
    """One picture as matching needs it.

    Attributes:
        maps: Over the picture, weighted.
        drawable: Of the segmenter.
        hw: Height and width in pixels.
    """

    maps: list[WeightedMap]
    drawable: SegmenterFeatures
    hw: tuple[int, int]


def match(
    model: LoadedModel,
    images: Sequence[ImageSource] | ImageSource,
    region: Region,
    *,
    names: Sequence[str] | None = None,
    threshold: float | None = None,
) -> MatchAnswer:
    """Find a marked thing in the other images; see `LoadedModel.match`."""
    pictures, called = load_images(images, names)
    hws = [(picture.height, picture.width) for picture in pictures]
    region = region.checked(hws, "region")
    limit = model.model.match_threshold if threshold is None else threshold
    seen = [see(model, model.image_encoder, picture) for picture in pictures]
    home = seen[region.image_index]
    mark, mark_score = mask_of(model, region, home)
    likeness = Likeness.of(home.maps, torch.from_numpy(mark).to(home.maps[0][0].device))
    others = [k for k in range(len(pictures)) if k != region.image_index]
    matches = tuple(found_in(model, likeness, seen[k], k, limit) for k in others)
    return _answer(model, pictures, called, region, mark, mark_score, matches, limit)


def see(model: ModelBundle, encoder: ImageEncoder, picture: Image.Image) -> Seen:
    """Both encoders' features of a picture, each computed once for all sessions of the model."""
    content = content_hash(picture)
    visual = encoder.visual(picture, content).visual
    drawable = encoder.drawable(picture, content).drawable
    hw = (picture.height, picture.width)
    streams = model.processor.streams
    with torch.no_grad():
        maps = [
            (over_picture(found, streams[found.stream], hw).float(), found.weight)
            for found in model.model.dense_maps(visual, drawable)
        ]
    return Seen(maps, drawable, hw)


def found_in(
    model: ModelBundle, likeness: Likeness, seen: Seen, image_index: int, threshold: float
) -> ImageMatch:
    """The best that one picture offers, and whether it is enough."""
    heat = likeness.heat(seen.maps)
    score = likeness.score(heat)
    mask, mask_score = draw_heat(model, seen, heat)
    return ImageMatch(image_index, score, score >= threshold, mask, mask_score)


@torch.no_grad()
def draw_heat(model: ModelBundle, seen: Seen, heat: Tensor) -> tuple[Mask, float]:
    """The mask of what is hot, `[h, w]` over the picture, and its mean probability."""
    segmenter, stream = model.model.segmenter, model.processor.streams[SEGMENTER_STREAM]
    prompt = prompt_of(heat)
    if not (isinstance(segmenter, HeatSegmenter) and model.model.takes_visual_prompts):
        full = torch.nn.functional.interpolate(prompt[None, None], seen.hw, mode="bilinear")[0, 0]
        return (full > LIT).cpu().numpy(), float(full.clamp(0, 1).amax())
    placed = onto_square(prompt, stream, seen.hw, segmenter.heat_grid)[None]
    device = model.model.device
    logits = segmenter.draw_heat(seen.drawable, placed.to(device), torch.zeros(1, dtype=torch.long))
    return full_size(model, logits, seen.hw)


@torch.no_grad()
def mask_of(model: ModelBundle, region: Region, seen: Seen) -> tuple[Mask, float]:
    """The mask of a checked region: its own, or what the segmenter draws at its point or in its box.

    Returns:
        Bool `[height, width]` with at least one pixel, and the mean probability inside; 1 for a given mask.
    """
    if region.form == "mask":
        return region.mask, 1.0
    inside = _framed(region, seen.hw)
    segmenter = model.model.segmenter
    if isinstance(segmenter, ClickSegmenter) and model.model.takes_visual_prompts:
        stream = model.processor.streams[SEGMENTER_STREAM]
        values = torch.tensor(region.box or region.point, dtype=torch.float32).reshape(-1, 2)
        scale = [a / b for a, b in zip(stream.resized_hw(seen.hw)[::-1], seen.hw[::-1], strict=True)]
        corner = [(stream.size - side) // 2 if stream.centred else 0
                  for side in stream.resized_hw(seen.hw)[::-1]]  # fmt: skip
        placed = (values * torch.tensor(scale) + torch.tensor(corner)).flatten().to(model.model.device)
        draw = segmenter.draw_box if region.form == "box" else segmenter.draw_point
        mask, score = full_size(model, draw(seen.drawable, placed), seen.hw)
    else:
        # What looks like the middle of the box, or like the point, and lies there.
        seed = torch.from_numpy(_seed(region, seen.hw)).to(seen.maps[0][0].device)
        heat = Likeness.of(seen.maps, seed).heat(seen.maps)
        near = torch.from_numpy(inside.astype(np.float32)).to(heat)[None, None]
        near = torch.nn.functional.interpolate(near, heat.shape, mode="area")[0, 0]
        mask, score = draw_heat(model, seen, torch.where(near > 0, heat, heat.clamp(max=0)))
        mask = mask & inside
    if region.form == "box":
        mask = mask & inside
    else:
        # A mask elsewhere is not what was pointed at.
        inside = _seed(region, seen.hw)
        mask = mask if (mask & inside).any() else np.zeros_like(mask)
    # A segmenter that finds nothing there: what was framed is better than nothing.
    return (mask, score) if mask.sum() >= 0.05 * inside.sum() else (inside, score)


MOST_OF_PICTURE = 0.5
"""Where a point is all that is known, the thing lies within this fraction of the picture's sides."""


def _framed(region: Region, hw: tuple[int, int], share: float = MOST_OF_PICTURE) -> Mask:
    """The box as a mask; around a point a rectangle of that share of the picture's sides."""
    if region.box is not None:
        left, top, right, bottom = region.box
    else:
        x, y = region.point or (0, 0)
        left, right = x - share * hw[1] / 2, x + share * hw[1] / 2
        top, bottom = y - share * hw[0] / 2, y + share * hw[0] / 2
    mask = np.zeros(hw, bool)
    rows = slice(max(0, int(top)), max(int(top) + 1, round(bottom)))
    columns = slice(max(0, int(left)), max(int(left) + 1, round(right)))
    mask[rows, columns] = True
    return mask


def _seed(region: Region, hw: tuple[int, int]) -> Mask:
    """Pixels that surely belong to the thing: the middle of a box, a point and a little around it."""
    if region.box is None:
        return _framed(region, hw, 0.04)
    left, top, right, bottom = region.box
    margin_x, margin_y = (right - left) / 5, (bottom - top) / 5
    inner = (left + margin_x, top + margin_y, right - margin_x, bottom - margin_y)
    return _framed(Region(image_index=region.image_index, box=inner), hw)


def full_size(model: ModelBundle, logits: Tensor, hw: tuple[int, int]) -> tuple[Mask, float]:
    """Logits `[1, h, w]` over the segmenter's square to a mask of the picture and its mean probability."""
    stream = model.processor.streams[SEGMENTER_STREAM]
    full = resize_logits(logits, stream.resized_hw(hw), hw, stream.size, centred=stream.centred)[0]
    mask = full > 0
    score = float(full[mask].sigmoid().mean()) if bool(mask.any()) else 0.0
    return mask.cpu().numpy(), score


def _answer(
    model: LoadedModel,
    pictures: Sequence[Image.Image],
    names: list[str],
    region: Region,
    mark: Mask,
    mark_score: float,
    matches: tuple[ImageMatch, ...],
    threshold: float,
) -> MatchAnswer:
    """Matches in words: "The marked thing is in image 2, not in image 3."."""
    there = [m for m in matches if m.is_there]
    text = f"The {PHRASE} is {_places(matches)}."
    span = (4, 4 + len(PHRASE))
    home = Grounding(PHRASE, span, region.image_index, mark, mark_score, masks.box(mark))
    groundings = [home] + [
        Grounding(PHRASE, span, m.image_index, m.mask, m.mask_score, masks.box(m.mask)) for m in there
    ]
    marked = MarkedSpan(*span, tuple(g.image_index for g in groundings))
    return MatchAnswer(
        question=QUESTION,
        text=text,
        markup=protocol.render(text, [marked], "prima", len(pictures)),
        groundings=groundings,
        image_hws=[(picture.height, picture.width) for picture in pictures],
        model=model.name,
        images=list(names),
        pictures=tuple(pictures),
        notes=[
            # Rounded down: 0.398 must not read as the 0.4 that would be enough.
            f"image {m.image_index + 1}: score {floor(100 * m.score) / 100:.2f}, {threshold:g} is enough"
            for m in matches
        ],
        region=region,
        mark=mark,
        matches=matches,
        threshold=threshold,
    )


def _places(matches: Sequence[ImageMatch]) -> str:
    """Where something is and is not: "in image 2, not in images 3 and 4"."""

    def listed(found: list[int]) -> str:
        numbers = [str(k + 1) for k in found]
        if len(numbers) == 1:
            return f"image {numbers[0]}"
        return f"images {', '.join(numbers[:-1])} and {numbers[-1]}"

    there = [m.image_index for m in matches if m.is_there]
    absent = [m.image_index for m in matches if not m.is_there]
    if not there:
        return "in none of the other images" if absent else "in the only image"
    return f"in {listed(there)}" + (f", not in {listed(absent)}" if absent else "")
