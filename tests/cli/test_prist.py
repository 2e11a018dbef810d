"""`segue data prist`: each sub-command once, and what a user can get wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chat_server import ChatServer, says
from prist_endpoint import PristEndpoint
from segue.cli import main
from segue.cli.prist import BoxMasks
from segue.records import read_jsonl

RELEASED = [
    {
        "img_id": "a.jpg",
        "focus": "cup",
        "dialogue": [
            {"from": "human", "value": "What is there?"},
            {"from": "gpt", "value": "[SEG]."},
        ],
    }
]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).save(folder / "a.png")
    return folder


@pytest.fixture
def endpoint() -> Iterator[PristEndpoint]:
    server = PristEndpoint()
    yield server
    server.close()


def test_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "released.json").write_text(json.dumps(RELEASED))
    out = tmp_path / "out" / "prist.jsonl"
    assert main(["data", "prist", "load", str(tmp_path / "released.json"), "-o", str(out)]) == 0
    [conversation] = read_jsonl(out)
    assert conversation.turns[-1].text == "cup."
    assert "lacking in 1 dialogues: image file" in capsys.readouterr().err


def test_build_says_what_it_will_cost_and_then_builds(
    images: Path, endpoint: PristEndpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["data", "prist", "build", str(images), "-o", str(out), "--url", endpoint.url, "--model", "m"]
    assert main([*command, "--prices", "1,2", "--dry-run"]) == 0
    assert "about 5 requests" in capsys.readouterr().err
    assert not endpoint.received
    assert main([*command, "--max-requests", "2"]) == 2
    assert "run the same command again" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "--prices", "1,2"]) == 0
    assert "3 records of 1 items" in capsys.readouterr().err
    assert main(["data", "prist", "stats", str(out)]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert (counted["conversations"], counted["rounds"]) == (3, {"3": 3})
    page = (out / "stats.html").read_text()
    assert page.count("<article>") == page.count('<img src="data:image/jpeg') == 3
    assert 'class="phrase"' in page


def test_a_dry_run_needs_no_server(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Nobody listens at port 9, and no model is named.
    command = ["data", "prist", "build", str(images), "-o", str(tmp_path / "out")]
    assert main([*command, "--url", "http://127.0.0.1:9/v1", "--dry-run"]) == 0
    assert "about 5 requests" in capsys.readouterr().err
    assert main([*command, "--url", "http://127.0.0.1:9/v1"]) == 2
    assert "cannot be reached" in capsys.readouterr().err


def test_nothing_made_is_a_failure(
    images: Path, chat_server: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_server.script = [says("Lovely picture.") for _ in range(2)]
    command = ["data", "prist", "build", str(images), "-o", str(tmp_path / "out"), "--url", chat_server.url]
    assert main([*command, "--attempts", "2", "--prices", "1,2"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "not_json 1" in said
    assert "quarantine.jsonl" in said
    assert "spent in all runs: 2 requests, 240 tokens, 0.00" in said


@pytest.mark.slow  # loads torch
def test_boxes_become_masks(images: Path, endpoint: PristEndpoint, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["data", "prist", "build", str(images), "-o", str(out), "--url", endpoint.url, "--model", "m"]
    assert main([*command, "--sam", "none"]) == 0
    assert {c.meta["masks"] for c in read_jsonl(out / "conversations.jsonl")} == {
        "drawn by box filling from a box of the chat model"
    }


def test_template(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["data", "prist", "template", "--scenes", "3", "--size", "64", "-o", str(out)]
    assert main([*command, "--masks", "every", "--split", "val"]) == 0
    made = list(read_jsonl(out / "conversations.jsonl"))
    assert {c.split for c in made} == {"val"}
    assert all((out / c.images[0].path).is_file() for c in made)
    assert f"{len(made)} dialogues about 3 pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["template"], "neither"),
        (["template", "--scenes", "1", "--annotations", "x"], "both"),
        (["template", "--scenes", "1", "--split", "x"], "no such split"),
        (["build", "none", "--url", "http://localhost:1/v1", "--model", "m"], "no images"),
        (["build", "none", "--url", "nonsense", "--model", "m"], "no images"),
        (["stats", "none.jsonl"], "no such file"),
    ],
)
def test_mistakes_are_explained(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = [] if options[0] == "stats" else ["-o", str(tmp_path / "out")]
    assert main(["data", "prist", *options, *out]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("prices", ["1", "a,b", "-1,2", "nan,1", "1,2,3"])
def test_prices_are_two_numbers(
    prices: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["-o", str(tmp_path / "out"), "--url", "http://localhost:1/v1", "--model", "m"]
    assert main(["data", "prist", "build", str(images), *options, "--prices", prices]) == 2
    assert "prices cannot be read" in capsys.readouterr().err


def test_a_picture_is_encoded_once() -> None:
    class Maker:
        encoded = 0

        def encode(self, image: Image.Image) -> int:
            self.encoded += 1
            return self.encoded

        def draw(self, encoded: int, boxes: object, hw: tuple[int, int]) -> list[tuple[np.ndarray, float]]:
            return [(np.ones(hw, bool), 1.0)]

    maker = Maker()
    draw = BoxMasks(maker)  # type: ignore[arg-type]
    picture = Image.new("RGB", (4, 3))
    assert draw(picture, (0, 0, 1, 1)) == draw(picture, (1, 1, 2, 2))
    assert (maker.encoded, draw(Image.new("RGB", (4, 3)), (0, 0, 1, 1))["size"]) == (1, [3, 4])
    assert maker.encoded == 2
