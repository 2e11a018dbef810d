"""Teacher-forced segmentation: a model is fed the records' own answers, and draws their masks.

Beside free generation this tells masks from words, and it alone compares with the mean-mask baseline: both
are given which phrase is meant, and in which image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from segue import masks
from segue.errors import InputError, SegueError
from segue.evaluation.predictions import Line
from segue.evaluation.samples import Target, questions_of, said, targets_of
from segue.images import load_image
from segue.inference.loaded_model import LoadedModel
from segue.masks import Mask
from segue.models.region_tokens import record_grids
from segue.records import Conversation, write_dialogue


def check_can_be_forced(bundle: LoadedModel) -> None:
    """Raise InputError for a model that cannot be fed an answer, such as a chat model behind a server."""
    if not isinstance(bundle.model, torch.nn.Module):
        raise InputError(
            "This model cannot be teacher-forced.",
            expected="a model whose weights are here",
            found=bundle.name,
            where="--teacher-forced",
            fix="leave the option out",
        )


def force_conversation(bundle: LoadedModel, conversation: Conversation, images: Sequence[Path]) -> Line:
    """The record's answers with the masks that the model draws for them, as a line of predictions.

    A record whose images or masks cannot be read fails as a whole.
    """
    turns = questions_of(conversation)
    try:
        targets = [targets_of(conversation, index) for index, _ in turns]
        drawn = iter(forced_masks(bundle, conversation, images, [t for part in targets for t in part]))
    except (SegueError, RuntimeError, ValueError) as error:
        failed = [{"turn": k + 1, "failure": said(error)} for k in range(len(turns))]
        return {"id": conversation.id, "turns": failed}
    written: list[dict[str, Any]] = []
    for number, ((index, question), part) in enumerate(zip(turns, targets, strict=True), start=1):
        groundings = [
            {
                "phrase": target.mark.phrase,
                "image_index": target.mark.image_index,
                "segmentation": masks.encode(next(drawn)),
            }
            for target in part
        ]
        text = conversation.turns[index].text
        written.append({"turn": number, "question": question, "text": text, "groundings": groundings})
    return {"id": conversation.id, "turns": written}


@torch.no_grad()
def forced_masks(
    model: LoadedModel, conversation: Conversation, images: Sequence[Path], targets: Sequence[Target]
) -> list[Mask]:
    """The mask of every `[SEG]` of a conversation's answers, in text order.

    Args:
        model: Fed the whole conversation in one pass.
        conversation: The record.
        images: Its images.
        targets: Of its answers, in order.

    Raises:
        ImageError: An image cannot be opened.
    """
    if not targets:
        return []
    # As in training: a model that reads no regions is told the words alone.
    processor, points = model.processor, getattr(model.model, "region_reader", None) is not None
    memory = points and model.model.config.mask_memory
    written = write_dialogue(conversation, processor.dialect, points=points, memory=memory)
    pictures = [load_image(path) for path in images]
    hws = [(image.height, image.width) for image in pictures]
    resized = [processor.sam_stream.resized_hw(hw) for hw in hws]
    marks = processor.read_marks(sum(map(len, written.regions)) if points else 0)
    item: dict[str, Any] = dict(processor.encode_turns(written.turns, len(pictures), **marks))
    item |= {"num_images": len(pictures), "seg_image_index": [t.mark.image_index for t in targets]}
    item |= processor.encode_pixels(pictures)
    if points:
        spoken = [region for asked in written.regions for region in asked]
        item["region_masks"] = record_grids(processor, conversation, spoken)
        item["region_image_index"] = torch.tensor([k for k, _ in spoken], dtype=torch.long)
    batch = dict(processor.collate([item]))
    device = model.model.device
    output = model.model(**{k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()})
    drawn = processor.post_process_masks(
        output.mask_logits.cpu(), item["seg_image_index"], torch.tensor(hws), torch.tensor(resized)
    )
    return [mask for mask, _ in drawn]
