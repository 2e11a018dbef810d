"""Records and builds: exact masks, determinism, going on after an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segue import masks
from segue.errors import AlignmentError, InputError
from segue.records import read_jsonl
from segue.scenes.build import build, draw_set
from segue.scenes.conversation import to_conversation
from segue.scenes.kinds import HELD_OUT

SIZE = 96


def make(folder: Path, count: int = 3, **settings) -> Path:
    return build(folder, 7, count, settings.pop("split", "val"), SIZE, progress=False, **settings)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("built"), count=4)


def test_spans_name_regions_with_exact_masks(built: Path) -> None:
    conversations = list(read_jsonl(built))
    assert [c.id for c in conversations] == [f"scenes/val_7/{k:06d}" for k in range(4)]
    for index, conversation in enumerate(conversations):
        scenes, exchanges = draw_set(7, index, split="val", size=SIZE)
        assert conversation.task == "scenes"
        assert len(conversation.meta["turns"]) == len(exchanges) == len(conversation.assistant_turns())
        assert all(not turn.spans for turn in conversation.turns if turn.role == "user")
        for turn, exchange, about in zip(
            conversation.assistant_turns(), exchanges, conversation.meta["turns"], strict=True
        ):
            assert (about["template"], about["kind"]) == (exchange.template, exchange.kind)
            for span, answer_span in zip(turn.spans, exchange.spans, strict=True):
                region = conversation.region(span.rids[0])
                meant = answer_span.payload
                right = scenes[answer_span.image_index].mask(meant.object_index, meant.part)
                assert turn.text[span.start : span.end] == region.name
                assert np.array_equal(masks.decode(region.mask), right)
                assert region.area == right.sum()
                assert region.kind == ("object" if meant.part is None else "part")


def test_images_are_saved_as_drawn(built: Path) -> None:
    for index, conversation in enumerate(read_jsonl(built)):
        scenes, _ = draw_set(7, index, split="val", size=SIZE)
        for image, scene in zip(conversation.images, scenes, strict=True):
            assert np.array_equal(np.asarray(Image.open(built.parent / image.path)), scene.image)
            assert (image.height, image.width) == (SIZE, SIZE)
            assert image.image_id.startswith("scenes:val_7/")


def test_parts_lie_within_their_objects(built: Path) -> None:
    for conversation in read_jsonl(built):
        parts = [region for region in conversation.regions if region.kind == "part"]
        assert parts
        for part in parts:
            whole = masks.decode(conversation.region(part.parent).mask)
            assert not (masks.decode(part.mask) & ~whole).any()


def test_set_k_does_not_depend_on_the_count(built: Path, tmp_path: Path) -> None:
    few = make(tmp_path, count=2).read_text().splitlines()
    assert few == built.read_text().splitlines()[:2]
    more = make(tmp_path, count=4)
    assert more.read_text() == built.read_text()


def test_an_interrupted_build_goes_on(built: Path, tmp_path: Path) -> None:
    path = make(tmp_path, count=3)
    lines = path.read_bytes().splitlines(keepends=True)
    unfinished = tmp_path / "conversations.jsonl.part"
    unfinished.write_bytes(lines[0] + lines[1][:200])
    path.unlink()
    image = tmp_path / json.loads(lines[0])["images"][0]["path"]
    before = image.stat().st_mtime_ns
    assert make(tmp_path, count=4).read_text() == built.read_text()
    assert image.stat().st_mtime_ns == before
    assert not list(tmp_path.rglob("*.part"))


def test_a_lost_image_is_drawn_again(tmp_path: Path) -> None:
    path = make(tmp_path, count=2)
    text = path.read_text()
    image = tmp_path / json.loads(text.splitlines()[0])["images"][0]["path"]
    image.unlink()
    assert make(tmp_path, count=2).read_text() == text
    assert image.exists()


def test_a_folder_keeps_its_settings(tmp_path: Path) -> None:
    make(tmp_path, count=1)
    with pytest.raises(InputError, match="other settings"):
        make(tmp_path, count=1, split="train")


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", -1), ("count", 0), ("size", 8), ("split", "dev"), ("wording", "new"), ("image_format", "gif")],
)
def test_wrong_arguments_are_named(tmp_path: Path, name: str, value: object) -> None:
    arguments = {"seed": 1, "count": 1, "split": "val", "size": SIZE, "progress": False, name: value}
    with pytest.raises(InputError, match=name):
        build(tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_held_out_pairs_are_in_their_split_only(tmp_path: Path) -> None:
    for split in ("train", "heldout"):
        path = make(tmp_path / split, split=split)
        for conversation in read_jsonl(path):
            names = {
                (r.image_index, tuple(r.name.split())) for r in conversation.regions if r.kind == "object"
            }
            odd = {image for image, pair in names if pair in HELD_OUT}
            assert odd == (set(range(len(conversation.images))) if split == "heldout" else set())


def test_splits_of_one_seed_show_other_scenes() -> None:
    one, two = (draw_set(7, 0, split=split, size=SIZE)[0][0] for split in ("train", "val"))
    assert not np.array_equal(one.image, two.image)


def test_jpeg_is_smaller(tmp_path: Path) -> None:
    make(tmp_path / "png", count=1)
    make(tmp_path / "jpg", count=1, image_format="jpg")
    sizes = {
        form: sum(f.stat().st_size for f in (tmp_path / form / "images").iterdir()) for form in ("png", "jpg")
    }
    assert sizes["jpg"] < sizes["png"]


def test_scenes_and_paths_must_match() -> None:
    scenes, exchanges = draw_set(7, 0, split="val", size=SIZE)
    with pytest.raises(AlignmentError, match="paths"):
        to_conversation(scenes, exchanges, id="scenes/x", split="val", paths=[])
