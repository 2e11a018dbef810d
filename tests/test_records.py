"""Records: exactly the schema, errors that name file, line and field, and the markup made from them."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from segue import masks
from segue.errors import InputError, RecordError
from segue.protocol import Reason, Unplaced, parse
from segue.records import (
    SPLITS,
    TASKS,
    Conversation,
    GroundedAnswer,
    Grounding,
    ImageRef,
    Region,
    Span,
    Turn,
    grounded_markup,
    read_jsonl,
    write_jsonl,
)

Json = dict[str, Any]


def rle(height: int, width: int, *pixels: tuple[int, int]) -> Json:
    mask = np.zeros((height, width), bool)
    for pixel in pixels:
        mask[pixel] = True
    return dict(masks.encode(mask))


def record() -> Json:
    """Two images, an object with a part, a plural, a mask that is elsewhere, an ungrounded phrase."""
    return {
        "schema": "gconv/1",
        "id": "scenes/7",
        "task": "scenes",
        "split": "train",
        "images": [
            {"image_id": "scenes:7_0", "path": "images/7_0.png", "height": 4, "width": 6},
            {"image_id": "scenes:7_1", "path": "images/7_1.png", "height": 5, "width": 3},
        ],
        "regions": [
            {"rid": "i1o1", "image": 1, "kind": "object", "name": "red mug", "bbox": [1, 2.5, 1, 1],
             "area": 2, "mask": rle(4, 6, (2, 1), (2, 2)), "code": "101", "source_label": "mug"},
            {"rid": "i1o1p1", "image": 1, "kind": "part", "name": "handle", "parent": "i1o1", "code": "10101",
             "mask": rle(4, 6, (2, 2))},
            {"rid": "i2o1", "image": 2, "kind": "object", "name": "blue mug", "mask": rle(5, 3, (4, 2))},
            {"rid": "i2o2", "image": 2, "kind": "region", "name": "sky", "parent": None,
             "mask_ref": "ade20k:7#2"},
            {"rid": "i2o3", "image": 2, "kind": "region", "name": "logo", "mask": None},
        ],
        "ignore": [{"image": 2, "mask": rle(5, 3, (0, 0))}],
        "turns": [
            {"role": "system", "text": "Be brief."},
            {"role": "user", "text": "Compare the mugs.", "alternatives": ["How do the mugs differ?"]},
            {
                "role": "assistant",
                "text": "The mugs differ: one handle, no spoon. It is .",
                "spans": [
                    {"start": 4, "end": 8, "rids": ["i1o1", "i2o1"], "merge": "each"},
                    {"start": 21, "end": 27, "rids": ["i1o1p1"]},
                    {"start": 32, "end": 37, "rids": []},
                    {"start": 45, "end": 45, "rids": ["i2o2", "i2o3"], "merge": "union"},
                ],
            },
        ],
        "meta": {"turns": [{"kind": "comparison"}]},
    }  # fmt: skip


def changed(change: Callable[[Json], Any]) -> Json:
    data = copy.deepcopy(record())
    change(data)
    return data


# ---- the schema --------------------------------------------------------------------------------------------


def test_from_json_and_to_json_are_inverse() -> None:
    conversation = Conversation.from_json(record())
    assert json.dumps(conversation.to_json(), sort_keys=True) == json.dumps(record(), sort_keys=True)
    assert Conversation.from_json(json.dumps(record())) == conversation


def test_images_count_from_zero_in_code() -> None:
    conversation = Conversation.from_json(record())
    assert [region.image_index for region in conversation.regions] == [0, 0, 1, 1, 1]
    assert conversation.ignore[0].image_index == 1
    assert conversation.region("i2o2").mask_ref == "ade20k:7#2"
    assert [turn.role for turn in conversation.assistant_turns()] == ["assistant"]


def test_built_in_code_it_is_the_same_record() -> None:
    built = Conversation(
        id="a",
        task="photos",
        split="heldout",
        images=[ImageRef(image_id="x:1", path="1.png", height=2, width=2)],
        regions=[
            Region(
                rid="r", image_index=0, kind="object", name="coat", mask=masks.encode(np.eye(2, dtype=bool))
            )
        ],
        turns=[
            Turn(role="user", text="What?"),
            Turn(role="assistant", text="A coat.", spans=[Span(start=2, end=6, rids=["r"], merge=None)]),
        ],
    )
    data = built.to_json()
    assert set(data) == {"schema", "id", "task", "split", "images", "regions", "turns"}
    assert data["regions"] == [
        {"rid": "r", "image": 1, "kind": "object", "name": "coat", "mask": rle(2, 2, (0, 0), (1, 1))}
    ]
    assert data["turns"][1] == {
        "role": "assistant",
        "text": "A coat.",
        "spans": [{"start": 2, "end": 6, "rids": ["r"]}],
    }
    assert Conversation.from_json(data) == built


def test_the_examples_of_the_schema(shared: Path) -> None:
    path = shared / "data" / "schema" / "examples.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    conversations = list(read_jsonl(path))
    assert len(conversations) == len(lines) == 6
    for conversation, line in zip(conversations, lines, strict=True):
        written = json.dumps(conversation.to_json(), sort_keys=True)
        assert written == json.dumps(json.loads(line), sort_keys=True)
        for k, turn in enumerate(conversation.turns):
            markup, targets = grounded_markup(conversation, k)
            answer = parse(markup, len(conversation.images))
            assert answer.text == turn.text
            assert answer.num_segs == len(targets)


def test_tasks_and_splits_extend_the_schema(shared: Path) -> None:
    schema = json.loads((shared / "data" / "schema" / "gconv.schema.json").read_text(encoding="utf-8"))
    assert set(TASKS) == {*schema["properties"]["task"]["enum"], "scenes", "photos"}
    assert set(SPLITS) == {*schema["properties"]["split"]["enum"], "heldout"}


# ---- what must hold ----------------------------------------------------------------------------------------


def first_region(**values: Any) -> Callable[[Json], Any]:
    return lambda data: data["regions"][0].update(values)


def first_span(**values: Any) -> Callable[[Json], Any]:
    return lambda data: data["turns"][2]["spans"][0].update(values)


WRONG: list[tuple[Callable[[Json], Any], str, str]] = [
    (lambda d: d.update(schema="gconv/2"), "schema", "gconv/2"),
    (lambda d: d.pop("schema"), "schema", "no field"),
    (lambda d: d.pop("id"), "id", "the field 'id'"),
    (lambda d: d.update(id=""), "id", "at least 1 character"),
    (lambda d: d.update(id=7), "id", "valid string"),
    (lambda d: d.update(task="poetry"), "task", "scenes"),
    (lambda d: d.update(split="dev"), "split", "heldout"),
    (lambda d: d.update(colour=1), "colour", "Unknown field"),
    (lambda d: d.update(images=[]), "images", "at least 1"),
    (lambda d: d.update(images=d["images"] * 5), "images", "at most 9"),
    (lambda d: d["images"][1].update(height="5"), "images.1.height", "valid integer"),
    (lambda d: d["images"][1].update(height=True), "images.1.height", "valid integer"),
    (lambda d: d["images"][1].update(height=5.0), "images.1.height", "valid integer"),
    (lambda d: d["images"][1].update(height=-1), "images.1.height", "greater than or equal to 0"),
    (lambda d: d["images"][1].update(image_id="seven"), "images.1.image_id", "match pattern"),
    (lambda d: d["images"][1].update(size=3), "images.1.size", "Unknown field"),
    (lambda d: d.update(images={}), "images", "valid list"),
    (lambda d: d.update(regions=None), "regions", "valid list"),
    (lambda d: d.update(regions=[3]), "regions.0", "valid dictionary or instance of Region"),
    (first_region(image=0), "regions.0.image", "from 1 to 9"),
    (first_region(image=10), "regions.0.image", "from 1 to 9"),
    (first_region(image="1"), "regions.0.image", "'1'"),
    (first_region(image=3), "region 'i1o1'", "between 1 and 2"),
    (lambda d: d["regions"][0].pop("image"), "regions.0", "'image'"),
    (first_region(image_index=0), "regions.0", "Unknown field"),
    (first_region(rid="i2o1"), "regions", "unique rids"),
    (first_region(rid=""), "regions.0.rid", "at least 1 character"),
    (first_region(kind="stuff"), "regions.0.kind", "'region'"),
    (first_region(parent="nobody"), "region 'i1o1'", "same image"),
    (first_region(parent="i2o1"), "region 'i1o1'", "same image"),
    (first_region(code="1"), "regions.0.code", "match pattern"),
    (first_region(code=None), "regions.0.code", "null"),
    (first_region(bbox=[1, 2, 3]), "regions.0.bbox", "at least 4"),
    (first_region(bbox=[1, 2, 3, "4"]), "regions.0.bbox.3", "valid"),
    (first_region(bbox=[1, 2, 3, float("nan")]), "regions.0.bbox.3", "finite"),
    (first_region(area=1.5), "regions.0.area", "valid integer"),
    (first_region(area=-1), "regions.0.area", "greater than or equal to 0"),
    (first_region(mask_ref="a:b#c"), "regions.0", "both"),
    (lambda d: d["regions"][0].pop("mask"), "regions.0", "neither"),
    (lambda d: d["regions"][3].update(mask_ref="nowhere"), "regions.3.mask_ref", "match pattern"),
    (first_region(mask=rle(4, 5)), "region 'i1o1'", "(4, 6)"),
    (first_region(mask=rle(6, 4)), "region 'i1o1'", "(4, 6)"),
    (first_region(mask={"size": [4, 6]}), "regions.0.mask.counts", "missing"),
    (first_region(mask={"size": [4, 6], "counts": "1"}), "regions.0", "add up to"),
    (first_region(mask={"size": [4, 6], "counts": "`" * 9}), "regions.0", "cut off"),
    (
        first_region(mask={"size": [4, 6], "counts": "h0", "extra": 1}),
        "regions.0.mask.extra",
        "Unknown field",
    ),
    (lambda d: d["ignore"][0].update(image=3), "ignore 0", "between 1 and 2"),
    (lambda d: d["ignore"][0].update(mask=rle(4, 6)), "ignore 0", "(5, 3)"),
    (lambda d: d["ignore"][0].update(mask=None), "ignore.0.mask", "valid dictionary"),
    (lambda d: d.update(turns=d["turns"][:1]), "turns", "at least 2"),
    (lambda d: d["turns"][0].update(role="gpt"), "turns.0.role", "'assistant'"),
    (lambda d: d["turns"][0].update(text=None), "turns.0.text", "valid string"),
    (lambda d: d["turns"][0].update(text="\ud800"), "turns.0.text", "UTF-8"),
    (lambda d: d["turns"][0].update(spans=None), "turns.0.spans", "null"),
    (lambda d: d["turns"][1].update(alternatives=[1]), "turns.1.alternatives.0", "valid string"),
    (first_span(end=47), "turns.2", "<= 46"),
    (first_span(start=9), "turns.2", "start <= end"),
    (first_span(end=22), "span 1", "not overlapping"),
    (first_span(start=-1), "turns.2.spans.0.start", "greater than or equal to 0"),
    (first_span(rids=["nobody"]), "turns.2", "i2o3"),
    (first_span(rids="i1o1"), "turns.2.spans.0.rids", "valid list"),
    (first_span(merge="both"), "turns.2.spans.0.merge", "'union'"),
    (first_span(merge=None), "turns.2.spans.0.merge", "null"),
    (lambda d: d.update(meta=[]), "meta", "valid dictionary"),
]


@pytest.mark.parametrize(("change", "place", "words"), WRONG)
def test_wrong_records_are_refused_with_their_place(
    change: Callable[[Json], Any], place: str, words: str
) -> None:
    with pytest.raises(RecordError) as caught:
        Conversation.from_json(changed(change), where="train.jsonl:12")
    message = str(caught.value)
    assert caught.value.where.startswith("train.jsonl:12, ")
    assert place in caught.value.where
    assert words in message
    for label in ("expected:", "found:", "where:", "do this:"):
        assert label in message
    assert "image_index" not in caught.value.where


@pytest.mark.parametrize("data", ["", "{", "[]", "3", "null", '"x"', '{"schema": "gconv/1"}', "[" * 100_000])
def test_lines_that_are_no_records(data: str) -> None:
    with pytest.raises(RecordError):
        Conversation.from_json(data)


@pytest.mark.parametrize("text", ['{"id": NaN}', '{"id": 1, "id": 2}'])
def test_json_is_read_strictly(text: str) -> None:
    with pytest.raises(RecordError, match="not JSON"):
        Conversation.from_json(text)


@given(
    st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda c: st.lists(c, max_size=2)),
    st.data(),
)
def test_any_value_in_any_place_gives_a_record_or_a_record_error(value: Any, data: st.DataObject) -> None:
    changed_record = record()
    place: Any = changed_record
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not (isinstance(place[key], (dict, list)) and place[key]) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    try:
        conversation = Conversation.from_json(changed_record)
    except RecordError:
        return
    assert conversation.to_json() == changed_record


def test_unknown_image_sizes_allow_masks_of_any_size() -> None:
    data = changed(lambda d: d["images"][0].update(height=0, width=0))
    assert Conversation.from_json(data).images[0].height == 0


def test_records_built_in_code_raise_record_errors_too() -> None:
    with pytest.raises(RecordError, match="rid of Region"):
        Region(rid="", image_index=0, kind="object", name="x")
    with pytest.raises(RecordError, match="both"):
        Region(
            rid="r",
            image_index=0,
            kind="object",
            name="x",
            mask=masks.encode(np.eye(2) > 0),
            mask_ref="a:b#c",
        )
    with pytest.raises(RecordError, match="does not fit its text"):
        Turn(role="user", text="ab", spans=[Span(start=1, end=3, rids=[])])
    with pytest.raises(RecordError, match="colour"):
        ImageRef(image_id="a:b", path="p", height=1, width=1, colour=2)  # type: ignore[call-arg]


def test_records_are_frozen() -> None:
    conversation = Conversation.from_json(record())
    with pytest.raises(ValidationError, match="frozen"):
        conversation.id = "other"  # type: ignore[misc]


def test_an_unknown_rid() -> None:
    with pytest.raises(RecordError, match=r"(?s)i1o1p1.*'nobody'"):
        Conversation.from_json(record()).region("nobody")


# ---- files -------------------------------------------------------------------------------------------------


def numbered(k: int) -> Conversation:
    return Conversation.from_json(
        changed(lambda d: d.update(id=f"scenes/{k}", meta={"text": "ü\u2028猫 \n"}))
    )


def test_write_and_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.jsonl"
    conversations = [numbered(k) for k in range(4)]
    assert write_jsonl(path, iter(conversations)) == 4
    reader = read_jsonl(str(path))
    assert list(reader) == conversations
    assert list(reader) == conversations  # each iteration starts again
    assert path.read_bytes().count(b"\n") == 4
    assert "猫" in path.read_text(encoding="utf-8")
    assert [p.name for p in path.parent.iterdir()] == ["a.jsonl"]


def test_writing_is_atomic(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_jsonl(path, [numbered(0)])

    def breaks() -> Any:
        yield numbered(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(path, breaks())
    assert [c.id for c in read_jsonl(path)] == ["scenes/0"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize("value", [np.zeros(2), float("nan"), "\ud800", {1, 2}, object()])
def test_meta_that_json_cannot_hold(tmp_path: Path, value: Any) -> None:
    conversation = numbered(0).model_copy(update={"meta": {"x": value}})
    with pytest.raises(RecordError, match="meta of conversation 'scenes/0'"):
        write_jsonl(tmp_path / "a.jsonl", [conversation])
    assert list(tmp_path.iterdir()) == []


def test_reading_is_lazy(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(record()) + "\nnonsense\n", encoding="utf-8")
    lines = iter(read_jsonl(path))
    assert next(lines).id == "scenes/7"
    with pytest.raises(RecordError, match=r"a\.jsonl:2"):
        next(lines)


def test_blank_lines_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    line = json.dumps(record()).encode()
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n  \n" + line)
    assert len(list(read_jsonl(path))) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (json.dumps(record()).encode()[:-40], "not JSON"),
        (b'{"schema": "gconv/1"}', "missing"),
        (b'{"id": "\xff"}', "not UTF-8"),
        (b"\xef\xbb\xbf{", "not JSON"),
    ],
)
def test_wrong_lines_are_named_or_collected(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "a.jsonl"
    sound = json.dumps(record()).encode()
    path.write_bytes(sound + b"\n\n" + line + b"\n" + sound + b"\n" + line)
    with pytest.raises(RecordError, match=message) as caught:
        list(read_jsonl(path))
    assert caught.value.where.startswith(f"{path}:3")
    reader = read_jsonl(path, on_error="collect")
    for _ in range(2):
        assert len(list(reader)) == 2
        assert [error.where.split(", ")[0] for error in reader.errors] == [f"{path}:3", f"{path}:5"]


def test_paths_and_options_are_checked_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.jsonl"):
        read_jsonl(tmp_path / "nothing.jsonl")
    with pytest.raises(InputError, match="a directory"):
        read_jsonl(tmp_path)
    with pytest.raises(InputError, match="collect"):
        read_jsonl(tmp_path, on_error="ignore")  # type: ignore[arg-type]


# ---- markup ------------------------------------------------------------------------------------------------


def test_markup_of_each_union_and_ungrounded_spans() -> None:
    markup, targets = grounded_markup(Conversation.from_json(record()), 2)
    assert markup == (
        "The <p> mugs </p> [SEG] (IMAGE1) [SEG] (IMAGE2) differ: one <p> handle </p> [SEG] (IMAGE1), "
        "no spoon. It is [SEG] (IMAGE2)."
    )
    assert targets == [(0, ["i1o1"]), (1, ["i2o1"]), (0, ["i1o1p1"]), (1, ["i2o2", "i2o3"])]


def test_markup_of_a_union_over_two_images_is_one_mask_each() -> None:
    data = changed(first_span(rids=["i2o1", "i1o1", "i2o2"], merge="union"))
    markup, targets = grounded_markup(Conversation.from_json(data), 2)
    assert markup.startswith("The <p> mugs </p> [SEG] (IMAGE2) [SEG] (IMAGE1) differ")
    assert targets[:2] == [(1, ["i2o1", "i2o2"]), (0, ["i1o1"])]


def test_several_regions_are_several_masks_unless_told_otherwise() -> None:
    data = changed(lambda d: d["turns"][2]["spans"][0].pop("merge"))
    assert grounded_markup(Conversation.from_json(data), 2)[1][:2] == [(0, ["i1o1"]), (1, ["i2o1"])]


def test_markup_targets_follow_the_segs() -> None:
    conversation = Conversation.from_json(record())
    markup, targets = grounded_markup(conversation, 2)
    answer = parse(markup, 2)
    found = {g.seg_ordinal: g.image_index for g in answer.groundings}
    found |= {u.seg_ordinal: u.image_index for u in answer.unplaced if u.image_index is not None}
    assert [found[k] for k in range(len(targets))] == [image_index for image_index, _ in targets]
    assert answer.text == conversation.turns[2].text


def test_markup_of_a_turn_without_spans_is_its_text() -> None:
    assert grounded_markup(Conversation.from_json(record()), 1) == ("Compare the mugs.", [])


def test_markup_errors() -> None:
    conversation = Conversation.from_json(record())
    for index in (-1, 3):
        with pytest.raises(InputError, match="no such turn"):
            grounded_markup(conversation, index)
    with pytest.raises(InputError, match="Unknown dialect"):
        grounded_markup(conversation, 2, dialect="lojban")
    tagged = Conversation.from_json(changed(lambda d: d["turns"][1].update(text="what is [SEG]?")))
    with pytest.raises(RecordError, match=r"(?s)\[SEG\].*turns.1 of conversation 'scenes/7'"):
        grounded_markup(tagged, 1)


# ---- answers -----------------------------------------------------------------------------------------------


def test_an_answer_as_json() -> None:
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    answer = GroundedAnswer(
        question="Where?",
        text="The mug.",
        markup="The <p> mug </p> [SEG] (IMAGE1). [SEG]",
        groundings=[Grounding("mug", (4, 7), 0, mask, np.float32(0.5), masks.box(mask))],  # type: ignore[arg-type]
        problems=[Unplaced(1, Reason.MISSING_IDENTIFIER, "no identifier", None, (8, 8))],
        image_hws=[(4, 6), (3, 3)],
        model="segue-mini",
        images=["a.png"],
    )
    data = json.loads(json.dumps(answer.to_json(), allow_nan=False))
    assert data["images"] == [
        {"path": "a.png", "height": 4, "width": 6},
        {"path": "image 2", "height": 3, "width": 3},
    ]
    (grounding,) = data["groundings"]
    assert (masks.decode(grounding.pop("segmentation")) == mask).all()
    assert grounding == {
        "phrase": "mug", "span": [4, 7], "image_index": 0, "bbox": [2.0, 1.0, 3.0, 2.0],
        "area": 6, "score": 0.5,
    }  # fmt: skip
    assert data["problems"][0]["reason"] == "missing_identifier"
    assert {key: data[key] for key in ("question", "text", "markup", "model")} == {
        "question": "Where?", "text": "The mug.", "markup": answer.markup, "model": "segue-mini",
    }  # fmt: skip
