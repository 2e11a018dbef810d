"""Families are known to the Auto classes; the papers' ones do without the embedded one, which adds itself."""

from __future__ import annotations

import subprocess
import sys

from transformers import AutoConfig, AutoModel

from segue.models.registry import FAMILIES

WITHOUT = """
import sys
sys.modules[{absent!r}] = None
import segue.models.auto, segue.models.build, segue.models.requirements
from segue.models import PrimaModel
from segue.models.presets import PRESETS
from segue.models.registry import FAMILIES
PrimaModel(PRESETS["tiny-prima"].config())
print(*FAMILIES, *PRESETS)
"""


def run_without(module: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that uses the papers' models while a module cannot be imported."""
    code = WITHOUT.format(absent=module)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_every_family_is_known_to_the_auto_classes() -> None:
    assert {"prima", "lisa", "glamm", "miras", "prima_mini"} <= set(FAMILIES)
    for name, family in FAMILIES.items():
        assert type(AutoConfig.for_model(name)) is family.config
        assert AutoModel._model_mapping[family.config] is family.model


def test_the_papers_models_work_without_the_embedded_one() -> None:
    done = run_without("segue.models.mini")
    assert done.returncode == 0, done.stderr
    names = set(done.stdout.split())
    assert {"prima", "lisa", "glamm", "miras", "prima-7b", "tiny-prima"} <= names
    assert not names & {"prima_mini", "segue-scenes", "tiny"}


def test_a_broken_embedded_model_is_not_passed_over() -> None:
    done = run_without("segue.models.mini.slots")
    assert done.returncode != 0
    assert "segue.models.mini.slots" in done.stderr
