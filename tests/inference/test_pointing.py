"""Sessions whose questions point: refusals in words; regions, later turns and memory where they are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from segue.cli import main
from segue.errors import AlignmentError, InputError, ModelError
from segue.inference import LoadedModel, Region
from segue.inference.answer_file import AnswerFile
from segue.inference.pointing import with_regions
from tiny_model import picture

if TYPE_CHECKING:
    from segue.inference.session import GroundingSession

QUESTION = "Find [this] in the other image."
LEFT = Region(image_index=0, box=(2, 2, 12, 20))
RIGHT = Region(image_index=0, box=(30, 10, 50, 35))


def test_weights_that_never_saw_regions_say_so(tiny_model: LoadedModel) -> None:
    session = tiny_model.session([picture(), picture(shade=200)])
    with pytest.raises(ModelError, match="segue match"):
        session.ask(QUESTION, regions=[LEFT])
    with pytest.raises(ModelError, match="never saw regions"):
        session.stream(QUESTION, regions=[LEFT])
    assert session.history == ()


@pytest.mark.parametrize(
    ("question", "regions", "said"),
    [
        ("Find this.", [LEFT], "more regions than markers"),
        (QUESTION, [LEFT, RIGHT], "more regions than markers"),
        ("[this] and [that]", [LEFT], "more markers than regions"),
        (QUESTION, [Region(image_index=2, point=(1, 1))], "not there"),
        (QUESTION, [Region(image_index=0, box=(0, 0, 99, 9))], "outside of its image"),
    ],
)
def test_wrong_regions(tiny_model: LoadedModel, question: str, regions: list[Region], said: str) -> None:
    session = tiny_model.session([picture(), picture(shade=200)])
    with pytest.raises(InputError, match=said):
        session.ask(question, regions=regions)


def prompts(session: GroundingSession, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the model is given from now on."""
    seen: list[dict[str, Any]] = []
    generate = session.bundle.model.generate_grounded
    monkeypatch.setattr(
        session.bundle.model, "generate_grounded", lambda **inputs: seen.append(inputs) or generate(**inputs)
    )
    return seen


