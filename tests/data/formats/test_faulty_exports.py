"""Whatever is wrong with an export: nothing is lost without a line, and no mask lands on another image."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from pycocotools import mask as coco_mask

from faulty_exports import H, W, coco_content, labelme_folder, left_of, write_pictures
from segue.data.formats.annotations import AnnotatedImage
from segue.data.formats.coco import read_coco
from segue.data.own import read_own_data
from segue.errors import InputError

LOSING_ALL = {
    *("image file not found", "image size differs from its record", "image without usable annotation"),
    *("coordinates lie beyond the image", "not a LabelMe file", "file without usable shape"),
}


def check_places(images: Iterable[AnnotatedImage]) -> None:
    """Every square lies where those of its own picture do."""
    for image in images:
        picture = int(image.path.stem[1:])
        assert image.hw == (H, W)
        for region in image.regions:
            left, _, width, height = coco_mask.toBbox(region.rle)
            assert abs(left - left_of(picture)) <= 1, (image.path, region)
            assert abs(width - 5) <= 1
            assert abs(height - 7) <= 1


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(coco_content())
def test_coco_every_annotation_is_kept_at_its_image_or_reported(made: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_pictures(folder, made["pictures"])
        (folder / "x.json").write_text(json.dumps(made["content"]))
        data = read_coco(folder / "x.json")
        check_places(data)
        kept = sum(len(image.regions) for image in data)
        dropped = [d for d in data.report.dropped if d.record.startswith("annotation")]
        # Annotations of an image that is left out are counted with the image.
        lost_images = {d.record for d in data.report.dropped if d.record.startswith("image ")}
        accounted = {d.record.removeprefix("annotation ") for d in dropped}
        inside = [
            a
            for a in made["content"]["annotations"]
            if f"image {a['image_id']}" in lost_images and str(a["id"]) not in accounted
        ]
        total = len(made["content"]["annotations"])
        assert kept + len(dropped) <= total
        assert kept + len(dropped) + len(inside) >= total
        for image in data:
            names = {(region.name, region.source_label) for region in image.regions}
            assert len({name for name, _ in names}) == len({label for _, label in names})


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(labelme_folder())
def test_labelme_every_shape_is_kept_at_its_image_or_reported(made: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_pictures(folder, made["pictures"])
        for name, content in made["files"].items():
            (folder / name).write_bytes(content)
        try:
            data = read_own_data(folder, format="labelme")
        except InputError:  # nothing is left: the error counts the reasons, which other tests look at
            return
        images = data.source.images  # type: ignore[attr-defined]
        check_places(images)
        kept = sum(len(image.regions) for image in images)
        assert kept == data.report.regions
        lost = sum(count for reason, count in data.report.dropped.items() if reason not in LOSING_ALL)
        gone = sum(
            made["shapes"][f] for f in made["files"] if Path(f).stem not in {i.path.stem for i in images}
        )
        assert kept + lost + gone >= sum(made["shapes"].values())
        assert len(images) + sum(data.report.dropped[reason] for reason in LOSING_ALL) == len(made["files"])
