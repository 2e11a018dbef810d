"""A record as a model is fed it: the record's own masks stand for those that a session would remember."""

from __future__ import annotations

import numpy as np
import pytest

from segue import masks
from segue.errors import RecordError
from segue.protocol import MOST_REMEMBERED
from segue.records import Conversation, ImageRef, Region, Span, Turn, write_dialogue


def record(count: int = 2, empty: int = -1, mask: bool = True) -> Conversation:
    """A question, an answer about `count` things, and a follow-up that points; thing `empty` has no pixel."""
    regions = []
    for k in range(count):
        pixels = np.zeros((10, 12), bool)
        if k != empty:
            pixels[k : k + 3, 2:5] = True
        rle = masks.encode(pixels) if mask else None
        regions.append(Region(rid=f"r{k}", image_index=k % 2, kind="object", name="mug", mask=rle))
    answer = " ".join("mug" for _ in regions)
    spans = [Span(start=4 * k, end=4 * k + 3, rids=[f"r{k}"]) for k in range(count)]
    return Conversation(
        id="d/0",
        task="scenes",
        split="train",
        images=[ImageRef(image_id=f"t:{k}", path=f"{k}.png", height=10, width=12) for k in range(2)],
        regions=regions,
        turns=[
            Turn(role="system", text="Be brief."),
            Turn(role="user", text="Which?", alternatives=["What is there?"]),
            Turn(role="assistant", text=answer, spans=spans),
            Turn(role="user", text="And this?", spans=[Span(start=4, end=8, rids=["r1"])]),
            Turn(role="assistant", text="No."),
            Turn(role="user", text="Why <region>?"),
        ],
    )


def questions(found: list[tuple[str, str]]) -> list[str]:
    return [text for role, text in found if role == "user"]


def test_words_alone() -> None:
    written = write_dialogue(record(), "prima")
    assert questions(written.turns) == ["Which?", "And this?", "Why <region>?"]
    assert written.regions == [[], [], []]
    assert written.targets == [[(0, ["r0"]), (1, ["r1"])], []]
    assert written.turns[1] == ("assistant", "<p> mug </p> [SEG] (IMAGE1) <p> mug </p> [SEG] (IMAGE2)")


def test_what_points_and_what_is_remembered() -> None:
    pointing = write_dialogue(record(), "prima", points=True)
    assert questions(pointing.turns) == ["Which?", "And this <region> (IMAGE2)?", "Why < region >?"]
    assert pointing.regions == [[], [(1, ["r1"])], []]
    written = write_dialogue(record(), "prima", points=True, memory=True)
    assert questions(written.turns)[1] == "And this <region> (IMAGE2)? <region> (IMAGE1) <region> (IMAGE2)"
    # The last answer marks nothing, so that there is nothing to remember of it.
    assert questions(written.turns)[2] == "Why < region >?"
    assert written.regions == [[], [(1, ["r1"]), (0, ["r0"]), (1, ["r1"])], []]


def test_the_first_masks_that_are_not_empty() -> None:
    written = write_dialogue(record(MOST_REMEMBERED + 2, empty=0), "prima", points=True, memory=True)
    assert [rids for _, rids in written.regions[1][1:]] == [[f"r{k}"] for k in range(1, MOST_REMEMBERED + 1)]


def test_wordings_are_drawn() -> None:
    rng = np.random.default_rng(0)
    asked = {questions(write_dialogue(record(), "prima", rng).turns)[0] for _ in range(20)}
    assert asked == {"Which?", "What is there?"}


def test_a_mask_that_is_not_in_the_file() -> None:
    with pytest.raises(RecordError, match="no mask to remember"):
        write_dialogue(record(mask=False), "prima", points=True, memory=True)
