"""What every test gets: few threads, fixed seeds, no network, and the shared data where there is some."""

import os
import random
import sys
from pathlib import Path

# Before anything imports torch or transformers: both read these once.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"

import hypothesis
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# The tests are no package (--import-mode=importlib); what they share stands in modules beside this one.
sys.path.insert(0, str(REPOSITORY / "tests"))
pytest_plugins = ["tiny_model"]

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
