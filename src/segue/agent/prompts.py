"""The agent's prompts: text files in `segue/prompts`, so that they can be read and compared as text."""

from __future__ import annotations

from functools import cache
from importlib import resources
from string import Template


def prompt(name: str, **values: str) -> str:
    """A prompt with its `$names` filled in; what the values themselves hold is not looked at again."""
    return _template(name).substitute(values).strip()


@cache
def _template(name: str) -> Template:
    return Template((resources.files("segue") / "prompts" / f"{name}.txt").read_text(encoding="utf-8"))
