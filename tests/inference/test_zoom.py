"""Small masks are drawn again in a crop around them; what is large, empty or elsewhere stays as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import segue
from segue.cli import main
from segue.inference import LoadedModel, Region
from segue.inference.zoom import window_around, zoom
from segue.masks import decode, iou
from tiny_model import picture


def mask(rows: slice, columns: slice, hw: tuple[int, int] = (400, 600)) -> np.ndarray:
    found = np.zeros(hw, bool)
    found[rows, columns] = True
    return found


def test_windows() -> None:
    assert window_around(mask(slice(100, 120), slice(200, 240))) == (170, 70, 270, 150)
    assert window_around(mask(slice(0, 10), slice(0, 10))) == (0, 0, 18, 18)
    assert window_around(mask(slice(0, 0), slice(0, 0))) is None
    assert window_around(mask(slice(0, 300), slice(0, 400))) is None


@pytest.fixture(scope="module")
def embedded() -> LoadedModel:
    return segue.load("segue-mini", device="cpu")


def test_another_look_stays_in_its_window(embedded: LoadedModel) -> None:
    first = mask(slice(100, 130), slice(200, 240))
    found = zoom(embedded, embedded.image_encoder, picture(400, 600), first)
    if found is not None:  # it may see something else there, and then says nothing
        again, score = found
        left, top, right, bottom = window_around(first) or (0, 0, 0, 0)
        outside = again.copy()
        outside[top:bottom, left:right] = False
        assert again.shape == first.shape
        assert not outside.any()
        assert iou(again, first) >= 0.3
        assert 0 < score <= 1


def test_an_answer_keeps_what_cannot_be_looked_at(tiny_model: LoadedModel) -> None:
    answer = tiny_model.session([picture(), picture(shade=200)]).ask("Which is larger?")
    again = tiny_model.zoom(answer)
    assert len(again.groundings) == len(answer.groundings)
    assert [g.span for g in again.groundings] == [g.span for g in answer.groundings]
    assert "drawn again" in again.notes[-1]
    assert answer.notes == []


def test_a_match_stays_one_with_its_answer(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = mask(slice(2, 5), slice(2, 5), (40, 60))
    monkeypatch.setattr("segue.inference.zoom.zoom", lambda *given: (drawn, 0.9))
    pictures = [picture(), picture(shade=200), picture(shade=60)]
    answer = tiny_model.match(pictures, Region(image_index=1, box=(15, 10, 30, 20)), threshold=0.0)
    again = tiny_model.zoom(answer)
    assert again.notes[-1].startswith("2 of 3 masks were drawn again")
    # What the user marked is not drawn by anybody else.
    assert np.array_equal(again.groundings[0].mask, answer.groundings[0].mask)
    assert again.mark is answer.mark
    assert [(m.image_index, m.score) for m in again.matches] == [
        (m.image_index, m.score) for m in answer.matches
    ]
    for entry, g in zip(again.to_match_json()["matches"], again.groundings[1:], strict=True):
        assert np.array_equal(decode(entry["segmentation"]), drawn)
        assert np.array_equal(g.mask, drawn)
        assert entry["bbox"] == g.box


def test_match_on_the_command_line_takes_it(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, shade in (("a", 60), ("b", 200)):
        picture(shade=shade).save(tmp_path / f"{name}.png")
    files = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    options = ["--box", "15,10,30,20", "--zoom", "--out", str(tmp_path / "found"), "--device", "cpu"]
    assert main(["match", *files, *options, "-m", str(tiny_model_folder)]) == 0
    assert "masks were drawn again" in (tmp_path / "found" / "answer.json").read_text()
