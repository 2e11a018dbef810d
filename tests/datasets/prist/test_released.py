"""The released file: dialogues kept to the letter, masks by name, and what is lacking counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segue import masks
from segue.datasets.prist.labels import folded, mask_of_focus
from segue.datasets.prist.released import read_released, to_released
from segue.errors import InputError
from segue.protocol import DIALECTS, parse
from segue.records import Conversation, grounded_markup


def item(focus: str = "logo", image: str = "a.jpg", final: str = "Sure, it is [SEG].") -> dict[str, Any]:
    texts = ["What is written there?", "A name.", "Segment the conversation above.", final]
    dialogue = [{"from": ("human", "gpt")[k % 2], "value": text} for k, text in enumerate(texts)]
    return {"img_id": image, "dialogue": dialogue, "focus": focus}


def square(label: str, x: int, y: int, side: int = 4, **fields: Any) -> dict[str, Any]:
    points = [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]
    return {"label": label, "points": points, "shape_type": "polygon"} | fields


def write(folder: Path, items: Any, **labels: list[dict[str, Any]]) -> Path:
    for name, shapes in labels.items():
        content = {"shapes": shapes, "imageHeight": 20, "imageWidth": 30}
        (folder / f"{name}.json").write_text(json.dumps(content))
    path = folder / "released.json"
    path.write_text(json.dumps(items))
    return path


def test_a_named_answer_and_a_plain_one(tmp_path: Path) -> None:
    path = write(tmp_path, [item()])
    [named] = read_released(path).conversations
    assert grounded_markup(named, 3, "miras") == ("Sure, it is [OBJ]logo[SEG].", [(0, ["r1"])])
    [plain] = read_released(path, answers="plain").conversations
    assert (plain.turns[3].text, plain.turns[3].spans[0].start) == ("Sure, it is .", 12)
    assert grounded_markup(plain, 3, "miras")[0] == "Sure, it is [SEG]."
    assert (named.id, named.images[0].image_id) == ("prist/test/a/0", "textcaps:a")
    assert [to_released(c) for c in (named, plain)] == [item(), item()]


def test_labels_match_exactly_or_as_released(tmp_path: Path) -> None:
    shapes = [square("Logo", 2, 2), square("logo on the  shirt", 10, 2), square("LOGO ", 2, 10)]
    path = write(tmp_path, [item(), item("LOGO on the shirt"), item("hat")], a=shapes)
    exact = read_released(path, labels=tmp_path)
    areas = [c.regions[0].mask and masks.area(c.regions[0].mask) for c in exact.conversations]
    one = masks.area(masks.encode(masks.from_polygons([np.ravel(shapes[0]["points"]).tolist()], (20, 30))))
    assert areas == [2 * one, one, None]
    assert exact.missing == {"image file": 3, "mask: no label with the focus": 1}
    assert exact.collisions == [("a.jpg", "logo", "logo on the  shirt")]
    assert (exact.conversations[0].images[0].height, exact.conversations[0].images[0].width) == (20, 30)
    as_released = read_released(path, labels=tmp_path, matching="substring")
    assert masks.area(as_released.conversations[0].regions[0].mask or {}) == 3 * one


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("nonsense", "label file is not JSON"),
        ("[]", "label file without image size or shapes"),
        ('{"shapes": [], "imageHeight": -1, "imageWidth": -2}', "label file without image size or shapes"),
        ('{"shapes": [3, {"label": 4}], "imageHeight": 9, "imageWidth": 9}', "no label with the focus"),
        (
            '{"shapes": [{"label": "logo", "points": [[0, 0]]}], "imageHeight": 9, "imageWidth": 9}',
            "no usable outline",
        ),
        ('{"shapes": [{"label": "a logo"}], "imageHeight": 9, "imageWidth": 9}', "only labels that contain"),
    ],
)
def test_bad_label_files_are_a_reason(content: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(content)
    found = mask_of_focus(file, "logo")
    assert found.rle is None
    assert problem in found.problem


def test_images_give_paths_and_sizes(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "train" / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"no image")
    path = write(tmp_path, [item(), item(image="b.jpg")], a=[square("logo", 0, 0)])
    read = read_released(path, images=tmp_path, labels=tmp_path)
    first = read.conversations[0]
    assert (first.images[0].path, first.images[0].height, first.images[0].width) == ("train/a.jpg", 20, 30)
    assert read.missing == {"readable image file": 1, "mask: no label file": 1}
    Image.new("RGB", (31, 20)).save(tmp_path / "train" / "a.jpg")
    assert read_released(path, images=tmp_path, labels=tmp_path).missing[
        "mask: label file of another image size"
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        3,
        {},
        item(focus=" "),
        item() | {"img_id": None},
        item() | {"dialogue": item()["dialogue"][:3]},
        item() | {"dialogue": item()["dialogue"][::-1]},
        item() | {"dialogue": [{"from": "human"}, {"from": "gpt", "value": "[SEG]"}]},
        item() | {"dialogue": "text"},
        item(final="Sure."),
        item() | {"dialogue": [{"from": "human", "value": "[SEG]"}, {"from": "gpt", "value": "[SEG]"}]},
        item() | {"img_id": "\ud800.jpg"},
    ],
)
def test_wrong_items_are_dropped_with_a_reason(wrong: Any, tmp_path: Path) -> None:
    read = read_released(write(tmp_path, [item(), wrong]))
    assert len(read.conversations) == 1
    assert sum(read.report.dropped.values()) == 1
    assert read.report.examples[0].expected
    with pytest.raises(InputError, match="Nothing in this data"):
        read_released(write(tmp_path, [wrong]))


def test_files_and_folders_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="list"):
        read_released(write(tmp_path, {"a": 1}))
    with pytest.raises(InputError, match="not JSON"):
        read_released(tmp_path / "none.json")
    with pytest.raises(InputError, match="labels"):
        read_released(write(tmp_path, [item()]), labels=tmp_path / "none")


def test_other_conversations_have_no_released_form(tmp_path: Path) -> None:
    [conversation] = read_released(write(tmp_path, [item()])).conversations
    with pytest.raises(InputError, match="no released form"):
        to_released(conversation.model_copy(update={"task": "scenes"}))


def test_names_are_compared_without_case_and_blanks() -> None:
    assert folded(" The\tRed  MUG ") == "the red mug"


@pytest.fixture(scope="module")
def published(shared: Path) -> Path:
    path = shared / "data" / "prist" / "test.json"
    if not path.is_file():
        pytest.skip(f"PRIST's released file is not at {path}")
    return path


def test_all_508_dialogues_render_and_come_back(published: Path) -> None:
    raw = json.loads(published.read_text(encoding="utf-8"))
    conversations = read_released(published).conversations
    assert len(conversations) == len(raw) == 508
    assert [to_released(c) for c in conversations] == raw
    for conversation in conversations:
        for number, turn in enumerate(conversation.turns):
            markup, targets = grounded_markup(conversation, number, "miras")
            parsed = parse(markup, 1, "miras")
            assert parsed.text == turn.text
            assert [(s.start, s.end) for s in parsed.marked_spans()] == [(s.start, s.end) for s in turn.spans]
            assert len(targets) == len(turn.spans) == (number == len(conversation.turns) - 1)
        assert f"[OBJ]{conversation.meta['focus']}[SEG]" in markup
        assert DIALECTS["miras"].as_past_turn(markup, 1) == markup
    first = conversations[0]
    assert Conversation.from_json(json.dumps(first.to_json())) == first


def test_all_508_in_their_published_plain_form(published: Path) -> None:
    raw = json.loads(published.read_text(encoding="utf-8"))
    for conversation, item in zip(read_released(published, answers="plain").conversations, raw, strict=True):
        markup, _ = grounded_markup(conversation, len(conversation.turns) - 1, "miras")
        assert markup == item["dialogue"][-1]["value"]


def test_what_the_published_file_lacks(published: Path) -> None:
    read = read_released(published)
    assert (read.report.images, read.report.conversations, read.report.regions) == (169, 508, 0)
    assert read.missing == {"image file": 508, "mask: no folder of labels given": 508}
    notes = "\n".join(read.report.notes)
    assert "1971 questions and answers" in notes
    assert "8 pairs of focuses" in notes
    assert "77 focuses name several things" in notes
