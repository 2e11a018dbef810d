"""All figures of the model card that are taken on photographs, in one run: each picture is encoded once.

python -m segue.mini.evaluation.photo_report segue-mini --data ../shared/data --out runs/mini/photographs.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from segue.files import write_atomic
from segue.inference.encoder_cache import EncoderCache
from segue.inference.loaded_model import LoadedModel
from segue.loading import load
from segue.mini.evaluation.controls import measure_controls
from segue.mini.evaluation.photo_pairs import draw_pairs, measure
from segue.mini.evaluation.selective import measure_choices, neighbours, one_of_two
from segue.mini.evaluation.timings import measure_timings
from segue.mini.evaluation.unknown_pictures import measure_unknown
from segue.mini.look.photographs import Photograph, read_photographs
from segue.models.mini.names import NameTable, name_table

CACHED_BYTES = 3 << 30
"""All 502 photographs of `everyday/val` as encoded."""

TIMED = 12
"""Photographs, two to a conversation, of which the first pair warms up."""

Measured = dict[str, Any]


class PhotoReport:
    """Takes the figures.

    Args:
        model: loaded.
        photographs: of `everyday/val`.
        data: folder of `everyday/` and `objects/`.
        count: questions of each row; controls and unknown pictures take fewer.
        split: of the data.
    """

    def __init__(
        self,
        model: LoadedModel,
        photographs: Sequence[Photograph],
        data: Path,
        count: int,
        split: str = "val",
        table: NameTable | None = None,
    ) -> None:
        self.model, self.photographs, self.data, self.count = model, photographs, data, count
        self.split, self.table = split, table or name_table()

    @property
    def parts(self) -> dict[str, Callable[[], Measured]]:
        """What can be measured, by name."""
        return {
            "pairs": self.pairs,
            "pairs_as_shown": lambda: self.pairs(as_shown=True),
            "neighbours": lambda: measure_choices(
                self.model, neighbours(self.photographs, self.table, self.count)
            ),
            "one_of_two": lambda: measure_choices(self.model, one_of_two(self.photographs, self.count)),
            "trunk_only": self.trunk_only,
            **({"left_out": self.left_out} if self.never_trained else {}),
            "controls": self.controls,
            "unknown": self.unknown,
            "timings": lambda: measure_timings(
                self.model,
                [p.path for p in self.photographs[:TIMED]],
                name=str(self.model.path or self.model.name),
            ),
        }

    def pairs(self, *, as_shown: bool = False) -> Measured:
        """Of two photographs one shows it, or neither does; names equally often, or as often as shown."""
        drawn = (
            draw_pairs(self.photographs, self.table, self.count, absent=absent, as_shown=as_shown)
            for absent in (False, True)
        )
        present, absent = (measure(self.model, pairs) for pairs in drawn)
        return {"present": present, "absent": absent}

    @property
    def never_trained(self) -> tuple[str, ...]:
        """Names that were kept from all training of a model that was made to measure this."""
        config = getattr(getattr(self.model, "model", None), "config", None)
        return tuple(getattr(config, "left_out", ()))

    def left_out(self) -> Measured:
        """Pairs over the names of `never_trained`, each equally often: only the trunk knows them."""
        found = {}
        for absent in (False, True):
            pairs = draw_pairs(
                self.photographs, self.table, self.count // 2, absent=absent, among=self.never_trained
            )
            found["absent" if absent else "present"] = measure(self.model, pairs)
        return {"names": list(self.never_trained), **found}

    def trunk_only(self) -> Measured:
        """The same over kinds of `objects` that no readout learned: only the trunk knows them."""
        photographs = read_photographs(self.data, "objects", self.split, self.table)
        names = {name for name, record in self.table.names.items() if not record.trained}
        few = [p for p in photographs if p.shown() and p.shown() <= names]
        found = {}
        for absent in (False, True):
            pairs = draw_pairs(few, self.table, self.count // 2, absent=absent)
            figures = measure(self.model, pairs)
            found["absent" if absent else "present"] = {k: v for k, v in figures.items() if " " not in k}
        return found

    def controls(self) -> Measured:
        """What is left when one thing that the model looks at is taken away."""
        pairs = draw_pairs(self.photographs, self.table, self.count // 2, absent=False)
        return dict(measure_controls(self.model, pairs))

    def unknown(self) -> Measured:
        """Pages, plots and textures against photographs."""
        every = [p.path for p in self.photographs]
        count = self.count // 4
        return measure_unknown(self.model, every[:: max(1, len(every) // (3 * count))][: 3 * count], count)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description="Measure the embedded model on photographs.")
    parser.add_argument("model", help="name or folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of everyday/ and objects/")
    parser.add_argument("--split", default="val")
    parser.add_argument("--count", type=int, default=100, help="questions of each row")
    parser.add_argument("--only", nargs="*", help="some of the parts by name; all by default")
    parser.add_argument("--out", type=Path, help="JSON file; parts that it holds already are kept")
    options = parser.parse_args(arguments)
    model = load(options.model)
    model.encoder_cache = EncoderCache(CACHED_BYTES)
    photographs = read_photographs(options.data, "everyday", options.split, name_table())
    report = PhotoReport(model, photographs, options.data, options.count, options.split)
    found = json.loads(options.out.read_text()) if options.out and options.out.exists() else {}
    for name in options.only or report.parts:
        found[name] = report.parts[name]()
        print(name, json.dumps(found[name], indent=1), flush=True)
        if options.out:
            write_atomic(options.out, json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
