"""Catalogues of sources of annotated images: one entrance for all of them, by name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue.data.sources.source import ImageSource
from segue.errors import InputError


@dataclass(frozen=True)
class SourceCatalogue:
    """Sources by name; the module of a source is imported when it is first asked for.

    Attributes:
        classes: Name to "module:class".
    """

    classes: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Names that `open` knows."""
        return tuple(self.classes)

    def source_class(self, name: str) -> type[ImageSource]:
        """The class of a source, to ask for its `splits` before anything is opened.

        Raises:
            InputError: There is no such source.
        """
        if name not in self.classes:
            raise InputError(
                "There is no such source.",
                expected=", ".join(self.names),
                found=repr(name),
                where="name",
                fix="choose one of these",
            )
        module, _, kind = self.classes[name].partition(":")
        found: type[ImageSource] = getattr(importlib.import_module(module), kind)
        return found

    def open(self, name: str, root: str | Path, *, split: str = "train", **options: Any) -> ImageSource:
        """Open a source; nothing but its layout and its lists is read before it is iterated over.

        Example:
            `open("pascal_part", "/data/pascal", split="val", vocabulary="116", split_lr=True)`

        Args:
            name: One of `names`.
            root: The folder (for COCO and LabelMe also the file) as it was downloaded.
            split: One of the source's own splits; where the data is not divided, what it is to be called.
            options: Of the source; see its class.

        Returns:
            The source; iterate over it, then look at its `report`.

        Raises:
            InputError: An unknown name, split or option, or a root that is not what the source expects.
        """
        kind = self.source_class(name)
        _check_options(name, kind, options)
        return kind(Path(root).expanduser(), split, **options)


def _check_options(name: str, kind: type[ImageSource], options: Mapping[str, Any]) -> None:
    parameters = inspect.signature(kind).parameters
    # The first two are `root` and `split`, which every source has.
    known = list(parameters)[2:]
    unknown = [option for option in options if option not in known]
    unclear = [
        option
        for option, value in options.items()
        # The annotation is a text, because the sources' modules import `annotations` from `__future__`.
        if option in known and parameters[option].annotation == "bool" and not isinstance(value, bool)
    ]
    if unknown:
        raise InputError(
            f"The source {name} has no such option.",
            expected=", ".join(known) or "no options",
            found=", ".join(unknown),
            where="options",
            fix="leave it out",
        )
    if unclear:
        raise InputError(
            f"An option of the source {name} has a wrong value.",
            expected="true or false",
            found=repr(options[unclear[0]]),
            where=unclear[0],
            fix="write true or false",
        )


CATALOGUE = SourceCatalogue(
    {
        "ade20k_part": "segue.data.sources.ade20k_part:Ade20kPart",
        "pascal_part": "segue.data.sources.pascal_part:PascalPart",
        "pascal_part116": "segue.data.sources.pascal_part116:PascalPart116",
        "paco_lvis": "segue.data.sources.paco_lvis:PacoLvis",
        "coco": "segue.data.sources.coco_file:CocoFile",
        "labelme": "segue.data.sources.labelme_folder:LabelMeFolder",
    }
)
"""The data sets that people bring; `segue.datasets.sources` adds drawn scenes."""

SOURCES = CATALOGUE.names
open_source = CATALOGUE.open
source_class = CATALOGUE.source_class
