"""A marked thing is found in other pictures by its looks, with every family, and moving the mark moves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from segue.cli import main
from segue.errors import InputError
from segue.inference import Region
from segue.inference.answer_file import AnswerFile
from segue.inference.matching import LIT, mask_of, see
from segue.models.match_heat import Likeness, prompt_of
from tiny_model import FAMILIES, picture

if TYPE_CHECKING:
    from segue.inference import LoadedModel

GREY, RED, BLUE = (90, 100, 90), (230, 40, 30), (30, 60, 230)


def blocks(places: dict[tuple[int, int, int], tuple[int, int]], side: int = 96) -> Image.Image:
    """A grey picture with a block of 36 pixels of each colour at its place (top, left)."""
    pixels = np.full((side, side, 3), GREY, np.uint8)
    for colour, (top, left) in places.items():
        pixels[top : top + 36, left : left + 36] = colour
    return Image.fromarray(pixels)


def block(top: int, left: int, side: int = 96) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[top : top + 36, left : left + 36] = True
    return mask


@pytest.mark.parametrize("tiny_model", FAMILIES, indirect=True)
def test_every_family_answers_with_scores_and_masks(tiny_model: LoadedModel) -> None:
    images = [picture(40, 60), picture(50, 30, 200), picture(40, 60)]
    answer = tiny_model.match(images, Region(image_index=0, box=(10, 5, 30, 25)), threshold=0.2)
    assert [m.image_index for m in answer.matches] == [1, 2]
    assert [m.mask.shape for m in answer.matches] == [(50, 30), (40, 60)]
    # The third picture is the first once more, so the mark scores in it as in its own.
    assert answer.matches[1].score == pytest.approx(1.0, abs=1e-3)
    assert answer.matches[1].is_there
    assert answer.groundings[0].image_index == 0
    assert {g.image_index for g in answer.groundings[1:]} == {
        m.image_index for m in answer.matches if m.is_there
    }
    assert answer.text.startswith("The marked thing is in image")
    AnswerFile.model_validate(answer.to_json(), strict=True)


def test_the_threshold_decides(tiny_model: LoadedModel) -> None:
    images, region = [picture(), picture(shade=220)], Region(image_index=1, point=(20, 15))
    (found,) = tiny_model.match(images, region, threshold=0.0).matches
    answer = tiny_model.match(images, region, threshold=found.score + 0.01)
    assert answer.text == "The marked thing is in none of the other images."
    assert [g.image_index for g in answer.groundings] == [1]
    assert answer.to_match_json()["matches"][0]["segmentation"] is None
    # The note never shows more than there is, which could look like enough.
    assert found.score - 0.01 <= float(answer.notes[0].split("score ")[1].split(",")[0]) <= found.score


def test_a_decoder_that_learned_no_prompts_leaves_the_heat_as_the_mask(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, region = [picture(), picture(shade=220)], Region(image_index=0, box=(4, 4, 20, 20))
    monkeypatch.setattr(type(tiny_model.model), "takes_visual_prompts", False)

    def never(*_: object) -> None:
        raise AssertionError("the decoder was asked")

    for name in ("draw_heat", "draw_box", "draw_point"):
        monkeypatch.setattr(type(tiny_model.model.segmenter), name, never)
    (found,) = tiny_model.match(images, region, threshold=0.0).matches
    seen = [see(tiny_model, tiny_model.image_encoder, image) for image in images]
    mark, _ = mask_of(tiny_model, region.checked([s.hw for s in seen], "region"), seen[0])
    heat = prompt_of(Likeness.of(seen[0].maps, torch.from_numpy(mark)).heat(seen[1].maps))
    full = torch.nn.functional.interpolate(heat[None, None], seen[1].hw, mode="bilinear")[0, 0]
    assert np.array_equal(found.mask, (full > LIT).numpy())


def test_a_region_outside_is_refused(tiny_model: LoadedModel) -> None:
    with pytest.raises(InputError, match="outside"):
        tiny_model.match([picture(), picture()], Region(image_index=0, point=(60, 3)))


@pytest.fixture(scope="module")
def embedded() -> LoadedModel:
    import segue

    return segue.load("segue-mini", device="cpu")


PLACES = {RED: (4, 4), BLUE: (52, 48)}
ELSEWHERE = {RED: (54, 8), BLUE: (8, 52)}


def test_the_embedded_model_follows_the_mark(embedded: LoadedModel) -> None:
    cat, cup = (
        Image.fromarray(pixels).resize((320, 320))
        for pixels in (skimage.data.chelsea(), skimage.data.coffee())
    )
    first, second, none = (Image.new("RGB", (640, 320), GREY) for _ in range(3))
    for collage, left, right in ((first, cat, cup), (second, cup, cat)):
        collage.paste(left, (0, 0))
        collage.paste(right, (320, 0))
    for box, wanted in (((40, 40, 280, 300), slice(320, 640)), ((360, 60, 600, 260), slice(0, 320))):
        there, absent = embedded.match([first, second, none], Region(image_index=0, box=box)).matches
        assert there.score > absent.score + 0.5
        inside = there.mask[:, wanted].sum()
        assert inside > 0.1 * 320 * 320
        assert inside > 0.9 * there.mask.sum()


def test_files_of_the_command_line(
    embedded: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segue.loading.load", lambda *_: embedded)
    for name, shown in (("a", blocks(PLACES)), ("b", blocks(ELSEWHERE)), ("c", blocks({}))):
        shown.save(tmp_path / f"{name}.png")
    Image.fromarray(block(*PLACES[RED])).save(tmp_path / "mask.png")
    images = [str(tmp_path / f"{name}.png") for name in "abc"]
    out = tmp_path / "out"
    assert main(["match", *images, "--mask", str(tmp_path / "mask.png"), "--out", str(out), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content == json.loads((out / "match.json").read_text())
    assert [m["path"] for m in content["matches"]] == images[1:]
    assert content["region"]["given"] == "mask"
    AnswerFile.model_validate(json.loads((out / "answer.json").read_text()), strict=True)
    assert {"answer.html", "image_1.png", "image_2.png", "image_3.png"} <= {p.name for p in out.iterdir()}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "exactly one of"),
        (["--box", "1,2,3,4", "--point", "1,2"], "exactly one of"),
        (["--box", "1,2"], "four numbers"),
        (["--point", "99,2"], "outside of its image"),
        (["--mask", "none.png"], "mask cannot be read"),
    ],
)
def test_mistakes_are_answered_before_anything_is_loaded(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture().save(tmp_path / "a.png")
    assert main(["match", str(tmp_path / "a.png"), str(tmp_path / "a.png"), *options, "-m", "nowhere"]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_one_image_is_too_few(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture().save(tmp_path / "a.png")
    assert main(["match", str(tmp_path / "a.png"), "--point", "1,2"]) == 2
    assert "one or more to look in" in " ".join(capsys.readouterr().err.split())
