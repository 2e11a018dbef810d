"""Large JSON files by byte ranges."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segue.data.sources import json_scan
from segue.data.sources.json_index import CocoIndex
from segue.data.sources.json_scan import LIST_BEGINS, scan
from segue.errors import RecordError

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
KEYS = st.text("abcimgs _", min_size=1)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.dictionaries(KEYS, VALUES, max_size=5),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    chunk=st.integers(1, 40),
    mark=st.booleans(),
)
def test_every_object_is_walked_over_with_exact_ranges(
    data: dict[str, Any], indent: int | None, ascii_only: bool, chunk: int, mark: bool, tmp_path: Path
) -> None:
    content = json.dumps(data, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    path = tmp_path / "x.json"
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + content)
    written = path.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_scan, "_CHUNK", max(chunk, 3))
        found: list[tuple[str, Any]] = []
        for key, value, start, end in scan(path):
            if value is LIST_BEGINS:
                found.append((key, []))
                continue
            element = json.loads(written[start:end].decode("utf-8", "surrogatepass"))
            if found and found[-1][0] == key:
                found[-1][1].append(element)
            else:
                found.append((key, element))
    assert found == list(data.items())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "{",
        '{"a"}',
        '{"a": }',
        '{"a": [1 2]}',
        '{"a": [1,]}',
        '{"a": 1} x',
        "{3: 4}",
        '{"a": "',
        "\0",
    ],
)
def test_what_is_no_object_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(RecordError, match="not JSON") as caught:
        list(scan(path))
    assert caught.value.where == str(path)
    with pytest.raises(RecordError, match="not found"):
        list(scan(tmp_path / "absent.json"))


def write(path: Path, images: list[Any], annotations: list[Any], *, annotations_first: bool = False) -> Path:
    lists = {"images": images, "annotations": annotations}
    order = reversed(list(lists)) if annotations_first else list(lists)
    content = {"info": {"é": 1}, **{key: lists[key] for key in order}, "categories": [{"id": 1, "name": "é"}]}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("annotations_first", [False, True])
def test_annotations_come_with_their_image_in_the_order_of_the_file(
    tmp_path: Path, annotations_first: bool
) -> None:
    images = [{"id": k, "file_name": f"ü{k}.jpg"} for k in (5, 3, "x")]
    annotations = [
        {"id": k, "image_id": image, "text": "ö"} for k, image in enumerate([3, "x", 5, 3, 3, "x"], start=100)
    ]
    path = write(tmp_path / "x.json", images, annotations, annotations_first=annotations_first)
    index = CocoIndex(path)
    assert list(index.image_keys) == ["5", "3", "x"]
    for entry in images:
        found, its = index.image(str(entry["id"]))
        assert found == entry
        assert its == [a for a in annotations if a["image_id"] == entry["id"]]
    assert index.dropped == {}


def test_records_that_cannot_be_reached_are_counted(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a"}, {"id": "1", "file_name": "a"}, {"no": "id"}, 7, {"id": [1]}]
    images += [{"id": 5, "file_name": "a"}, {"id": 5.0, "file_name": "b"}, {"id": 5, "file_name": "c"}]
    annotations = [
        {"id": 1, "image_id": 1}, {"id": "1", "image_id": 1}, {"id": "a", "image_id": 1}, {"image_id": 1},
        {"id": 2, "image_id": 77}, {"id": "a", "image_id": 77}, 3, {"id": [], "image_id": 1.0},
        {"id": 3, "image_id": "5"}, {"id": 4, "image_id": 5},
    ]  # fmt: skip
    index = CocoIndex(write(tmp_path / "x.json", images, annotations))
    assert index.dropped == {
        "repeated image id": 3,
        "image without file_name or id": 3,
        "annotation of a repeated image id": 2,
        "image not in the file": 3,
    }
    assert index.examples["repeated image id"] == "id 5 of 'a', 'b'"
    assert [a.get("id") for a in index.image("1")[1]] == [1, "1", "a", None, []]
    assert list(index.image_keys) == ["1"]


def test_other_encodings_are_read_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", [{"id": 1, "file_name": "ü.jpg"}], [{"id": 1, "image_id": 1}])
    text = path.read_text(encoding="utf-8")
    for encoding, notes in (("utf-8-sig", 0), ("utf-16", 0), ("cp1252", 1)):
        path.write_bytes(text.encode(encoding))
        index = CocoIndex(path)
        assert index.categories == [{"id": 1, "name": "é"}]
        assert index.image("1")[0]["file_name"] == "ü.jpg"
        assert len(index.notes) == notes


def test_missing_lists_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"images": [], "annotations": 3}')
    with pytest.raises(RecordError, match="not in COCO format") as caught:
        CocoIndex(path)
    assert caught.value.found == "no list annotations, categories"
    path.write_text('{"images": [], "annotations": [], "categories": []}')
    assert CocoIndex(path).image_keys == {}


def test_memory_does_not_grow_with_the_records(tmp_path: Path) -> None:
    """Ten times the text must not take ten times the memory: 20 bytes an annotation, whatever it holds."""

    def peak(count: int) -> int:
        path = tmp_path / f"{count}.json"
        heavy = {"segmentation": {"size": [1, 1], "counts": "x" * 2000}}
        write(path, [{"id": 1}], [{"id": k, "image_id": 1, **heavy} for k in range(count)])
        tracemalloc.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_scan, "_CHUNK", 1 << 16)
            index = CocoIndex(path)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(index.image_keys) == 1
        return used

    few, many = peak(150), peak(1500)
    assert many - few < 1350 * 200  # the file grew by 1350 * 2060 bytes


def test_a_file_that_changes_meanwhile_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", [{"id": 1}], [{"id": 1, "image_id": 1}])
    index = CocoIndex(path)
    write(path, [{"id": 1, "more": "text"}], [{"id": 1, "image_id": 1}])
    with pytest.raises(RecordError, match="changed"):
        index.image("1")
