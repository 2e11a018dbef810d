"""Segmenters side by side: sizes as published, and costs that grow where they should."""

import json
from pathlib import Path

import pytest

from segue.cli import main
from segue.evaluation.segmenters import PUBLISHED, count_segmenter


def test_vit_b_costs_what_pencil_and_paper_give() -> None:
    width, places = 768, 64 * 64

    def block(seen: int, side: int) -> int:
        projections, products = 4 * width * width * seen, 2 * seen * side * side * width
        relative_positions = seen * 2 * side * width
        return projections + products + relative_positions + 8 * width * width * places

    patches, neck = places * 16 * 16 * 3 * width, places * (width * 256 + 9 * 256 * 256)
    # Eight blocks look into windows of 14, for which 64 is padded to 70; four look everywhere.
    multiply_adds = patches + 8 * block(70 * 70, 14) + 4 * block(places, 64) + neck
    cost = count_segmenter("SAM ViT-B", 1)
    assert cost.encode_flops == 2 * multiply_adds
    assert cost.kept_bytes == 2 * places * 256


def test_more_masks_cost_no_further_encoder_call() -> None:
    one, six = (count_segmenter("SAM 2.1 Hiera-T", masks) for masks in (1, 6))
    assert one.encode_flops == six.encode_flops
    assert one.draw_flops < six.draw_flops < one.encode_flops


def test_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {name: entry for name, entry in PUBLISHED.items() if name.endswith("-T")}
    monkeypatch.setattr("segue.evaluation.segmenters.PUBLISHED", kept)
    file = tmp_path / "counted.json"
    assert main(["bench", "--segmenters", "--images", "2", "--masks", "3", "--json", str(file)]) == 0
    content = json.loads(file.read_text())
    assert content["masks"] == 2
    assert [entry["name"] for entry in content["segmenters"]] == ["SAM 2.1 Hiera-T"]
    assert "SAM 2.1 Hiera-T" in capsys.readouterr().out
    assert main(["bench", "--segmenters", "--model", "tiny"]) == 2
    assert "2 of them" in capsys.readouterr().err
