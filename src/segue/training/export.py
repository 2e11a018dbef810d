"""Trained models made ready for shipping: half precision."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoProcessor

from segue.models.auto import load_model
from segue.training.engine.loop import save_final


def export(source: Path, out: Path, dtype: torch.dtype = torch.float16) -> Path:
    """Convert the weights of a saved model to `dtype`.

    Args:
        source: Folder of a model and its processor.
        out: Folder to write.
        dtype: Of the file; `segue.load` computes in float32 on a CPU.

    Returns:
        `out`.
    """
    model = load_model(source, torch.float32)
    return save_final(out, model, AutoProcessor.from_pretrained(source), dtype)


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m segue.training.export RUN/final --out DIR`: the same model in half precision."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("source", type=Path, help="folder of a model and its processor")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    out = export(given.source, given.out)
    size = sum(f.stat().st_size for f in out.iterdir() if f.is_file())
    print(f"{out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
