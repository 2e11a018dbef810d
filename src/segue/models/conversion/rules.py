"""The language of the key templates: one rule per kind of tensor, and how rules are put under prefixes.

A pattern is a literal name with fields: `{n}` and `{k}` stand for a number, `{leaf}` for `weight` or `bias`,
`{rest}` for whatever is left. The same field in the target takes what it stood for in the source:

    Rule("blocks.{n}.norm{k}.{leaf}", ("layers.{n}.layer_norm{k}.{leaf}",))
    blocks.7.norm1.bias -> layers.7.layer_norm1.bias
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

_FIELDS = {"n": r"\d+", "k": r"\d+", "leaf": "weight|bias", "rest": ".+"}
_FIELD = re.compile(r"\{(n|k|leaf|rest)\}")


@dataclass(frozen=True)
class Rule:
    """The places of tensors of one kind.

    Attributes:
        source: pattern of the name in the checkpoint.
        targets: patterns of the names in our model; none where the tensor is not wanted.
        reason: why it is not wanted; given exactly when there are no targets.
        part: the tensor is this one, counted from 0, of `parts` equal parts of its target along dimension 0.
            EVA's original files keep the bias of queries and values apart; SAM 2's have a table of one row
            for each kind of point.
        parts: how many.
        gaps: parts that no tensor fills are zero, as EVA has no bias for keys; if not, all must be there.
        rows: so many rows of the tensor are the first ones of its target, for a vocabulary that grows;
            what the target has beyond them starts as their average, what the tensor has is left out.
        split: the targets are equal parts of the tensor along dimension 0, in their order: torch's fused
            queries, keys and values where our module has three.
        unsqueeze: the target has one dimension of 1 more in front: an `nn.Embedding` of queries.
    """

    source: str
    targets: tuple[str, ...] = ()
    reason: str = ""
    part: int | None = None
    parts: int = 3
    gaps: bool = True
    rows: int | None = None
    split: bool = False
    unsqueeze: bool = False

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        parts = _FIELD.split(self.source)
        seen: set[str] = set()
        written = ""
        # `split` with a group gives text and fields in turn: "blocks.{n}.norm" -> "blocks.", "n", ".norm".
        for place, part in enumerate(parts):
            if place % 2 == 0:
                written += re.escape(part)
            elif part in seen:
                # A field that comes twice must stand for the same both times.
                written += f"(?P={part})"
            else:
                seen.add(part)
                written += f"(?P<{part}>{_FIELDS[part]})"
        return re.compile(written)

    def apply(self, name: str) -> tuple[str, ...] | None:
        """Target names of a source name; None where the rule is not about it."""
        # The whole name: `norm.weight` must not be found inside `blocks.0.norm.weight`.
        match = self._regex.fullmatch(name)
        if match is None:
            return None
        return tuple(_FIELD.sub(lambda field: match[field[1]], target) for target in self.targets)


def under(source: str, target: str, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules with a prefix before their source names and one before their target names."""
    return tuple(
        replace(rule, source=source + rule.source, targets=tuple(target + t for t in rule.targets))
        for rule in rules
    )


def renames(*pairs: tuple[str, str]) -> tuple[Rule, ...]:
    """Rules from pairs of source and target."""
    return tuple(Rule(source, (target,)) for source, target in pairs)


def drops(reason: str, *sources: str) -> tuple[Rule, ...]:
    """Rules for tensors that are not wanted."""
    return tuple(Rule(source, reason=reason) for source in sources)
