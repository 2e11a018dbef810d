"""The numbers of M4SEG's Table 2 and Figure 4, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segue import masks
from segue.datasets.statistics import collect, count_rejected, target_name
from segue.datasets.statistics_plots import draw_statistics
from segue.records import Conversation, ImageRef, Region, Span, Turn

RLE = masks.encode(np.ones((4, 6), bool))


def region(rid: str, image: int, name: str, parent: str | None = None, **more: Any) -> Region:
    kind: Literal["object", "part"] = "object" if parent is None else "part"
    fields = {"kind": kind, "mask": RLE, **more}
    return Region(rid=rid, image_index=image, name=name, parent=parent, **fields)


def conversation(number: int = 0, split: str = "train", spans: list[Span] | None = None) -> Conversation:
    """Two images with a cat each; the answer names both cats and the tail of the first, one cat twice."""
    regions = [
        region("a", 0, "cat"),
        region("t", 0, "cat's tail", "a"),
        region("b", 1, "cat"),
        region("x", 1, "shadow", kind="region"),
    ]
    text = "The cat, its tail, the cats and the cat."
    if spans is None:
        spans = [
            Span(start=4, end=7, rids=["a"]),
            Span(start=13, end=17, rids=["t"]),
            Span(start=23, end=27, rids=["a", "b"], merge="each"),
        ]
    return Conversation(
        id=f"c{number}",
        task="m4seg",
        split=split,  # type: ignore[arg-type]
        images=[
            ImageRef(image_id=f"own:{k}", path=f"{k}.png", height=4, width=6) for k in (number, number + 1)
        ],
        regions=regions,
        turns=[Turn(role="user", text="Which?"), Turn(role="assistant", text=text, spans=spans)],
        meta={"kind": "spatial"},
    )


def test_an_answer_counted_by_hand() -> None:
    found = collect([conversation(0), conversation(1), conversation(0, "test", [])]).to_json()["splits"]
    train, test = found["train"], found["test"]
    assert (train["conversations"], train["answers"], train["answers_with_targets"]) == (2, 2, 2)
    assert (train["unique_images"], train["unique_objects"], train["unique_parts"]) == (3, 1, 1)
    assert (train["mean_object_targets"], train["mean_part_targets"], train["mean_targets"]) == (2, 1, 3)
    assert train["mean_mentions"] == 4
    assert (train["objects"], train["parts"]) == ({"cat": 4}, {"tail": 2})
    assert (train["targets_per_answer"], train["images_per_conversation"]) == ({3: 2}, {2: 2})
    assert train["answers_covering_all_images"] == 2
    assert train["kinds"] == {"spatial": 2}
    assert (test["answers_with_targets"], test["answers_covering_all_images"], test["mean_targets"]) == (
        0,
        0,
        0,
    )
    assert test["targets_per_answer"] == {0: 1}


def test_a_union_is_one_mask_and_other_regions_count_apart() -> None:
    spans = [Span(start=4, end=7, rids=["b", "x"], merge="union"), Span(start=13, end=17, rids=["x"])]
    (counts,) = collect([conversation(spans=spans)]).splits.values()
    assert counts.targets == {2: 1}
    assert (counts.object_targets, counts.other_targets) == (1, 1)
    assert counts.others == {"shadow": 1}
    assert counts.covering == 0


@pytest.mark.parametrize(
    ("owner", "name", "expected"),
    [
        ("cat", "cat's tail", "tail"),
        ("cat", "tail", "tail"),
        ("scissors", "scissors' blade", "blade"),
        ("cat", "catfish's tail", "catfish's tail"),
    ],
)
def test_parts_are_named_without_their_object(owner: str, name: str, expected: str) -> None:
    record = conversation()
    regions = [region("a", 0, owner), region("t", 0, name, "a"), *record.regions[2:]]
    record = Conversation(
        **{**{k: getattr(record, k) for k in type(record).model_fields}, "regions": regions}
    )
    assert target_name(record.region("t"), record) == expected


@given(st.lists(st.lists(st.sampled_from(["a", "t", "b", "x"]), max_size=4), max_size=5))
def test_sums_agree_whatever_is_named(named: list[list[str]]) -> None:
    spans = [Span(start=k, end=k + 1, rids=rids) for k, rids in enumerate(named)]
    counts = collect([conversation(spans=spans)]).splits["train"]
    assert counts.mentions == sum(map(len, named))
    different = len({rid for rids in named for rid in rids})
    assert counts.targets == {different: 1}
    assert counts.object_targets + counts.part_targets + counts.other_targets == different
    assert sum(counts.objects.values()) == counts.object_targets


def test_rejected_pairs_are_counted_by_filter(tmp_path: Path) -> None:
    lines = [{"letter": "d", "reason": "an image without a mask"}] * 2 + [{"reason": "too long"}]
    (tmp_path / "filters").mkdir()
    text = "".join(json.dumps(line) + "\n" for line in lines) + "cut off"
    (tmp_path / "filters" / "rejected.jsonl").write_text(text)
    assert count_rejected(tmp_path) == {
        "(d) an image without a mask": 2,
        "too long": 1,
        "line of rejected.jsonl that is not JSON": 1,
    }


def test_the_plot_is_a_picture_and_the_same_twice(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    statistics = collect([conversation(k) for k in range(3)] + [conversation(9, "test", [])])
    first = draw_statistics(statistics, tmp_path / "a.png")
    second = draw_statistics(statistics, tmp_path / "b.png")
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as picture:
        assert picture.width > 1500
        # Three panels: something blue is drawn in each third.
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    blue = (np.abs(pixels - (0x2B, 0x63, 0xFF)).sum(axis=2) < 40).any(axis=0)
    assert all(third.any() for third in np.array_split(blue, 3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
