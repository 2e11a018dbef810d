"""The scripts that make and measure the embedded models name modules that exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def test_modules_that_scripts_run_exist() -> None:
    for path in sorted(RECIPES.glob("*.sh")):
        text = path.read_text()
        modules = set(re.findall(r'-m "?(segue[\w.]+)(?!\$)\b', text)) - {"segue.mini.evaluation"}
        modules |= {f"segue.mini.evaluation.{name}" for name in re.findall(r"on_photos \w+ (\w+)", text)}
        # A script may leave its commands to another beside it: what it sources is read in its own turn.
        assert modules or re.search(r"^source recipes/\w+\.sh$", text, re.M), path
        for module in modules:
            assert importlib.util.find_spec(module.rstrip(".")), f"{path.name}: {module}"
