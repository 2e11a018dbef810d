"""`segue demo` without its packages says what to install; with them, it loads what was named."""

import importlib.util
from typing import Any

import pytest

from segue.cli import main


def test_without_gradio_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr("segue.cli.demo.find_spec", lambda name: None if name == "gradio" else there(name))
    assert main(["demo"]) == 2
    assert "pip install 'segue[demo]'" in capsys.readouterr().err


def test_models_are_loaded_once_each_and_agents_keep_their_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = pytest.importorskip("segue.apps.demo.run", reason="no Gradio: pip install '.[demo]'")
    served: dict[str, Any] = {}
    monkeypatch.setattr(run, "serve", lambda models, host, port, listening: served.update(models))
    address = "agent:http://localhost:9/v1?model=NAME&sam=none"
    assert main(["demo", "-m", "segue-mini", "-m", "segue-mini", "-m", address]) == 0
    assert list(served) == ["segue-mini", "agent:NAME"]
    assert capsys.readouterr().err.count("loading segue-mini") == 1
