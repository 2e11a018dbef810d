"""`segue convert --probe`: what each tensor would become, what is left over, what is missing.

No weight is read: names, shapes and config.json suffice. `probe_report.py` writes it down.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segue.errors import ModelError, SegueError
from segue.models.conversion.checkpoints import Checkpoint
from segue.models.conversion.families import identify
from segue.models.conversion.headers import Headers, type_name
from segue.models.conversion.plan import Problem, Shape, lay_out
from segue.models.conversion.probe_targets import Outlook, outlook
from segue.models.conversion.streaming import joined_shapes

MAX_LAYERS = 1000
MAX_NUMBER = 10**9
_TOO_MANY = re.compile(r"layers|depth|blocks|stages|registers|queries")


@dataclass(frozen=True)
class Fate:
    """What one tensor of the source would become.

    Attributes:
        name, shape, dtype: of the tensor.
        becomes: names of parameters.
        left_out: why it is not wanted.
        problem: `left over`, or `wrong size` and what was expected.
    """

    name: str
    shape: Shape
    dtype: str
    becomes: tuple[str, ...] = ()
    left_out: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Probe:
    """What would happen to a checkpoint.

    Attributes:
        source: name of the folder or repository, without its path.
        kind: see `identify`; None where it is of none.
        config: its config.json, without paths.
        fates: of every tensor whose shape is known.
        missing: parameters that nothing fills, and their shapes.
        twice: parameters that two tensors fill.
        fresh: parameters that would start fresh.
        elsewhere: repository -> number of parameters that come from it.
        absent: names in shards whose beginning is not here -> those shards.
        notes: what would be assumed.
        stopped: why no place could be looked for.
    """

    source: str
    kind: str | None
    config: Mapping[str, Any]
    fates: tuple[Fate, ...]
    missing: Mapping[str, Shape] = field(default_factory=dict)
    twice: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stopped: str = ""

    @property
    def fits(self) -> bool:
        """Whether a conversion would go through, given what comes from elsewhere."""
        in_the_way = self.missing or self.twice or self.absent or any(f.problem for f in self.fates)
        return not (self.stopped or in_the_way)

    def summary(self) -> list[str]:
        """Counts as sentences."""
        used = sum(bool(f.becomes) and not f.problem for f in self.fates)
        counts = {
            "become parameters": used,
            "left out on purpose": sum(bool(f.left_out) for f in self.fates),
            "left over": sum(f.problem == "left over" for f in self.fates),
            "of a wrong size": sum(f.problem.startswith("wrong size") for f in self.fates),
            "in shards that are not here": len(self.absent),
        }
        lines = [f"{len(self.fates) + len(self.absent)} tensors"]
        lines += [f"{count} {what}" for what, count in counts.items() if count]
        lines += [f"{len(self.missing)} parameters are missing"] if self.missing else []
        lines += [f"{len(self.twice)} parameters have two tensors"] if self.twice else []
        lines += [f"{len(self.fresh)} parameters would start fresh"] if self.fresh else []
        lines += [f"{count} parameters come from {name}" for name, count in self.elsewhere.items()]
        return [*lines, *self.notes]


def probe(
    headers: Headers, beside: Mapping[str, Checkpoint] | None = None, *, name: str | None = None
) -> Probe:
    """Look for the place of every tensor.

    Args:
        headers: what is known of the checkpoint.
        beside: repositories given with it, by option: `clip`, `dinov2`, `convnext`, `sam`.
        name: what the report calls it; the name of its folder or file by default.

    Raises:
        ModelError: config.json holds a number that no model has.
    """
    checkpoint = headers.checkpoint
    check_numbers(checkpoint.config)
    known: dict[str, Any] = {
        "source": name or checkpoint.path.name,
        "config": without_paths(checkpoint.config),
    }
    known |= {"absent": headers.absent}
    bare = tuple(_fate(checkpoint, name, problem="") for name in checkpoint.shapes)
    kind: str | None = None
    try:
        # Names alone decide, so that the absent ones count too.
        kind = identify([*checkpoint.shapes, *headers.absent], checkpoint.config)
        found = outlook(kind, checkpoint, beside or {})
    except SegueError as error:
        return Probe(kind=kind, fates=bare, stopped=_sentence(error), **known)
    # What a stranger wrote into config.json and shapes goes through the constructors of many classes, each
    # with errors of its own; here they all mean that no model of these sizes can be built.
    except Exception as error:
        reason = f"no model of these sizes can be built: {type(error).__name__}: {error}"
        return Probe(kind=kind, fates=bare, stopped=" ".join(reason.split())[:300], **known)
    return _laid_out(kind, checkpoint, found, known)


def _laid_out(kind: str, checkpoint: Checkpoint, found: Outlook, known: Mapping[str, Any]) -> Probe:
    target = found.target
    sources = joined_shapes({"": checkpoint, **found.beside})
    planned, problems = lay_out(sources, target.shapes, target.rules, fresh=target.fresh)
    wrong: dict[str, Problem] = {p.name: p for p in problems if p.kind in ("left over", "wrong size")}
    moves = {move.source: move for move in planned.moves}
    fates = []
    for name in checkpoint.shapes:
        move, problem = moves.get(name), wrong.get(name)
        fates.append(
            _fate(
                checkpoint,
                name,
                becomes=move.targets if move else (),
                left_out=move.reason if move else "",
                problem=_problem_of(problem) if problem else "",
            )
        )
    missing, elsewhere = {}, dict.fromkeys(found.elsewhere.values(), 0)
    for p in problems:
        place = next((where for prefix, where in found.elsewhere.items() if p.name.startswith(prefix)), None)
        if p.kind == "missing" and place is not None:
            elsewhere[place] += 1
        elif p.kind == "missing":
            missing[p.name] = target.shapes[p.name]
    return Probe(
        kind=kind,
        fates=tuple(fates),
        missing=missing,
        twice=tuple(f"{p.name} {p.rest}" for p in problems if p.kind == "twice"),
        fresh=planned.fresh,
        elsewhere={name: count for name, count in elsewhere.items() if count},
        notes=target.notes,
        **known,
    )


def _problem_of(problem: Problem) -> str:
    # The shape of the tensor stands beside it already.
    return problem.kind + (problem.rest[problem.rest.index("]") + 1 :])


def _fate(checkpoint: Checkpoint, name: str, **fields: Any) -> Fate:
    return Fate(name, checkpoint.shapes[name], type_name(checkpoint.dtypes[name]), **fields)


def _sentence(error: SegueError) -> str:
    parts = [error.summary, f"expected: {error.expected}", f"found: {error.found}"]
    return " ".join(part for part in parts if not part.endswith(": "))


def check_numbers(config: object, where: str = "config.json") -> None:
    """Refuse sizes with which a model could not be built in finite time.

    Raises:
        ModelError: more layers than any model has, or a number beyond 10^9.
    """
    if isinstance(config, dict):
        for key, value in config.items():
            limit = MAX_LAYERS if _TOO_MANY.search(str(key)) else MAX_NUMBER
            if type(value) is int and value > limit:
                raise ModelError(
                    "config.json holds a number that no model has.",
                    expected=f"{key} of at most {limit}",
                    found=str(value)[:40],
                    where=f"{where}: {key}",
                    fix="put the config.json of the published repository beside the weights",
                )
            check_numbers(value, f"{where}: {key}")
    elif isinstance(config, list):
        for value in config:
            check_numbers(value, where)


def without_paths(config: Any) -> Any:
    """A config.json without places of somebody's machine."""
    if isinstance(config, dict):
        return {str(k): without_paths(v) for k, v in config.items() if k != "_name_or_path"}
    if isinstance(config, list):
        return [without_paths(value) for value in config]
    # Absolute in the manner of any system. A hub name, `owner/name`, is none.
    if isinstance(config, str) and re.match(r"[/\\~]|[A-Za-z]:[/\\]|\.\.?[/\\]", config):
        return "(a path)"
    return config
