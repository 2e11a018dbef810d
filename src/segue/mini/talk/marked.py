"""Questions that point: "What is this?", "Find this in the other images.", with a region for each marker.

A region is read as the finding that lies under it, so a marked thing is looked up in other images by its
name; what the list of its own image says of it may differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segue import protocol
from segue.data.own.statements import numbered
from segue.mini.talk.asker import Asker, Exchange
from segue.mini.talk.lists import PRESENCES, drawn_finding
from segue.mini.talk.statements import HEDGED, Answer, Wanted
from segue.mini.talk.wording import wordings
from segue.models.mini.findings import CELLS, SIZE_WORDS, Finding

MISREAD = 0.12
"""Share of marks under which something is seen that the list of their image lacks."""

SHARED = 0.6
"""Share of marks that are drawn again until another image shows the same, a few times at most."""

UNREAD = 0.06
"""Share of marks under which nothing is known."""

KEPT = 0.7
"""Share of marks that are seen exactly as the list tells them; the others lie elsewhere on the thing."""


class MarkedQuestions(Asker):
    """One method a kind of question; None where the lists carry none."""

    def _marked(self, among: Sequence[Finding] | None = None) -> tuple[int, Finding] | None:
        """An image and what is seen under a mark in it."""
        k = self.pick(self.all)
        found = self.say.claimed[k] if among is None else [f for f in self.say.claimed[k] if f in among]
        if among is None and (not found or self.chance(MISREAD)):
            cell, size = self.rng.integers(CELLS, size=2), int(self.rng.integers(len(SIZE_WORDS)))
            return k, drawn_finding(self.pick(self.kinds.names), self._word(), cell, size, None)
        if not found:
            return None
        finding = self.pick(found)
        if self.chance(KEPT):
            return k, replace(finding, presence=PRESENCES[self._word()])
        centre = np.clip(np.array(finding.centre_yx) + self.rng.uniform(-0.1, 0.1, 2), 0, 1)
        seen = replace(finding, centre_yx=(float(centre[0]), float(centre[1])), colour=None)
        return k, replace(seen, presence=PRESENCES[self._word()])

    def _found_again(self) -> tuple[int, Finding] | None:
        """A mark of something that another image shows too, as a rule: else a model learns to deny it."""
        marked, wanted = self._marked(), self.chance(SHARED)
        for _ in range(6 if wanted else 0):
            if marked is not None and self.say.having(
                Wanted(frozenset({marked[1].name})), [k for k in self.all if k != marked[0]]
            ):
                break
            marked = self._marked()
        return marked

    def _word(self) -> int:
        """How sure a mark is read; rarely doubtful."""
        return 0 if self.chance(UNREAD) else 1 + int(self.rng.integers(3))

    def _point(self, text: str, regions: Sequence[tuple[int, Finding]]) -> str:
        return protocol.mark_question(text, [k for k, _ in regions])

    def _asked(
        self,
        kind: str,
        regions: Sequence[tuple[int, Finding]],
        answer: Answer,
        scope: Sequence[int],
        *,
        wanted: Wanted | None = None,
        said: str = "which",
        k: int | None = None,
    ) -> Exchange:
        words = wordings()
        fields = {"this": self.pick(words["this"]), "that": "that", "here": self.pick(words["here"])}
        text = self.word.question(kind, k=k, fields=fields)
        return Exchange(
            self._point(text, regions), answer, said, wanted, tuple(scope), regions=tuple(regions)
        )

    def _read(self, finding: Finding, answer: Answer) -> Wanted | None:
        """What a mark means; None, and an answer that says so, where nothing is known of it."""
        if finding.presence < HEDGED:
            answer.say("I do not know what you marked.")
            return None
        return Wanted(frozenset({finding.name}), self.kinds.thing(finding.name))

    def ask_marked_find(self) -> Exchange | None:
        """Find the marked thing in the other images, or in one of them."""
        marked = self._found_again() if len(self.all) > 1 else None
        if marked is None:
            return None
        home, finding = marked
        others = [k for k in self.all if k != home]
        having = [k for k in others if any(f.name == finding.name for f in self.say.claimed[k])]
        one = self.chance(0.4)
        scope = [self.pick(having if having and self.chance(SHARED) else others)] if one else others
        answer = Answer()
        wanted = self._read(finding, answer)
        if wanted is not None:
            self.say.exists(answer, wanted, scope)
        kind = "region_in" if one else "region_find"
        return self._asked(kind, [marked], answer, scope, wanted=wanted, k=scope[0] if one else None)

    def ask_marked_what(self) -> Exchange | None:
        """Name what is marked."""
        marked = self._marked()
        if marked is None:
            return None
        home, finding = marked
        answer = Answer()
        if self._read(finding, answer) is not None:
            thing = self.kinds.thing(finding.name)
            answer.say("These are " if thing.takes_are(1) else "This is ")
            self.say.some(answer, (thing, "", [finding]), home)
            answer.say(".")
        return self._asked("region_what", [marked], answer, (home,), said="marked")

    def ask_marked_part(self) -> Exchange | None:
        """The same part of something else, where parts of one name are in several images."""
        every = [f for image in self.say.claimed for f in image if self.kinds.thing(f.name).owner]
        marked = self._marked(every) if every and len(self.all) > 1 else None
        if marked is None:
            return None
        home, finding = marked
        part = self.kinds.thing(finding.name).name
        alike = [n for names in self.kinds.parts.values() for n in names if self.kinds.thing(n).name == part]
        others = [k for k in self.all if k != home]
        one = self.chance(0.5)
        scope, answer = ([self.pick(others)] if one else others), Answer()
        if self._read(finding, answer) is not None:
            wanted = Wanted(frozenset(alike), self.kinds.thing(finding.name))
            if self.say.having(wanted, scope):
                self.say.here(answer, wanted, scope)
            else:
                answer.say(f"I see no such part in {numbered(scope)}.")
        return self._asked("region_part", [marked], answer, scope, k=scope[0] if one else None)

    def ask_marked_alike(self) -> Exchange | None:
        """Whether two marks show the same."""
        first, second = self._marked(), self._marked()
        if first is None or second is None:
            return None
        if self.chance(0.4):
            second = second[0], replace(second[1], name=first[1].name)
        answer = Answer()
        known = [self._read(f, Answer()) is not None for _, f in (first, second)]
        if not all(known):
            answer.say("I do not know what you marked.")
        else:
            same = first[1].name == second[1].name
            answer.say("Yes, they are alike: " if same else "No, these are different: ")
            for position, (k, f) in enumerate((first, second)):
                answer.say(" and " if position else "")
                self.say.the(answer, (self.kinds.thing(f.name), "", [f]), k)
            answer.say(".")
        scope = sorted({first[0], second[0]})
        return self._asked("region_alike", [first, second], answer, scope, said="marked")
