"""Write a trained model as small weights for shipping: half precision, processor beside it."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import AutoProcessor

from segue.models.auto import load_model
from segue.training.run import save_final


def export(source: Path, out: Path, dtype: torch.dtype = torch.float16) -> Path:
    """Convert the weights of a saved model to `dtype`.

    Args:
        source: folder of a model and its processor.
        out: folder to write.
        dtype: of the file; `segue.load` computes in float32 on a CPU.

    Returns:
        `out`.
    """
    model = load_model(source, torch.float32)
    return save_final(out, model, AutoProcessor.from_pretrained(source), dtype)


def main() -> None:
    """`python -m segue.training.export RUN/final --out DIR`."""
    parser = argparse.ArgumentParser(description=export.__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    out = export(arguments.source, arguments.out)
    size = sum(f.stat().st_size for f in out.iterdir() if f.is_file())
    print(f"{out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
