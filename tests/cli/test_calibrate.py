"""`segue calibrate` writes a file that sessions take, from an option or from the model's folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segue.cli import main
from segue.evaluation import calibration
from segue.evaluation.calibration import Judged
from segue.records import Conversation, ImageRef, Turn, write_jsonl


@pytest.fixture
def data(tmp_path: Path) -> Path:
    turns = [Turn(role="user", text="What is there?"), Turn(role="assistant", text="Nothing.")]
    images = [ImageRef(image_id="t:a", path="a.png", height=20, width=30)]
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    write_jsonl(
        tmp_path / "data.jsonl",
        [Conversation(id="t/0", task="photos", split="val", images=images, regions=[], turns=turns)],
    )
    return tmp_path / "data.jsonl"


def judged(number: int = 400) -> list[Judged]:
    rng = np.random.default_rng(1)
    values = rng.uniform(0.3, 0.95, (number, 2))
    return [Judged(float(m), float(t), bool(rng.random() < t**3), k) for k, (m, t) in enumerate(values)]


def test_a_calibration_is_written_and_taken(
    data: Path,
    tiny_model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(calibration, "judged_groundings", lambda *args, **options: judged())
    out = tmp_path / "made" / "calibration.json"
    arguments = ["--model", str(tiny_model_folder), "--device", "cpu"]
    assert main(["calibrate", "--data", str(data), "--out", str(out), *arguments]) == 0
    assert "expected calibration error" in capsys.readouterr().out
    content = json.loads(out.read_text())
    numbers = content["about"]["measured"]
    assert numbers["calibrated"]["ece"] < numbers["uncalibrated"]["ece"]
    assert content["about"]["data"] == "data.jsonl"
    assert "<svg" in out.with_suffix(".html").read_text()

    def presence(*more: str) -> dict[str, Any]:
        images = [str(data.parent / "a.png")] * 2
        ask = ["ask", *images, "-q", "Which is larger?", "--json", *more]
        assert main(ask) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)["groundings"][0]["presence"]
        return found

    raw, given = presence(*arguments), presence(*arguments, "--calibration", str(out))
    assert (raw["calibrated"], given["calibrated"]) == (False, True)
    assert (raw["mask"], raw["text"]) == (given["mask"], given["text"])
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    shutil.copy(out, folder / "calibration.json")
    assert presence("--model", str(folder), "--device", "cpu")["score"] == pytest.approx(given["score"])


def test_the_terminal_marks_what_is_not_calibrated(
    data: Path, tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [str(data.parent / "a.png")] * 2
    ask = ["ask", *images, "-q", "Which is larger?", "--model", str(tiny_model_folder), "--device", "cpu"]
    assert main(ask) == 0
    printed = capsys.readouterr()
    assert "how sure that it is there, uncalibrated (`segue calibrate`): red mug 0." in printed.err
    assert "there" not in printed.out
    file = tmp_path / "c.json"
    file.write_text('{"format": "segue-calibration/1", "weights": {"text": 1}, "bias": 0}')
    assert main([*ask, "--calibration", str(file)]) == 0
    printed = capsys.readouterr()
    assert ", there 1.00)" in printed.out
    assert "uncalibrated" not in printed.err
    file.write_text("{}")
    assert main([*ask, "--calibration", str(file)]) == 2
    assert "The calibration cannot be read." in capsys.readouterr().err
