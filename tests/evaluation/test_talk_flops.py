"""A talk counted on shapes: against counts of single answers, and within the bounds at full size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue.cli import main
from segue.evaluation.compute import Workload, count_preset
from segue.evaluation.talk_flops import count_talk_of

SMALL = Workload(images=2, text_tokens=10, question_tokens=7, answer_tokens=5, masks=3)


@pytest.mark.parametrize("name", ["tiny-prima", "tiny-miras"])
def test_one_turn_is_one_answer(name: str) -> None:
    found = count_talk_of(name, 1, SMALL)
    assert found["flops"]["ours"] == found["flops"]["per_turn"] == count_preset(name, SMALL).total
    assert found["flops"]["as_published"] > found["flops"]["ours"]


def test_further_turns_look_at_nothing() -> None:
    one, two, three = (count_talk_of("tiny-prima", turns, SMALL) for turns in (1, 2, 3))
    looked = sum(one["parts"][name] for name in ("segmenter's encoder", "vision encoders", "visual tokens"))
    # A peer looks again, reads the first prompt again, and reads what we read too.
    assert two["flops"]["per_turn"] - two["flops"]["ours"] > looked
    assert three["flops"]["ours"] - two["flops"]["ours"] < looked
    assert three["prompt_tokens"] == [34, 34 + 15, 34 + 30]


def test_the_command_adds_talks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "talk.json"
    call = ["bench", "--flops", "--model", "tiny-prima", "--conversation", "2x2", "--answer-tokens", "4"]
    assert main([*call, "--json", str(file)]) == 0
    assert "2 turns about 2 images" in capsys.readouterr().out
    (talk,) = json.loads(file.read_text())["talks"]
    assert (talk["model"], talk["turns"], talk["workload"]["images"]) == ("tiny-prima", 2, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["prima-7b", "glamm-7b", "lisa-7b"])
def test_five_turns_about_three_images_at_full_size(name: str) -> None:
    ratio = count_talk_of(name, 5, Workload())["flops_ratio"]
    assert ratio["as_published"] <= 1 / 10
    assert ratio["per_turn"] <= 1 / 3
