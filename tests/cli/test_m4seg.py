"""`segue data m4seg` and its companions."""

from pathlib import Path

import pytest

from m4seg_images import scene_specs
from segue.cli import main


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    scene_specs(folder)
    return folder


def test_a_stage_of_a_build(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["data", "m4seg", "--scenes", str(scenes), "--out", str(out)]
    assert main([*arguments, "--dry-run"]) == 0
    assert "so about" in capsys.readouterr().err
    assert not out.exists()
    assert main([*arguments, "--until", "images"]) == 0
    assert "images: images" in capsys.readouterr().err
    assert main([*arguments, "--only", "records"]) == 2
    assert "the stage features complete" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "There is nothing to build from"),
        (["--scenes", "SCENES", "--generator", "magic"], "no such generator"),
        (["--ade20k-part", "SCENES"], "ade20k"),
        (
            [
                "--annotated",
                "a.json",
                "--annotated",
                "b.json",
                "--images",
                "a",
                "--images",
                "b",
                "--images",
                "c",
            ],
            "fit",
        ),
        (["--scenes", "SCENES", "--relevance", "nothing.json"], "relevant classes"),
        (
            [
                "--scenes",
                "SCENES",
                "--regions",
                "0.3",
                "--generator",
                "openai:m",
                "--url",
                "http://localhost:8000/v1",
            ],
            "writes no questions that point",
        ),
    ],
)
def test_mistakes_are_answered(
    arguments: list[str], said: str, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(scenes) if text == "SCENES" else text for text in arguments]
    done = main(["data", "m4seg", *given, "--out", str(tmp_path / "out")])
    assert done == 2
    assert said.lower() in capsys.readouterr().err.lower()
