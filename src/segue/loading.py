"""From a name, a folder or an agent's address to a model that can be asked: `segue.load`.

The module is not called `load`: importing it would put a module in the place of the function `segue.load`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from segue.agent.address import is_agent

if TYPE_CHECKING:
    import torch

    from segue.inference.loaded_model import LoadedModel


def load(
    name_or_path: str | Path = "segue-mini",
    device: str | torch.device | None = None,
    dtype: torch.dtype | str | None = None,
    quantize: str | None = None,
    calibration: str | Path | None = None,
) -> LoadedModel:
    """Load a model: `segue.load("segue-mini").session(images=["a.jpg", "b.jpg"]).ask("...")`.

    Args:
        name_or_path: A preset with weights, a folder that `save_pretrained` wrote, or the address of a chat
            model, "agent:http://localhost:8000/v1?model=NAME"; see docs/agent.md.
        device: The first CUDA device if there is one, else the CPU.
        dtype: float32 by default; see `segue.models.auto.load`.
        quantize: "8bit" or "4bit" shrinks the language model; see `segue.models.quantization`.
        calibration: File that `segue calibrate` wrote; by default `calibration.json` of the model's folder,
            if there is one.

    Returns:
        The model, ready for `session`.

    Raises:
        ModelError: There is no such model, or it cannot be loaded; the message says what to do.
        InputError: The calibration cannot be read.
    """
    from segue.records.presence import read_calibration

    # First what is wrong at once, then what takes seconds to load.
    given = None if calibration is None else read_calibration(Path(calibration))
    with collection_paused():
        if is_agent(name_or_path):
            # Not at the top: the agent's parts take a second to import, and few need them.
            from segue.agent.session import load_agent

            agent = load_agent(str(name_or_path), device, dtype, quantize)
            agent.calibration = given
            return agent
        from segue.inference.loaded_model import LoadedModel
        from segue.models import auto

        bundle = auto.load(name_or_path, device, dtype, quantize)
        kept = given if given is not None else bundle.calibration
        return LoadedModel(bundle.model, bundle.processor, bundle.name, bundle.path, kept)


@contextmanager
def collection_paused() -> Iterator[None]:
    """A block in which Python looks for no garbage.

    Importing torch and transformers makes a million objects that stay. Looking through them again and again
    took a sixth of the time until `segue ask` answers.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
