"""What every test gets: few threads, fixed seeds, no network, and the shared data where there is some."""

import os
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Before anything imports torch or transformers: both read these once.
os.environ.setdefault("OMP_NUM_THREADS", "2")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Side by side (`make test`) each has a core; two threads on one change sums from run to run. Set anew:
    # whoever starts the workers has come by here too, and hands its two threads down.
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"

import hypothesis
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# The tests are no package (--import-mode=importlib); what they share stands in modules beside this one.
sys.path.insert(0, str(REPOSITORY / "tests"))
pytest_plugins = ["tiny_model", "serving", "chat_server", "browser_page", "small_runs"]

# Derandomized and without an example database: what fails on one machine fails on every machine. No deadline:
# the first call of a function that imports torch takes seconds.
hypothesis.settings.register_profile("segue", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("segue")


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """Seed the global generators; torch's only if something has loaded it, which takes seconds."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  the libraries below us still draw from the global generator
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data that is not ours to ship; skips the test, with the reason, where it is absent."""
    path = Path(os.environ.get("SEGUE_SHARED", REPOSITORY.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"no shared data at {path}: set SEGUE_SHARED to the folder that holds it")
    return path


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """At most 600 subwords learned from two exchanges; whatever else is typed falls apart into bytes."""
    from segue.mini.tokenizer import train_tokenizer

    texts = [
        "The (IMAGE1), (IMAGE2) provide an overview of the pictures. USER: What can you drink coffee from?",
        " ASSISTANT: You can drink coffee from the red mug in image 1, not from the blue chair. What is it?",
    ]
    return train_tokenizer(texts * 4, 600)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_tokenizer: Any) -> SimpleNamespace:
    """`model`, `processor` and `tokenizer` of the `tiny` preset as it is built; do not change its weights."""
    from segue.models.mini.build import build_from_tokenizer

    model, processor = build_from_tokenizer("tiny", tiny_tokenizer)
    return SimpleNamespace(model=model, processor=processor, tokenizer=tiny_tokenizer)
