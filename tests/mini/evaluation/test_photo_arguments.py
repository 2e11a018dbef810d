"""Arguments of the commands over photographs: what is read, and what is doubted of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.mini.evaluation import photo_arguments as module
from segue.mini.evaluation.photo_arguments import photo_parser, photo_records
from segue.mini.photos.facts import LabelFacts, PhotoFacts, PhotoRecord, PhotoSet

FACTS = PhotoFacts({"dress": LabelFacts(0.1, "red", 100.0)}, frozenset({"dress", "skirt"}))


@pytest.mark.parametrize("sure", [False, True])
def test_nothing_is_doubted_on_request_alone(monkeypatch: pytest.MonkeyPatch, sure: bool) -> None:
    record = PhotoRecord("1", Path("1.jpg"), (10, 10), {"dress": {}}, FACTS)  # type: ignore[dict-item]
    asked: list[tuple[Path, Path]] = []
    monkeypatch.setattr(
        module, "load_photo_facts", lambda coco, images: asked.append((coco, images)) or PhotoSet([record])
    )
    flags = ["--coco", "val.json", "--images", "photos", *(["--as-annotated"] if sure else [])]
    arguments = photo_parser("what is measured").parse_args(flags)
    (found,) = photo_records(arguments)
    assert asked == [(Path("val.json"), Path("photos"))]
    assert found.facts.has("dress") is sure
    assert found.facts.lacks("skirt") is sure
    assert arguments.model == "segue-scenes"


def test_photographs_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        photo_parser("what is measured").parse_args(["--coco", "val.json"])
    assert "--images" in capsys.readouterr().err
