"""Picture sheets: what is drawn, where, and that a model in training is left as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segue.inference.visualize import colour
from segue.models.auto import ModelBundle
from segue.models.segmenter_sam import SamSegmenter
from segue.records import Conversation, ImageRef, Region, Span, Turn
from segue.training.finetune.picture_sheet import GAP, PictureSheets, Question, draw_row


@pytest.fixture
def sheets(tiny: Callable[..., Any], records: Any, tmp_path: Path) -> Callable[..., PictureSheets]:
    def make(count: int = 3, **options: Any) -> PictureSheets:
        model, processor = tiny()
        bundle = ModelBundle(model, processor, "tiny")
        questions = [(c, records.root) for c in records.fixed(count, 0)]
        return PictureSheets(bundle, questions, tmp_path / "sheets", max_new_tokens=8, **options)

    return make


def test_a_sheet_has_a_row_for_each_question(sheets: Callable[..., PictureSheets]) -> None:
    one, three = sheets(1), sheets(3)
    path = three.draw(200)
    assert path is not None
    assert path.name == "step_000200.png"
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing unfinished is left"
    with Image.open(path) as picture:
        height = picture.height
    single = one.draw(7)
    assert single is not None
    with Image.open(single) as picture:
        assert height > 2 * picture.height
    assert sheets(0).draw(1) is None


def test_training_goes_on_as_if_nothing_had_been_asked(sheets: Callable[..., PictureSheets]) -> None:
    made = sheets(2)
    model: Any = made.bundle.model
    model.train()
    state = torch.get_rng_state()
    made.draw(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_images_are_encoded_once_while_the_encoders_are_frozen(
    sheets: Callable[..., PictureSheets], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sheets(2)
    model: Any = made.bundle.model
    calls: list[int] = []
    encode = SamSegmenter.encode
    monkeypatch.setattr(SamSegmenter, "encode", lambda self, pixels: calls.append(1) or encode(self, pixels))
    for trains, extra in ((False, 0), (True, None)):
        model.sam.vision_encoder.requires_grad_(trains)
        model.vision_model.requires_grad_(False), model.aux_vision_model.requires_grad_(False)
        made.draw(1)
        before = len(calls)
        made.draw(2)
        assert len(calls) - before == (extra if extra is not None else before - len(calls[: before // 2]))


def test_a_model_that_answers_nonsense_does_not_end_the_run(
    sheets: Callable[..., PictureSheets], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sheets(1)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("probability tensor contains nan")

    monkeypatch.setattr(made.bundle.model, "generate_grounded", fail)
    said = made.ask(made.questions[0])
    assert said == "no answer: probability tensor contains nan"
    assert made.draw(1) is not None


def question(folder: Path, phrase: str = "the Mug") -> Question:
    """A grey picture, left half true."""
    from segue import masks

    Image.new("RGB", (100, 80), (128, 128, 128)).save(folder / "a.png")
    mask = np.zeros((80, 100), bool)
    mask[:, :50] = True
    record = Conversation(
        id="one", task="photos", split="val",
        images=[ImageRef(image_id="a:a", path="a.png", height=80, width=100)],
        regions=[Region(rid="r", image_index=0, kind="object", name="mug", mask=masks.encode(mask))],
        turns=[Turn(role="user", text="What is it?"),
               Turn(role="assistant", text=f"{phrase}.", spans=[Span(start=0, end=len(phrase), rids=["r"])])],
    )  # fmt: skip
    return Question(record, folder)


def test_what_is_called_the_same_has_the_same_colour(tmp_path: Path) -> None:
    asked = question(tmp_path)
    assert asked.truth[0].mask[:, :50].all()
    right = np.zeros((80, 100), bool)
    right[:, 50:] = True
    from segue.inference.answer import SessionAnswer
    from segue.records import Grounding

    def row(phrase: str) -> np.ndarray:
        answer = SessionAnswer(
            "What is it?", f"{phrase}.", "", image_hws=[(80, 100)], model="tiny", images=["a"],
            groundings=[Grounding(phrase, (0, len(phrase)), 0, right, 0.9, [50.0, 0.0, 50.0, 80.0])],
        )  # fmt: skip
        return np.asarray(draw_row(asked, answer)).astype(float)

    # 100 x 80 becomes 275 x 220; inside a mask the colour is mixed with the grey below it.
    y, true_x, said_x = 110, 275 // 4, 275 + 3 * GAP + 275 * 3 // 4
    same, other = row("mug"), row("lamp")
    assert np.abs(same[y, true_x] - same[y, said_x]).max() <= 1
    assert np.abs(other[y, true_x] - other[y, said_x]).max() > 20
    assert np.abs(same[y, true_x] - np.array(colour(0))).max() < np.abs(128 - np.array(colour(0))).max()
    grey = same[y, 275 + 3 * GAP + 275 // 4]
    assert np.abs(grey - 128).max() <= 1, "the other half of the model's side is bare"


def test_questions_that_cannot_be_opened_are_left_out(
    records: Any, tiny: Callable[..., Any], tmp_path: Path
) -> None:
    model, processor = tiny()
    bundle: Any = SimpleNamespace(model=model, processor=processor, name="tiny")
    pairs = [(records.records[0], records.root), (records.records[1], tmp_path)]
    assert len(PictureSheets(bundle, pairs, tmp_path).questions) == 1
