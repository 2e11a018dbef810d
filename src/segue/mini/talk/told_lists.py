"""Lists of findings as the seeing half tells them of photographs, drawn for conversations.

Drawn-up lists teach to read any list. These teach the ones that photographs bring: a cat with its head, a
street of cars, a room full of doubts.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from segue.errors import InputError
from segue.mini.talk.kinds import Kinds
from segue.mini.talk.statements import CLAIMED
from segue.models.mini.findings import Finding, listed

SHARING = 0.55
"""Share of further images that show something of the first one."""

DOUBT = 0.5
"""Deviation of the noise on the log odds of presences: of the photographs that it learned from, the seeing
half is surer than it will be of others."""

IMAGE_SHARES = (0.2, 0.45, 0.25, 0.1)
"""Of one to four images."""


class ToldLists:
    """Draws the images of a conversation among photographs; rare names come more often than they are shown.

    Args:
        file: of `segue.mini.look.tell`.
        kinds: the names; findings of others are left out.

    Raises:
        InputError: a file with no findings, or a line that `segue.mini.look.tell` did not write.

    Source: paper silent; ours.
    """

    def __init__(self, file: Path, kinds: Kinds) -> None:
        self.images = _read(file, kinds)
        claimed = [sorted({f.name for f in image if f.presence >= CLAIMED}) for image in self.images]
        shown = Counter(name for names in claimed for name in names)
        rarest = [min((shown[name] for name in names), default=len(self.images)) for names in claimed]
        chances = 1 / np.sqrt(np.asarray(rarest))
        self.chances = chances / chances.sum()
        self.having: dict[str, list[int]] = defaultdict(list)
        for number, names in enumerate(claimed):
            for name in names:
                self.having[name].append(number)
        self.claimed = claimed

    def __call__(self, rng: np.random.Generator, most: int = len(IMAGE_SHARES)) -> list[list[Finding]]:
        """One to four images; some of the further ones share a name with the first.

        Args:
            rng: source of every choice.
            most: images.
        """
        count = min(1 + int(rng.choice(len(IMAGE_SHARES), p=IMAGE_SHARES)), most)
        chosen = [int(rng.choice(len(self.images), p=self.chances))]
        while len(chosen) < count:
            names = self.claimed[chosen[0]]
            if names and rng.random() < SHARING:
                alike = self.having[names[int(rng.integers(len(names)))]]
                chosen.append(alike[int(rng.integers(len(alike)))])
            else:
                chosen.append(int(rng.choice(len(self.images), p=self.chances)))
        return [_seen(self.images[k], rng) for k in rng.permutation(chosen).tolist()]


def _seen(image: list[Finding], rng: np.random.Generator) -> list[Finding]:
    """The findings as another look might tell them: mirrored half of the time, more or less sure."""
    mirrored = rng.random() < 0.5
    found = []
    for finding in image:
        (y, x), presence = finding.centre_yx, min(max(finding.presence, 1e-3), 1 - 1e-3)
        odds = np.log(presence / (1 - presence)) + DOUBT * rng.standard_normal()
        centre = (y, 1 - x) if mirrored else (y, x)
        found.append(replace(finding, presence=float(1 / (1 + np.exp(-odds))), centre_yx=centre))
    return listed(found)


def _read(file: Path, kinds: Kinds) -> list[list[Finding]]:
    images = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found = json.loads(line)["findings"]
            told = [Finding(name, presence, (y, x), area) for name, presence, y, x, area in found]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                "not a line of told findings",
                expected='{"picture": ..., "findings": [[name, presence, y, x, area], ...]}',
                found=line[:80],
                where=f"{file}, line {number}",
                fix="write the file again with python -m segue.mini.look.tell",
            ) from error
        images.append([f for f in told if f.name in kinds.kinds])
    if not any(images):
        raise InputError(
            "no findings to talk about",
            expected="photographs in which something was found",
            found=f"{len(images)} without any",
            where=str(file),
            fix="write the file again with python -m segue.mini.look.tell",
        )
    return images
