"""Questions that ask for a thing: which image, where, whether, how many, what for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from segue.data.language import english
from segue.data.own.things import Thing
from segue.mini.talk.asker import BROAD_SHARE, Asker, Exchange
from segue.mini.talk.statements import SURE, Answer, Wanted

BROAD_OF_ALL = 0.45
"""Share of questions for all things of a kind that name a broader one: "all the animals"."""


class ThingQuestions(Asker):
    """One method a kind of question; None where the lists carry none."""

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

    def ask_find(self, kind: str = "find", name: str = "", broad_share: float = BROAD_SHARE) -> Exchange:
        scope = self.scope()
        wanted, said = self.wanted(scope, broad_share=broad_share)
        return self._ask(kind, self.answer_kind(kind, wanted, scope), wanted, scope, said, name)

    def ask_where(self) -> Exchange:
        return self.ask_find("where")

    def ask_exists(self) -> Exchange:
        return self.ask_find("exists")

    def ask_count(self) -> Exchange:
        return self.ask_find("count")

    def ask_find_each(self) -> Exchange | None:
        """The same thing in all images."""
        if len(self.all) == 1:
            return None
        wanted, said = self.wanted(self.all)
        return self._ask(
            "find", self.answer_kind("find", wanted, self.all), wanted, self.all, said, "find_each"
        )

    def ask_every(self) -> Exchange:
        """All things of a name or of a broader kind, however many there are: also one, or none."""
        return self.ask_find(name="every", broad_share=BROAD_OF_ALL)

    def ask_everywhere(self) -> Exchange | None:
        """Whether all images show it."""
        if len(self.all) == 1:
            return None
        wanted, said = self.wanted(self.all)
        answer, shown = Answer(), self.say.having(wanted)
        lead = "Yes, " if len(shown) == len(self.all) else "Not in all: " if shown else "No, "
        self.say.exists(answer, wanted, self.all, lead=lead)
        return self._ask("everywhere", answer, wanted, self.all, said)

    def ask_colour(self) -> Exchange | None:
        """What colour it is: told where lists tell colours, and else admitted to be unknown."""
        scope = self.scope()
        wanted, said = self.wanted(scope, plain=True)
        found = [f for k in scope for f in self.say.matching(wanted, k)]
        if wanted.colour or any(bool(f.colour) != bool(found[0].colour) for f in found):
            return None
        answer = Answer()
        self.say.exists(answer, wanted, scope, rest=False)
        if found and not found[0].colour:
            answer.say(" I cannot tell colours.")
        return self._ask("colour", answer, wanted, scope, said)

    def ask_count_all(self) -> Exchange | None:
        """How many there are in all images together."""
        if len(self.all) == 1:
            return None
        wanted, said = self.wanted(self.all)
        answer = self.answer_kind("count", wanted, self.all)
        return self._ask("count", answer, wanted, self.all, said, "count_all")

    def ask_wears(self) -> Exchange | None:
        """Who wears something, or whether somebody does."""
        worn = sorted(self.kinds.broader.get("clothing", frozenset()))
        seen = [f.name for image in self.say.claimed for f in image if f.name in worn]
        if not worn:
            return None
        name = self.pick(seen if seen and self.chance(0.7) else worn)
        wanted = Wanted(self.kinds.members(name), self.kinds.thing(name))
        one = len(self.all) == 1 or self.chance(0.35)
        scope = (self.pick(self.all),) if one else self.all
        kind = "exists" if one else "which"
        answer = self.answer_kind(kind, wanted, scope)
        return self._ask(kind, answer, wanted, scope, self._said(name), "wears_one" if one else "wears")

    def ask_unheard(self) -> Exchange:
        """Something in a word that nobody knows, or a sentence of such words."""
        if self.chance(0.3):
            return self._odd_property()
        if self.chance(0.25):
            words = [self.word.made_up() for _ in range(int(self.rng.integers(3, 7)))]
            return replace(self.ask_world(), question=f"{' '.join(words).capitalize()}?")
        scope, said = self.scope(), self.word.made_up()
        kinds = ("find", "where", "which", "exists", "count", "find_each", "instance", "count_all")
        name = self.pick(kinds if len(self.all) > 1 else kinds[:2])
        fields = {"which": self.pick(("left", "right", "larger"))}
        question = self.word.question(name, k=self.k(scope), thing=Thing(said), said=said, fields=fields)
        answer = Answer("I do not know that word.")
        return Exchange(question, answer, "unheard", None, self.all, said, needs_images=False)

    def _odd_property(self) -> Exchange:
        """Something about a thing in a word that nobody knows: "What whatsit is the cat?"."""
        wanted, said = self.wanted(self.all, plain=True)
        fields = {"odd": self.word.made_up()}
        question = self.word.question("odd_property", thing=wanted.thing, said=said, fields=fields)
        answer = Answer("I do not know that word.")
        return Exchange(question, answer, "unheard", None, self.all, said, needs_images=False)

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

    def ask_world(self) -> Exchange:
        name = self.pick(("world", "world", "greeting", "foreign", "property", "property"))
        wanted, said = self.wanted(self.all, plain=True)
        found = [f for k in self.all for f in self.say.objects(k)]
        names = list(dict.fromkeys(f.name for f in found))[:4]
        answer = Answer("I can only answer about what I see in these images")
        if names:
            things = [self.kinds.thing(n) for n in names]
            answer.say(f": {english.listed([t.indefinite() for t in things])}")
        answer.say(".")
        question = self.word.question(name, thing=wanted.thing if name == "property" else None, said=said)
        return Exchange(question, answer, "world", None, self.all, needs_images=False)
