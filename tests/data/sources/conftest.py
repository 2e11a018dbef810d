"""Small downloads in the layouts of the source data sets, drawn here; the traps are put in by each test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from source_layouts import photo

Part = tuple[str, np.ndarray[Any, Any]]
Thing = tuple[str, np.ndarray[Any, Any], Sequence[Part]]


@pytest.fixture
def pascal(tmp_path: Path) -> Callable[..., Path]:
    """Writes Pascal-Part's layout: `pascal({"2008_000001": [(class, mask, [(part, mask), ...]), ...]})`."""
    savemat = pytest.importorskip("scipy.io").savemat

    def cells(entries: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> Any:
        found = np.empty((1, len(entries)), dtype=[(name, object) for name in fields])
        for number, entry in enumerate(entries):
            found[0, number] = tuple(entry[name] for name in fields)
        return found

    def write(images: Mapping[str, Sequence[Thing]], **imnames: str) -> Path:
        root = tmp_path / "download"
        voc = root / "VOCdevkit" / "VOC2010"
        folder = root / "Annotations_Part"
        folder.mkdir(parents=True, exist_ok=True)
        for name, things in images.items():
            photo(voc / "JPEGImages" / f"{name}.jpg")
            objects = []
            for label, mask, parts in things:
                pieces = [{"part_name": part, "mask": m.astype(np.uint8)} for part, m in parts]
                objects.append(
                    {
                        "class": label,
                        "class_ind": np.uint8(1),
                        "mask": mask.astype(np.uint8),
                        "parts": cells(pieces, ("part_name", "mask")) if pieces else np.zeros((0, 0)),
                    }
                )
            fields = ("class", "class_ind", "mask", "parts")
            anno = {"imname": imnames.get(f"i{name}", name), "objects": cells(objects, fields)}
            savemat(folder / f"{name}.mat", {"anno": anno})
        lists = voc / "ImageSets" / "Main"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / "train.txt").write_text("".join(f"{name}\n" for name in images))
        (lists / "val.txt").write_text("")
        return root

    return write
