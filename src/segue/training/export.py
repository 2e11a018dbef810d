"""Trained models made ready for shipping: the mean of several runs, and half precision."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoProcessor

from segue.errors import InputError
from segue.models.auto import load_model
from segue.training.engine.loop import load_parts, save_final
from segue.training.recipe import InitRecipe


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


def average(sources: Sequence[Path], out: Path, parts: Sequence[str] = ()) -> Path:
    """Average the weights of several saved models; what they share stays as it is.

    Runs of other seeds that start from the same weights end near each other, and their mean is wrong less
    often than each of them. Means of runs that started apart are worth nothing.

    Args:
        sources: Folders of models of the same shape; all but the weights is taken from the first.
        out: Folder to write, in float32.
        parts: Beginnings of the names of the parameters to average; all when empty.

    Returns:
        `out`.

    Raises:
        InputError: fewer than two models, no parameter with such a name, or shapes that differ.

    Source: Wortsman et al. 2022 ("Model soups").
    """
    if len(sources) < 2:
        raise InputError(
            "There is nothing to average.",
            expected="two or more models",
            found=str(len(sources)),
            where="average",
            fix="name the final folders of several runs",
        )
    model = load_model(sources[0], torch.float32)
    weights = []
    for folder in reversed(sources):  # what has no mean, a count of batches, is then the first one's
        names = load_parts(model, InitRecipe(folder=str(folder), parts=list(parts)))
        weights.append({name: model.state_dict()[name].clone() for name in names})
    for name, weight in model.state_dict().items():
        if name in weights[0] and weight.is_floating_point():
            weight.copy_(torch.stack([w[name] for w in weights]).mean(0))
    return save_final(out, model, AutoProcessor.from_pretrained(sources[0]))


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m segue.training.export RUN/final --out DIR`; several folders are averaged, in float32."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("sources", type=Path, nargs="+", help="one model to halve, or several to average")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="*", default=[], help="average only parameters that begin so")
    given = parser.parse_args(arguments)
    several = len(given.sources) > 1
    out = average(given.sources, given.out, given.parts) if several else export(given.sources[0], given.out)
    size = sum(f.stat().st_size for f in out.iterdir() if f.is_file())
    print(f"{out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
