"""The stream of batches depends on seed and step alone, says what it leaves out, and has the right masks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from segue import masks
from segue.errors import InputError
from segue.models.losses import IGNORE_INDEX
from segue.records import Conversation, grounded_markup
from segue.training.engine.accumulation import Share
from segue.training.engine.trainer import Batches
from segue.training.finetune.objective import BUCKET, GIVEN, RecordsObjective
from segue.training.finetune.skips import SkipJournal
from segue.training.recipe import options_of

Make = Callable[..., Any]
Same = Callable[[Any, Any], bool]


@pytest.fixture
def broken(scene_records: Path, tmp_path: Path) -> Path:
    """The scene records with one image that is no image."""
    folder = tmp_path / "broken"
    shutil.copytree(scene_records.parent, folder)
    next(iter(sorted((folder / "images").iterdir()))).write_bytes(b"not a picture")
    return folder / scene_records.name


def test_a_batch_depends_on_seed_and_step_alone(records_objective: Make, same: Same) -> None:
    _, objective = records_objective()
    _, another = records_objective()
    backward = {step: another.batch(step) for step in (BUCKET + 1, 2, 0)}
    for step in (0, 2, BUCKET + 1):
        assert same(objective.batch(step), backward[step])
    _, other = records_objective(seed=4)
    assert not same(other.batch(0), backward[0])


def test_the_stream_does_not_depend_on_the_workers(records_objective: Make, same: Same) -> None:
    def stream(workers: int) -> list[Any]:
        _, objective = records_objective()
        return list(DataLoader(Batches(objective, BUCKET + 3), batch_size=None, num_workers=workers))

    alone = stream(0)
    assert len(alone) == BUCKET + 3
    assert all(same(a, b) for a, b in zip(alone, stream(2), strict=True))


def test_shares_make_up_the_batch(records_objective: Make) -> None:
    _, objective = records_objective()
    whole = objective.batch(1)
    shares = [objective.share(1, Share(k, 3)) for k in range(3)]
    assert torch.cat([s["num_images"] for s in shares]).tolist() == whole["num_images"].tolist()
    counts = [objective.counts(s) for s in shares]
    assert objective.counts(whole) == {n: sum(c[n] for c in counts) for n in counts[0]}
    assert objective.counts(whole)["text"] == float((whole["labels"] != IGNORE_INDEX).sum())


def test_masks_and_images_are_those_of_the_record(records_objective: Make, records: Any) -> None:
    _, objective = records_objective(batch_size=1)
    checked = 0
    for step in range(6):
        example = objective.draw_bucket(0)[step][0]
        batch, record = objective.batch(step), example.drawn.conversation
        assert batch["num_images"].tolist() == [len(record.images)]
        assert batch["pixel_values_sam"].shape[0] == len(record.images)
        assert batch["original_hw"].tolist() == [[i.height, i.width] for i in record.images]
        expected: list[list[np.ndarray]] = [[] for _ in record.images]
        order = []
        for index, turn in enumerate(record.turns):
            for image_index, rids in grounded_markup(record, index)[1] if turn.role == "assistant" else []:
                expected[image_index].append(
                    masks.union([masks.decode(record.region(rid).mask or {}) for rid in rids])
                )
                order.append(image_index)
        assert batch["seg_image_index"].tolist() == order
        for found, wanted in zip(batch["mask_labels"], expected, strict=True):
            assert len(found) == len(wanted)
            assert all(np.array_equal(f.numpy(), w) for f, w in zip(found, wanted, strict=True))
            checked += len(wanted)
        segs = (batch["labels"] == 4).sum()
        assert int(segs) == len(order), "one labelled [SEG] per mask"
    assert checked > 5


def test_batches_hold_conversations_of_like_length(records_objective: Make) -> None:
    _, objective = records_objective(batch_size=4)
    batches = objective.draw_bucket(0)
    assert sorted(len(batch) for batch in batches) == [4] * BUCKET
    ordered = sorted(batches, key=lambda batch: batch[0].length)
    flat = [example.length for batch in ordered for example in batch]
    assert flat == sorted(flat)
    places = {(e.step, e.place) for batch in batches for e in batch}
    assert places == {(s, p) for s in range(BUCKET) for p in range(4)}, "every draw is used once"


def test_it_learns(records_objective: Make, one_step: Callable[..., tuple[float, float]]) -> None:
    before, after = one_step(*records_objective())
    assert after < before


def test_every_term_reaches_what_trains(records_objective: Make) -> None:
    model, objective = records_objective()
    loss, readings = objective.loss(model, objective.batch(0))
    assert {"text", "dice", "pixel", "skipped", "cut"} == set(readings)
    loss.backward()
    for part in ("language_model", "reader", "image_projection", "seg_projection", "sam.mask_decoder"):
        gradients = [p.grad for p in model.get_submodule(part).parameters() if p.grad is not None]
        assert any(bool(g.abs().sum() > 0) for g in gradients), part


def test_an_unreadable_image_is_noted_and_replaced(
    records_objective: Make, records_of: Any, broken: Path, tmp_path: Path, same: Same
) -> None:
    journal = SkipJournal(tmp_path / "skipped.jsonl")
    model, objective = records_objective(records_of(broken), journal=journal)
    _, again = records_objective(records_of(broken))
    skipped = 0
    for step in range(BUCKET):
        batch = objective.batch(step)
        assert same(batch, again.batch(step))
        assert len(batch["num_images"]) == 3, "the batch is full"
        skipped += len(batch["notes"]["skipped"])
        objective.loss(model, batch)
    assert skipped > 0
    lines = journal.path.read_text().splitlines() if journal.path else []
    assert len(lines) == skipped == journal.count
    assert all("not an image" in line for line in lines)
    (bad,) = journal.bad
    assert Path(bad).read_bytes() == b"not a picture"


def test_data_without_a_usable_image_are_refused(
    records_objective: Make, records_of: Any, scene_records: Path, tmp_path: Path
) -> None:
    shutil.copy(scene_records, tmp_path / "lonely.jsonl")
    _, objective = records_objective(records_of(tmp_path / "lonely.jsonl"))
    with pytest.raises(InputError, match=r"none; the last was 'scenes/"):
        objective.batch(0)


def test_an_image_of_another_size_is_not_trained_on(
    records_objective: Make, records_of: Any, broken: Path
) -> None:
    for path in (broken.parent / "images").iterdir():
        Image.new("RGB", (60, 50)).save(path)
    _, objective = records_objective(records_of(broken))
    with pytest.raises(InputError, match="another size than its record says"):
        objective.batch(0)


def test_long_conversations_lose_their_last_exchanges(records_objective: Make, records: Any) -> None:
    _, objective = records_objective()
    record = next(r for r in records.records if len(r.assistant_turns()) > 1)
    rng = np.random.default_rng(0)
    whole, targets, cut = objective.encode(record, rng)
    assert cut == 0
    objective.max_tokens = len(whole["input_ids"]) - 1
    short, fewer, cut = objective.encode(record, rng)
    assert cut == 1
    assert short["input_ids"] == whole["input_ids"][: len(short["input_ids"])]
    assert fewer == targets[: len(fewer)]
    assert sum(label == 4 for label in short["labels"]) == len(fewer)
    objective.max_tokens = 10
    with pytest.raises(InputError, match="does not fit the model's context"):
        objective.batch(0)


def test_large_photographs_have_small_masks(records_objective: Make) -> None:
    _, objective = records_objective(longest_side=100)
    assert objective.target_hw((64, 64)) == (64, 64)
    assert objective.target_hw((3000, 4000)) == (75, 100)


def test_user_wordings_alternate(records_objective: Make, records: Any) -> None:
    _, objective = records_objective()
    record: Conversation = records.records[0]
    turns = list(record.turns)
    turns[0] = turns[0].model_copy(update={"alternatives": ["Say it.", "Tell me."]})
    record = record.model_copy(update={"turns": turns})
    encoded = {
        tuple(objective.encode(record, np.random.default_rng(seed))[0]["input_ids"]) for seed in range(20)
    }
    assert len(encoded) == 3


def test_options_are_those_of_the_recipe() -> None:
    assert options_of(RecordsObjective) - GIVEN == {"batch_size", "longest_side"}
