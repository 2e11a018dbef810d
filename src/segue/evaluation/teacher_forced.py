"""Teacher-forced segmentation: a model is fed the records' own answers, and draws their masks.

Beside free generation this tells masks from words, and it alone compares with the mean-mask baseline: both
are given which phrase is meant, and in which image.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from segue import masks
from segue.errors import InputError
from segue.evaluation.run_conversation import targets_of
from segue.images import load_image
from segue.inference.loaded_model import LoadedModel
from segue.loading import load
from segue.metrics import recall_at
from segue.records import Conversation, grounded_markup, read_jsonl


@torch.no_grad()
def teacher_forced_ious(model: LoadedModel, conversation: Conversation, root: Path) -> list[float]:
    """IoU of every mask of a conversation's answers, in text order; what shares a `[SEG]` is one mask.

    Raises:
        ImageError: an image cannot be opened.
    """
    processor, turns, targets = model.processor, [], []
    for index, turn in enumerate(conversation.turns):
        if turn.role == "user":
            turns.append(("user", turn.text))
        elif turn.role == "assistant":
            turns.append(("assistant", grounded_markup(conversation, index, processor.dialect)[0]))
            targets += targets_of(conversation, index)
    if not targets:
        return []
    images = [load_image(root / image.path) for image in conversation.images]
    hws = [(image.height, image.width) for image in images]
    resized = [processor.sam_stream.resized_hw(hw) for hw in hws]
    item: dict[str, Any] = dict(processor.encode_turns(turns, len(images)))
    item |= {"num_images": len(images), "seg_image_index": [target.image_index for target in targets]}
    item |= processor.encode_pixels(images)
    batch = dict(processor.collate([item]))
    device = model.model.device
    output = model.model(**{k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()})
    drawn = processor.post_process_masks(
        output.mask_logits.cpu(), item["seg_image_index"], torch.tensor(hws), torch.tensor(resized)
    )
    return [masks.iou(mask, target.mask) for (mask, _), target in zip(drawn, targets, strict=True)]


def teacher_forced_score(
    model: LoadedModel, conversations: Sequence[Conversation], root: Path
) -> dict[str, Any]:
    """Mean IoU and recall at 0.5 over all masks.

    Args:
        root: folder that the image paths are relative to.

    Raises:
        InputError: nothing to score.

    Source: ours.
    """
    found = [teacher_forced_ious(model, c, root) for c in tqdm(conversations, desc="drawing", leave=False)]
    ious = [iou for some in found for iou in some]
    if not ious:
        raise InputError(
            "no masks to score",
            expected="answers with grounded phrases",
            found="none",
            where="teacher_forced_score",
            fix="give records whose answers name regions",
        )
    return {
        "mean_iou": float(np.mean(ious)),
        "recall_at_50": recall_at(ious),
        "masks": len(ious),
    }


def main() -> None:
    """`python -m segue.evaluation.teacher_forced --model MODEL --data FILE.jsonl`."""
    parser = argparse.ArgumentParser(description=teacher_forced_score.__doc__)
    parser.add_argument("--model", default="segue-mini")
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    conversations = list(read_jsonl(arguments.data))
    print(json.dumps(teacher_forced_score(load(arguments.model), conversations, arguments.data.parent)))


if __name__ == "__main__":
    main()
