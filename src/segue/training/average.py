"""The mean of the weights of runs that went on from the same weights."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoProcessor

from segue.errors import InputError
from segue.models.auto import load_model
from segue.training.recipe import InitRecipe
from segue.training.run import load_parts, save_final


def average(sources: Sequence[Path], out: Path, parts: Sequence[str] = ()) -> Path:
    """Average the weights of several saved models; what they share stays as it is.

    Runs of other seeds that start from the same weights end near each other, and their mean is wrong less
    often than each of them. Means of runs that started apart are worth nothing.

    Args:
        sources: folders of models of the same shape; all but the weights is taken from the first.
        out: folder to write.
        parts: beginnings of the names of the parameters to average; all when empty.

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


def main() -> None:
    """`python -m segue.training.average RUN/final OTHER/final ... --out DIR [--parts label_reader]`."""
    parser = argparse.ArgumentParser(description=average.__doc__)
    parser.add_argument("sources", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="*", default=[])
    arguments = parser.parse_args()
    print(average(arguments.sources, arguments.out, arguments.parts))


if __name__ == "__main__":
    main()
