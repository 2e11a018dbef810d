"""Stage "conversation": `[SEG]`, phrases, masks, images and features agree, whatever the batch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segue.errors import AlignmentError, InputError
from segue.mini.conversation_objective import BUCKET, ConversationObjective, name_weights
from segue.mini.dialogues import Mention
from segue.mini.phrase_codes import phrase_code
from segue.mini.pointing import UNKNOWN, WORDS
from segue.mini.pools import PhotoPool, ScenePool
from segue.mini.vocabulary import PHOTO_LABELS
from segue.training.engine.trainer import set_trainable

Tiny = Callable[..., Any]


@pytest.fixture
def make(tiny: Tiny, scenes: ScenePool, photos: PhotoPool, tmp_path: Path) -> Callable[..., Any]:
    def build(**options: Any) -> tuple[Any, Any, ConversationObjective]:
        model, processor = options.pop("made", tiny)()
        with_photos = options.pop("photos", photos)
        chosen = {"cache": tmp_path, "batch_size": 3, "photo_share": 0.4, "photo_views": 3} | options
        return model, processor, ConversationObjective(model, processor, scenes, with_photos, **chosen)

    return build


@pytest.mark.parametrize("masks", [False, True])
def test_a_batch_depends_on_seed_and_step_alone(make: Any, same: Any, masks: bool) -> None:
    first, second = (make(masks=masks)[2] for _ in range(2))
    wanted = first.batch(3)
    for step in (BUCKET + 1, 0):
        assert not same(second.batch(step), wanted)
    assert same(second.batch(3), wanted)
    assert not same(make(masks=masks, seed=1)[2].batch(3), wanted)


def test_counts_agree(make: Any) -> None:
    model, processor, stage = make(masks=True)
    seg, sources = model.config.seg_token_id, set()
    for step in range(6):
        batch = stage.batch(step)
        images = int(batch["num_images"].sum())
        labelled = int((batch["labels"] == seg).sum())
        assert labelled == len(batch["codes"]) == len(batch["seg_image_index"])
        assert labelled == int((batch["input_ids"] == seg).sum())
        assert [len(m) for m in batch["mask_labels"]] == torch.bincount(
            batch["seg_image_index"], minlength=images
        ).tolist()
        for name in ("vision_features", "aux_features", "pixel_values_sam", "resized_hw"):
            assert len(batch[name]) == images, name
        assert len(batch["slots"]["classes"]) == images
        assert (
            int((batch["input_ids"] == model.config.image_token_id).sum())
            == images * processor.num_query_tokens
        )
        sources |= {"photos" if bool((row >= 0).any()) else "scenes" for row in batch["slots"]["presence"]}
    assert sources == {"photos", "scenes"}


def test_masks_are_those_of_the_mentions(make: Any, scenes: ScenePool) -> None:
    _, _, stage = make(masks=True, photos=None)
    for step in range(3):
        batch = stage.batch(step)
        images = masks = 0
        for dialogue, _ in stage.bucket[1][step]:
            for k, scene in enumerate(dialogue.images):
                expected = [
                    scenes.mask(scene, m.object_index, m.part)
                    for m in dialogue.mentions
                    if m.image_index == k
                ]
                found = batch["mask_labels"][images + k].numpy()
                assert len(found) == len(expected)
                assert all((a == b).all() for a, b in zip(found, expected, strict=True))
            codes = [phrase_code(m.phrase, 16) for m in dialogue.mentions]
            for code in codes:
                np.testing.assert_array_equal(batch["codes"][masks], code)
                masks += 1
            images += len(dialogue.images)


def test_batches_of_a_bucket_hold_dialogues_of_similar_length(make: Any) -> None:
    stage = make(batch_size=4)[2]
    stage.batch(0)
    lengths = sorted([sorted(len(e["input_ids"]) for _, e in b) for b in stage.bucket[1]])
    assert len(lengths) == BUCKET
    assert all(a[-1] <= b[0] for a, b in pairwise(lengths))


@pytest.mark.parametrize("masks", [False, True])
def test_one_step_lowers_the_loss(make: Any, one_step: Any, masks: bool) -> None:
    model, _, stage = make(masks=masks)
    before, after = one_step(model, stage)
    assert after < before


def test_the_loss_by_hand(make: Any) -> None:
    model, _, stage = make(masks=True, distillation=0.3, slots=0.0)
    batch = stage.batch(1)
    with torch.no_grad():
        loss, readings = stage.loss(model, dict(batch))
        inputs = {k: v for k, v in batch.items() if k not in ("codes", "slots")}
        output = model(**inputs, token_weights=stage.token_weights)
    distance = F.mse_loss(output.seg_prompts, batch["codes"])
    torch.testing.assert_close(loss, output.loss + 0.3 * distance)
    assert readings["seg"] == pytest.approx(float(distance))
    assert {"text", "dice", "pixel", "seg"} <= set(readings)


def test_a_phrase_too_few_is_told(make: Any) -> None:
    model, _, stage = make()
    batch = next(b for b in (stage.batch(s) for s in range(20)) if len(b["codes"]) > 1)
    batch["codes"] = batch["codes"][1:]
    with pytest.raises(AlignmentError, match=f"{len(batch['codes'])} phrases"):
        stage.loss(model, batch)


@pytest.mark.parametrize("masks", [False, True])
def test_what_trains(make: Any, masks: bool) -> None:
    model, _, stage = make(masks=masks)
    names = set_trainable(model, stage.trainable)
    parts = {n.split(".")[0] for n in names}
    assert parts == {
        "fusion",
        "reader",
        "image_projection",
        "slot_heads",
        "language_model",
        "seg_projection",
        *(["sam"] if masks else []),
    }
    assert all(n.startswith("sam.mask_decoder") for n in names if n.startswith("sam."))
    batch = next(b for b in (stage.batch(s) for s in range(20)) if len(b["codes"]) > 1)
    stage.loss(model, batch)[0].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) or name in names, name
    several = ("sam.mask_decoder.iou_prediction_head", "sam.mask_decoder.output_hypernetworks_mlps.1")
    dead = [n for n in names if model.get_parameter(n).grad is None and not n.startswith(several)]
    assert all(n.startswith("reader.qformer") for n in dead), (
        "text outputs are not kept: their last layers idle"
    )


def test_names_weigh_more_than_other_words(make: Any) -> None:
    _, processor, stage = make(name_weight=3.0)
    tokenizer = processor.tokenizer

    def weights(text: str) -> list[float]:
        return stage.token_weights[tokenizer(text, add_special_tokens=False)["input_ids"]].tolist()

    assert (
        set(weights(" mug"))
        == set(weights(" red"))
        == set(weights(" trousers"))
        == set(weights(" handle"))
        == {3.0}
    )
    assert stage.token_weights[tokenizer.convert_tokens_to_ids("[SEG]")] == 1
    assert stage.token_weights[tokenizer.eos_token_id] == 1
    assert set(name_weights(processor, 1.0).tolist()) == {1.0}
    assert stage.token_weights.shape == (len(tokenizer),)


def test_pointing_shows_the_slot_of_every_thing(make: Any) -> None:
    model, processor, stage = make(
        photos=None, pointing=0.5, pointing_ahead=0.25, pointing_heads=[(0, 0), (0, 1)]
    )
    batch = stage.batch(2)
    mentions = [m for dialogue, _ in stage.bucket[1][2] for m in dialogue.mentions]
    tokens, slots = processor.num_query_tokens, model.config.num_object_slots
    shown = [m for m in mentions if m.object_index < slots]
    names, ahead = batch["pointed"]["names"], batch["pointed"]["ahead"]
    assert len(names) == WORDS * len(shown)
    assert len(ahead) > len(shown)
    firsts = list(zip(names.rows, names.starts, names.stops, strict=True))[::WORDS]
    for (row, start, stop), mention in zip(firsts, shown, strict=True):
        assert stop == start + 1
        seen = (batch["input_ids"][row, :start] == model.config.image_token_id).sum()
        image, token = divmod(int(seen), tokens)
        assert image == mention.image_index
        assert token == tokens - slots + mention.object_index
    plain = make(photos=None)[2]
    before, _ = plain.loss(model, plain.batch(2))
    after, readings = stage.loss(model, batch)
    added = 0.5 * readings["pointing_names"] + 0.25 * readings["pointing_ahead"]
    assert float((after - before).detach()) == pytest.approx(added, rel=1e-3)
    assert 0.0 <= readings["names_right"] <= 1.0
    assert 0.0 <= readings["ahead_right"] <= 1.0


def test_of_photographs_only_the_image_is_shown(make: Any) -> None:
    model, processor, stage = make(photo_share=1.0, pointing=0.5, pointing_heads=[(0, 0)])
    batch = stage.batch(0)
    names = batch["pointed"]["names"]
    mentions = [m for dialogue, _ in stage.bucket[1][0] for m in dialogue.mentions]
    assert len(names) == WORDS * len(mentions) > 0
    spans = list(zip(names.rows, names.starts, names.stops, strict=True))[::WORDS]
    for (row, start, stop), mention in zip(spans, mentions, strict=True):
        seen = (batch["input_ids"][row, :start] == model.config.image_token_id).sum()
        assert int(seen) == mention.image_index * processor.num_query_tokens
        assert (batch["input_ids"][row, start:stop] == model.config.image_token_id).all()
        assert stop - start == processor.num_query_tokens


def test_things_beyond_the_slots_are_not_pointed_at(make: Any) -> None:
    _, _, stage = make(photos=None, pointing=0.5, pointing_heads=[(0, 0)])
    assert stage.visual_places(Mention("red mug", 1, 99, None)) == (UNKNOWN, UNKNOWN)


def test_a_head_that_is_not_there_is_refused(make: Any) -> None:
    with pytest.raises(InputError, match="no such attention head"):
        make(pointing=0.5, pointing_heads=[(99, 0)])


def test_of_photographs_the_token_that_spells_the_label_is_shown(make: Any, reading: Tiny) -> None:
    _, processor, stage = make(photo_share=1.0, made=reading)
    tokens = processor.num_query_tokens
    for label in ("person", "coat"):
        place = tokens + PHOTO_LABELS.index(label)
        assert stage.visual_places(Mention(label, 1, None, None)) == (place, place + 1)


def test_photographs_are_read_by_their_labels_where_towers_see_another(make: Any, reading: Tiny) -> None:
    kept, swapped = (
        make(photo_share=1.0, made=reading, photo_swap=share)[2].batch(1) for share in (0.0, 1.0)
    )
    assert torch.equal(kept["input_ids"], swapped["input_ids"])
    assert torch.equal(kept["label_features"], swapped["label_features"])
    same = (kept["vision_features"] == swapped["vision_features"]).flatten(1).all(1)
    assert float(same.float().mean()) < 0.5, "the draw may find the same photograph now and then"
    scenes = [make(photos=None, made=reading, photo_swap=s)[2].batch(1) for s in (0.0, 1.0)]
    assert torch.equal(scenes[0]["vision_features"], scenes[1]["vision_features"])


def test_blurred_labels_leave_the_rest_of_the_batch(make: Any, reading: Tiny) -> None:
    sure, blurred = (make(made=reading, label_noise=noise)[2].batch(0) for noise in (0.0, 1.0))
    assert not torch.equal(sure["label_features"], blurred["label_features"])
    assert torch.equal(sure["vision_features"], blurred["vision_features"])


def test_one_step_lowers_the_loss_of_a_model_with_a_label_reader(
    make: Any, reading: Tiny, one_step: Any
) -> None:
    model, _, stage = make(made=reading, pointing=0.5, pointing_heads=[(0, 0)])
    before, after = one_step(model, stage)
    assert after < before
    assert not any(p.requires_grad for p in model.label_reader.parameters())
