"""Questions about one of several things of a name, and about what lies beside a thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from segue.mini.talk.asker import Asker, Exchange, is_many
from segue.mini.talk.statements import Answer, Wanted
from segue.mini.talk.wording import wordings
from segue.models.mini.findings import Finding

SELECTIONS: dict[str, Callable[[Finding], float]] = {
    "left": lambda f: f.cell_xy[0],
    "right": lambda f: -f.cell_xy[0],
    "top": lambda f: f.cell_xy[1],
    "bottom": lambda f: -f.cell_xy[1],
    "large": lambda f: -f.size,
    "small": lambda f: f.size,
}
"""What the wanted one of several has less of than the others."""

SIDES: dict[str, Callable[[Finding, Finding], bool]] = {
    "to the left of": lambda f, of: f.cell_xy[0] < of.cell_xy[0] - 1,
    "to the right of": lambda f, of: f.cell_xy[0] > of.cell_xy[0] + 1,
    "above": lambda f, of: f.cell_xy[1] < of.cell_xy[1] - 1,
    "below": lambda f, of: f.cell_xy[1] > of.cell_xy[1] + 1,
}


class InstanceQuestions(Asker):
    """One method a kind of question; None where the lists carry none."""

    def _several(self) -> tuple[int, str] | None:
        """An image and a name of which it shows at least two."""
        options = [
            (k, g[2][0].name)
            for k in self.all
            for g in self.say.groups(self.say.claimed[k])
            if len(g[2]) > 1 and not g[1]
        ]
        return self.pick(options) if options else None

    def ask_instance(self) -> Exchange | None:
        several = self._several()
        if several is None:
            return None
        k, name = several
        wanted = Wanted(frozenset({name}), self.kinds.thing(name))
        side, chosen = self.selection(self.say.matching(wanted, k))
        if chosen is None:
            return None
        which = self.pick(wordings()["selections"][side])
        by_side = side in ("left", "right", "top", "bottom") and self.chance(0.35)
        question = self.word.question(
            "instance_side" if by_side else "instance",
            k=self.k((k,)),
            thing=self.kinds.thing(name),
            said=self._said(name),
            fields={"which": which, "side": side},
        )
        return Exchange(question, self.instance(chosen, side, k), "instance", wanted, (k,), name)

    def selection(self, found: Sequence[Finding]) -> tuple[str, Finding | None]:
        """A side or a size by which one of some findings stands out, and that one; None where none does."""
        names = list(SELECTIONS)
        for n in self.rng.permutation(len(names)).tolist():
            values = sorted(SELECTIONS[names[n]](f) for f in found)
            if values[0] < values[1]:
                return names[n], min(found, key=SELECTIONS[names[n]])
        return "", None

    def instance(self, chosen: Finding, side: str, k: int) -> Answer:
        """Write "Here is the left dog in image 1."."""
        answer = Answer().say(f"Here is the {wordings()['selections'][side][0]} ")
        self.say.phrase(answer, self.say.groups([chosen])[0], k)
        return answer.say(f" in image {k + 1}.")

    def ask_both(self) -> Exchange | None:
        several = self._several()
        if several is None:
            return None
        k, name = several
        wanted = Wanted(frozenset({name}), self.kinds.thing(name))
        answer = Answer()
        self.say.here(answer, wanted, (k,))
        question = self.word.question("both", k=self.k((k,)), thing=wanted.thing, said=self._said(name))
        return Exchange(question, answer, "both", wanted, (k,), name)

    def ask_beside(self) -> Exchange | None:
        k = self.pick(self.all)
        alone = [g for g in self.say.groups(self.say.claimed[k]) if len(g[2]) == 1 and not g[0].owner]
        if not alone:
            return None
        group = self.pick(alone)
        beside, answer = self.beside(group[2][0], k)
        question = self.word.question(
            "beside",
            k=self.k((k,)),
            thing=group[0],
            said=self._said(group[2][0].name),
            fields={"beside": beside},
        )
        return Exchange(question, answer, "beside", None, (k,))

    def beside(self, anchor: Finding, k: int) -> tuple[str, Answer]:
        """A direction, and what lies there seen from a finding: at most three groups."""
        beside = self.pick(list(SIDES))
        found = [f for f in self.say.objects(k) if f is not anchor and SIDES[beside](f, anchor)]
        answer, name = Answer(), self.kinds.thing(anchor.name).phrase()
        groups = self.say.groups(found)[:3]
        if not groups:
            return beside, answer.say(f"I see nothing {beside} the {name} in image {k + 1}.")
        answer.say(f"{beside.capitalize()} the {name} in image {k + 1} there ")
        answer.say("are " if is_many(groups[0]) else "is ")
        self.say.list_groups(answer, [f for g in groups for f in g[2]], k)
        return beside, answer.say(".")
