"""Teacher forcing: an oracle's masks score one, in text order and at the size."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segue import masks
from segue.errors import InputError
from segue.evaluation.predictions import answers_of
from segue.evaluation.protocols import M4SegProtocol
from segue.evaluation.samples import all_samples
from segue.evaluation.scores import pair_up, summarise
from segue.evaluation.teacher_forced import check_can_be_forced, force_conversation
from segue.models.auto import ModelBundle
from segue.models.losses import shrink_masks
from segue.models.region_tokens import switch_region_tokens
from segue.records import Conversation, ImageRef, Region, Span, Turn

HWS = ((48, 96), (90, 60))
MASKS = {"mug": (0, np.s_[8:40, 10:60]), "lid": (1, np.s_[10:80, 5:40]), "cup": (1, np.s_[60:90, 40:60])}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k, (height, width) in enumerate(HWS):
        Image.new("RGB", (width, height), (90, 120, 150)).save(tmp_path / f"{k}.png")
    return tmp_path


def region_mask(name: str) -> np.ndarray:
    image, place = MASKS[name]
    mask = np.zeros(HWS[image], bool)
    mask[place] = True
    return mask


def conversation(*answers: str) -> Conversation:
    """One question for each answer; answers are names, which are their own phrases."""
    turns = []
    for name in answers:
        turns += [
            Turn(role="user", text=f"Where is the {name}?"),
            Turn(role="assistant", text=name, spans=[Span(start=0, end=len(name), rids=[name])]),
        ]
    return Conversation(
        id="forced",
        task="photos",
        split="val",
        images=[
            ImageRef(image_id=f"t:{k}", path=f"{k}.png", height=hw[0], width=hw[1])
            for k, hw in enumerate(HWS)
        ],
        regions=[
            Region(
                rid=name,
                image_index=MASKS[name][0],
                kind="object",
                name=name,
                mask=masks.encode(region_mask(name)),
            )
            for name in MASKS
        ],
        turns=turns,
    )


def oracle(bundle: Any, names: list[str]) -> Any:
    """A model that draws these masks, whatever it is fed."""
    side = bundle.processor.sam_stream.size
    drawn = []
    for name in names:
        inside = bundle.processor.sam_stream.resized_hw(HWS[MASKS[name][0]])
        drawn.append(shrink_masks(torch.from_numpy(region_mask(name))[None], inside, side, side)[0] * 20 - 10)

    def forward(**batch: Any) -> SimpleNamespace:
        assert batch["seg_image_index"].tolist() == [MASKS[name][0] for name in names]
        return SimpleNamespace(mask_logits=torch.stack(drawn))

    forward.device, forward.region_reader = torch.device("cpu"), None  # type: ignore[attr-defined]
    return SimpleNamespace(model=forward, processor=bundle.processor)


def scored(bundle: Any, record: Conversation, folder: Path) -> dict[str, Any]:
    line = force_conversation(bundle, record, [folder / image.path for image in record.images])
    return summarise(pair_up(all_samples([record]), answers_of([line])), M4SegProtocol(), drawings=0)


def test_right_masks_score_one_over_all_turns(tiny_bundle: Any, folder: Path) -> None:
    names = ["lid", "mug", "cup"]
    found = scored(oracle(tiny_bundle, names), conversation(*names), folder)
    assert found["n_masks"] == 3
    assert found["mean_iou"] > 0.85, "the grid of the square is coarser than the images"
    assert (found["phrase_f1"], found["recall_at_50"]) == (1.0, 1.0)


def test_another_order_scores_nothing(tiny_bundle: Any, folder: Path) -> None:
    # The phrases stay, so that only the masks can be wrong.
    found = scored(oracle(tiny_bundle, ["cup", "lid"]), conversation("lid", "cup"), folder)
    assert found["mean_iou_by_phrase"] < 0.1


def test_a_real_model_draws_one_mask_for_each_seg(tiny_bundle: Any, folder: Path) -> None:
    found = scored(tiny_bundle, conversation("mug", "lid"), folder)
    assert (found["n_masks"], found["failures"]["count"]) == (2, 0)
    assert 0 <= found["mean_iou"] <= 1


def test_a_model_that_remembers_is_fed_the_true_masks(
    tiny_bundle: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = copy.deepcopy(tiny_bundle)
    bundle = ModelBundle(found.model, found.processor, "tiny")
    switch_region_tokens(bundle)
    record, fed = conversation("mug", "lid"), list[dict[str, Any]]()
    forward = bundle.model.forward
    monkeypatch.setattr(bundle.model, "forward", lambda **batch: fed.append(batch) or forward(**batch))
    for memory in (False, True):
        bundle.model.config.mask_memory = memory
        assert scored(bundle, record, folder)["failures"]["count"] == 0
    assert [len(batch["region_masks"]) for batch in fed] == [0, 1]
    assert fed[1]["region_image_index"].tolist() == [MASKS["mug"][0]]


def test_what_cannot_be_read_fails(tiny_bundle: Any, folder: Path) -> None:
    (folder / "0.png").unlink()
    found = scored(tiny_bundle, conversation("mug", "lid"), folder)
    assert (found["failures"]["count"], found["mean_iou"]) == (2, 0.0)


def test_models_elsewhere_cannot_be_forced() -> None:
    with pytest.raises(InputError, match="cannot be teacher-forced"):
        check_can_be_forced(SimpleNamespace(model=object(), name="agent:far"))  # type: ignore[arg-type]
