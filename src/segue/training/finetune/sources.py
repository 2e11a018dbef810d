"""The data of a run: what is read, in which shares it is drawn, and what the picture sheets ask."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segue.errors import InputError
from segue.records import Conversation
from segue.training.engine.data_hash import DataHash, hash_data
from segue.training.finetune.mixture import Mixture, Source
from segue.training.recipe import OwnDataRecipe, Recipe

if TYPE_CHECKING:
    from segue.data.own import OwnData


@dataclass
class Sources:
    """The mixture of a run, what the sheets ask, and where all of it came from.

    Attributes:
        mixture: Of the training data.
        questions: Validation data; the first training data where there are none.
        read: What was read, in the order of `data.own`, then `data.val`.
        recipes: The entries of the recipe that they were read by.
        files: Files and folders of the training data.
        out: Run folder; what lies in it is no part of the data, wherever it is.
    """

    mixture: Mixture
    questions: Source
    read: list[OwnData]
    recipes: list[OwnDataRecipe]
    files: list[Path]
    out: Path | None = None

    @cached_property
    def hash(self) -> DataHash:
        """Hash of the training data; reading them takes a while."""
        # A run folder may lie among the data, and its checkpoints would change the hash from step to step.
        return hash_data(self.files, without=self.out)

    def fixed_questions(self, count: int) -> list[tuple[Conversation, Path]]:
        """The same questions in every run of the same data."""
        return [(c, self.questions.root) for c in self.questions.fixed(count, self.mixture.seed)]

    def lines(self) -> list[str]:
        """The reports of the readings and the shares, for people."""
        said = [line for own in self.read for line in own.report.lines()]
        if len(self.mixture.shares) > 1:
            shares = zip(self.mixture.shares, self.recipes, strict=False)
            said.append("mixture: " + ", ".join(f"{share:.1%} {r.path}" for share, r in shares))
        return said

    def to_json(self) -> dict[str, Any]:
        """For data.json."""
        shares = [*self.mixture.shares, *([None] * (len(self.read) - len(self.mixture.shares)))]
        return {
            "hash": self.hash.to_json(),
            "sources": [
                {
                    "path": recipe.path,
                    "format": own.format,
                    "share": share,
                    "length": len(own.source),
                    "report": own.report.to_json(),
                }
                for own, recipe, share in zip(self.read, self.recipes, shares, strict=True)
            ],
        }


def check_given(recipe: Recipe) -> None:
    """Refuse a recipe whose data cannot be mixed.

    Raises:
        InputError: None is named, or only some have weights.
    """
    given = recipe.data.own
    if not given:
        raise InputError(
            "There are no data to train on.",
            expected="at least one file or folder of annotations",
            found="none",
            where="data.own",
            fix="give --data FILE --images DIR, or fill in data.own of the recipe",
        )
    without = [own.path for own in given if own.weight is None]
    if 0 < len(without) < len(given):
        raise InputError(
            "Some data sets have a weight and some have none.",
            expected="a weight for every data set, or for none",
            found=f"no weight for {without[0]}",
            where="data.own",
            fix=f"write --data {without[0]}::1.0, or leave out the other weights",
        )


def open_sources(recipe: Recipe, out: Path | None = None) -> Sources:
    """Read every data set of a recipe.

    Args:
        out: Run folder; what lies in it is no part of the data, wherever it is.

    Raises:
        InputError: None is named, one cannot be read, or only some have weights.
    """
    from segue.data.own import read_own_data
    from segue.data.own.pointing import PointingSource
    from segue.data.own.sources import AnnotationSource

    check_given(recipe)
    given = recipe.data.own
    weights = [own.weight for own in given if own.weight is not None]
    entries = [*given, *([recipe.data.val] if recipe.data.val is not None else [])]
    read = [
        read_own_data(
            Path(entry.path),
            images=Path(entry.images) if entry.images else None,
            format=entry.format,
            # Behind the training data comes data.val, if there is one.
            split=entry.split or ("train" if place < len(given) else "val"),
            keep_crowds=entry.keep_crowds,
            images_option="--images" if place < len(given) else "--val-images",
        )
        for place, entry in enumerate(entries)
    ]
    training = read[: len(given)]
    if recipe.data.regions:
        # Without a run folder nothing is written, so no photograph is shown again.
        pictures = None if out is None else out / "pictures"
        for own in training:
            if isinstance(own.source, AnnotationSource):
                own.source = PointingSource(own.source, recipe.data.regions, pictures)
    mixture = Mixture([own.source for own in training], weights or None, recipe.data.seed)
    paths = [file for own in training for file in own.files]
    paths += [Path(own.images) for own in given if own.images is not None]
    # `data.val` was read last.
    questions = read[-1 if recipe.data.val else 0].source
    return Sources(mixture, questions, read, entries, paths, out)


def check_same_data(out: Path, found: DataHash, *, resuming: bool) -> None:
    """Refuse to go on with a run on other data: its curve would not be what it seems.

    Raises:
        InputError: The hash differs from that of the run.
    """
    path = out / "run.json"
    if not resuming or not path.is_file():
        return
    before = json.loads(path.read_text()).get("data", {}).get("sha256")
    if before not in (None, found.sha256):
        raise InputError(
            "The data are not those that this run began with.",
            expected=f"data hash {before[:16]}",
            found=found.sha256[:16],
            where=str(out),
            fix="restore the data, train into another folder, or begin anew with --no-resume",
        )
