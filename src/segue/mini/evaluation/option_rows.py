"""The figures of `recipes/ablate_mini.sh` as tables: what leaving out each option costs.

python -m segue.mini.evaluation.option_rows runs/mini/options
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segue.errors import InputError

LEFT_OUT = {
    "all": "nothing left out",
    "found_places": "masks asked for where the readout finds things (`found_places`)",
    "folded_share": "heat of the trunk for names that both sources know (`folded_share`)",
    "simple_until": "simple conversations first (`simple_until`, `simple_fade`)",
    "pointing": "heads that are shown where to look (`pointing`)",
    "name_weight": "names weigh more in the text loss (`name_weight`)",
    "points": "prompts that are told the place (`points`)",
    "told": "lists of photographs (`told_share`)",
    "owners": "conversations about things that have parts (`owners`)",
    "marked": "questions that point (`marked`)",
    "free_noise": "noise in the places of the free tokens (`free_noise`)",
    "free_tokens": "free tokens (`model.overrides.free_tokens`)",
}

COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "look": {
        "told the name: IoU": ("masks", "mean_iou"),
        "told the place": ("masks", "mean_iou_given_place"),
        "asked": ("masks", "asked"),
        "its neighbour": ("masks", "neighbour"),
        "counted right": ("masks", "counted_right"),
        "names found": ("findings", "found"),
        "wrongly": ("findings", "wrongly_found"),
        "trunk alone: right image": ("trunk_only", "present", "right_image"),
        "IoU where right": ("trunk_only", "present", "mean_iou_right_image"),
    },
    "talk": {
        "drawn-up lists: F1": ("usual", "all", "f1"),
        "right instance": ("usual", "all", "right_instance"),
        "lists of photographs: F1": ("photographs", "all", "f1"),
        "absent refused": ("photographs", "all", "absent_refused"),
        "present refused": ("photographs", "all", "present_refused"),
        "exchanged: F1": ("exchanged", "all", "f1"),
        "marked: F1": ("usual", "marked", "f1"),
    },
}
"""Half to the columns of its table, each with its place in the JSON of a run."""


def rows(folder: Path, half: str) -> list[list[str]]:
    """Cells of a half's table: the option left out, then the figures; "-" where a run took none.

    Raises:
        InputError: no run of this half is there.
    """
    found = []
    for name, said in LEFT_OUT.items():
        file = folder / f"{half}_{name}.json"
        if file.exists():
            report = json.loads(file.read_text(encoding="utf-8"))
            found.append([said, *(_figure(report, place) for place in COLUMNS[half].values())])
    if not found:
        raise InputError(
            f"no run of the {half} half",
            expected=f"files {half}_NAME.json",
            found="none",
            where=str(folder),
            fix="run recipes/ablate_mini.sh",
        )
    return found


def _figure(report: Mapping[str, Any], place: Sequence[str]) -> str:
    value: Any = report
    for key in place:
        value = value.get(key) if isinstance(value, Mapping) else None
    return "-" if value is None else f"{value:.3f}"


def table(folder: Path, half: str) -> str:
    """The half's table in Markdown."""
    lines = [["left out", *COLUMNS[half]], ["---"] * (1 + len(COLUMNS[half])), *rows(folder, half)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of the halves that were run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="OUT of recipes/ablate_mini.sh")
    given = parser.parse_args(arguments)
    for half in COLUMNS:
        if list(given.folder.glob(f"{half}_*.json")):
            print(f"\n{table(given.folder, half)}")


if __name__ == "__main__":
    main()
