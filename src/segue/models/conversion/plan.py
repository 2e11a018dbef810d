"""A conversion is planned before a byte is read: every source tensor is used, every parameter is filled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segue.errors import ModelError
from segue.models.conversion.rules import Rule

Shape = tuple[int, ...]


class ConversionError(ModelError):
    """A checkpoint and a model do not fit; the message names every tensor that is in the way.

    Attributes:
        lines: one per tensor, name and shapes.
    """

    def __init__(self, summary: str, *, lines: Sequence[str] = (), **fields: str) -> None:
        super().__init__(summary, **fields)
        self.lines = list(lines)

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(f"  {line}" for line in self.lines)])


@dataclass(frozen=True)
class Move:
    """One tensor of the source and where it goes.

    Attributes:
        source: its name.
        targets: the parameters that take it; none where it is not wanted.
        reason: why it is not wanted.
        part, parts, gaps, rows, split, unsqueeze: see `Rule`.
    """

    source: str
    targets: tuple[str, ...]
    reason: str = ""
    part: int | None = None
    parts: int = 3
    gaps: bool = True
    rows: int | None = None
    split: bool = False
    unsqueeze: bool = False

    def source_shape(self, target: Shape, found: Shape) -> Shape:
        """Shape that the tensor must have to fill a target of that shape.

        Args:
            target: shape of the parameter.
            found: shape of the tensor, which decides for a table whose rows may differ.
        """
        if self.part is not None:
            # EVA's `q_bias` of 1408 numbers fills a third of `qkv.bias`, 4224.
            return (target[0] // self.parts, *target[1:])
        if self.split:
            return (target[0] * len(self.targets), *target[1:])
        if self.unsqueeze and target[:1] == (1,):
            return target[1:]
        # A table may be longer or shorter than ours, as long as both have the rows that are taken over.
        if self.rows is not None and min(found[0], target[0]) >= self.rows:
            return (found[0], *target[1:])
        return target


@dataclass(frozen=True)
class Problem:
    """A tensor or parameter in the way of a conversion.

    Attributes:
        kind: `left over`, `missing`, `wrong size` or `twice`.
        name: of the source tensor; of the parameter where it is missing or filled twice.
        rest: shapes and places, as the message has them.
    """

    kind: str
    name: str
    rest: str

    def __str__(self) -> str:
        return f"{self.kind:<10} {self.name} {self.rest}"


@dataclass(frozen=True)
class Plan:
    """Fate of every tensor.

    Attributes:
        moves: one per source tensor.
        fresh: parameters that no source has and that start as the model's own initialisation says.
    """

    moves: tuple[Move, ...]
    fresh: tuple[str, ...] = ()
    dropped: dict[str, list[str]] = field(default_factory=dict)

    def summary(self) -> list[str]:
        """Sentences for a report: counts, what was left out and why, what is fresh."""
        used = sum(bool(move.targets) for move in self.moves)
        lines = [f"{used} tensors taken over"]
        lines += [f"{len(names)} left out: {reason}" for reason, names in self.dropped.items()]
        grown = sum(move.rows is not None for move in self.moves)
        if grown:
            lines.append(f"{grown} tables of the vocabulary fitted; new rows are the average of the others")
        if self.fresh:
            lines.append(f"{len(self.fresh)} fresh: {', '.join(sorted({_part(n) for n in self.fresh}))}")
        return lines


@dataclass(frozen=True)
class Target:
    """The model that a checkpoint becomes, before anything is read.

    Attributes:
        config: its configuration.
        shapes: of its parameters.
        rules: the place of every tensor.
        fresh: prefixes of what the checkpoint may lack.
        notes: what was assumed.
    """

    config: Any
    shapes: Mapping[str, Shape]
    rules: tuple[Rule, ...]
    fresh: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def plan(
    source: Mapping[str, Shape],
    target: Mapping[str, Shape],
    rules: Iterable[Rule],
    *,
    fresh: tuple[str, ...] = (),
    where: str = "",
) -> Plan:
    """Decide where every tensor goes.

    Args:
        source: names and shapes of the checkpoint.
        target: names and shapes of the model.
        rules: the first that is about a name decides.
        fresh: prefixes of parameters that may be missing.
        where: what the error message calls the checkpoint.

    Raises:
        ConversionError: a tensor without a place, a parameter without a tensor or with two, or a shape that
            differs; all of them are named.
    """
    planned, problems = lay_out(source, target, rules, fresh=fresh)
    # All together, at the end: a message per run would mean as many runs as names.
    if problems:
        raise _misfit(problems, where)
    return planned


def lay_out(
    source: Mapping[str, Shape],
    target: Mapping[str, Shape],
    rules: Iterable[Rule],
    *,
    fresh: tuple[str, ...] = (),
) -> tuple[Plan, list[Problem]]:
    """What `plan` decides, and what is in its way, without an error: for a report.

    A tensor of a wrong size has both a move and a problem; one that is left over has only a problem.
    """
    rules = tuple(rules)
    moves: list[Move] = []
    filled: dict[str, list[Move]] = {}
    dropped: dict[str, list[str]] = {}
    problems: list[Problem] = []
    for name, shape in source.items():
        move = _route(name, rules)
        # A rule that leads to no parameter here counts as none; the message says where it led.
        if move is None or any(t not in target for t in move.targets):
            meant = f" (would be {', '.join(move.targets)})" if move and move.targets else ""
            problems.append(Problem("left over", name, f"{list(shape)}{meant}"))
            continue
        moves.append(move)
        if not move.targets:
            dropped.setdefault(move.reason, []).append(name)
        for t in move.targets:
            filled.setdefault(t, []).append(move)
            wanted = move.source_shape(target[t], shape)
            if wanted != shape:
                problems.append(Problem("wrong size", name, f"{list(shape)} for {t} {list(wanted)}"))
    for t, givers in filled.items():
        # Two givers are right only as different parts of one target.
        if len(givers) > 1 and len({g.part for g in givers} - {None}) < len(givers):
            problems.append(Problem("twice", t, f"from {' and '.join(g.source for g in givers)}"))
        wanted_parts = 1 if givers[0].part is None or givers[0].gaps else givers[0].parts
        if len(givers) < wanted_parts:
            problems.append(Problem("missing", t, f"but for {len(givers)} of its {wanted_parts} parts"))
    started = tuple(t for t in target if t not in filled and t.startswith(fresh)) if fresh else ()
    for t in target:
        if t not in filled and t not in started:
            problems.append(Problem("missing", t, str(list(target[t]))))
    return Plan(tuple(moves), started, dropped), problems


def _route(name: str, rules: tuple[Rule, ...]) -> Move | None:
    for rule in rules:
        targets = rule.apply(name)
        if targets is not None:
            return Move(
                name,
                targets,
                rule.reason,
                rule.part,
                rule.parts,
                rule.gaps,
                rule.rows,
                rule.split,
                rule.unsqueeze,
            )
    return None


def _misfit(problems: Sequence[Problem], where: str) -> ConversionError:
    counts = {
        kind: sum(p.kind == kind for p in problems)
        for kind in ("left over", "missing", "wrong size", "twice")
    }
    return ConversionError(
        "The checkpoint does not fit the model.",
        expected="a place for every tensor, and one tensor for every parameter",
        found=", ".join(f"{count} {kind}" for kind, count in counts.items() if count),
        where=where,
        fix="check that the checkpoint is of this family and complete; the list below names every tensor",
        lines=sorted(map(str, problems)),
    )


def _part(name: str) -> str:
    return ".".join(name.split(".")[:2]) if name.startswith("reader.") else name.split(".")[0]
