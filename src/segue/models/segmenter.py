"""The second seam: what draws masks. Images are encoded once, prompts are decoded by image.

A family that draws with something else than SAM writes one class of this protocol and gives it to
`GroundedModel.segmenter`; the forward pass, sessions and training know nothing more of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from segue.errors import AlignmentError, InputError

SegmenterFeatures = dict[str, Tensor]
"""Tensors that a segmenter keeps of N images, `[N, ...]` each: opaque to everybody else, but they can be cut,
joined and stored along their first dimension."""


@dataclass(frozen=True)
class MaskPrompts:
    """Prompts to a segmenter: K masks are asked for, each in one image.

    Attributes:
        sparse: `[K, C]`, C the segmenter's `prompt_width`: the projected state of each `[SEG]`.
        image_index: `[K]` which of the N images each mask lies in; any image may have none.
        dense: `[K, h, w]` where the thing is thought to be (logits, or heat of any size), for segmenters that
            take such a map; None where nothing is known.

    Raises:
        AlignmentError: The three do not agree in number.

    Source: SAM's sparse and dense prompts; that the sparse one is a language model's state, LISA.
    """

    sparse: Tensor
    image_index: Tensor
    dense: Tensor | None = None

    def __post_init__(self) -> None:
        counts = [len(self.sparse), len(self.image_index)]
        counts += [len(self.dense)] if self.dense is not None else []
        if len(set(counts)) != 1:
            raise AlignmentError(
                "prompts and image indices do not match",
                expected=f"{counts[0]} indices" + (f" and {counts[0]} maps" if len(counts) > 2 else ""),
                found=" and ".join(map(str, counts[1:])),
                where="MaskPrompts",
                fix="address every prompt",
            )

    def __len__(self) -> int:
        return len(self.sparse)


class Segmenter(Protocol):
    """Draws masks; stateless beside its weights.

    Attributes:
        name: For people (`segue info`).
        input_size: Side in pixels of the square that it sees (stream `pixel_values_sam`).
        centred: Whether a picture that does not fill the square lies in its middle (OMG-LLaVA), not at its
            top left (SAM).
        prompt_width: C of a sparse prompt.
    """

    name: str
    input_size: int
    centred: bool
    prompt_width: int

    def encode(self, pixels: Tensor) -> SegmenterFeatures:
        """`[N, 3, S, S]` to what `decode` needs of the images; no gradient while the encoder is frozen."""
        ...

    def decode(self, features: SegmenterFeatures, prompts: MaskPrompts) -> Tensor:
        """Logits `[K, h, w]` over the square, in the order of the prompts; h, w as the segmenter likes."""
        ...


@runtime_checkable
class HeatSegmenter(Segmenter, Protocol):
    """A segmenter that also draws without a language model: where a map is hot, at a point, in a box.

    Attributes:
        heat_grid: Cells along the square at which it takes heat.
    """

    heat_grid: int

    def draw_heat(self, features: SegmenterFeatures, heat: Tensor, image_index: Tensor) -> Tensor:
        """Logits `[K, h, w]` over the square of what is hot.

        Args:
            features: of `encode`.
            heat: `[K, heat_grid, heat_grid]`, 1 at the hottest place, below 0 what speaks against.
            image_index: `[K]`.
        """
        ...


@runtime_checkable
class ClickSegmenter(Segmenter, Protocol):
    """A segmenter that was trained to draw what a point or a box means."""

    def draw_point(self, features: SegmenterFeatures, point: Tensor) -> Tensor:
        """Logits `[1, h, w]` of the thing at a point `[2]`, x and y in pixels of the square; one image."""
        ...

    def draw_box(self, features: SegmenterFeatures, box: Tensor) -> Tensor:
        """Logits `[1, h, w]` of the thing in a box `[4]`, left, top, right, bottom; one image."""
        ...


def join_features(parts: list[SegmenterFeatures]) -> SegmenterFeatures:
    """Features of all images of several batches, in order.

    Raises:
        InputError: There are none: a segmenter's features cannot be made up.
    """
    if not parts:
        raise InputError(
            "There are no images to draw in.",
            expected="features of at least one image",
            found="none",
            where="join_features",
            fix="encode the images first",
        )
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def decode_by_image(
    features: SegmenterFeatures, prompts: MaskPrompts, draw: Callable[[SegmenterFeatures, Tensor], Tensor]
) -> Tensor:
    """Draw prompts without maps image by image, for decoders that take many prompts of one image at once.

    Args:
        features: of N images, `[N, ...]` each.
        prompts: K of them, one or more.
        draw: from features of n images, `[n, ...]` each, and sparse prompts `[n, k, C]` to logits `[..., n *
            k, h, w]`.

    Returns:
        `[..., K, h, w]` in the order of the prompts.
    """
    pieces: list[Tensor] = []
    order: list[Tensor] = []
    counts = torch.bincount(prompts.image_index, minlength=len(next(iter(features.values()))))
    # Images with equally many masks share one batched call; decoders repeat the image for each of its
    # prompts, so padding to the longest would pay for masks that nobody asked for.
    for count in counts[counts > 0].unique().tolist():
        images = torch.nonzero(counts == count)[:, 0]
        members = torch.cat([torch.nonzero(prompts.image_index == i)[:, 0] for i in images])
        chosen = {name: value[images] for name, value in features.items()}
        pieces.append(draw(chosen, prompts.sparse[members].reshape(len(images), count, -1)))
        order.append(members)
    # argsort of an order is its inverse: drawn were masks 2, 0, 1; 0, 1, 2 are pieces 1, 2, 0.
    return torch.cat(pieces, dim=-3).index_select(-3, torch.cat(order).argsort())
