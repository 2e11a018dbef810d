"""Photographs drawn here, read through a PACO-style file: merged masks, facts, cache, sets and records."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segue import masks
from segue.errors import InputError
from segue.mini.photos.build import build, sample_photo_set
from segue.mini.photos.facts import MIN_AREA, PhotoSet, as_annotated, load_photo_facts
from segue.records import Conversation, read_jsonl

H, W = 90, 60
RAW = {"hair": 1, "jeans": 2, "pants": 3, "dress": 4, "scarf": 5, "sunglasses": 6, "suit": 7, "sandals": 8}
RAW["blouse"] = 9
BANDS = {"hair": (5, 15), "sunglasses": (15, 18), "suit": (20, 40), "dress": (20, 60), "jeans": (40, 60)}
BANDS |= {"pants": (60, 70), "sandals": (75, 85), "scarf": (18, 20), "blouse": (20, 30)}
INK = {"hair": (30, 20, 12), "jeans": (50, 70, 160), "pants": (50, 70, 160), "dress": (200, 20, 30)}


def draw(folder: Path, number: int, parts: tuple[str, ...], **entry: Any) -> dict[str, Any]:
    pixels = np.full((H, W, 3), 200, dtype=np.uint8)
    person = np.zeros((H, W), dtype=bool)
    annotations = []
    for part in parts:
        top, bottom = BANDS[part]
        mask = np.zeros((H, W), dtype=bool)
        mask[top:bottom, 20:40] = True
        pixels[mask] = INK.get(part, (90, 90, 90))
        person |= mask
        annotations.append((RAW[part] + 1, mask))
    name = f"{number:03d}.png"
    Image.fromarray(pixels).save(folder / name)
    image = {"id": number, "file_name": name, "height": H, "width": W, **entry}
    return {"image": image, "masks": [(1, person), *annotations]}


def write(folder: Path, photos: list[dict[str, Any]]) -> Path:
    annotations: list[dict[str, Any]] = []
    for photo in photos:
        person = len(annotations) + 1
        for category, mask in photo["masks"]:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": photo["image"]["id"],
                    "category_id": category,
                    "segmentation": masks.encode(mask),
                    "obj_ann_id": person,
                }
            )
    categories = [
        {"id": 1, "name": "person"},
        *({"id": k + 1, "name": f"person:{raw}"} for raw, k in RAW.items()),
    ]
    path = folder / "photos.json"
    images = [photo["image"] for photo in photos]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


@pytest.fixture
def photos_json(tmp_path: Path) -> Path:
    sets = [("hair", "jeans", "pants", "sandals", "scarf"), ("hair", "dress"), ("hair", "suit", "sunglasses")]
    photos = [draw(tmp_path, k + 1, parts) for k, parts in enumerate(sets)]
    photos.append(
        {"image": {"id": 4, "file_name": "gone.png", "height": H, "width": W}, "masks": photos[0]["masks"]}
    )
    photos.append(draw(tmp_path, 5, ("hair",), height=H + 1))  # annotated with another size than its masks'
    two = draw(tmp_path, 6, ("hair",))
    two["masks"].append(two["masks"][0])
    photos.append(two)
    return write(tmp_path, photos)


def test_raw_parts_are_united_and_measured(photos_json: Path) -> None:
    records = load_photo_facts(photos_json)
    assert isinstance(records, PhotoSet)
    assert [record.image_id for record in records] == ["1", "2", "3"]
    first = records[0]
    assert set(first.rles) == {"person", "hair", "trousers", "shoes"}  # the scarf is no label
    expected = np.zeros((H, W), dtype=bool)
    expected[40:70, 20:40] = True
    np.testing.assert_array_equal(first.mask("trousers"), expected)
    assert not first.mask("coat").any()
    facts = first.facts.labels["trousers"]
    assert facts.area == pytest.approx(600 / (H * W), abs=1e-4)
    assert (facts.colour, facts.raw) == ("blue", ("jeans", "pants"))
    assert records[1].facts.labels["dress"].colour == "red"
    assert first.facts.lacks("dress")
    assert not first.facts.lacks("hair")


def test_what_is_left_out_is_told(photos_json: Path) -> None:
    records = load_photo_facts(photos_json)
    assert records.report is not None
    counts = records.report.counts()
    assert counts["image file not found"] == 1
    assert counts["image size differs from its record"] == 1
    assert [line.rsplit(": ", 1)[1] for line in records.unreadable] == ["not one person"]


def test_unreadable_and_resized_files_are_left_out(tmp_path: Path) -> None:
    photos = [draw(tmp_path, k, ("hair", "jeans")) for k in (1, 2, 3)]
    (tmp_path / "001.png").write_bytes(b"not a picture")
    Image.new("RGB", (W // 2, H // 2)).save(tmp_path / "002.png")
    records = load_photo_facts(write(tmp_path, photos))
    assert [record.image_id for record in records] == ["3"]
    assert records.report is not None
    assert records.report.counts() == {"image cannot be read": 1, "image size differs from its record": 1}


def test_suit_and_tiny_things_leave_doubt(tmp_path: Path) -> None:
    photo = draw(tmp_path, 1, ("hair", "suit"))
    dot = np.zeros((H, W), dtype=bool)
    dot[16, 30] = True
    assert dot.sum() / dot.size < MIN_AREA
    photo["masks"].append((RAW["sunglasses"] + 1, dot))
    (record,) = load_photo_facts(write(tmp_path, [photo]))
    for label in ("trousers", "glasses"):  # a suit may include the trousers; one pixel may be a slip
        assert not record.facts.has(label)
        assert not record.facts.lacks(label)
    assert record.mask("glasses").sum() == 1
    (sure,) = as_annotated([record])
    assert sure.facts.lacks("trousers"), "none is annotated"
    assert not sure.facts.lacks("glasses"), "a slip stays one"


@pytest.mark.parametrize("beside", ["pants", "blouse"])
def test_a_dress_beside_what_it_would_cover_leaves_doubt(tmp_path: Path, beside: str) -> None:
    photos = [draw(tmp_path, 1, ("hair", "dress", beside)), draw(tmp_path, 2, ("hair", "dress", "suit"))]
    doubted, plain = load_photo_facts(write(tmp_path, photos))
    for label in ("dress", "skirt"):  # annotators call many a skirt a dress
        assert not doubted.facts.has(label)
        assert not doubted.facts.lacks(label)
    assert doubted.facts.has({"pants": "trousers", "blouse": "top"}[beside])
    assert doubted.mask("dress").any()
    assert plain.facts.has("dress")
    assert plain.facts.lacks("skirt")
    (sure, _) = as_annotated([doubted, plain])
    assert sure.facts.has("dress")
    assert sure.facts.lacks("skirt")


def test_cache_is_used_only_for_the_same_input(photos_json: Path, tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "facts.json"
    first = load_photo_facts(photos_json, cache=cache)
    (tmp_path / "001.png").write_bytes(b"the cache makes opening it needless")
    assert list(load_photo_facts(photos_json, cache=cache)) == list(first)
    assert [path.name for path in cache.parent.iterdir()] == ["facts.json"]
    cache.write_text(cache.read_text()[:100])  # damaged: measured again
    assert [record.image_id for record in load_photo_facts(photos_json, cache=cache)] == ["2", "3"]
    photos_json.write_text(photos_json.read_text() + " ")  # another content: measured again
    before = cache.read_text()
    load_photo_facts(photos_json, cache=cache)
    assert cache.read_text() != before


def test_sets_hold_different_photos_and_something_to_ask(photos_json: Path) -> None:
    records = load_photo_facts(photos_json)
    rng = np.random.default_rng(0)
    sizes = Counter()
    for _ in range(400):
        chosen = sample_photo_set(records, rng)
        assert len(set(chosen)) == len(chosen)
        sizes[len(chosen)] += 1
    assert sizes[1] == pytest.approx(80, abs=30)
    assert sizes[2] == pytest.approx(200, abs=40)
    assert len(sample_photo_set(records[:1], rng, 3)) == 1


def test_build_writes_valid_records_that_point_at_the_photos(photos_json: Path, tmp_path: Path) -> None:
    target = build(photos_json, None, tmp_path / "out", seed=5, count=12, split="val")
    conversations = list(read_jsonl(target))
    assert len({conversation.id for conversation in conversations}) == 12
    for conversation in conversations:
        assert isinstance(conversation, Conversation)
        assert (conversation.task, conversation.split) == ("photos", "val")
        assert all(
            Path(image.path).is_absolute() and Path(image.path).is_file() for image in conversation.images
        )
        answers = conversation.assistant_turns()
        assert len(answers) == len(conversation.meta["turns"])
        for turn in answers:
            for span in turn.spans:
                (rid,) = span.rids
                region = conversation.region(rid)
                assert turn.text[span.start : span.end] == region.name
                assert region.mask is not None
                assert masks.area(region.mask) == region.area > 0
    assert not (tmp_path / "out" / "images").exists()
    longer = build(photos_json, None, tmp_path / "longer", seed=5, count=20, split="val")
    assert longer.read_text().startswith(target.read_text())


def test_build_copies_only_when_asked(photos_json: Path, tmp_path: Path) -> None:
    target = build(photos_json, None, tmp_path / "out", seed=1, count=6, split="train", copy_images=True)
    for conversation in read_jsonl(target):
        assert all((target.parent / image.path).is_file() for image in conversation.images)


def test_build_says_why_it_cannot(tmp_path: Path) -> None:
    empty = write(tmp_path, [])
    with pytest.raises(InputError, match="No photograph"):
        build(empty, None, tmp_path / "out", seed=1, count=1, split="train")
    with pytest.raises(InputError, match="negative"):
        build(empty, None, tmp_path / "out", seed=1, count=-1, split="train")


def test_real_photographs(shared: Path) -> None:
    source = shared / "data" / "clothing" / "val.json"
    if not source.is_file():
        pytest.skip(f"no clothing photographs at {source}")
    records = load_photo_facts(source)
    assert len(records) == 92
    counts = Counter(label for record in records for label in record.facts.labels)
    assert (counts["person"], counts["trousers"], counts["coat"], counts["dress"]) == (92, 46, 48, 30)
    trousers = Counter(
        record.facts.labels["trousers"].colour for record in records if record.facts.has("trousers")
    )
    assert {"black", "blue"} <= {colour for colour, _ in trousers.most_common(4)}
