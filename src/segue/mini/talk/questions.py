"""Questions about lists of findings with their answers, one method a kind; None where the lists carry none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from segue.data.language import english
from segue.data.own.things import Thing
from segue.mini.talk.kinds import Kinds
from segue.mini.talk.statements import SURE, Answer, Statements, Wanted, place_of
from segue.mini.talk.wording import Wording, wordings
from segue.models.mini.findings import HEIGHT_WORDS, SIDE_WORDS, Finding

WEIGHTS: dict[str, float] = {
    **{"find": 5, "where": 5, "which": 8, "exists": 4, "two": 1.5, "list": 3, "count": 2, "sizes": 1.5},
    **{"common": 1, "differ": 1, "only": 1, "instance": 4, "both": 1, "largest": 1, "place": 1, "beside": 1.5},
    **{"parts": 1.5, "purpose": 2.5, "broad": 1.5, "world": 1.2},
}
"""How often each kind is asked."""

ABSENT_SHARE = 0.3
"""Share of questions for something that need not be there."""

SYNONYM_SHARE, BROAD_SHARE = 0.25, 0.1

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


@dataclass(frozen=True)
class Exchange:
    """A question and its answer.

    Attributes:
        kind: of the question.
        wanted: what it asks for, if it asks for one thing.
        scope: the images that it asks about.
        said: what it calls the thing.
        needs_images: whether the answer depends on what the images show.
    """

    question: str
    answer: Answer
    kind: str
    wanted: Wanted | None = None
    scope: tuple[int, ...] = ()
    said: str = ""
    needs_images: bool = True

    @property
    def found(self) -> list[tuple[int, Finding]]:
        """What the answer names, each with its image."""
        return [(m.image_index, f) for m in self.answer.mentions for f in m.findings]


class Questions:
    """Asks about one set of images.

    Args:
        images: their findings.
        kinds: the names.
        rng: source of every choice.
        held_out: see `Wording`.
        free: see `Wording`.
    """

    def __init__(
        self,
        images: Sequence[Sequence[Finding]],
        kinds: Kinds,
        rng: np.random.Generator,
        *,
        held_out: bool = False,
        free: bool = True,
    ) -> None:
        self.kinds, self.rng = kinds, rng
        self.say = Statements(images, kinds)
        self.all = self.say.all
        self.word = Wording(len(images), rng, held_out=held_out, free=free)
        self.pick, self.chance = self.word.pick, self.word.chance

    # Choices.

    def scope(self) -> tuple[int, ...]:
        """One image, or all of them."""
        return (self.pick(self.all),) if len(self.all) > 1 and self.chance(0.5) else self.all

    def k(self, scope: Sequence[int]) -> int | None:
        """The image that a question of this scope names."""
        if len(self.all) == 1:
            return 0 if self.chance(0.3) else None
        return scope[0] if len(scope) == 1 else None

    def wanted(self, scope: Sequence[int], *, plain: bool = False) -> tuple[Wanted, str]:
        """Something to ask for in these images, and what the question calls it."""
        listed = [f for k in scope for f in self.say.claimed[k]]
        if not listed or self.chance(ABSENT_SHARE):
            elsewhere = [f for image in self.say.images for f in image]
            listed = elsewhere if elsewhere and self.chance(0.6) else []
        finding = self.pick(listed) if listed else None
        name = finding.name if finding else self.pick(self.kinds.names)
        kind = self.kinds.kinds.get(name)
        broad = [b for b in kind.broader if b in self.kinds.broader] if kind else []
        if broad and not plain and self.chance(BROAD_SHARE):
            said = self.pick(broad)
            return Wanted(self.kinds.broader[said], Thing(said)), said
        colour = finding.colour if finding and self.chance(0.6) else None
        said = self._said(name)
        if colour is None and self.chance(0.04):
            said = f"{self.pick(('black', 'white', 'brown', 'red', 'blue', 'grey'))} {said}"
            colour = said.split()[0]
        elif colour:
            said = f"{colour} {said}"
        return Wanted(self.kinds.members(name), self.kinds.thing(name), colour=colour), said

    def _ask(
        self, kind: str, answer: Answer, wanted: Wanted, scope: Sequence[int], said: str, name: str = ""
    ) -> Exchange:
        count = max([1, *(len(self.say.matching(wanted, k)) for k in scope)]) if self.chance(0.7) else 1
        thing = wanted.thing or Thing("thing")
        question = self.word.question(name or kind, k=self.k(scope), thing=thing, said=said, count=count)
        return Exchange(question, answer, kind, wanted, tuple(scope), said)

    # Questions for a thing.

    def answer_kind(self, kind: str, wanted: Wanted, scope: Sequence[int]) -> Answer:
        """What `find`, `where`, `which`, `exists` and `count` are answered."""
        answer = Answer()
        if kind == "find":
            self.say.here(answer, wanted, scope)
        elif kind == "where":
            self.say.where(answer, wanted, scope)
        elif kind == "count":
            self._count(answer, wanted, scope)
        else:
            lead = "Yes, " if kind == "exists" else ""
            self.say.exists(answer, wanted, scope, lead=lead, rest=kind == "which")
        return answer

    def ask_find(self, kind: str = "find") -> Exchange:
        scope = self.scope()
        wanted, said = self.wanted(scope)
        return self._ask(kind, self.answer_kind(kind, wanted, scope), wanted, scope, said)

    def ask_where(self) -> Exchange:
        return self.ask_find("where")

    def ask_exists(self) -> Exchange:
        return self.ask_find("exists")

    def ask_count(self) -> Exchange:
        return self.ask_find("count")

    def ask_which(self) -> Exchange | None:
        if len(self.all) == 1:
            return None
        wanted, said = self.wanted(self.all)
        return self._ask("which", self.answer_kind("which", wanted, self.all), wanted, self.all, said)

    def _count(self, answer: Answer, wanted: Wanted, scope: Sequence[int]) -> None:
        present = self.say.having(wanted, scope)
        found = [f for k in present for f in self.say.matching(wanted, k)]
        if not found:
            self.say.absent(answer, wanted, scope)
        elif any(f.presence < SURE for f in found):
            answer.say("I am not sure of the number.")
            self.say.exists(answer, wanted, scope, counted=True, rest=False)
        elif len(present) > 1 and wanted.thing is not None:
            answer.say(f"There are {english.number(len(found))} {wanted.thing.phrase(len(found))} in all: ")
            pieces = [
                lambda k=k: self.say._some_in(answer, self.say.groups(self.say.matching(wanted, k)), k, True)
                for k in present
            ]
            answer.join(pieces).say(".")
        else:
            self.say.exists(answer, wanted, scope, counted=True, rest=False)

    def ask_two(self) -> Exchange | None:
        scope = self.scope()
        (first, said), (second, other) = self.wanted(scope, plain=True), self.wanted(scope, plain=True)
        if first.names == second.names:
            return None
        answer = Answer()
        self.say.here(answer, first, scope)
        self.say.here(answer, second, scope)
        assert first.thing is not None
        question = self.word.question("two", k=self.k(scope), thing=first.thing, said=said, other=other)
        return Exchange(question, answer, "two", None, scope)

    def ask_purpose(self) -> Exchange:
        uses = list(self.kinds.purposes)
        served = [u for u in uses if any(self.say.having(Wanted(self.kinds.purposes[u])))]
        use = self.pick(served if served and self.chance(0.7) else uses)
        wanted = Wanted(self.kinds.purposes[use], use=use)
        kind = "which" if len(self.all) > 1 and self.chance(0.5) else "find"
        scope = self.all if kind == "which" else self.scope()
        name = "purpose_which" if kind == "which" else "purpose_find"
        question = self.word.question(name, k=self.k(scope), fields={"use": use})
        answer = self.answer_kind(kind, wanted, scope)
        return Exchange(question, answer, kind, wanted, scope, f"something to {use}")

    def ask_broad(self) -> Exchange | None:
        broad = list(self.kinds.broader)
        seen = [b for b in broad if self.say.having(Wanted(self.kinds.broader[b]))]
        said = self.pick(seen if seen and self.chance(0.8) else broad)
        wanted, scope = Wanted(self.kinds.broader[said], Thing(said)), self.scope()
        answer = self.answer_kind("which", wanted, scope)
        return self._ask("which", answer, wanted, scope, said, "broad_list")

    # Questions about what there is.

    def ask_list(self) -> Exchange:
        scope = self.scope()
        answer = Answer()
        self.say.shows(answer, scope)
        k = self.k(scope)
        name = "list" if k is None else self.pick(("list", "list_of"))
        if len(self.all) == 1 and self.chance(0.3):
            name = "list_one"
        return Exchange(self.word.question(name, k=k), answer, "list", None, scope)

    def _names(self, k: int) -> list[tuple[str, str]]:
        return [(g[0].phrase(), g[1]) for g in self.say.groups(self.say.objects(k))]

    def ask_common(self) -> Exchange | None:
        if len(self.all) == 1:
            return None
        answer = Answer()
        shared = [n for n in self._names(0) if all(n in self._names(k) for k in self.all)][:3]
        if not all(self.say.claimed):
            self.say.shows(answer, self.all)
        elif not shared:
            answer.say("I see nothing that is in all images.")
        for number, name in enumerate(shared):
            for k in self.all:
                last = k == self.all[-1]
                answer.say(("" if not number else " ") + "There is " if k == 0 else " and " if last else ", ")
                group = next(g for g in self.say.groups(self.say.objects(k)) if (g[0].phrase(), g[1]) == name)
                if k == 0 and _is_many(group):
                    answer.text = answer.text.removesuffix("is ") + "are "
                self.say._some_in(answer, [group], k, False)
            answer.say(".")
        return Exchange(self.word.question("common"), answer, "common", None, self.all)

    def _only(self, k: int) -> list[Finding]:
        others = {n for j in self.all if j != k for n in self._names(j)}
        groups = [g for g in self.say.groups(self.say.objects(k)) if (g[0].phrase(), g[1]) not in others]
        return [f for g in groups[:3] for f in g[2]]

    def ask_differ(self) -> Exchange | None:
        if len(self.all) == 1:
            return None
        answer = Answer()
        alone = {k: self._only(k) for k in self.all}
        if not all(self.say.claimed):
            self.say.shows(answer, self.all)
        elif not any(alone.values()):
            answer.say("I see no difference in what the images show.")
        else:
            for k in self.all:
                if alone[k]:
                    answer.sentence().say(f"Only image {k + 1} shows ")
                    self.say.list_groups(answer, alone[k], k)
                    answer.say(".")
        return Exchange(self.word.question("differ"), answer, "differ", None, self.all)

    def ask_only(self) -> Exchange | None:
        if len(self.all) == 1:
            return None
        k, answer = self.pick(self.all), Answer()
        alone = self._only(k)
        if not self.say.claimed[k]:
            self.say.unknown(answer, [k])
        elif not alone:
            answer.say(f"I see nothing that only image {k + 1} shows.")
        else:
            answer.say(f"Only image {k + 1} shows ")
            self.say.list_groups(answer, alone, k)
            answer.say(".")
        return Exchange(self.word.question("only", k=k), answer, "only", None, (k,))

    def ask_sizes(self) -> Exchange | None:
        wanted, said = self.wanted(self.all, plain=True)
        present = self.say.having(wanted)
        answer = Answer()
        if len(present) < 2:
            self.say.exists(answer, wanted, self.all)
        else:
            first = [(k, self.say.groups(self.say.matching(wanted, k))) for k in present]
            if any(len(groups) > 1 or len(groups[0][2]) > 1 for _, groups in first):
                return None
            self.sizes(answer, [(k, groups[0][2][0]) for k, groups in first])
        if len(self.all) == 1:
            return None
        return self._ask("sizes", answer, wanted, self.all, said)

    def sizes(self, answer: Answer, found: Sequence[tuple[int, Finding]], *, smaller: bool = False) -> None:
        """Write which of some things is the largest, or that there is none."""
        order = sorted(found, key=lambda kf: kf[1].size if smaller else -kf[1].size)
        best = order[0]
        one_image = len({k for k, _ in found}) == 1
        verb = "are" if self.kinds.thing(best[1].name).takes_are(1) else "is"
        if order[0][1].size == order[1][1].size:
            answer.say("They are about equally large.")
            return
        answer.say("The ")
        self.say.phrase(answer, self.say.groups([best[1]])[0], best[0])
        where = f" {place_of(best[1])} of image" if one_image else " in image"
        answer.say(f"{where} {best[0] + 1} {verb} {'smaller' if smaller else 'larger'}.")

    def ask_largest(self) -> Exchange | None:
        k = self.pick(self.all)
        smaller = self.chance(0.3)
        order = sorted(self.say.objects(k), key=lambda f: f.size if smaller else -f.size)
        answer = Answer()
        if not order:
            self.say.unknown(answer, [k])
        elif len(order) > 1 and order[0].size == order[1].size:
            return None
        else:
            answer.say(f"The {'smallest' if smaller else 'largest'} thing in image {k + 1} is the ")
            self.say.phrase(answer, self.say.groups(order[:1])[0], k)
            answer.say(".")
        kind = "smallest" if smaller else "largest"
        named = k if len(self.all) > 1 else self.k([k])
        return Exchange(self.word.question(kind, k=named), answer, "largest", None, (k,))

    def ask_place(self) -> Exchange:
        k, answer = self.pick(self.all), Answer()
        axis = int(self.rng.integers(2))
        word = self.pick((SIDE_WORDS, HEIGHT_WORDS)[axis][::2])
        at = f"on the {word}" if axis == 0 else f"at the {word}"
        found = [f for f in self.say.objects(k) if word in f.words[2:4]]
        if not self.say.claimed[k]:
            self.say.unknown(answer, [k])
        elif not found:
            answer.say(f"I see nothing {at} of image {k + 1}.")
        else:
            groups = self.say.groups(found)
            is_ = "are" if _is_many(groups[0]) else "is"
            answer.say(f"{at.capitalize()} of image {k + 1} there {is_} ")
            self.say.list_groups(answer, found, k)
            answer.say(".")
        return Exchange(self.word.question("place", k=k, fields={"at": at}), answer, "place", None, (k,))

    def ask_parts(self) -> Exchange | None:
        scope = (self.pick(self.all),)
        owners = [f.name for f in self.say.claimed[scope[0]] if f.name in self.kinds.parts]
        if not owners:
            return None
        name = self.pick(owners)
        wanted = Wanted(frozenset({name}), self.kinds.thing(name))
        return self._ask("parts", self.parts(wanted, scope[0]), wanted, scope, name)

    def parts(self, wanted: Wanted, k: int) -> Answer:
        """Write "In image 1 you can see the dog's head."."""
        answer, name = Answer(), wanted.thing.phrase() if wanted.thing else ""
        found = [f for f in self.say.claimed[k] if f.name in self.kinds.parts.get(name, ())]
        if not found:
            answer.say(f"I see no parts of the {name} in image {k + 1}.")
        else:
            answer.say(f"In image {k + 1} you can see ")
            self.say.list_groups(answer, found, k)
            answer.say(".")
        return answer

    # One of several.

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

    def _said(self, name: str) -> str:
        """A word for a name: itself or a synonym."""
        kind = self.kinds.kinds.get(name)
        if kind and kind.synonyms and self.chance(SYNONYM_SHARE):
            return self.pick(kind.synonyms)
        return self.kinds.thing(name).phrase()

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
        answer.say("are " if _is_many(groups[0]) else "is ")
        self.say.list_groups(answer, [f for g in groups for f in g[2]], k)
        return beside, answer.say(".")

    # What images do not answer.

    def ask_world(self) -> Exchange:
        name = self.pick(("world", "world", "greeting", "foreign"))
        found = [f for k in self.all for f in self.say.objects(k)]
        names = list(dict.fromkeys(f.name for f in found))[:4]
        answer = Answer("I can only answer about what I see in these images")
        if names:
            things = [self.kinds.thing(n) for n in names]
            answer.say(f": {english.listed([t.indefinite() for t in things])}")
        answer.say(".")
        return Exchange(self.word.question(name), answer, "world", None, self.all, needs_images=False)


def _is_many(group: tuple[Thing, str, list[Finding]]) -> bool:
    return group[0].takes_are(len(group[2]))
