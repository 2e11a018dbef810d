"""The scripts that make and measure the embedded model: their modules exist, and all stages run small."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SMALL = '''#!{python}
"""Stands for `segue` and adds what makes a stage small."""
import sys
arguments = sys.argv[1:]
stage = arguments[1].removeprefix("recipes/scenes_").removesuffix(".yaml")
small = {{
    "model.preset": "tiny", "model.overrides": "{{num_query_tokens: 17, label_reader_size: 64}}",
    "model.tokenizer.vocab_size": 700, "model.tokenizer.dialogues": 80,
    "data.scenes.count": 10, "data.scenes.size": 64,
    "data.photos": "{{coco: {coco}, images: {images}, size: 96}}",
    "optimiser.max_steps": 2, "optimiser.warmup_steps": 1, "options.batch_size": 2,
}}
if stage in ("conversation", "joint"):
    small["options.pointing_heads"] = "[[0, 0]]"
if stage == "labels":
    small["options.size"] = 64
for name, value in small.items():
    arguments += ["--set", f"{{name}}={{value}}"]
from segue.cli import main
sys.exit(main(arguments))
'''


def test_modules_that_scripts_run_exist() -> None:
    for path in sorted(RECIPES.glob("*.sh")):
        text = path.read_text()
        modules = set(re.findall(r'-m "?(segue[\w.]+)(?!\$)\b', text)) - {"segue.mini.evaluation"}
        modules |= {f"segue.mini.evaluation.{name}" for name in re.findall(r"on_photos \w+ (\w+)", text)}
        # A script may leave its commands to another beside it: what it sources is read in its own turn.
        assert modules or re.search(r"^source recipes/\w+\.sh$", text, re.M), path
        for module in modules:
            assert importlib.util.find_spec(module.rstrip(".")), f"{path.name}: {module}"


@pytest.mark.slow
def test_all_six_stages_follow_each_other(ground: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "recipes").symlink_to(RECIPES)
    (tmp_path / "bin").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    script = tmp_path / "reproduce.sh"
    # The script works in the folder above its own: this copy in its own, where less time is lost waiting.
    text = (RECIPES / "reproduce_scenes.sh").read_text()
    assert '/.."' in text
    script.write_text(text.replace('/.."', '"').replace("sleep 60", "sleep 20"))
    stand_in = tmp_path / "bin" / "segue"
    stand_in.write_text(SMALL.format(python=sys.executable, coco=ground.coco, images=ground.coco.parent))
    stand_in.chmod(0o755)
    environment = os.environ | {"SEGUE": str(stand_in), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    weights = load_file(tmp_path / "runs" / "scenes" / "segue-scenes" / "model.safetensors")
    assert torch.float16 in {value.dtype for value in weights.values()}
    assert any(name.startswith("label_reader") for name in weights)
