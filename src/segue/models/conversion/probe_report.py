"""What a probe found, for people to read and as a file for a bug report.

The file holds names and shapes, each kind of layer once, and config.json without paths: kilobytes, enough
to probe the same layout again elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from segue import __version__
from segue.files import write_atomic
from segue.models.conversion.headers import FORMAT
from segue.models.conversion.probe import Fate, Probe

_NUMBER = re.compile(r"(?:(?<=\.)|^)\d+(?=\.)")


def condensed(fates: Iterable[Fate]) -> list[dict[str, Any]]:
    """Tensors that differ in the number of their layer alone, as one entry; nothing is lost.

    `model.layers.0.mlp.up_proj.weight` to `model.layers.31...` become `model.layers.{}.mlp.up_proj.weight`
    with `numbers` `0-31`.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for fate in fates:
        match = _NUMBER.search(fate.name) if "{" not in fate.name else None
        # A number of more digits than int() writes back is no layer's.
        if match is None or str(int(match[0])) != match[0]:
            key = (fate.name, fate.shape, fate.dtype, fate.becomes, fate.left_out, fate.problem)
            groups[key] = []
            continue
        blank = _blank(match[0])
        name = f"{fate.name[: match.start()]}{{}}{fate.name[match.end() :]}"
        key = (
            name,
            fate.shape,
            fate.dtype,
            tuple(map(blank, fate.becomes)),
            fate.left_out,
            blank(fate.problem),
        )
        groups.setdefault(key, []).append(int(match[0]))
    return [_entry(key, numbers) for key, numbers in groups.items()]


def _blank(number: str) -> Callable[[str], str]:
    pattern = re.compile(rf"(?<![^.]){number}(?![^.])")
    return lambda text: pattern.sub("{}", text, count=1)


def _entry(key: tuple[Any, ...], numbers: list[int]) -> dict[str, Any]:
    name, shape, dtype, becomes, left_out, problem = key
    entry: dict[str, Any] = {"name": name}
    if numbers:
        entry["numbers"] = runs(numbers)
    entry |= {"shape": list(shape), "dtype": dtype}
    entry |= {"becomes": list(becomes)} if becomes else {}
    entry |= {"left_out": left_out} if left_out else {}
    return entry | ({"problem": problem} if problem else {})


def runs(numbers: list[int]) -> str:
    """`[0, 1, 2, 5]` as `0-2,5`."""
    found: list[list[int]] = []
    for n in sorted(numbers):
        if found and n == found[-1][1] + 1:
            found[-1][1] = n
        else:
            found.append([n, n])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def told(found: Probe) -> list[str]:
    """The report as lines to read: every kind of tensor and where it would go, the troubles last."""
    fits = "it would be converted" if found.fits else "it would not be converted"
    lines = [f"{found.source}: {found.kind or 'of no kind that is known'}; {fits}"]
    lines += [found.stopped] if found.stopped else []
    entries = condensed(found.fates)
    for e in sorted(entries, key=lambda e: "problem" in e):
        size = f"{_numbered(e)} {e['shape']} {e['dtype']}"
        fate = e.get("problem") or (f"left out: {e['left_out']}" if "left_out" in e else "")
        places = ", ".join(e.get("becomes", ()))
        lines.append(
            f"  {size} {'-> ' + places if places else ''}{' ' if places and fate else ''}{fate}".rstrip()
        )
    for e in condensed(Fate(name, shape, "") for name, shape in found.missing.items()):
        lines.append(f"  missing: {_numbered(e)} {e['shape']}")
    lines += [f"  two tensors for one: {line}" for line in found.twice]
    for e in condensed(Fate(name, (), shard) for name, shard in found.absent.items()):
        lines.append(f"  not here: {_numbered(e)} in {e['dtype']}")
    return lines


def _numbered(entry: Mapping[str, Any]) -> str:
    """A name with its numbers in their place."""
    return str(entry["name"]).replace("{}", f"{{{entry.get('numbers', '')}}}", 1)


def report(found: Probe) -> dict[str, Any]:
    """The content of a report, small enough to be attached to a bug report."""
    missing = [Fate(name, shape, "") for name, shape in found.missing.items()]
    return {
        "format": FORMAT,
        "segue": __version__,
        "source": found.source,
        "kind": found.kind,
        "fits": found.fits,
        "summary": found.summary(),
        **({"stopped": found.stopped} if found.stopped else {}),
        "tensors": condensed(found.fates),
        "missing": [{k: v for k, v in e.items() if k != "dtype"} for e in condensed(missing)],
        "twice": list(found.twice),
        "elsewhere": dict(found.elsewhere),
        "absent": [
            {key: entry[key] for key in ("name", "numbers") if key in entry} | {"shard": entry["dtype"]}
            for entry in condensed(Fate(name, (), shard) for name, shard in found.absent.items())
        ],
        "config": found.config,
    }


def write_report(found: Probe, file: Path) -> Path:
    """Write the report, whole or not at all."""
    content = report(found)
    # One tensor a line: readable, and half as large as one value a line.
    listed = {key: content.pop(key) for key in ("tensors", "missing", "absent")}
    text = json.dumps(content, indent=1, ensure_ascii=True)
    lines = [
        f' "{key}": [' + ",".join("\n  " + json.dumps(e) for e in entries) + ("\n ]" if entries else "]")
        for key, entries in listed.items()
    ]
    return write_atomic(file, text[:-2] + ",\n" + ",\n".join(lines) + "\n}\n")