def test_regions_are_read_and_kept(pointing: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    session = pointing.session([picture(), picture(shade=200)])
    seen = prompts(session, monkeypatch)
    region_id = pointing.model.config.region_token_id
    answer = session.ask(QUESTION, regions=[LEFT])
    assert answer.question == QUESTION
    assert answer.regions[0].mask.shape == (40, 60)
    assert answer.regions[0].mask[:, 20:].sum() == 0
    AnswerFile.model_validate(answer.to_json(), strict=True)
    session.ask("And [that] against [this]?", regions=[RIGHT, LEFT])
    session.ask("What is there?")
    counts = [int((inputs["input_ids"] == region_id).sum()) for inputs in seen]
    assert counts == [1, 3, 3]
    assert [len(inputs["region_features"]) for inputs in seen] == counts
    # Later prompts begin with the regions of earlier ones, and equal regions have equal features.
    assert torch.equal(seen[1]["region_features"][0], seen[0]["region_features"][0])
    assert torch.equal(seen[1]["region_features"][2], seen[0]["region_features"][0])
    assert not torch.equal(seen[1]["region_features"][1], seen[0]["region_features"][0])


def test_the_cache_never_mixes_regions(pointing: LoadedModel) -> None:
    images = [picture(), picture(shade=200)]
    session = pointing.session(images)
    session.ask(QUESTION, regions=[LEFT])
    session.undo()
    again = session.ask(QUESTION, regions=[RIGHT])
    fresh = pointing.session(images).ask(QUESTION, regions=[RIGHT])
    assert again.markup == fresh.markup
    for a, b in zip(again.groundings, fresh.groundings, strict=True):
        assert np.array_equal(a.mask, b.mask)


def test_mask_memory_speaks_of_the_answer_before(
    pointing: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pointing.model.config, "mask_memory", True)
    session = pointing.session([picture(), picture(shade=200)])
    seen = prompts(session, monkeypatch)
    first = session.ask("Which is larger?")
    remembered = sum(bool(g.mask.any()) for g in first.groundings)
    session.ask(QUESTION, regions=[LEFT])
    assert len(seen[1]["region_features"]) == 1 + remembered
    turns = [("user", "a?"), ("assistant", "b"), ("user", "[c]?")]
    written, pointed = with_regions(turns, [first], (session.history[-1].regions), memory=True)
    assert written[2][1].startswith("c <region> (IMAGE1)?")
    assert written[2][1].count("<region>") == len(pointed) == 1 + remembered


def test_a_turn_that_was_told_points_as_one_that_was_asked(
    pointing: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [picture(), picture(shade=200)]
    session = pointing.session(images)
    seen = prompts(session, monkeypatch)
    asked = session.ask(QUESTION, regions=[LEFT])
    session.ask("What is there?")
    told = pointing.session(images)
    told.add_turn(QUESTION, asked.markup, [LEFT])
    told.ask("What is there?")
    assert torch.equal(seen[2]["input_ids"], seen[1]["input_ids"])
    assert torch.equal(seen[2]["region_features"], seen[1]["region_features"])
    with pytest.raises(InputError, match="more regions than markers"):
        told.add_turn("What is there?", "A mug.", [LEFT])


def test_models_say_whether_they_take_regions(pointing: LoadedModel, tiny_model: LoadedModel) -> None:
    assert (pointing.takes_regions, tiny_model.takes_regions) == (True, False)


def test_given_answers_are_remembered_with_their_masks(
    pointing: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pointing.model.config, "mask_memory", True)
    session = pointing.session([picture(), picture(shade=200)])
    markup = "The <p> mug </p> [SEG] (IMAGE2), the <p> lid </p> [SEG] (IMAGE1)."
    drawn = np.zeros((2, 40, 60), bool)
    drawn[0, 4:9, 5:20] = drawn[1, 20:30, 30:50] = True
    session.add_turn("What is there?", markup)
    assert session._item("And?")["region_features"].shape[0] == 0
    session.undo()
    given = session.add_turn("What is there?", markup, seg_masks=list(drawn))
    assert [(g.phrase, g.image_index, g.box) for g in given.groundings] == [
        ("mug", 1, [5.0, 4.0, 15.0, 5.0]),
        ("lid", 0, [30.0, 20.0, 20.0, 10.0]),
    ]
    assert session._item("And?")["region_features"].shape[0] == 2
    with pytest.raises(AlignmentError, match="2 masks, one per"):
        session.add_turn("What is there?", markup, seg_masks=[drawn[0]])
    assert len(session.history) == 1


def test_no_regions_no_change(pointing: LoadedModel, tiny_model: LoadedModel) -> None:
    images = [picture(), picture(shade=200)]
    plain, other = (model.session(images).ask("Which is larger?") for model in (tiny_model, pointing))
    assert plain.markup == other.markup
    for a, b in zip(plain.groundings, other.groundings, strict=True):
        assert np.array_equal(a.mask, b.mask)


def test_the_command_line_says_what_is_wrong(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture().save(tmp_path / "a.png")
    base = ["ask", str(tmp_path / "a.png"), "-m", str(tiny_model_folder), "--device", "cpu"]
    for more, said in (
        (["-q", "What is [this]?", "--region", "1:2,2,12,20"], "segue match"),
        (["-q", "What is this?", "--region", "1:2,2"], "more regions than markers"),
        (["-q", "What is [this]?", "--region", "2:2,2"], "not there"),
        (["-q", "What is [this]?", "--region", "m.png"], "1:mask.png"),
    ):
        assert main([*base, *more]) == 2
        assert said in " ".join(capsys.readouterr().err.split())


def test_regions_stand_in_the_answer_file(pointing: LoadedModel, tmp_path: Path) -> None:
    answer = pointing.session([picture()]).ask(
        "What is [this]?", regions=[Region(image_index=0, point=(20, 15))]
    )
    answer.save(tmp_path)
    content = json.loads((tmp_path / "answer.json").read_text())
    assert content["regions"][0]["image_index"] == 0
    assert content["regions"][0]["segmentation"]["size"] == [40, 60]
