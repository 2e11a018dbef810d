"""Regions asked for by code: which ones, under which phrase, and with which mask."""

from __future__ import annotations

import numpy as np
import torch

from segue import masks
from segue.mini.code_prompts import CodePrompts, draw_code_prompts, region_phrase, seg_codes
from segue.mini.phrase_codes import phrase_code
from segue.records import Conversation, ImageRef, Region, Turn


def region(rid: str, image: int, name: str, row: int, parent: str | None = None) -> Region:
    mask = np.zeros((4, 6), bool)
    mask[row] = True
    kind = "part" if parent else "object"
    return Region(
        rid=rid, image_index=image, kind=kind, name=name, parent=parent, mask=masks.encode(mask), area=6
    )


CONVERSATION = Conversation(
    id="c",
    task="photos",
    split="train",
    images=[ImageRef(image_id=f"t:{k}", path=f"{k}.png", height=4, width=6) for k in range(2)],
    regions=[
        region("a", 0, "car", 0),
        region("b", 0, "wheel", 1, "a"),
        region("c", 0, "wheel", 2, "a"),
        region("d", 0, "hood", 3, "a"),
        region("e", 1, "car", 1),
    ],
    turns=[Turn(role="user", text="?"), Turn(role="assistant", text="-")],
)
HWS = [(4, 6), (4, 6)]


def draw(count: int, seed: int = 0) -> CodePrompts:
    return draw_code_prompts(CONVERSATION, HWS, count, 8, np.random.default_rng(seed))


def test_parts_bear_the_name_of_their_object() -> None:
    by_rid = {r.rid: r for r in CONVERSATION.regions}
    assert region_phrase(by_rid["d"], by_rid) == "car's hood"
    assert region_phrase(by_rid["a"], by_rid) == "car"
    named = region("f", 0, "car's door", 0, "a")
    assert region_phrase(named, by_rid) == "car's door"


def test_what_is_ambiguous_is_not_asked_for() -> None:
    found = draw(9)
    assert found.image_index.tolist() == [0, 0, 1]
    codes = {tuple(code.tolist()) for code in found.codes}
    assert codes == {tuple(phrase_code(p, 8).tolist()) for p in ("car", "car's hood")}


def test_the_masks_are_those_of_the_codes() -> None:
    found = draw(9)
    by_code = {tuple(phrase_code("car", 8).tolist()): 0, tuple(phrase_code("car's hood", 8).tolist()): 3}
    for code, mask in zip(found.codes[:2], found.masks[0], strict=True):
        assert mask[by_code[tuple(code.tolist())]].all()
        assert int(mask.sum()) == 6
    assert [len(m) for m in found.masks] == [2, 1]


def test_no_more_than_asked_for() -> None:
    assert draw(1).image_index.tolist() == [0, 1]
    assert len({tuple(draw(1, seed).codes[0].tolist()) for seed in range(12)}) == 2, "which one is drawn"
    none = draw(0)
    assert none.codes.shape == (0, 8)
    assert [tuple(m.shape) for m in none.masks] == [(0, 4, 6)] * 2


def test_images_are_counted_over_the_batch() -> None:
    joined = CodePrompts.join([draw(9), draw(1)])
    assert joined.image_index.tolist() == [0, 0, 1, 2, 3]
    assert len(joined.masks) == 4
    assert len(joined.codes) == 5


def test_the_prompt_of_each_seg_has_the_code_of_its_region() -> None:
    codes = seg_codes(CONVERSATION, [(0, ["d"]), (1, ["e"]), (0, ["b", "c"])], 8)
    expected = np.stack([phrase_code(p, 8) for p in ("car's hood", "car", "car's wheel")])
    assert torch.equal(codes, torch.from_numpy(expected))
    assert seg_codes(CONVERSATION, [], 8).shape == (0, 8)


def test_masks_that_share_a_phrase_are_asked_for_by_no_code() -> None:
    """Three cups with a mask each: one code for all would pull their prompts together, Dice apart."""
    cups = [
        CONVERSATION.regions[0].model_copy(
            update={"rid": rid, "name": "cup", "image_index": 0, "parent": None}
        )
        for rid in ("x", "y", "z")
    ]
    several = CONVERSATION.model_copy(update={"regions": [*CONVERSATION.regions, *cups]})
    codes = seg_codes(several, [(0, ["x"]), (0, ["y"]), (0, ["z"]), (1, ["e"])], 8)
    assert codes[:3].isnan().all()
    assert not codes[3].isnan().any()
    # The same cup twice, or all of them as one mask, is one thing.
    assert not seg_codes(several, [(0, ["x"]), (0, ["x"])], 8).isnan().any()
    assert not seg_codes(several, [(0, ["x", "y", "z"])], 8).isnan().any()
