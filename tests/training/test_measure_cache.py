"""The measurement of kept features times what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segue.training.engine.trainer import set_trainable
from segue.training.measure_cache import main, measure
from segue.training.run import save_final


def test_both_kinds_train_on_the_same_batches(
    tiny: Callable[..., Any], records: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = tiny()
    set_trainable(model, ("language_model", "image_projection"))
    time = [0.0]
    encode = model.encode_sam

    def slow(pixels: Any) -> Any:
        time[0] += 3.0
        return encode(pixels)

    step = model.language_model.model.forward

    def language(*args: Any, **kwargs: Any) -> Any:
        time[0] += 1.0
        return step(*args, **kwargs)

    monkeypatch.setattr(model, "encode_sam", slow)
    monkeypatch.setattr(model.language_model.model, "forward", language)
    found = measure(model, processor, records, tmp_path, steps=3, batch_size=2, tick=lambda: time[0])
    # On this clock a step takes one second, SAM's encoder three, whatever the number of images in its call.
    assert (found.seconds_without, found.seconds_with, found.ratio) == (4.0, 1.0, 4.0)
    assert found.seconds_to_compute == 3.0
    assert len(list(tmp_path.glob("*/*.safetensors"))) == found.images > 2
    # The encoders see one image instead of a batch: float32 sums in another order.
    assert found.loss_difference < 1e-4
    assert "4.00 times as fast" in found.line()


def test_the_command(
    tiny: Callable[..., Any], scene_records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = save_final(tmp_path / "start", *tiny())
    main(data=scene_records, images=None, model=str(start), steps=1, batch_size=1)
    said = capsys.readouterr()
    assert json.loads(said.out)["ratio"] > 0
    assert "times as fast" in said.err
