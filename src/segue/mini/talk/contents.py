"""Questions about what there is: lists, comparisons of whole images, sizes, places, parts."""

from __future__ import annotations

from collections.abc import Sequence

from segue.mini.talk.asker import Asker, Exchange, is_many
from segue.mini.talk.statements import Answer, Wanted, place_of
from segue.models.mini.findings import HEIGHT_WORDS, SIDE_WORDS, Finding

ALL_OF_THEM = 0.6
"""Share of questions for the contents of all images that speak of them: "Describe both images."."""

ABSENT_OWNERS = 0.35
"""Share of questions for parts whose owner is not there."""


class ContentQuestions(Asker):
    """One method a kind of question; None where the lists carry none."""

    def ask_list(self) -> Exchange:
        scope = self.scope()
        answer = Answer()
        self.say.shows(answer, scope)
        k = self.k(scope)
        name = "list" if k is None else self.pick(("list", "list_of"))
        if len(self.all) > 1 and len(scope) > 1 and self.chance(ALL_OF_THEM):
            name = "list_all"
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
                if k == 0 and is_many(group):
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

    def ask_compare(self) -> Exchange | None:
        """Compare things of a name: how many each image shows, or how large its one is."""
        if len(self.all) == 1:
            return None
        wanted, said = self.wanted(self.all, plain=True)
        present, answer = self.say.having(wanted), Answer()
        found = [(k, self.say.matching(wanted, k)) for k in present]
        if len(present) < 2 or any(len(fs) > 1 for _, fs in found):
            self.say.exists(answer, wanted, self.all, counted=True)
        else:
            self.sizes(answer, [(k, fs[0]) for k, fs in found])
        return self._ask("sizes", answer, wanted, self.all, said, "compare")

    def ask_worn(self) -> Exchange | None:
        """What a person wears."""
        k, worn = self.pick(self.all), self.kinds.broader.get("clothing", frozenset())
        found = [f for f in self.say.claimed[k] if f.name in worn]
        if not any(f.name == "person" for f in self.say.claimed[k]) and not found:
            return None
        answer = Answer()
        if found:
            answer.say(f"In image {k + 1} I see ")
            self.say.list_groups(answer, found, k)
            answer.say(".")
        else:
            answer.say(f"I see no clothes in image {k + 1}.")
        named = k if len(self.all) > 1 else self.k([k])
        return Exchange(self.word.question("list_worn", k=named), answer, "list", None, (k,))

    def sizes(self, answer: Answer, found: Sequence[tuple[int, Finding]], *, smaller: bool = False) -> None:
        """Write which of some things is the largest, or that there is none."""
        order = sorted(found, key=lambda kf: kf[1].size if smaller else -kf[1].size)
        (k, best), rest = order[0], sorted(order[1:], key=lambda kf: kf[0])
        one_image = len({k for k, _ in found}) == 1
        are = self.kinds.thing(best.name).takes_are(1)
        if best.size == order[1][1].size:
            answer.say("They are about equally large.")
            return
        answer.say("The ")
        self.say.phrase(answer, self.say.groups([best])[0], k)
        if one_image or smaller:
            where = f" {place_of(best)} of image" if one_image else " in image"
            verb = "are" if are else "is"
            answer.say(f"{where} {k + 1} {verb} {'smaller' if smaller else 'larger'}.")
            return
        answer.say(f" in image {k + 1} {'take' if are else 'takes'} up more of its picture than ")
        for position, (other, finding) in enumerate(rest):
            answer.say("" if not position else " and " if position == len(rest) - 1 else ", ")
            self.say.the(answer, self.say.groups([finding])[0], other)
        answer.say(".")

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
            is_ = "are" if is_many(groups[0]) else "is"
            answer.say(f"{at.capitalize()} of image {k + 1} there {is_} ")
            self.say.list_groups(answer, found, k)
            answer.say(".")
        return Exchange(self.word.question("place", k=k, fields={"at": at}), answer, "place", None, (k,))

    def ask_parts(self) -> Exchange | None:
        scope = (self.pick(self.all),)
        claimed = [f.name for f in self.say.claimed[scope[0]]]
        owners = [name for name in claimed if name in self.kinds.parts]
        # "The parts of the cat" where a cow is: whoever reads parts alone tells the cow's head.
        others = [name for name in self.kinds.parts if name not in claimed]
        asked = others if self.chance(ABSENT_OWNERS) else owners
        if not asked:
            return None
        name = self.pick(asked)
        wanted = Wanted(frozenset({name}), self.kinds.thing(name))
        return self._ask("parts", self.parts(wanted, scope[0]), wanted, scope, name)

    def parts(self, wanted: Wanted, k: int) -> Answer:
        """Write "In image 1 you can see the dog's head."."""
        answer, name = Answer(), wanted.thing.phrase() if wanted.thing else ""
        found = [f for f in self.say.claimed[k] if f.name in self.kinds.parts.get(name, ())]
        if not found and not self.say.matching(wanted, k):
            self.say.absent(answer, wanted, (k,))
        elif not found:
            answer.say(f"I see no parts of the {name} in image {k + 1}.")
        else:
            answer.say(f"In image {k + 1} you can see ")
            self.say.list_groups(answer, found, k)
            answer.say(".")
        return answer
