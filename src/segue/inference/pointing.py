"""Regions of a session's questions: checked, made masks, and put into what the model reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from segue import protocol
from segue.errors import ModelError
from segue.inference.answer import SessionAnswer
from segue.inference.matching import mask_of, see
from segue.inference.regions import Region, as_region
from segue.models.region_tokens import region_grid
from segue.protocol import MOST_REMEMBERED

if TYPE_CHECKING:
    from segue.inference.session import GroundingSession


def point(session: GroundingSession, text: str, regions: Sequence[Any]) -> tuple[Region, ...]:
    """Regions of a question as masks of their images.

    Args:
        session: Whose images they lie in.
        text: The question, with a marker for each region.
        regions: See `as_region`.

    Raises:
        InputError: Regions that do not fit the markers or their images. ModelError: the model takes none.
    """
    checked = [
        as_region(region).checked(session.image_hws, f"regions.{k}") for k, region in enumerate(regions)
    ]
    protocol.mark_question(text, [region.image_index for region in checked])
    bundle = session.bundle
    if bundle.model.region_reader is None:
        raise ModelError(
            "This model's weights never saw regions.",
            expected="a model with region tokens, such as one trained with `segue train --regions 0.3`",
            found=bundle.name,
            where="regions",
            fix="find the marked thing without words: `segue match`, or model.match(images, region)",
        )
    masks = []
    for region in checked:
        seen = see(bundle, session._encoder, session.images[region.image_index])
        masks.append(Region(image_index=region.image_index, mask=mask_of(bundle, region, seen)[0]))
    return tuple(masks)


def with_regions(
    turns: Sequence[tuple[str, str]],
    answers: Sequence[SessionAnswer],
    regions: tuple[Region, ...],
    memory: bool,
) -> tuple[list[tuple[str, str]], list[Region]]:
    """Turns whose questions say `<region>`, and all regions in the order in which they stand there.

    Literal, with mask memory: after "The mug [SEG] (IMAGE2)." the question "The other one?" is read as
    "The other one? <region> (IMAGE2)".

    Args:
        turns: Question and answer in turn, and the new question.
        answers: Earlier ones, each with the regions of its question.
        regions: Of the new question.
        memory: Whether each question also speaks of the masks of the answer before it.
    """
    said = [*(answer.regions for answer in answers), regions]
    written, pointed = list(turns), list[Region]()
    for number, own in enumerate(said):
        # Turns alternate, so question k stands at place 2 k.
        role, text = turns[2 * number]
        remembered = masks_before(answers[number - 1]) if memory and number else []
        asked = protocol.mark_question(text, [r.image_index for r in own])
        written[2 * number] = role, protocol.with_remembered(asked, [r.image_index for r in remembered])
        pointed += [*own, *remembered]
    return written, pointed


def masks_before(answer: SessionAnswer) -> list[Region]:
    """The masks of an answer as regions, the first ones."""
    found = [g for g in answer.groundings if g.mask.any()]
    return [Region(image_index=g.image_index, mask=g.mask) for g in found[:MOST_REMEMBERED]]


def pooled(
    session: GroundingSession, regions: Sequence[Region], encoded: Sequence[dict[str, Tensor]]
) -> Tensor:
    """Features `[R, C]` of regions, before the model's reader.

    Args:
        encoded: Of each image, what the language model's encoders made of it.
    """
    model, processor = session.bundle.model, session.bundle.processor
    rows = []
    for region in regions:
        index = region.image_index
        # Where both halves look with one trunk, this was encoded together with the words' features.
        drawable = session._encode_segmenter(index) if model.encodes_together else {}
        grid = region_grid(processor, torch.from_numpy(region.mask), session.image_hws[index])
        rows.append(model.pool_regions(encoded[index], drawable, grid[None].to(model.device)))
    none = torch.zeros(0, model.region_width, device=model.device, dtype=model.dtype)
    return torch.cat(rows) if rows else none
