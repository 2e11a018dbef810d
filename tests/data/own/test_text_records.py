"""Formats that bring their own text: ReasonSeg, refCOCO, GranD-f and gconv/1."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue import masks
from segue.data.formats.safe_pickle import load_plain
from segue.data.own import read_own_data
from segue.errors import InputError, SegueError
from segue.records import Conversation, grounded_markup, read_jsonl, write_jsonl


def drawn(data: Any, count: int = 40) -> list[Conversation]:
    conversations = [data.source.draw(np.random.default_rng(seed)) for seed in range(count)]
    for conversation in conversations:
        assert Conversation.from_json(conversation.to_json()) == conversation
        for number, turn in enumerate(conversation.turns):
            grounded_markup(conversation, number)
            for span in turn.spans:
                for rid in span.rids:
                    assert conversation.region(rid).name in turn.text[span.start : span.end]
    assert conversations[0] == data.source.draw(np.random.default_rng(0))
    assert data.source.fixed(99, seed=1) == data.source.fixed(99, seed=1)
    assert len(data.source.fixed(99, seed=1)) == len(data.source)
    return conversations


def test_reasonseg(reasonseg_folder: Path, block: Any) -> None:
    data = read_own_data(reasonseg_folder)
    assert (data.format, len(data.source), data.report.conversations) == ("reasonseg", 2, 2)
    assert data.files == [reasonseg_folder / "train" / name for name in ("a.json", "b.json")]
    conversations = drawn(data)
    sentences = [c for c in conversations if c.meta["is_sentence"]]
    assert len({c.meta["text"] for c in sentences}) == 2
    assert len({c.turns[0].text for c in sentences}) > 4
    for conversation in sentences:
        # The ignored square lies on the target, is smaller, and so wins there.
        expected = block(5, 5, 25, 25) & ~block(10, 10, 14, 14)
        np.testing.assert_array_equal(masks.decode(conversation.regions[0].mask), expected)
        np.testing.assert_array_equal(masks.decode(conversation.ignore[0].mask), block(10, 10, 14, 14))
        assert conversation.images[0].path == "train/a.jpg"
        assert conversation.meta["text"] in conversation.turns[0].text
        assert conversation.task == "reasonseg"
    (expression,) = {c.meta["text"] for c in conversations if not c.meta["is_sentence"]}
    assert expression == "the cup’s handle"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"text": []}, "no question"),
        ({"text": ["<p> x"]}, "contains a tag"),
        ({"shapes": [{"label": "target", "points": [[1, 1]]}]}, "no target"),
        ({"shapes": [{"label": "Ziel", "points": [[1, 1], [9, 9], [1, 9]]}]}, "unknown label"),
        ({"shapes": "x"}, "not a ReasonSeg file"),
    ],
)
def test_malformed_reasonseg_is_reported(reasonseg_folder: Path, fields: Any, reason: str) -> None:
    file = reasonseg_folder / "train" / "a.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    report = read_own_data(reasonseg_folder, format="reasonseg").report
    assert report.conversations == 1
    assert any(reason in dropped for dropped in report.dropped)
    (reasonseg_folder / "train" / "b.jpg").unlink()
    with pytest.raises(InputError, match="Nothing in this data"):
        read_own_data(reasonseg_folder, format="reasonseg")


def test_refcoco(refcoco_folder: Path) -> None:
    data = read_own_data(refcoco_folder, refcoco_folder / "images")
    assert data.format == "refcoco"
    assert data.report.dropped == {"image or instance missing": 1}
    assert any("val 1" in note for note in data.report.notes)
    conversations = drawn(data, 60)
    assert {len(c.turns) for c in conversations} == {2, 4, 6}
    questions = " ".join(turn.text for c in conversations for turn in c.turns if turn.role == "user")
    assert all(text in questions for text in ("the left car", "the smaller car", "the cup in the corner"))
    assert "apple" not in questions
    answers = {turn.text for c in conversations for turn in c.assistant_turns()}
    assert answers == {
        "Here is the car.",
        "Here is the cup.",
        "Here are the car and the car.",
        "There is nothing like that in the image.",
    }
    assert {c.task for c in conversations} == {"refseg", "grefseg"}
    val = read_own_data(refcoco_folder / "refs(unc).p", refcoco_folder / "images", split="val")
    assert drawn(val)[0].split == "val"
    with pytest.raises(InputError, match="another split"):
        read_own_data(refcoco_folder, refcoco_folder / "images", split="testA")


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("opened"),))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil()),
        pickle.dumps([np.zeros(2)]),
        b"cos\nsystem\n(S'true'\ntR.",
        b"c__builtin__\neval\n(S'1+1'\ntR.",
        b"cbuiltins\nbytearray\n(I1000000000000\ntR.",
        pickle.dumps([1, 2])[:-3],
        b"",
        b"\x80\x02}r\xff\xff\xff\xff.",
    ],
)
def test_pickles_never_run_anything(
    tmp_path: Path, refcoco_folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = refcoco_folder / "refs(unc).p"
    file.write_bytes(content)
    with pytest.raises(InputError, match="pickle cannot be read"):
        read_own_data(refcoco_folder, refcoco_folder / "images")
    assert not (tmp_path / "opened").exists()


def test_plain_pickles_of_every_protocol_are_read(tmp_path: Path) -> None:
    plain = [{"a": (1, 2.5, None, True, {3}, "ü", frozenset({4}))}]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "x.p").write_bytes(pickle.dumps(plain, protocol=protocol))
        assert load_plain(tmp_path / "x.p") == plain


@pytest.mark.parametrize("content", [3, [], [3], [{"sentences": 1}], [{"sentences": [], "image_id": 2}], {}])
def test_malformed_references_are_errors(refcoco_folder: Path, content: Any) -> None:
    (refcoco_folder / "refs(unc).p").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError):
        read_own_data(refcoco_folder, refcoco_folder / "images")


def test_grand(grand_file: Path, rle: Any) -> None:
    data = read_own_data(grand_file, grand_file.parent / "images")
    assert (data.format, len(data.source), data.report.images) == ("grand", 2, 1)
    assert data.report.dropped == {
        "phrase not in the caption": 1,
        "image file not found": 1,
        "caption contains a tag": 1,
    }
    conversations = {c.turns[1].text: c for c in drawn(data)}
    first = conversations["A red cup stands near two apples on a table."]
    cup, apples = first.turns[1].spans
    assert (cup.start, cup.end, len(cup.rids)) == (0, 9, 1)
    # The stated characters [3, 13] are wrong: the phrase was searched.
    assert first.turns[1].text[apples.start : apples.end] == "two apples"
    assert (len(apples.rids), apples.merge) == (2, "union")
    assert first.region(cup.rids[0]).mask == rle(1, 1, 9, 9)
    table = conversations["a cup on a table"].turns[1].spans[0]
    assert (table.start, table.end) == (9, 16)
    assert first.task == "gcg"


@pytest.mark.parametrize(
    "content",
    [
        *[3, [], [3], [{}], [{"file_name": "sa_1.jpg", "caption": "a cup", "groundings": {}}]],
        [{"file_name": "sa_1.jpg", "caption": "a cup", "groundings": {"cup": {"rle_masks": [{}]}}}],
        [{"file_name": "sa_1.jpg", "caption": "a cup", "groundings": {"cup": {"rle_masks": "x"}}}],
        [{"file_name": 4, "caption": "a cup", "refs": [3]}],
    ],
)
def test_malformed_captions_are_errors(grand_file: Path, content: Any) -> None:
    grand_file.write_text(json.dumps(content))
    with pytest.raises(InputError):
        read_own_data(grand_file, grand_file.parent / "images", format="grand")


@pytest.fixture
def gconv_file(coco_file: Path) -> Path:
    source = read_own_data(coco_file, coco_file.parent / "images").source
    path = coco_file.parent / "records" / "train.jsonl"
    write_jsonl(path, source.fixed(6, seed=0))
    return path


def test_gconv_gives_its_records_back(gconv_file: Path) -> None:
    images = gconv_file.parent.parent / "images"
    data = read_own_data(gconv_file, images)
    assert (data.format, len(data.source), data.source.root) == ("gconv", 6, images)
    written = list(read_jsonl(gconv_file))
    assert sorted(data.source.fixed(6, seed=5), key=lambda c: c.id) == sorted(written, key=lambda c: c.id)
    # From the folder above, images are found by their bare names, and paths say where.
    other = read_own_data(gconv_file.parent, gconv_file.parent.parent)
    path = other.source.draw(np.random.default_rng(0)).images[0].path
    assert path.startswith("images/")
    assert (other.source.root / path).is_file()


def test_gconv_lines_are_checked_one_by_one(gconv_file: Path) -> None:
    images = gconv_file.parent.parent / "images"
    lines = gconv_file.read_text().splitlines()
    record = json.loads(lines[0])
    asked = record["turns"][0]
    lines[0] = json.dumps(
        record | {"turns": [asked | {"alternatives": ["Other wording?"]}, *record["turns"][1:]]}
    )
    lines[1] = lines[1][:100]
    lines[2] = json.dumps(json.loads(lines[2]) | {"split": "val"})
    bad = json.loads(lines[3])
    bad["regions"][0]["mask"] = None
    lines[3] = json.dumps(bad)
    moved = json.loads(lines[4])
    moved["images"][0]["path"] = "gone.jpg"
    lines[4] = json.dumps(moved)
    gconv_file.write_text("\n".join([*lines, ""]) + "\n")
    data = read_own_data(gconv_file, images)
    assert len(data.source) == 2
    assert data.report.dropped == {
        "A line is not JSON.": 1,
        "A region that is named has no mask.": 1,
        "An image file is missing.": 1,
    }
    assert data.report.examples[0].record == "train.jsonl:2"
    assert data.report.notes == ["records of other splits, not asked for: val 1"]
    first = {data.source.draw(np.random.default_rng(seed)).turns[0].text for seed in range(40)}
    assert {"Other wording?", asked["text"]} < first
    with pytest.raises(InputError, match="another split"):
        read_own_data(gconv_file, images, split="testB")


def test_gconv_of_the_schema_examples_is_refused_without_its_images(shared: Path) -> None:
    with pytest.raises(SegueError, match="Nothing in this data can be used"):
        read_own_data(shared / "data" / "schema" / "examples.jsonl", split="test")
