"""LabelMe folders: every shape, parts, missing images, and the way there and back from COCO."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segue import masks
from segue.data.formats.coco import read_coco
from segue.data.own import read_own_data, write_labelme
from segue.errors import InputError


def shape(label: Any, points: Any, kind: str = "polygon", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


SQUARE = [[2, 3], [8, 3], [8, 9], [2, 9]]


@pytest.fixture
def write(tmp_path: Path, picture: Any, hw: tuple[int, int]) -> Any:
    def _write(shapes: Any, name: str = "a", *, image: bool = True, **more: Any) -> Path:
        if image:
            picture(tmp_path / "set" / f"{name}.jpg")
        content = {
            "version": "5.4.1",
            "flags": {},
            "shapes": shapes,
            "imagePath": f"{name}.jpg",
            "imageData": None,
            "imageHeight": hw[0],
            "imageWidth": hw[1],
        }
        folder = tmp_path / "set"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(content | more))
        return folder

    return _write


def regions(folder: Path) -> dict[str, Any]:
    data = read_own_data(folder, format="labelme")
    return {region.rid: region for image in data.source.images for region in image.regions}  # type: ignore[attr-defined]


def png(mask: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_shapes_become_the_masks_that_were_drawn(write: Any, block: Any) -> None:
    folder = write(
        [
            shape("Square_Thing", SQUARE),
            shape("box", [[8, 9], [2, 3]], "rectangle"),
            shape("disc", [[20.0, 15.0], [25.0, 15.0]], "circle"),
            shape("stencil", [[2, 3], [8, 9]], "mask", mask=png(np.ones((6, 6), dtype=bool))),
        ]
    )
    found = regions(folder)
    assert [region.name for region in found.values()] == ["square thing", "box", "disc", "stencil"]
    for rid in ("s0", "s1", "s3"):
        np.testing.assert_array_equal(found[rid].mask, block(3, 2, 9, 8))
    # A disc of radius 5 has 25 pi = 78.5 pixels; counting pixel centres misses that by under 4.
    assert found["s2"].area == pytest.approx(78.5, abs=4)
    assert found["s2"].mask[15, 20]
    assert not found["s2"].mask[15, 26]


def test_group_id_joins_shapes_and_finds_the_object_of_a_part(write: Any, block: Any) -> None:
    right = [[22, 3], [38, 3], [38, 20], [22, 20]]
    folder = write(
        [
            shape("car", SQUARE, group_id=1),
            shape("car", [[12, 3], [14, 3], [14, 9], [12, 9]], group_id=1),
            shape("car", right, group_id=2),
            # Lies on the second car, but belongs to the first by its group.
            shape("car:wheel", [[24, 5], [28, 5], [28, 9], [24, 9]], group_id=1),
            shape("car:door", [[30, 5], [33, 5], [33, 9], [30, 9]]),
            shape("mirror", [[3, 4], [5, 4], [5, 6], [3, 6]], flags={"part": True}),
        ]
    )
    found = regions(folder)
    assert found["s0"].area == 36 + 12
    assert "s1" not in found
    assert [found[rid].parent for rid in ("s3", "s4", "s5")] == ["s0", "s2", "s0"]
    assert [found[rid].name for rid in ("s3", "s4", "s5")] == ["wheel", "door", "mirror"]


def test_bad_shapes_are_reported_by_record(write: Any) -> None:
    folder = write(
        [
            shape("car", SQUARE),
            shape("lane", [[0, 0], [5, 5]], "linestrip"),
            shape("dot", [[3, 3]], "point"),
            shape("thin", [[1, 1], [2, 2]]),
            shape("far", [[900, 900], [950, 900], [950, 950]]),
            shape("text", "x,y"),
            shape("nan", [[float("nan"), 1], [2, 2], [3, 1]]),
            shape("", SQUARE),
            shape(None, SQUARE),
            shape("dog:ear", SQUARE),
            shape("broken", [[1, 1], [4, 4]], "mask", mask="!!"),
            "not a shape",
            shape("thing <p>", SQUARE),
        ]
    )
    data = read_own_data(folder)
    assert data.format == "labelme"
    assert data.report.dropped == {
        "shape without area": 2,
        "shape with too few points": 1,
        "empty mask": 1,
        "shape without points": 2,
        "shape without label": 3,
        "part without object": 1,
        "damaged mask": 1,
        "unusable name": 1,
    }
    assert data.report.names == {"car": 1}
    example = data.report.examples[0]
    assert (example.record, example.reason) == ("a.json, shape 1", "shape without area")
    assert all((example.expected, example.found, example.where, example.fix))
    assert json.loads(json.dumps(data.report.to_json()))["dropped"]["empty mask"] == 1


def test_an_image_is_found_where_it_lies(write: Any, picture: Any, tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "deep" / "b.jpg")
    folder = write([shape("car", SQUARE)], "b", image=False, imagePath="..\\old\\b.jpg")
    with pytest.raises(InputError, match="Nothing in this data can be used"):
        read_own_data(folder, format="labelme")
    data = read_own_data(folder, tmp_path / "elsewhere")
    conversation = data.source.draw(np.random.default_rng(0))
    assert conversation.images[0].path == "deep/b.jpg"
    assert data.source.root == tmp_path / "elsewhere"


def test_a_missing_image_is_taken_out_of_image_data(
    write: Any, picture: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hw: tuple[int, int]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    content = picture(tmp_path / "x.png").read_bytes()
    embedded = base64.b64encode(content).decode()
    folder = write([shape("car", SQUARE)], image=False, imageData=embedded, imageHeight=None, imageWidth=None)
    data = read_own_data(folder)
    (image,) = data.source.images  # type: ignore[attr-defined]
    assert (image.height, image.width) == hw
    assert image.path.read_bytes() == content
    assert Path(data.source.draw(np.random.default_rng(0)).images[0].path) == image.path
    assert "imageData" in data.report.notes[0]
    bad = write([shape("car", SQUARE)], image=False, imageData="AAAA")
    with pytest.raises(InputError, match="imageData is no image"):
        read_own_data(bad)


def test_size_comes_from_the_upright_image_where_the_file_does_not_tell(
    write: Any, picture: Any, tmp_path: Path, hw: tuple[int, int]
) -> None:
    picture(tmp_path / "set" / "a.jpg", orientation=6)
    folder = write([shape("car", SQUARE)], image=False, imageHeight=None, imageWidth=None)
    (image,) = read_own_data(folder).source.images  # type: ignore[attr-defined]
    assert (image.height, image.width) == (hw[1], hw[0])


def test_only_the_folder_of_the_split_is_read(write: Any, tmp_path: Path, picture: Any) -> None:
    folder = write([shape("car", SQUARE)])
    (folder / "val").mkdir()
    (folder / "a.json").rename(folder / "val" / "a.json")
    (folder / "a.jpg").rename(folder / "val" / "a.jpg")
    write([shape("dog", SQUARE)], "b")
    assert read_own_data(folder, split="val").report.names == {"car": 1}
    assert read_own_data(folder, split="train").report.names == {"car": 1, "dog": 1}


@pytest.mark.parametrize("content", ["", "[]", '{"shapes": 3}', '{"shapes": []}', "\x00", '{"shapes": [{}]}'])
def test_malformed_files_give_an_error_that_names_them(tmp_path: Path, picture: Any, content: str) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=r"a\.json"):
        read_own_data(tmp_path, format="labelme")


def same_regions(before: Any, after: Any) -> None:
    """Equal names and parents, and masks of IoU above .98, in the order of the file."""
    assert [image.path.stem for image in before] == [image.path.stem for image in after]
    for first, second in zip(before, after, strict=True):
        assert first.hw == second.hw
        owner = {r.rid: k for k, r in enumerate(first.regions)}
        own = {r.rid: k for k, r in enumerate(second.regions)}
        described = [(r.name, r.kind, owner.get(r.parent)) for r in first.regions]
        assert described == [(r.name, r.kind, own.get(r.parent)) for r in second.regions]
        for a, b in zip(first.regions, second.regions, strict=True):
            assert masks.iou(a.rle, b.rle) > 0.98


def test_coco_written_as_labelme_reads_as_the_same_regions(coco_file: Path, tmp_path: Path) -> None:
    before = read_coco(coco_file, coco_file.parent / "images")
    write_labelme(before.images, tmp_path / "labelme")
    data = read_own_data(tmp_path / "labelme")
    same_regions(before, data.source.images)  # type: ignore[attr-defined]
    assert not data.report.dropped


def test_coco_and_labelme_give_the_same_conversations(shared: Path, tmp_path: Path) -> None:
    file = shared / "data" / "car_parts" / "val.json"
    coco = read_own_data(file, split="val")
    write_labelme(read_coco(file).images[::-1], tmp_path)
    labelme = read_own_data(tmp_path, split="val")
    assert len(coco.source) == len(labelme.source) > 20
    for number in range(40):
        first, second = (data.source.draw(np.random.default_rng(number)) for data in (coco, labelme))
        assert [turn.text for turn in first.turns] == [turn.text for turn in second.turns]
        assert [Path(i.path).name for i in first.images] == [Path(i.path).name for i in second.images]


def test_real_photographs_written_as_labelme_read_as_the_same_regions(shared: Path, tmp_path: Path) -> None:
    before = read_coco(shared / "data" / "car_parts" / "val.json").images[:4]
    write_labelme(before, tmp_path)
    data = read_own_data(tmp_path)
    after = {image.path.stem: image for image in data.source.images}  # type: ignore[attr-defined]
    same_regions(before, [after[image.path.stem] for image in before])
    assert data.report.dropped == {}
    # Image paths that lead out of the folder are written in full.
    path = Path(data.source.draw(np.random.default_rng(0)).images[0].path)
    assert path.is_file()


def test_two_images_of_one_name_are_refused(coco_file: Path, tmp_path: Path) -> None:
    images = read_coco(coco_file, coco_file.parent / "images").images
    with pytest.raises(InputError, match="same name"):
        write_labelme([images[0], images[0]], tmp_path / "out")
