"""MIRAS through the front door: the commands that answer, score and train are those of every family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import segue
from segue.cli import main
from segue.inference.answer_file import AnswerFile
from tiny_model import QUESTIONS, picture

ANSWER = "The [OBJ]red mug[SEG] (IMAGE1) is larger than the [OBJ]lamp[SEG] (IMAGE2)."
TEXT = "The red mug is larger than the lamp."


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny MIRAS that says ANSWER about two images, in the first turn and in the second."""
    from segue.mini.tokenizer import train_tokenizer
    from segue.models.build import build_miras

    texts = [TEXT, *QUESTIONS, "provide an overview of the pictures. USER: ASSISTANT: The"]
    model, processor = build_miras(train_tokenizer(texts * 2, 400))
    images = [picture(shade=60), picture(shade=200)]
    first = [("user", QUESTIONS[0]), ("assistant", ANSWER)]
    batches = [
        dict(processor(images=images, turns=turns, add_generation_prompt=False))
        for turns in (first, [*first, ("user", QUESTIONS[1]), ("assistant", ANSWER)])
    ]
    streams = ("input_ids", "attention_mask", "labels", "num_images", "pixel_values", "pixel_values_aux")
    optimizer = torch.optim.Adam(model.language_model.parameters(), lr=2e-2)
    for step in range(90):
        loss = model(**{name: batches[step % 2][name] for name in streams}).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("models") / "tiny-miras"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    picture(shade=60).save(tmp_path / "a.png")
    picture(shade=200).save(tmp_path / "b.png")
    return [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


def test_it_answers_with_masks(
    taught: Path, photos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ask", *photos, "-q", QUESTIONS[0], "--model", str(taught), "--device", "cpu", "--json"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    content = json.loads(capsys.readouterr().out)
    AnswerFile.model_validate(content, strict=True)
    assert (content["text"], content["markup"]) == (TEXT, ANSWER)
    assert [(g["phrase"], g["image_index"]) for g in content["groundings"]] == [("red mug", 0), ("lamp", 1)]
    assert (tmp_path / "out" / "image_1.png").stat().st_size > 0


def test_the_second_turn_has_masks_too_and_streams_clean_text(taught: Path, photos: list[str]) -> None:
    session = segue.load(taught, device="cpu").session(photos)
    session.ask(QUESTIONS[0])
    pieces: list[str] = []
    answer = session.ask(QUESTIONS[1], stream=pieces.append)
    assert "".join(pieces) == answer.text == TEXT
    assert [g.phrase for g in answer.groundings] == ["red mug", "lamp"]
    assert session._past_turns()[1] == ("assistant", ANSWER)


def scenes(folder: Path, split: str) -> Path:
    arguments = ["data", "scenes", "--seed", "5", "--count", "3", "--size", "64", "--split", split]
    assert main([*arguments, "--out", str(folder)]) == 0
    return folder / "conversations.jsonl"


def test_it_is_scored(taught: Path, tmp_path: Path) -> None:
    data = scenes(tmp_path / "scenes", "test")
    arguments = ["eval", "--model", str(taught), "--data", str(data), "--device", "cpu", "--no-progress"]
    assert main([*arguments, "--out", str(tmp_path / "eval")]) == 0
    metrics: dict[str, Any] = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert metrics["n"] == 3
    assert metrics["failures"]["count"] == 0


def test_it_is_trained(taught: Path, photos: list[str], tmp_path: Path) -> None:
    data = scenes(tmp_path / "scenes", "train")
    arguments = [
        "train", "--model", str(taught), "--data", str(data), "--out", str(tmp_path / "run"),
        "--set", "optimiser.max_steps=3", "--set", "options.batch_size=2", "--set", "finetune.sheet_every=0",
    ]  # fmt: skip
    assert main(arguments) == 0
    final = tmp_path / "run" / "final"
    before, after = (segue.load(folder, device="cpu").model.state_dict() for folder in (taught, final))
    assert set(before) == set(after)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert {"fusion", "region_alignment", "seg_projection", "language_model"} <= changed
    assert main(["ask", *photos, "-q", QUESTIONS[0], "--model", str(final), "--device", "cpu"]) == 0
