"""Tiny annotated pictures in every format, made on the spot."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segue import masks

H, W = 30, 40


def block(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((H, W), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def rle(top: int, left: int, bottom: int, right: int) -> dict[str, Any]:
    return dict(masks.encode(block(top, left, bottom, right)))


@pytest.fixture
def hw() -> tuple[int, int]:
    return H, W


@pytest.fixture(name="block")
def block_fixture() -> Callable[[int, int, int, int], np.ndarray]:
    return block


@pytest.fixture(name="rle")
def rle_fixture() -> Callable[[int, int, int, int], dict[str, Any]]:
    return rle


@pytest.fixture
def picture() -> Callable[[Path], Path]:
    """Writes a small picture of H x W."""

    def write(path: Path, *, orientation: int | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        if orientation is not None:
            exif[0x0112] = orientation
        Image.new("RGB", (W, H), (90, 120, 60)).save(path, exif=exif)
        return path

    return write


@pytest.fixture
def coco_file(tmp_path: Path, picture: Any) -> Path:
    """Five pictures: cars with parts, several cups, an apple, trousers, hair; a crowd in the last."""
    names = ["car", "car:wheel", "car:hood", "cup", "apple", "trousers", "person", "person:hair", "knife"]
    category = {name: number for number, name in enumerate(names, start=1)}
    contents: list[list[tuple[str, tuple[int, int, int, int], int | None]]] = [
        [("car", (2, 2, 20, 30), None), ("car:wheel", (15, 4, 20, 9), 0), ("car:hood", (4, 20, 10, 28), 0)],
        [
            *[("car", (5, 5, 15, 20), None), ("car:wheel", (11, 6, 15, 9), 0)],
            *[("car", (16, 20, 28, 38), None), ("car:wheel", (25, 22, 28, 26), 2)],
            *[("cup", (0, 0, 4, 4), None), ("cup", (0, 8, 4, 12), None)],
        ],
        [("apple", (1, 1, 9, 9), None)] + [("cup", (20, 6 * n, 25, 6 * n + 4), None) for n in range(6)],
        [
            *[("person", (0, 10, 30, 25), None), ("person:hair", (0, 12, 5, 22), 0)],
            *[("trousers", (15, 11, 28, 24), None), ("knife", (10, 30, 12, 38), None)],
        ],
        [("cup", (3, 3, 12, 12), None), ("apple", (15, 15, 22, 22), None)],
    ]
    images, annotations = [], []
    for number, regions in enumerate(contents, start=1):
        picture(tmp_path / "images" / f"{number}.jpg")
        images.append({"id": number, "file_name": f"{number}.jpg", "height": H, "width": W})
        first = len(annotations) + 1
        for name, box, owner in regions:
            own = len(annotations) + 1
            annotations.append(
                {
                    "id": own,
                    "image_id": number,
                    "category_id": category[name],
                    "segmentation": rle(*box),
                    "iscrowd": 0,
                    "obj_ann_id": own if owner is None else first + owner,
                }
            )
    crowd = {"id": 900, "image_id": 5, "category_id": category["person"], "iscrowd": 1}
    annotations.append(crowd | {"segmentation": rle(0, 20, 9, 39)})
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in category.items()],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def reasonseg_folder(tmp_path: Path, picture: Any) -> Path:
    """A sentence with an ignored area on its target, and an expression."""
    folder = tmp_path / "reason"
    for name in ("a", "b"):
        picture(folder / "train" / f"{name}.jpg")
    square = [[5, 5], [25, 5], [25, 25], [5, 25]]
    content = {
        "text": ["What could hold coffee?", "Where would you pour coffee?"],
        "is_sentence": True,
        "shapes": [
            {"label": "ignore", "points": [[10, 10], [14, 10], [14, 14], [10, 14]]},
            {"label": "target", "points": square},
            {"label": "flag", "points": [[0, 0]]},
        ],
    }
    (folder / "train" / "a.json").write_text(json.dumps(content))
    other = {"text": ["the cup’s handle"], "is_sentence": False, "shapes": content["shapes"][1:]}
    # Some of the published files are in Windows-1252.
    (folder / "train" / "b.json").write_bytes(json.dumps(other, ensure_ascii=False).encode("cp1252"))
    return folder


@pytest.fixture
def refcoco_folder(coco_file: Path) -> Path:
    """References to image 2 (train), image 3 (val), and one to an annotation that is not there."""
    folder = coco_file.parent

    def reference(number: int, image: int, ann: Any, split: str, *texts: str) -> dict[str, Any]:
        sentences = [{"sent_id": k, "sent": text, "tokens": text.split()} for k, text in enumerate(texts)]
        return {
            "ref_id": number,
            "image_id": image,
            "ann_id": ann,
            "split": split,
            "sentences": sentences,
            "file_name": f"COCO_train2014_{image}_{ann}.jpg",
            "category_id": 1,
        }

    references = [
        reference(1, 2, 4, "train", "left car", "the smaller car"),
        reference(2, 2, 8, "train", "cup in the corner"),
        reference(3, 3, 10, "val", "apple"),
        reference(4, 2, 999, "train", "not there"),
        reference(5, 2, [4, 6], "train", "both cars"),
        reference(6, 3, [-1], "train", "a zebra"),
    ]
    (folder / "refs(unc).p").write_bytes(pickle.dumps(references, protocol=2))
    return folder


@pytest.fixture
def grand_file(tmp_path: Path, picture: Any) -> Path:
    """A stated place, a place to be searched, a phrase that is not there, and RefCOCOg's form."""
    picture(tmp_path / "gcg" / "images" / "sa_1.jpg")
    caption = "A red cup stands near two apples on a table."
    records = [
        {
            "file_name": "sa_1.jpg",
            "caption": caption,
            "groundings": {
                "A red cup": {"token_positives": [0, 9], "rle_masks": [rle(1, 1, 9, 9)]},
                "two apples": {
                    "token_positives": [3, 13],
                    "rle_masks": [rle(10, 10, 15, 15), rle(20, 20, 25, 25)],
                },
                "a dog": {"token_positives": [0, 5], "rle_masks": [rle(1, 1, 9, 9)]},
            },
        },
        {
            "77": {
                "img_file_name": "sa_1.jpg",
                "caption": "a cup on a table",
                "refs": [{"sentence": "a table", "segmentation": [[1, 20, 38, 20, 38, 29, 1, 29]]}],
            }
        },
        {"file_name": "gone.jpg", "caption": caption, "groundings": records_of_one()},
        {"file_name": "sa_1.jpg", "caption": "A <p> cup </p>", "groundings": records_of_one()},
    ]
    path = tmp_path / "gcg" / "train.json"
    path.write_text(json.dumps(records))
    return path


def records_of_one() -> dict[str, Any]:
    return {"cup": {"token_positives": None, "rle_masks": [rle(1, 1, 9, 9)]}}
