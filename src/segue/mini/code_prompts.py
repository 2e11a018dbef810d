"""The mask decoder learns from own data on its own side: regions asked for by the code of their phrase.

A model whose decoder was trained with phrase codes (segue-scenes) need not wait for its language model to
find the prompt of a new phrase: the decoder learns the mask of the code, the `[SEG]` state learns the code.
Each image is encoded once and asked for many regions, also for those that the conversation never names.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from segue import masks
from segue.masks import resize_mask
from segue.mini.phrase_codes import phrase_code
from segue.records import Conversation, Region


@dataclass
class CodePrompts:
    """Regions of some images and the codes that ask for them.

    Attributes:
        codes: `[P, D]`.
        image_index: `[P]`, counted over these images, ascending.
        masks: for each image `[P_i, H, W]` bool.
    """

    codes: Tensor
    image_index: Tensor
    masks: list[Tensor]

    @classmethod
    def join(cls, several: Sequence[CodePrompts]) -> CodePrompts:
        """Those of a batch, images counted over the batch."""
        starts = np.cumsum([0, *(len(one.masks) for one in several)])
        return cls(
            torch.cat([one.codes for one in several]),
            torch.cat([one.image_index + int(start) for one, start in zip(several, starts, strict=False)]),
            [mask for one in several for mask in one.masks],
        )


def region_phrase(region: Region, by_rid: dict[str, Region]) -> str:
    """What a region is called apart from any sentence: "car's wheel"; a part bears its object's name."""
    parent = by_rid.get(region.parent or "")
    owner = f"{parent.name}'s " if parent is not None and not region.name.startswith(parent.name) else ""
    return owner + region.name


def seg_codes(conversation: Conversation, targets: Sequence[tuple[int, list[str]]], width: int) -> Tensor:
    """`[K, D]`: what the prompt of each `[SEG]` shall be; targets are `(image, rids)` in text order.

    Where one phrase names several masks of an image (three cups, a mask each), their prompts must differ
    while their codes would not: such rows are NaN, which asks for nothing.
    """
    by_rid = {region.rid: region for region in conversation.regions}
    phrases = [region_phrase(by_rid[rids[0]], by_rid) for _, rids in targets]
    meant: dict[tuple[int, str], set[tuple[str, ...]]] = defaultdict(set)
    for (image, rids), phrase in zip(targets, phrases, strict=True):
        meant[image, phrase].add(tuple(sorted(rids)))
    codes = [
        phrase_code(phrase, width) if len(meant[image, phrase]) == 1 else np.full(width, np.nan, np.float32)
        for (image, _), phrase in zip(targets, phrases, strict=True)
    ]
    return torch.from_numpy(np.stack(codes)) if codes else torch.zeros((0, width))


def draw_code_prompts(
    conversation: Conversation,
    hws: Sequence[tuple[int, int]],
    count: int,
    width: int,
    rng: np.random.Generator,
) -> CodePrompts:
    """Up to `count` regions of every image whose phrase names nothing else in it.

    Args:
        hws: sizes that the masks are brought to, one per image.
        width: of SAM's prompts.

    Source: ours.
    """
    by_rid = {region.rid: region for region in conversation.regions}
    codes, index, stacks = [], [], []
    for k, hw in enumerate(hws):
        regions = [r for r in conversation.regions if r.image_index == k and r.mask is not None]
        phrases = [region_phrase(region, by_rid) for region in regions]
        often = Counter(phrases)
        alone = [i for i, phrase in enumerate(phrases) if often[phrase] == 1]
        chosen = [alone[int(i)] for i in rng.permutation(len(alone))[:count]]
        codes += [phrase_code(phrases[i], width) for i in chosen]
        index += [k] * len(chosen)
        stack = [resize_mask(masks.decode(regions[i].mask), hw) for i in chosen]  # type: ignore[arg-type]
        stacks.append(torch.from_numpy(np.stack(stack)) if stack else torch.zeros((0, *hw), dtype=torch.bool))
    return CodePrompts(
        torch.from_numpy(np.stack(codes)) if codes else torch.zeros((0, width)),
        torch.tensor(index, dtype=torch.long),
        stacks,
    )
